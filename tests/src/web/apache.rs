//! Apache with `mod_http2` and `mod_ssl`, and files on the routes of the other servers.
#![forbid(unsafe_code)]

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use super::{Version, Wire};
use crate::{certificate::Certificate, paths, process::Process, scope::Scope};

/// Sizes that `/bytes/` has.
const SIZES: [usize; 4] = [0, 100, 3000, 40_000];

pub(super) fn start(
    scope: &Scope,
    directory: &Path,
    port: u16,
    wire: Wire,
    certificate: Option<&Certificate>,
) -> Result<Process> {
    let program = paths::tool("apache2", "apache2")?;
    // Debian's layout: `sbin/apache2` and `lib/apache2/modules` under one prefix.
    let prefix = program.parent().and_then(Path::parent).context("Apache lies in no directory")?;
    let (root, here) = (directory.join("root"), directory.display());
    fs::create_dir(&root)?;
    for size in SIZES {
        fs::write(root.join(size.to_string()), vec![b'b'; size])?;
    }
    let mut text = String::new();
    for module in ["mpm_event", "authz_core", "alias", "http2", "ssl"] {
        let file = prefix.join(format!("lib/apache2/modules/mod_{module}.so"));
        writeln!(text, "LoadModule {module}_module {}", file.display())?;
    }
    let protocols = match wire {
        Wire { version: Version::H1, .. } => "http/1.1",
        Wire { version: Version::H2, tls: true } => "h2 http/1.1",
        Wire { version: Version::H2, tls: false } => "h2c http/1.1",
    };
    let files = root.display();
    writeln!(
        text,
        "ServerRoot {here}\nPidFile {here}/apache.pid\nErrorLog {here}/error.log\nListen 127.0.0.1:{port}\n\
         ServerName localhost\nDocumentRoot {files}\nProtocols {protocols}\nH2MaxSessionStreams 1000\nKeepAlive On\n\
         MaxKeepAliveRequests 0\nStartServers 2\n<Directory />\nRequire all granted\n</Directory>\n\
         AliasMatch ^/bytes/(\\d+)/ {files}/$1\nAliasMatch ^/(hello|slow|echo)/ {files}/100\n\
         RedirectMatch 204 ^/status/204/\nRedirectMatch 404 ^/status/404/\nRedirectMatch 500 ^/status/500/"
    )?;
    if let Some(certificate) = certificate {
        let (chain, key) = (certificate.chain(), certificate.key());
        writeln!(
            text,
            "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}",
            chain.display(),
            key.display()
        )?;
    }
    let file = directory.join("apache.conf");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Process::start(scope, directory, "apache", program, |command| command.args(["-DFOREGROUND", "-f"]).arg(&file))
}
