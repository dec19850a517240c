//! Hellos that rustls makes, hellos made by hand, and what is left of them.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{PrivateKeyDer, ServerName},
};

use super::*;

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

fn names(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A client that begins: what it sends, and itself.
pub(in crate::protocol::tls) fn begin(
    name: &str,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> (Vec<u8>, ClientConnection) {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions of ring")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = names(protocols);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut sent = Vec::new();
    client.write_tls(&mut sent).expect("it begins");
    (sent, client)
}

/// What a server answers to a client's beginning.
pub(in crate::protocol::tls) fn answer(client: &[u8], protocols: &[&str], provider: CryptoProvider) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".into()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(BOTH)
        .expect("versions of ring")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key for its certificate");
    config.alpn_protocols = names(protocols);
    let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
    server.read_tls(&mut &client[..]).expect("bytes");
    server.process_new_packets().expect("a hello");
    let mut sent = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut sent).expect("it answers");
    }
    sent
}

fn client_hello(flow: &[u8]) -> ClientHello {
    match parse(flow) {
        Ok(Hello::Client(hello)) => hello,
        other => panic!("a ClientHello: {other:?}"),
    }
}

fn server_hello(flow: &[u8]) -> ServerHello {
    match parse(flow) {
        Ok(Hello::Server(hello)) => hello,
        other => panic!("a ServerHello: {other:?}"),
    }
}

#[test]
fn a_client_tells_name_protocols_and_versions() {
    let (flow, _) = begin("Shop.Example", &["h2", "http/1.1"], BOTH);
    let mut hello = client_hello(&flow);
    hello.versions.sort_unstable();
    assert_eq!(
        hello,
        ClientHello {
            server_name: Some("shop.example".into()),
            protocols: vec!["h2".into(), "http/1.1".into()],
            versions: vec![Version::TLS12, Version::TLS13],
            left_out: 0,
            is_whole: true,
        }
    );
}

#[test]
fn a_client_that_knows_an_address_only_tells_no_name() {
    let (flow, _) = begin("127.0.0.1", &[], ONLY_12);
    let hello = client_hello(&flow);
    assert_eq!((hello.server_name, hello.protocols.len(), hello.is_whole), (None, 0, true));
    assert_eq!(hello.versions, [Version::TLS12]);
}

#[test]
fn a_server_tells_version_and_cipher_suite_and_under_tls_1_2_the_protocol() {
    let cases = [(BOTH, Version::TLS13, None), (ONLY_12, Version::TLS12, Some("http/1.1"))];
    for (versions, version, protocol) in cases {
        let (flow, mut client) = begin("shop.example", &["h2", "http/1.1"], versions);
        let flow = answer(&flow, &["http/1.1"], ring::default_provider());
        let hello = server_hello(&flow);
        assert_eq!(hello.version, Some(version));
        assert_eq!(hello.protocol.as_deref(), protocol, "{version:?}");
        assert!(hello.is_whole && !hello.is_retry);
        // It ends where the certificate is not trusted; by then both sides agree on the suite.
        client.read_tls(&mut &flow[..]).expect("bytes");
        let _ = client.process_new_packets();
        let suite = client.negotiated_cipher_suite().expect("a suite");
        assert_eq!(hello.cipher_suite, u16::from(suite.suite()), "{version:?}");
    }
}

#[test]
fn a_server_that_wants_another_hello_says_so() {
    let (flow, _) = begin("shop.example", &[], BOTH);
    let provider = CryptoProvider { kx_groups: vec![ring::kx_group::SECP384R1], ..ring::default_provider() };
    let hello = server_hello(&answer(&flow, &[], provider));
    assert!(hello.is_retry && hello.is_whole);
    assert_eq!(hello.version, Some(Version::TLS13));
}

/// The same bytes of the handshake in records of so many bytes each.
fn in_records(flow: &[u8], len: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for piece in flow[5..].chunks(len) {
        records.extend_from_slice(&flow[..3]);
        records.extend((piece.len() as u16).to_be_bytes());
        records.extend(piece);
    }
    records
}

#[test]
fn a_hello_that_is_spread_over_records_is_the_same() {
    let (flow, _) = begin("shop.example", &["h2"], BOTH);
    let whole = client_hello(&flow);
    for len in [1, 2, 3, 4, 5, 50, 200] {
        assert_eq!(client_hello(&in_records(&flow, len)), whole, "records of {len} bytes");
    }
}

#[test]
fn a_beginning_tells_nothing_that_the_whole_does_not() {
    let (client, _) = begin("shop.example", &["h2", "http/1.1"], BOTH);
    let old = begin("shop.example", &["h2"], ONLY_12).0;
    for (flow, len) in [
        (client.clone(), client.len()),
        (in_records(&client, 7), in_records(&client, 7).len()),
        (answer(&client, &["h2"], ring::default_provider()), 5 + 4 + 100),
        (answer(&old, &["h2"], ring::default_provider()), 5 + 4 + 60),
    ] {
        let whole = parse(&flow).expect("a hello");
        for end in 0..len {
            match (parse(&flow[..end]), &whole) {
                (Err(NoHello::Short), _) => {}
                (Ok(Hello::Client(part)), Hello::Client(whole)) => {
                    assert!(whole.protocols.starts_with(&part.protocols), "{end}: {part:?}");
                    assert!(whole.versions.starts_with(&part.versions), "{end}: {part:?}");
                    assert!(part.server_name.is_none() || part.server_name == whole.server_name, "{end}: {part:?}");
                    assert!(!part.is_whole, "{end}: {part:?}");
                }
                (Ok(Hello::Server(part)), Hello::Server(whole)) => {
                    assert!(part.version.is_none() || part.version == whole.version, "{end}: {part:?}");
                    assert!(part.protocol.is_none() || part.protocol == whole.protocol, "{end}: {part:?}");
                    assert_eq!(part.cipher_suite, whole.cipher_suite, "{end}");
                    assert!(!part.is_whole || part == *whole, "{end}: {part:?}");
                }
                (other, _) => panic!("{end} of {}: {other:?}", flow.len()),
            }
        }
    }
}

#[test]
fn a_hello_longer_than_what_is_looked_at_is_cut() {
    let many: Vec<String> = (0..400).map(|n| format!("protocol-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (flow, _) = begin("shop.example", &many, BOTH);
    assert!(flow.len() > PREFIX_MAX);
    let hello = client_hello(&flow);
    assert!(!hello.is_whole);
    assert!(hello.protocols.len() <= PROTOCOLS_MAX);
    assert_eq!(client_hello(&flow[..PREFIX_MAX]), hello, "what lies behind is not looked at");
}

/// A `ClientHello` of TLS 1.2 with these extensions.
fn made(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; RANDOM]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    if !extensions.is_empty() {
        let mut all = Vec::new();
        for (kind, data) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend((data.len() as u16).to_be_bytes());
            all.extend(*data);
        }
        body.extend((all.len() as u16).to_be_bytes());
        body.extend(all);
    }
    let mut flow = vec![22, 3, 1];
    flow.extend((body.len() as u16 + 4).to_be_bytes());
    flow.extend([1, 0]);
    flow.extend((body.len() as u16).to_be_bytes());
    flow.extend(body);
    flow
}

#[test]
fn a_hello_without_extensions_is_whole() {
    let hello = client_hello(&made(&[]));
    assert_eq!(hello, ClientHello { versions: vec![Version::TLS12], is_whole: true, ..ClientHello::default() });
}

#[test]
fn what_is_reserved_or_cannot_be_printed_is_left_out() {
    let hello = client_hello(&made(&[
        (0x0a0a, &[]),
        (SERVER_NAME, b"\x00\x07\x00\x00\x04a\nb."),
        (PROTOCOL_NEGOTIATION, b"\x00\x06\x02\x0a\x0a\x02h2"),
        (SUPPORTED_VERSIONS, b"\x06\x1a\x1a\x03\x04\x03\x03"),
    ]));
    assert_eq!(hello.server_name, None);
    assert_eq!(hello.protocols, ["h2"]);
    assert_eq!(hello.versions, [Version::TLS13, Version::TLS12]);
    assert_eq!(hello.left_out, 2);
}

#[test]
fn bounds_hold_and_are_counted() {
    let protocols = [b"\x00\x28".as_slice(), &b"\x01x".repeat(20)].concat();
    let versions = [b"\x18".as_slice(), &b"\x03\x03".repeat(12)].concat();
    let hello = client_hello(&made(&[(PROTOCOL_NEGOTIATION, &protocols), (SUPPORTED_VERSIONS, &versions)]));
    assert_eq!((hello.protocols.len(), hello.versions.len()), (PROTOCOLS_MAX, VERSIONS_MAX));
    assert_eq!(hello.left_out, 4 + 4);
    let long = [b"\x00\x22\x21".as_slice(), &[b'x'; PROTOCOL_MAX + 1]].concat();
    assert_eq!(client_hello(&made(&[(PROTOCOL_NEGOTIATION, &long)])).left_out, 1);
}

#[test]
fn what_contradicts_itself_is_malformed() {
    let long_session = {
        let mut flow = made(&[]);
        flow[5 + 4 + 2 + RANDOM] = 33;
        flow
    };
    let cases = [
        ("a list longer than its extension", made(&[(PROTOCOL_NEGOTIATION, b"\x00\x09\x02h2")])),
        ("a name longer than its list", made(&[(SERVER_NAME, b"\x00\x05\x00\x00\x09ab")])),
        ("half a version", made(&[(SUPPORTED_VERSIONS, b"\x03\x03\x04\x03")])),
        ("a session id of 33 bytes", long_session),
    ];
    for (what, flow) in cases {
        assert_eq!(parse(&flow), Err(NoHello::Malformed), "{what}");
    }
}

#[test]
fn what_is_no_hello_is_told_apart() {
    let cases: &[(&[u8], NoHello)] = &[
        (b"", NoHello::Short),
        (b"\x16\x03\x01\x00", NoHello::Short),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00", NoHello::Short),
        (b"GET / HTTP/1.1\r\n", NoHello::NotTls),
        (b"PRI * HTTP/2.0\r\n", NoHello::NotTls),
        (b"\x16\x02\x00\x00\x05", NoHello::NotTls),
        (b"\x16\x03\x01\x00\x00", NoHello::NotTls),
        (b"\x16\x03\x01\x40\x01", NoHello::NotTls),
        (b"\x15\x03\x03\x00\x02\x02\x28", NoHello::OtherMessage),
        (b"\x17\x03\x03\x00\x20\x01\x02", NoHello::OtherMessage),
        (b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", NoHello::OtherMessage),
    ];
    for (flow, expected) in cases {
        assert_eq!(parse(flow), Err(*expected), "{flow:?}");
    }
}

#[test]
fn no_bytes_make_it_panic_or_keep_more_than_its_bounds() {
    let (client, _) = begin("shop.example", &["h2", "http/1.1"], BOTH);
    let server = answer(&client, &["h2"], ring::default_provider());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut parsed = 0;
    for turn in 0..40_000 {
        let mut flow = match turn % 3 {
            0 => client.clone(),
            1 => server[..150].to_vec(),
            _ => in_records(&client, 1 + (random() % 90) as usize),
        };
        for _ in 0..=random() % 4 {
            let at = (random() % flow.len() as u64) as usize;
            flow[at] = random() as u8;
        }
        flow.truncate((random() % (flow.len() as u64 * 2)) as usize);
        if let Ok(hello) = parse(&flow) {
            parsed += 1;
            if let Hello::Client(ClientHello { server_name, protocols, versions, .. }) = hello {
                assert!(server_name.is_none_or(|name| name.len() <= NAME_MAX));
                assert!(protocols.len() <= PROTOCOLS_MAX && versions.len() <= VERSIONS_MAX);
            }
        }
    }
    assert!(parsed > 4_000, "most of them were refused at once: {parsed}");
}
