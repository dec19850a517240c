//! Why a file's TLS can't be seen, each in one sentence for `netspan doctor`.

use super::Library;

/// Why there is nothing to hook in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Reading failed.
    #[error("the file can't be read: {0}")]
    Unreadable(std::io::ErrorKind),
    /// It does not begin as an ELF file does.
    #[error("it is not an ELF file")]
    NotElf,
    /// It is ELF, but for another kind of machine.
    #[error("it is not built for 64-bit x86-64 or AArch64 (ELF machine {0})")]
    Architecture(u16),
    /// Its headers or tables contradict themselves.
    #[error("its ELF structure is damaged: {0}")]
    Damaged(&'static str),
    /// A bound was reached.
    #[error("it is too large to be searched: {0}")]
    TooLarge(&'static str),
    /// Nothing of a TLS library was found.
    #[error("no TLS library in it")]
    NoTls,
    /// OpenSSL is linked in, but its functions can't be located.
    #[error("OpenSSL is linked into it and its symbols are stripped{}", version(.0.as_deref()))]
    OpenSslStripped(Option<String>),
    /// `BoringSSL` (or AWS-LC, made of it) is linked in, but its functions can't be located.
    #[error("BoringSSL is linked into it and its symbols are stripped")]
    BoringSslStripped,
    /// `GnuTLS` is linked in, but its functions can't be located.
    #[error("GnuTLS is linked into it and its symbols are stripped")]
    GnuTlsStripped,
    /// rustls is compiled in, but its functions can't be located.
    #[error("rustls is compiled into it and its symbols are stripped{}", version(.0.as_deref()))]
    RustlsStripped(Option<String>),
    /// rustls is compiled in, of a version whose messages are not known.
    #[error("rustls {0} is compiled into it: 0.23 is read")]
    RustlsVersion(String),
    /// Before 1.17 Go passes arguments on the stack.
    #[error("it is built by {0}, whose arguments are on the stack: Go 1.17 or later is needed")]
    GoTooOld(String),
    /// A Go program of which not even the version is known.
    #[error("it is a Go program that does not tell its Go version")]
    GoVersionUnknown,
    /// A Go program whose functions can't be located.
    #[error("it is a Go program whose line table is not understood: {0}")]
    GoLineTable(&'static str),
    /// The machine code of a Go function is not what a compiler makes.
    #[error("it is a Go program whose crypto/tls code is not understood: {0}")]
    GoCode(&'static str),
    /// Python's `_asyncio` in a form that is not known.
    #[error("it is Python's _asyncio, but {0} is not found in it: which task sends what is not known")]
    Asyncio(&'static str),
}

impl Refusal {
    /// The library that is in the file all the same, where it is known.
    pub const fn library(&self) -> Option<Library> {
        match self {
            Self::OpenSslStripped(_) => Some(Library::OpenSsl),
            Self::BoringSslStripped => Some(Library::BoringSsl),
            Self::GnuTlsStripped => Some(Library::GnuTls),
            Self::RustlsStripped(_) | Self::RustlsVersion(_) => Some(Library::Rustls),
            Self::GoTooOld(_) | Self::GoVersionUnknown | Self::GoLineTable(_) | Self::GoCode(_) => Some(Library::Go),
            Self::Asyncio(_) => Some(Library::Asyncio),
            Self::Unreadable(_)
            | Self::NotElf
            | Self::Architecture(_)
            | Self::Damaged(_)
            | Self::TooLarge(_)
            | Self::NoTls => None,
        }
    }

    /// Its version, where the file tells.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::OpenSslStripped(version) | Self::RustlsStripped(version) => version.as_deref(),
            Self::RustlsVersion(version) | Self::GoTooOld(version) => Some(version),
            _ => None,
        }
    }
}

fn version(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" (version {text})"))
}
