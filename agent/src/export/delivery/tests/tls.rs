//! TLS: certificates of the receiver and of the agent.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::{
    super::{Protocol, config::TlsFiles, start},
    BOTH, PATIENCE, endpoint, hurried, offer,
    receiver::{Answer, Receiver},
};

#[test]
fn https_is_spoken_to_a_receiver_with_a_trusted_certificate() {
    for protocol in BOTH {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), signed.cert.pem()).expect("written");
        let grpc = protocol == Protocol::Grpc;
        let receiver =
            Receiver::on(([127, 0, 0, 1], 0).into(), Some(acceptor(&signed, grpc)), move |_| Answer::ok(grpc));
        let url = format!("https://localhost:{}", receiver.address.port());
        let mut config = hurried(&url, protocol);
        endpoint(&mut config).tls = TlsFiles { authorities: Some(file.path().to_owned()), identity: None };
        let handle = start(&config).expect("starts");
        offer(&handle, 1..=3);
        assert_eq!(receiver.next().spans().len(), 3);
        assert_eq!(handle.shutdown(PATIENCE).sent, 3);
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_not_talked_to() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), other.cert.pem()).expect("written");
    let receiver = Receiver::on(([127, 0, 0, 1], 0).into(), Some(acceptor(&signed, false)), |_| Answer::ok(false));
    let mut config = hurried(&format!("https://localhost:{}", receiver.address.port()), Protocol::Http);
    endpoint(&mut config).tls = TlsFiles { authorities: Some(file.path().to_owned()), identity: None };
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=3);
    let stats = handle.shutdown(std::time::Duration::from_secs(1));
    assert!(stats.retried > 0, "{stats}");
    assert_eq!((stats.sent, stats.dropped.shutdown), (0, 3));
    assert!(receiver.rest().is_empty());
}

#[test]
fn a_receiver_that_wants_the_clients_certificate_gets_it() {
    let [server, client] =
        ["localhost", "agent"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).expect("one"));
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, pem: String| {
        std::fs::write(dir.path().join(name), pem).expect("written");
        dir.path().join(name)
    };
    let authorities = Some(file("ca", server.cert.pem()));
    let identity = Some((file("client", client.cert.pem()), file("key", client.signing_key.serialize_pem())));
    let acceptor = |grpc| acceptor_for(&server, Some(&client), grpc);
    for protocol in BOTH {
        let grpc = protocol == Protocol::Grpc;
        let receiver = Receiver::on(([127, 0, 0, 1], 0).into(), Some(acceptor(grpc)), move |_| Answer::ok(grpc));
        for (identity, expected) in [(identity.clone(), 3), (None, 0)] {
            let mut config = hurried(&format!("https://localhost:{}", receiver.address.port()), protocol);
            endpoint(&mut config).tls = TlsFiles { authorities: authorities.clone(), identity };
            let handle = start(&config).expect("starts");
            offer(&handle, 1..=3);
            let patience = if expected > 0 { PATIENCE } else { std::time::Duration::from_millis(500) };
            let stats = handle.shutdown(patience);
            assert_eq!((stats.sent, stats.sent + stats.dropped.shutdown), (expected, 3), "{stats}");
        }
    }
}

fn acceptor(signed: &rcgen::CertifiedKey<rcgen::KeyPair>, http2: bool) -> TlsAcceptor {
    acceptor_for(signed, None, http2)
}

type Signed = rcgen::CertifiedKey<rcgen::KeyPair>;

fn acceptor_for(signed: &Signed, client: Option<&Signed>, http2: bool) -> TlsAcceptor {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(client.cert.der().clone()).expect("a root");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let mut config = config.with_single_cert(vec![signed.cert.der().clone()], key).expect("an identity");
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    TlsAcceptor::from(Arc::new(config))
}
