//! What an analysis says.

use super::Function;

/// A TLS library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// OpenSSL 1.0.2 or later, or `LibreSSL`; also a file that holds its `libcrypto` alone.
    OpenSsl,
    /// Google's fork, and AWS-LC, which is made of it.
    BoringSsl,
    /// `GnuTLS` 3.
    GnuTls,
    /// Go's `crypto/tls`.
    Go,
    /// rustls.
    Rustls,
    /// The part of Python's asyncio that is in C: no library of TLS, but hooked in the same way.
    Asyncio,
}

impl Library {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL",
            Self::BoringSsl => "BoringSSL",
            Self::GnuTls => "GnuTLS",
            Self::Go => "Go crypto/tls",
            Self::Rustls => "rustls",
            Self::Asyncio => "Python asyncio",
        }
    }
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// At the function's first instruction: a uprobe.
    Entry,
    /// When the function returns: a uretprobe at the function's first instruction.
    Return,
    /// At one of the function's return instructions: a uprobe. Go moves its stacks, which a uretprobe's changed return
    /// address does not survive.
    ReturnInstruction,
}

/// A place to hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hook {
    /// Which function.
    pub function: Function,
    /// When.
    pub moment: Moment,
    /// Bytes from the file's beginning, as `perf_event_open` and uprobe links want it.
    pub offset: u64,
}

/// How the functions were located.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// In the table that the dynamic linker uses (`.dynsym`).
    DynamicSymbols,
    /// In the full symbol table (`.symtab`).
    SymbolTable,
    /// By the calls in functions that were located otherwise.
    Call,
    /// In the table that Go's runtime needs for stack traces (`.gopclntab`).
    GoLineTable,
    /// In the definitions of a Python module and its types.
    Definitions,
}

impl How {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynamicSymbols => "dynamic symbols",
            Self::SymbolTable => "symbol table",
            Self::Call => "calls",
            Self::GoLineTable => "Go line table",
            Self::Definitions => "module definitions",
        }
    }
}

/// One library in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Which.
    pub library: Library,
    /// What the file says of its version, if that was found on the way (see [`openssl_version`](super::openssl_version)):
    /// "OpenSSL 3.0.19 27 Jan 2026", or where there is no such text the newest symbol version, `OPENSSL_3.0.0`;
    /// "go1.27.3"; "0.23.46".
    pub version: Option<String>,
    /// How its functions were located.
    pub how: How,
    /// Where to hook; sorted, no two alike, never empty.
    pub hooks: Vec<Hook>,
}
