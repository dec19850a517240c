//! The program on Go's `net/http` with HTTP/2, built by the Go of the Python environment: Debian's knows no HTTP/2 in
//! the clear.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::Result;

use crate::{apps, python};

/// Server (`serve`) and client (`send`) in one.
pub fn program() -> Result<PathBuf> {
    apps::built_by_go(&python::program("go")?, "web")
}
