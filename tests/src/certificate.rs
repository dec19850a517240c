//! A certificate for loopback servers, signed by an authority of its own: made anew for each server, kept nowhere.
#![forbid(unsafe_code)]

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tempfile::TempDir;

/// The name that the certificate is for, beside 127.0.0.1 and `::1`.
pub const NAME: &str = "localhost";

/// PEM files of an authority and of a server's certificate. They go when the value is dropped.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// Makes keys (ECDSA, P-256) and signs.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "netspan lab authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);

        let mut params = CertificateParams::new([NAME.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.use_authority_key_identifier_extension = true;
        for address in ["127.0.0.1", "::1"] {
            params.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>()?));
        }
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &issuer)?;
        let made = Self { directory };
        for (file, text) in
            [(made.authority(), authority.pem()), (made.chain(), signed.pem()), (made.key(), key.serialize_pem())]
        {
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(made)
    }

    /// What clients have to trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// The server's certificate.
    pub fn chain(&self) -> PathBuf {
        self.directory.path().join("chain.pem")
    }

    /// The server's private key.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}
