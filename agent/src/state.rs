//! Directories of state: what the agent keeps over its runs. Each belongs to one agent at a time.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// Makes the directory if it is not there, for its owner alone, and takes it for as long as the file lives.
pub fn take(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let lock = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| io::Error::new(error.kind(), format!("another agent uses it ({error})")))?;
    Ok(lock)
}
