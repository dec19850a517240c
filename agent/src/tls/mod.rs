//! Which TLS library a file holds, and where in the file to hook which function of it. It reads the file that it is
//! given and nothing else: it attaches nothing, follows no path and takes no clock.
//!
//! [`analyse`] takes a file apart within bounds ([`READ_MAX`], [`SYMBOLS_MAX`] and their like in [`image`]), so that a
//! file made to be expensive costs no more than a large honest one. [`maps`] says which files of a process are worth
//! asking about, [`cache`] remembers what was found.
//!
//! Several functions of a library call each other (`gnutls_record_send` jumps to `gnutls_record_send2`, `SSL_connect`
//! to `SSL_do_handshake`, `SSL_read_early_data` calls `SSL_read_ex`): whoever hooks them keeps one call per thread, lets
//! an inner entry replace the outer one's, and takes it at the first return.
#![forbid(unsafe_code)]

pub mod cache;
pub mod maps;

mod analysis;
pub mod asyncio;
mod evidence;
mod function;
mod golang;
mod image;
mod inner;
mod native;
mod refusal;
mod rustls;
#[cfg(test)]
mod tests;
mod words;

pub use analysis::{Analysis, Hook, How, Library, Moment};
pub use function::Function;
pub use image::{FILE_MAX, NAMES_MAX, READ_MAX, SEARCH_MAX, SECTIONS_MAX, STRINGS_MAX, SYMBOLS_MAX, Source};
pub use refusal::Refusal;

use evidence::Evidence;
use image::Image;

/// Where Python's `_asyncio` has what, if the file is that.
///
/// # Errors
/// The [`Refusal`] that says why it is not known.
pub fn asyncio_places(file: &std::fs::File) -> Result<Option<asyncio::Places>, Refusal> {
    asyncio::places(&Image::open(file)?)
}

/// Every TLS library in a file, each with its hooks; never an empty list.
///
/// # Errors
/// The [`Refusal`] that says why there is nothing to hook.
pub fn analyse(file: &std::fs::File) -> Result<Vec<Analysis>, Refusal> {
    analyse_source(file)
}

/// What the OpenSSL in a file says of its version, "OpenSSL 3.0.19 27 Jan 2026": [`analyse`] leaves that out where it
/// would have to be searched for.
pub fn openssl_version(source: &dyn Source) -> Option<String> {
    let image = Image::open(source).ok()?;
    Evidence::collect(&image, true).ok()?.openssl_version()
}

/// As [`analyse`], of anything that has bytes.
///
/// # Errors
/// The [`Refusal`] that says why there is nothing to hook.
pub fn analyse_source(source: &dyn Source) -> Result<Vec<Analysis>, Refusal> {
    let image = Image::open(source)?;
    let symbols = native::Symbols::collect(&image)?;
    let go = golang::analyse(&image, &symbols);
    let asyncio = asyncio::analyse(&image);
    let mut found = Vec::new();
    found.extend(asyncio.as_ref().ok().cloned().flatten());
    if let Ok(Some(analysis)) = &go {
        found.push(analysis.clone());
    }
    // A Go program's own text may name any library; only what has symbols counts there.
    let is_go = !matches!(go, Ok(None));
    // What OpenSSL says of its version is megabytes away, and hooks are urgent: see `openssl_version`.
    let is_clear = symbols.is_empty() && is_go || symbols.is_complete;
    let evidence = if is_clear { Evidence::default() } else { Evidence::collect(&image, false)? };
    found.extend(symbols.analyses(&image, &evidence));
    match (found.is_empty(), go) {
        (false, _) => Ok(found),
        (true, Err(refusal)) => Err(refusal),
        (true, Ok(_)) => Err(asyncio.err().unwrap_or_else(|| evidence.refusal())),
    }
}
