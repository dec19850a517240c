//! TLS for `https` endpoints: the system's authorities, or those of a file. Nothing of it is loaded for `http`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};
use thiserror::Error;

use super::config::TlsFiles;

/// Why TLS can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A PEM file can't be read.
    #[error("{}: no PEM file for TLS: {reason}; check the certificate and the key that are configured", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody to trust.
    #[error(
        "no certificate authorities found on this system ({0}); name a PEM file as the certificate (OTEL_EXPORTER_OTLP_CERTIFICATE)"
    )]
    NoAuthorities(String),
    /// The own certificate is not usable.
    #[error(
        "the client's certificate and key do not make an identity: {0}; they have to be a PEM file each, of one another"
    )]
    Identity(rustls::Error),
}

/// The client's side of TLS 1.2 and 1.3.
pub fn client_config(files: &TlsFiles) -> Result<ClientConfig, TlsError> {
    let authorities = match &files.authorities {
        Some(path) => from_file(path)?,
        None => from_system()?,
    };
    let builder = trusting(authorities);
    let Some((chain, key)) = &files.identity else { return Ok(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    builder.with_client_auth_cert(certificates(chain)?, key).map_err(TlsError::Identity)
}

/// A configuration that trusts nobody, for a connector that will never need it.
pub fn unused() -> ClientConfig {
    trusting(RootCertStore::empty()).with_no_client_auth()
}

fn trusting(authorities: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions' cipher suites")
        .with_root_certificates(authorities)
}

fn from_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(TlsError::File { path: path.to_owned(), reason: "it holds no usable certificate".to_owned() });
    }
    Ok(store)
}

fn from_system() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map_or_else(|| "the usual places are empty".to_owned(), ToString::to_string);
        return Err(TlsError::NoAuthorities(reason));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_file_is_named() {
        let empty = tempfile::NamedTempFile::new().expect("a file");
        for path in [Path::new("/nonexistent.pem"), empty.path()] {
            let files = TlsFiles { authorities: Some(path.to_owned()), identity: None };
            let error = client_config(&files).expect_err("nothing there").to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
        }
    }
}
