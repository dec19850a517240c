//! What the constants of a file tell of the libraries in it: texts that only they have.

use std::ops::ControlFlow;

use memchr::memmem::Finder;

use super::{Refusal, image::Image, rustls};

/// Bytes of a text at most.
const TEXT_MAX: usize = 64;

/// Texts that are looked for. OpenSSL and `BoringSSL` name their source files in error reports, rustls in panic messages.
const NEEDLES: [&[u8]; 5] =
    [b"OpenSSL ", b"BoringSSL", b"ssl/ssl_lib.c", b"/rustls-", b"GNUTLS_E_UNSUPPORTED_VERSION_PACKET"];

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    openssl: Option<String>,
    boringssl: bool,
    libssl: bool,
    rustls: Option<String>,
    gnutls: bool,
}

impl Evidence {
    /// Goes through the constants; with `version_only` until OpenSSL's version is found.
    pub(super) fn collect(image: &Image<'_>, version_only: bool) -> Result<Self, Refusal> {
        let mut evidence = Self::default();
        let finders = NEEDLES.map(Finder::new);
        image.scan(&image.constants(), TEXT_MAX as u64 * 2, |_, piece| {
            for (needle, finder) in finders.iter().enumerate() {
                for at in finder.find_iter(piece) {
                    let text = piece.get(at + finder.needle().len()..).unwrap_or_default();
                    evidence.take(needle, text);
                }
            }
            if version_only && evidence.openssl.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(evidence)
    }

    fn take(&mut self, needle: usize, text: &[u8]) {
        let has_digit = text.first().is_some_and(u8::is_ascii_digit);
        match needle {
            0 if has_digit && self.openssl.is_none() => {
                self.openssl = openssl_version(text);
            }
            1 => self.boringssl = true,
            2 => self.libssl = true,
            3 if has_digit && self.rustls.is_none() => {
                let end = text.iter().position(|byte| *byte == b'/').unwrap_or(0);
                let version = printable(text.get(..end).unwrap_or_default());
                self.rustls = (!version.is_empty()).then_some(version);
            }
            4 => self.gnutls = true,
            _ => {}
        }
    }

    pub(super) fn is_boringssl(&self) -> bool {
        self.boringssl
    }

    pub(super) fn openssl_version(&self) -> Option<String> {
        self.openssl.clone()
    }

    pub(super) fn rustls_version(&self) -> Option<String> {
        self.rustls.clone()
    }

    /// Why a file without any hook has none.
    pub(super) fn refusal(&self) -> Refusal {
        if self.libssl && self.boringssl {
            Refusal::BoringSslStripped
        } else if self.libssl {
            Refusal::OpenSslStripped(self.openssl.clone())
        } else if let Some(version) = self.rustls.as_ref().filter(|version| !rustls::is_read(Some(version))) {
            Refusal::RustlsVersion(version.clone())
        } else if self.rustls.is_some() {
            Refusal::RustlsStripped(self.rustls.clone())
        } else if self.gnutls {
            Refusal::GnuTlsStripped
        } else {
            Refusal::NoTls
        }
    }
}

/// What follows "OpenSSL " where it is a version: "3.0.19 27 Jan 2026", "1.1.1w-fips  11 Sep 2023", not "3.0 legacy
/// provider".
fn openssl_version(text: &[u8]) -> Option<String> {
    let text = printable(text);
    let mut words = text.split_whitespace();
    let is_version = words.next()?.split('.').count() >= 3;
    let is_dated = words.last()?.parse::<u16>().is_ok_and(|year| (1998..=9999).contains(&year));
    (is_version && is_dated).then(|| format!("OpenSSL {text}"))
}

/// The printable beginning of a text.
fn printable(text: &[u8]) -> String {
    let text = text.iter().take(TEXT_MAX).take_while(|byte| matches!(byte, b' '..=b'~'));
    text.map(|byte| char::from(*byte)).collect()
}

/// The newest symbol version with a prefix among a table's names: `OPENSSL_3.2.0`.
pub(super) fn newest(names: &[u8], prefix: &[u8]) -> Option<String> {
    let found = memchr::memmem::find_iter(names, prefix).filter_map(|at| {
        let text = printable(names.get(at..)?);
        let version = text.get(prefix.len()..)?;
        let numbers: Vec<u32> = version.split(['.', '_']).map_while(|part| part.parse().ok()).collect();
        (!numbers.is_empty()).then_some((numbers, text))
    });
    found.max().map(|(_, text)| text)
}
