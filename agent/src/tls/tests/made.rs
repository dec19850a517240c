//! Files made here, of which everything is known.

use super::forged::{CODE, CODE_OFFSET, CONSTANTS, Forged};
use crate::tls::{Analysis, Function, How, Library, Moment, Refusal, analyse_source};

/// How the first library is found, and the places of its hooks from the code's beginning.
fn only(forged: &Forged) -> Analysis {
    let mut found = analyse_source(&forged.bytes()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn hooks(analysis: &Analysis) -> Vec<(Function, Moment, u64)> {
    analysis.hooks.iter().map(|hook| (hook.function, hook.moment, hook.offset - CODE_OFFSET)).collect()
}

fn refusal(forged: &Forged) -> Refusal {
    analyse_source(&forged.bytes()).unwrap_err()
}

#[test]
fn exported_functions_are_hooked_at_their_file_offsets() {
    let libssl = Forged::new().dynamic(&[("SSL_read", 0x10), ("SSL_free", 0x20), ("SSL_peek", 0x30)]);
    let found = only(&libssl);
    assert_eq!((found.library, found.version.clone(), found.how), (Library::OpenSsl, None, How::DynamicSymbols));
    let expected = [
        (Function::SslRead, Moment::Entry, 0x10),
        (Function::SslRead, Moment::Return, 0x10),
        (Function::SslFree, Moment::Entry, 0x20),
    ];
    assert_eq!(hooks(&found), expected);
}

#[test]
fn the_version_behind_a_symbol_is_no_part_of_its_name_and_both_tables_are_read() {
    let libssl = Forged::new().dynamic(&[("SSL_shutdown", 0x10)]);
    let libssl =
        libssl.full(&[("SSL_shutdown", 0x10), ("SSL_free@OPENSSL_1_1_0", 0x20), ("SSL_free@@OPENSSL_3.0.0", 0x30)]);
    let places: Vec<_> = hooks(&only(&libssl)).into_iter().map(|(function, _, at)| (function, at)).collect();
    assert_eq!(places, [(Function::SslShutdown, 0x10), (Function::SslFree, 0x20), (Function::SslFree, 0x30)]);
}

#[test]
fn symbols_that_are_no_code_are_left_out() {
    let file = Forged::new().object("SSL_read", CODE).full(&[("SSL_write", 0x1_0000)]);
    assert_eq!(refusal(&file), Refusal::NoTls);
}

#[test]
fn texts_tell_version_and_fork() {
    let names = [("SSL_read", 0x10)];
    for (text, expected) in [
        (&b"OpenSSL 3.0.19 27 Jan 2026\0"[..], (Library::OpenSsl, Some("OpenSSL 3.0.19 27 Jan 2026"))),
        (b"OpenSSL 1.1.1w  11 Sep 2023\0", (Library::OpenSsl, Some("OpenSSL 1.1.1w  11 Sep 2023"))),
        (
            b"enable OpenSSL 3.0 legacy provider\0OpenSSL 3.5.0 8 Apr 2025",
            (Library::OpenSsl, Some("OpenSSL 3.5.0 8 Apr 2025")),
        ),
        (b"OpenSSL 3's provider\0OpenSSL 9", (Library::OpenSsl, None)),
        (b"OpenSSL 1.1.1 (compatible; BoringSSL)\0", (Library::BoringSsl, None)),
        (b"", (Library::OpenSsl, None)),
    ] {
        let found = only(&Forged::new().full(&names).constants(text));
        assert_eq!((found.library, found.version.as_deref(), found.how), (expected.0, expected.1, How::SymbolTable));
    }
    let boring = only(&Forged::new().full(&names).full(&[("SSL_CTX_set_custom_verify", 0x20)]));
    assert_eq!(boring.library, Library::BoringSsl);
}

#[test]
fn one_file_may_hold_several_libraries() {
    let name = "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$7encrypt17h0123456789abcdefE";
    let file = Forged::new().full(&[("gnutls_bye", 0x10), ("BIO_write", 0x20), (name, 0x30), (name, 0x40)]);
    let found = analyse_source(&file.constants(b"/rustls-0.23.46/src/conn.rs\0").bytes()).unwrap();
    let shown: Vec<_> =
        found.iter().map(|found| (found.library, found.hooks.len(), found.version.as_deref())).collect();
    assert_eq!(shown, [(Library::OpenSsl, 1, None), (Library::GnuTls, 1, None), (Library::Rustls, 4, Some("0.23.46"))]);
}

#[test]
fn a_file_without_symbols_is_refused_by_what_is_in_it() {
    let with = |text: &[u8]| Forged::new().constants(text);
    for (file, expected) in [
        (with(b""), Refusal::NoTls),
        (with(b"OpenSSL 3.0.1 1 Jan 2026\0"), Refusal::NoTls),
        (
            with(b"ssl/ssl_lib.c\0OpenSSL 3.0.1 1 Jan 2026\0"),
            Refusal::OpenSslStripped(Some("OpenSSL 3.0.1 1 Jan 2026".to_owned())),
        ),
        (with(b"src/ssl/ssl_lib.cc\0BoringSSL\0"), Refusal::BoringSslStripped),
        (with(b"/hyper-rustls-0.27.0/x\0/rustls-0.23.4/src"), Refusal::RustlsStripped(Some("0.23.4".to_owned()))),
        (with(b"/rustls-0.21.12/src"), Refusal::RustlsVersion("0.21.12".to_owned())),
        (with(b"GNUTLS_E_UNSUPPORTED_VERSION_PACKET\0"), Refusal::GnuTlsStripped),
        (with(b"").machine(243), Refusal::Architecture(243)),
    ] {
        assert_eq!(refusal(&file), expected);
    }
    assert_eq!(analyse_source(&b"#!/bin/sh\n".to_vec()), Err(Refusal::NotElf));
    assert_eq!(analyse_source(&vec![0; 100]), Err(Refusal::NotElf));
}

/// Build information with its version inline, as since Go 1.18.
fn build_info(version: &str) -> Vec<u8> {
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    info.push(version.len() as u8);
    info.extend_from_slice(version.as_bytes());
    info
}

/// A line table as of Go 1.20, of functions that are 0x40 bytes apart.
fn line_table(text: u64, names: &[&str]) -> Vec<u8> {
    // The header takes 72 bytes, and the names are aligned.
    let header = 96u64;
    let (mut name_table, mut offsets) = (b"\0".to_vec(), Vec::new());
    for name in names {
        offsets.push(name_table.len() as u32);
        name_table.extend_from_slice(name.as_bytes());
        name_table.push(0);
    }
    let names_end = header + name_table.len() as u64;
    let mut table = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    for word in [names.len() as u64, 0, text, header, names_end, names_end, names_end, names_end] {
        table.extend(word.to_le_bytes());
    }
    table.resize(header as usize, 0);
    table.extend(name_table);
    let entries = (names.len() * 8 + 4) as u32;
    for index in 0..names.len() as u32 {
        table.extend((index * 0x40).to_le_bytes());
        table.extend((entries + index * 8).to_le_bytes());
    }
    table.extend((names.len() as u32 * 0x40).to_le_bytes());
    for (index, offset) in (0u32..).zip(offsets) {
        table.extend((index * 0x40).to_le_bytes());
        table.extend(offset.to_le_bytes());
    }
    table
}

const NAMES: [&str; 7] = [
    "main.main",
    "crypto/tls.(*Conn).Read",
    "crypto/tls.(*Conn).ReadFrom",
    "net.(*TCPConn).Close",
    "net.(*TCPConn).Read",
    "net.(*TCPConn).Write",
    "crypto/tls.(*Conn).Close",
];
/// Two returns, and what only looks like one between them.
const BODY: [u8; 8] = [0xc3, 0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0x90, 0xc3];

/// A stripped Go program; its line table tells where the code begins, or else a `moduledata` does.
pub(super) fn go(version: &str, has_text: bool) -> Forged {
    let table = line_table(if has_text { CODE } else { 0 }, &NAMES);
    let forged =
        Forged::new().code(0x40, &BODY).section(".gopclntab", &table).section(".go.buildinfo", &build_info(version));
    // The table is the first of the constants.
    let mut module = [0; 24];
    (module[0], module[20], module[22]) = (CONSTANTS, CODE, CODE);
    forged.data(&module)
}

#[test]
fn a_stripped_go_program_is_found_by_its_line_table() {
    for (version, has_text) in [("go1.22.1", true), ("go1.27.3", false), ("devel go1.26-abc", false)] {
        let program = go(version, has_text);
        let found = only(&program);
        assert_eq!(
            (found.library, found.version.as_deref(), found.how),
            (Library::Go, Some(version), How::GoLineTable)
        );
        let expected = [
            (Function::GoTlsConnRead, Moment::Entry, 0x40),
            (Function::GoTlsConnRead, Moment::ReturnInstruction, 0x40),
            (Function::GoTlsConnRead, Moment::ReturnInstruction, 0x47),
            (Function::GoTlsConnClose, Moment::Entry, 0x180),
        ];
        assert_eq!(hooks(&found), expected);
    }
}

#[test]
fn symbols_spare_the_line_table() {
    let read = [("crypto/tls.(*Conn).Read", 0)];
    let program = Forged::new().code(0, &BODY).full(&read);
    let found = only(&program.section(".go.buildinfo", &build_info("go1.21")));
    assert_eq!((found.how, hooks(&found).len()), (How::SymbolTable, 3));
}

#[test]
fn a_go_program_whose_tls_can_not_be_seen_says_why() {
    let table = line_table(CODE, &NAMES);
    let with = |version: &str| Forged::new().section(".go.buildinfo", &build_info(version));
    let symbol = [("crypto/tls.(*Conn).Read", 0)];
    for (program, expected) in [
        (with("go1.16.9").full(&symbol), Refusal::GoTooOld("go1.16.9".to_owned())),
        (with("go1.9").full(&symbol).section(".gopclntab", &table), Refusal::GoTooOld("go1.9".to_owned())),
        (with("go1.17").full(&symbol).machine(183), Refusal::GoTooOld("go1.17".to_owned())),
        (with("unknown").section(".gopclntab", &table), Refusal::GoVersionUnknown),
        (with("go1.22"), Refusal::GoLineTable("there is none")),
        (with("go1.22").section(".gopclntab", &[0xff; 99]), Refusal::GoLineTable("an unknown layout")),
        (with("go1.22").section(".gopclntab", &table), Refusal::GoCode("a function never returns")),
        (with("go1.22").section(".gopclntab", &line_table(CODE, &["main.main"])), Refusal::NoTls),
        (go("go1.22", true).code(0x44, &[0x06; 8]), Refusal::GoCode("an unknown instruction")),
    ] {
        assert_eq!(refusal(&program), expected);
    }
}

#[test]
fn a_go_program_without_section_headers_is_found_by_magic_numbers() {
    let info = build_info("go1.22.1");
    let words: Vec<u64> = info
        .chunks(8)
        .map(|word| {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            u64::from_le_bytes(bytes)
        })
        .collect();
    let table = line_table(CODE, &NAMES);
    let program = Forged::new().code(0x40, &BODY).constants(&[7; 32]).section(".gopclntab", &table).data(&words);
    let found = analyse_source(&program.bytes_without_sections()).unwrap();
    assert_eq!(found.iter().map(|found| (found.library, found.hooks.len())).collect::<Vec<_>>(), [(Library::Go, 4)]);
}
