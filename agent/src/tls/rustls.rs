//! rustls, by the mangled symbols of what a compiler always leaves of it.
//!
//! Whatever is generic over the kind of connection is compiled into its caller and mostly inlined, and what is not generic
//! may be. But records are encrypted and decrypted by `dyn MessageEncrypter` and `dyn MessageDecrypter`, one type for each
//! kind of cipher and provider (ring, AWS-LC, or one from elsewhere), and `dyn Tls13AeadAlgorithm` makes them: these
//! functions are called through a table, with their arguments as they are declared. The BPF side has what is behind the
//! arguments.

use std::fmt::{self, Write};

use memchr::memmem;

use super::Function;

/// Bytes of a symbol's name at most; those that are hooked are far shorter.
const NAME_MAX: usize = 1024;
/// Bytes of what it says at most: a short v0 name can say much by pointing back into itself.
const SAID_MAX: usize = 512;

/// The functions: how their names end, after the type.
const METHODS: [(Function, &str); 4] = [
    (Function::RustlsEncrypt, " as rustls::crypto::cipher::MessageEncrypter>::encrypt"),
    (Function::RustlsDecrypt, " as rustls::crypto::cipher::MessageDecrypter>::decrypt"),
    (Function::RustlsEncrypter, " as rustls::crypto::cipher::Tls13AeadAlgorithm>::encrypter"),
    (Function::RustlsDecrypter, " as rustls::crypto::cipher::Tls13AeadAlgorithm>::decrypter"),
];

/// One of these is in the mangled name of each of them, whatever the mangling.
pub(super) const NEEDLES: [&[u8]; 3] = [b"MessageEncrypter", b"MessageDecrypter", b"Tls13AeadAlgorithm"];

/// The types that stand for keys while there are none.
const INVALID: &str = "<rustls::crypto::cipher::InvalidMessage";

/// The function that a mangled name (legacy or v0) names, if it is hooked.
pub(super) fn function(name: &[u8]) -> Option<Function> {
    if name.len() > NAME_MAX || memmem::find(name, b"rustls").is_none() {
        return None;
    }
    let symbol = rustc_demangle::try_demangle(std::str::from_utf8(name).ok()?).ok()?;
    let mut name = Bounded(String::new());
    write!(name, "{symbol:#}").ok()?;
    let Bounded(name) = name;
    let is_type = name.starts_with('<') && !name.starts_with(INVALID);
    METHODS.iter().find(|(_, end)| is_type && name.ends_with(end)).map(|(function, _)| *function)
}

/// Whether the BPF side knows the messages of that version: those of 0.23. Where the version is not told, what it reads
/// decides.
pub(super) fn is_read(version: Option<&str>) -> bool {
    version.is_none_or(|version| version.starts_with("0.23."))
}

/// A text that takes no more than [`SAID_MAX`] bytes.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > SAID_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_in_both_manglings() {
        for (name, expected) in [
            (
                "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$7encrypt17h0123456789abcdefE",
                Some(Function::RustlsEncrypt),
            ),
            (
                "_ZN109_$LT$rustls..crypto..ring..tls12..GcmMessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h0123456789abcdefE",
                Some(Function::RustlsDecrypt),
            ),
            // A compiler that splits a crate makes its private functions unique so.
            (
                "_ZN109_$LT$rustls..crypto..ring..tls12..GcmMessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h0123456789abcdefE.llvm.16479193251924067688",
                Some(Function::RustlsDecrypt),
            ),
            (
                "_RNvXs_NtNtNtCs1234_6rustls6crypto4ring5tls13NtB4_21Tls13MessageEncrypterNtNtB8_6cipher16MessageEncrypter7encrypt",
                Some(Function::RustlsEncrypt),
            ),
            (
                "_ZN105_$LT$rustls..crypto..ring..tls13..Aes256GcmAead$u20$as$u20$rustls..crypto..cipher..Tls13AeadAlgorithm$GT$9encrypter17h0123456789abcdefE",
                Some(Function::RustlsEncrypter),
            ),
            (
                "_RNvXs1_NtNtNtCs1234_6rustls6crypto4ring5tls13NtB5_13Aes256GcmAeadNtNtB9_6cipher18Tls13AeadAlgorithm9decrypter",
                Some(Function::RustlsDecrypter),
            ),
            // A provider from elsewhere.
            (
                "_RNvXNtCs1234_4mine5tls13NtB2_9EncrypterNtNtNtCs1234_6rustls6crypto6cipher16MessageEncrypter7encrypt",
                Some(Function::RustlsEncrypt),
            ),
            (
                "_ZN109_$LT$rustls..crypto..ring..tls12..GcmMessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h0123456789abcdefE.cold",
                None,
            ),
            (
                "_ZN108_$LT$rustls..crypto..cipher..InvalidMessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$7encrypt17h0123456789abcdefE",
                None,
            ),
            (
                "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$21encrypted_payload_len17h0123456789abcdefE",
                None,
            ),
            // What is inside of a function is not the function.
            (
                "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$7encrypt28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE",
                None,
            ),
            // rustls 0.21 has it elsewhere.
            (
                "_ZN89_$LT$rustls..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..cipher..MessageEncrypter$GT$7encrypt17h0123456789abcdefE",
                None,
            ),
            ("_ZN6rustls12common_state11CommonState16buffer_plaintext17h0123456789abcdefE", None),
            ("_ZN6rustls", None),
            ("_R6rustls", None),
            ("<X as rustls::crypto::cipher::MessageEncrypter>::encrypt", None),
        ] {
            assert_eq!(function(name.as_bytes()), expected, "{name}: {:#}", rustc_demangle::demangle(name));
            let is_looked_at = NEEDLES.iter().any(|needle| memmem::find(name.as_bytes(), needle).is_some());
            assert!(is_looked_at || expected.is_none(), "{name}");
        }
    }

    #[test]
    fn the_versions_whose_messages_are_known_are_read() {
        for (version, expected) in [
            (None, true),
            (Some("0.23.0"), true),
            (Some("0.23.46"), true),
            (Some("0.22.4"), false),
            (Some("0.24.0"), false),
            (Some("0.230.0"), false),
        ] {
            assert_eq!(is_read(version), expected, "{version:?}");
        }
    }
}
