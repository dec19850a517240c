//! rustls, by its mangled symbols: what a compiler leaves of it in a program, and what the BPF side has to know.
//!
//! What was seen in release builds without link-time optimisation on x86-64, of rustls 0.21.12, 0.22.4 and 0.23.46 under
//! tokio-rustls 0.24, 0.25 and 0.26, in disassembly and of the last in a debugger too: whatever is generic over the kind
//! of connection (`write_tls`, `read_tls`, `process_new_packets`) is compiled into its caller and mostly inlined.
//! tokio-rustls 0.26 does not even call `Reader::read`, but `Reader::into_first_chunk`; up to rustls 0.22
//! `take_received_plaintext` is inlined, but `Reader::read` is called. What survives are functions of types that are not
//! generic, and these see each byte once, whatever interface the program uses; with fat link-time optimisation (0.23.46)
//! all but `buffer_plaintext` do, their arguments unchanged. They are preferred; the others are hooked only where these
//! are missing:
//!
//! | moment | function | x86-64 registers (System V order; on `AArch64` x0, x1, x2 and x0, x1) |
//! |---|---|---|
//! | plaintext out, 0.23 | `CommonState::send_appdata_encrypt`, else its caller `buffer_plaintext` | RDI the state, RSI an `OutboundChunks`; returns bytes taken in RAX |
//! | plaintext out, 0.21, 0.22 | `CommonState::send_some_plaintext` | RDI the state, RSI bytes, RDX length; returns bytes taken in RAX |
//! | plaintext in, 0.23 | `CommonState::take_received_plaintext` | RDI the state, RSI a `Payload`: one decrypted record |
//! | plaintext in, 0.21, 0.22 | `Reader::read` | RDI the `Reader`, RSI a buffer, RDX its length; returns an `io::Result<usize>` |
//! | ciphertext out | `ChunkVecBuffer::write_to` | RDI the state's `sendable_tls`; its writes to the socket happen inside |
//! | ciphertext in | `DeframerVecBuffer::read`, up to 0.22 `MessageDeframer::read` | RDI the buffer; its reads happen inside |
//!
//! - `OutboundChunks` (four words): where the first is 0, a pointer and a length follow; else it is a pointer to
//!   `&[u8]`s (pointer, length); their number, and the first and last byte's places among all of them follow.
//! - `Payload` (three words): capacity (or `i64::MIN` for borrowed bytes), pointer, length. The order of a `Vec`'s words
//!   is the compiler's: check that the pointer is one.
//! - `io::Result<usize>` comes back in two registers: RAX 0 and RDX n, or RAX 1 and RDX an error.
//!   [`RustlsIntoFirstChunk`](Function::RustlsIntoFirstChunk) returns through memory (pointer or 0, length) that RDI
//!   points to, and RAX at the return.
//! - `Writer` is two words, the sink and its vtable: the sink is the `ConnectionCommon`. `Reader` begins with a pointer to
//!   `received_plaintext`.
//! - In all three builds the `CommonState` is at the very beginning of the `ConnectionCommon` C, so that both are one
//!   pointer. `received_plaintext` (what a `Reader` points to) is at C+0x48, C+0x48 and C+0x50; `sendable_tls` (what
//!   `write_to` gets) at C+0xa8, C+0xa8 and C+0x88; what the deframer's `read` gets at C+0x168, C+0x358 and C+0x400. The
//!   compiler chooses these places: they hold for one build. Within a program they are constant and less than a page, and
//!   can be learned: tokio-rustls calls `write_to` on the thread that has just let plaintext out, and the deframer's
//!   `read` on the one that then calls `take_received_plaintext`.
//! - A connection has no descriptor. Its socket is the one that the thread writes to within `write_to`, and that it read
//!   from last before `take_received_plaintext`. A `ConnectionCommon` is a plain value and may move until it is pinned.

use std::fmt::{self, Write};

use memchr::memmem;

use super::Function;

/// Bytes of a symbol's name at most; those that are hooked are far shorter.
const NAME_MAX: usize = 1024;
/// Bytes of what it says at most: a short v0 name can say much by pointing back into itself.
const SAID_MAX: usize = 512;

/// Functions of types that are not generic, without the version's hash.
const EXACT: [(Function, &[&str]); 12] = [
    (Function::RustlsSendAppdataEncrypt, &["rustls::common_state::CommonState::send_appdata_encrypt"]),
    (Function::RustlsBufferPlaintext, &["rustls::common_state::CommonState::buffer_plaintext"]),
    (
        Function::RustlsSendSomePlaintext,
        &["rustls::common_state::CommonState::send_some_plaintext", "rustls::conn::CommonState::send_some_plaintext"],
    ),
    (
        Function::RustlsTakeReceivedPlaintext,
        &[
            "rustls::common_state::CommonState::take_received_plaintext",
            "rustls::conn::CommonState::take_received_plaintext",
        ],
    ),
    (Function::RustlsWriteTo, &["rustls::vecbuf::ChunkVecBuffer::write_to"]),
    (
        Function::RustlsDeframerRead,
        &[
            "rustls::msgs::deframer::buffers::DeframerVecBuffer::read",
            "rustls::msgs::deframer::DeframerVecBuffer::read",
            "rustls::msgs::deframer::MessageDeframer::read",
        ],
    ),
    (
        Function::RustlsWriterWrite,
        &[
            "<rustls::conn::connection::Writer as std::io::Write>::write",
            "<rustls::conn::Writer as std::io::Write>::write",
        ],
    ),
    (
        Function::RustlsWriterWriteVectored,
        &[
            "<rustls::conn::connection::Writer as std::io::Write>::write_vectored",
            "<rustls::conn::Writer as std::io::Write>::write_vectored",
        ],
    ),
    (
        Function::RustlsReaderRead,
        &["<rustls::conn::connection::Reader as std::io::Read>::read", "<rustls::conn::Reader as std::io::Read>::read"],
    ),
    (
        Function::RustlsReaderReadBuf,
        &[
            "<rustls::conn::connection::Reader as std::io::Read>::read_buf",
            "<rustls::conn::Reader as std::io::Read>::read_buf",
        ],
    ),
    (Function::RustlsIntoFirstChunk, &["rustls::conn::connection::Reader::into_first_chunk"]),
    (Function::RustlsReaderConsume, &["<rustls::conn::connection::Reader as std::io::BufRead>::consume"]),
];

/// Methods of `ConnectionCommon`, compiled once per kind of connection.
const GENERIC: [(Function, &str); 2] =
    [(Function::RustlsWriteTls, "::write_tls"), (Function::RustlsReadTls, "::read_tls")];

/// What is hooked only where none of others is there.
const REPLACED: [(&[Function], &[Function]); 6] = [
    (&[Function::RustlsSendAppdataEncrypt], &[Function::RustlsSendSomePlaintext]),
    (&[Function::RustlsBufferPlaintext], &[Function::RustlsSendAppdataEncrypt]),
    (
        &[Function::RustlsWriterWrite, Function::RustlsWriterWriteVectored],
        &[Function::RustlsSendAppdataEncrypt, Function::RustlsBufferPlaintext, Function::RustlsSendSomePlaintext],
    ),
    (
        &[
            Function::RustlsReaderRead,
            Function::RustlsReaderReadBuf,
            Function::RustlsIntoFirstChunk,
            Function::RustlsReaderConsume,
        ],
        &[Function::RustlsTakeReceivedPlaintext],
    ),
    (&[Function::RustlsWriteTls], &[Function::RustlsWriteTo]),
    (&[Function::RustlsReadTls], &[Function::RustlsDeframerRead]),
];

/// The function that a mangled name (legacy or v0) names, if it is hooked.
pub(super) fn function(name: &[u8]) -> Option<Function> {
    if name.len() > NAME_MAX || memmem::find(name, b"rustls").is_none() {
        return None;
    }
    let symbol = rustc_demangle::try_demangle(std::str::from_utf8(name).ok()?).ok()?;
    let mut name = Bounded(String::new());
    write!(name, "{symbol:#}").ok()?;
    let Bounded(name) = name;
    let plain = plain(&name);
    let exact = EXACT.iter().find(|(_, names)| names.iter().any(|exact| *exact == plain || *exact == name));
    if let Some((function, _)) = exact {
        return Some(*function);
    }
    let is_connection = name.contains("rustls::conn::ConnectionCommon<") && !name.contains("::<impl core::");
    let generic = GENERIC.iter().find(|(_, end)| is_connection && name.ends_with(end));
    generic.map(|(function, _)| *function)
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

/// Whether `function` is left out of a rustls of that version, seeing that there are `others`.
pub(super) fn is_replaced(function: Function, others: &[Function], version: Option<&str>) -> bool {
    if function == Function::RustlsSendAppdataEncrypt && !version.is_none_or(takes_chunks) {
        return true;
    }
    REPLACED.iter().any(|(weak, strong)| {
        weak.contains(&function) && strong.iter().any(|one| others.contains(one) && !is_replaced(*one, others, version))
    })
}

/// Since 0.23 plaintext goes out as `OutboundChunks`.
fn takes_chunks(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(0), Some(23))
}

/// The v0 mangling has `<a::B>::c` where the legacy one has `a::B::c`.
fn plain(name: &str) -> String {
    match name.strip_prefix('<').and_then(|rest| rest.split_once(">::")) {
        Some((of, method)) if !of.contains(" as ") => format!("{of}::{method}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_in_both_manglings() {
        for (name, expected) in [
            (
                "_ZN6rustls12common_state11CommonState16buffer_plaintext17h0123456789abcdefE",
                Some(Function::RustlsBufferPlaintext),
            ),
            (
                "_RNvMs_NtCs1234_6rustls12common_stateNtB4_11CommonState16buffer_plaintext",
                Some(Function::RustlsBufferPlaintext),
            ),
            (
                "_ZN6rustls12common_state11CommonState23take_received_plaintext17h0123456789abcdefE",
                Some(Function::RustlsTakeReceivedPlaintext),
            ),
            (
                "_ZN67_$LT$rustls..conn..connection..Writer$u20$as$u20$std..io..Write$GT$5write17h0123456789abcdefE",
                Some(Function::RustlsWriterWrite),
            ),
            (
                "_ZN6rustls4conn25ConnectionCommon$LT$T$GT$9write_tls17h0123456789abcdefE",
                Some(Function::RustlsWriteTls),
            ),
            ("_ZN6rustls6vecbuf14ChunkVecBuffer8write_to17h0123456789abcdefE", Some(Function::RustlsWriteTo)),
            // A compiler that splits a crate makes its private functions unique so.
            (
                "_ZN6rustls6vecbuf14ChunkVecBuffer8write_to17h0123456789abcdefE.llvm.16479193251924067688",
                Some(Function::RustlsWriteTo),
            ),
            ("_ZN6rustls6vecbuf14ChunkVecBuffer8write_to17h0123456789abcdefE.cold", None),
            ("_ZN6rustls6vecbuf14ChunkVecBuffer4read17h0123456789abcdefE", None),
            // What is inside of a function is not the function.
            (
                "_ZN6rustls12common_state11CommonState16buffer_plaintext28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE",
                None,
            ),
            ("_ZN12tokio_rustls6common15Stream$LT$IO$GT$9write_tls17h0123456789abcdefE", None),
            ("_ZN6rustls", None),
            ("_R6rustls", None),
            ("rustls::common_state::CommonState::buffer_plaintext", None),
        ] {
            assert_eq!(function(name.as_bytes()), expected, "{name}: {:#}", rustc_demangle::demangle(name));
        }
    }

    #[test]
    fn what_sees_the_same_bytes_again_is_left_out() {
        use Function as F;
        let inward = [F::RustlsTakeReceivedPlaintext, F::RustlsReaderRead, F::RustlsIntoFirstChunk];
        let outward = [F::RustlsWriterWrite, F::RustlsBufferPlaintext, F::RustlsSendAppdataEncrypt];
        let old = [F::RustlsWriterWrite, F::RustlsSendSomePlaintext, F::RustlsSendAppdataEncrypt];
        for (version, all, expected) in [
            (Some("0.23.46"), &inward[..], &inward[..1]),
            (Some("0.23.46"), &inward[1..], &inward[1..]),
            (Some("0.23.46"), &outward, &outward[2..]),
            (None, &outward, &outward[2..]),
            (Some("1.0.0"), &outward, &outward[2..]),
            (Some("0.23.46"), &outward[..2], &outward[1..2]),
            (Some("0.23.46"), &outward[..1], &outward[..1]),
            (Some("0.22.4"), &old, &old[1..2]),
            (None, &old, &old[1..2]),
            (Some("0.21.12"), &[F::RustlsWriterWrite, F::RustlsSendAppdataEncrypt], &[F::RustlsWriterWrite]),
            (None, &[F::RustlsWriteTo, F::RustlsWriteTls, F::RustlsReadTls], &[F::RustlsWriteTo, F::RustlsReadTls]),
        ] {
            let kept: Vec<_> = all.iter().copied().filter(|one| !is_replaced(*one, all, version)).collect();
            assert_eq!(kept, expected, "{version:?} {all:?}");
        }
    }
}
