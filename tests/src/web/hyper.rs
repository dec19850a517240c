//! A server and a client on hyper with rustls: HTTP/1.1 and HTTP/2, in the clear and over TLS
//! (`netspan-lab serve`, `netspan-lab send`).
#![forbid(unsafe_code)]

mod client;
mod server;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

pub use client::send;
pub use server::serve;

use super::Version;

/// The names of the versions as ALPN has them (RFC 7301, RFC 9113 section 3.2).
fn alpn(version: Version) -> Vec<u8> {
    match version {
        Version::H1 => b"http/1.1".to_vec(),
        Version::H2 => b"h2".to_vec(),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} holds no certificate", file.display()))
}

fn trusting(authority: &Path, version: Version) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn(version)];
    Ok(config)
}

fn presenting(chain: &Path, key: &Path) -> Result<ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{} holds no key", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates(chain)?, key)?;
    config.alpn_protocols = vec![alpn(Version::H2), alpn(Version::H1)];
    Ok(config)
}
