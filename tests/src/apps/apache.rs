//! Apache with the test programs' routes: files, and a CGI program for the rest.
#![forbid(unsafe_code)]

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{paths, process::Process, scope::Scope};

/// Sizes that `/bytes` serves: those that [`super::talks`] asks for.
const SIZES: [usize; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 10, 100, 200_000];

/// Starts Apache with a multi-processing module: `event` or `prefork`.
pub fn start(scope: &Scope, directory: &Path, port: u16, processing: &str) -> Result<Process> {
    let program = paths::tool("apache2", "apache2")?;
    // Debian's layout: `sbin/apache2` and `lib/apache2/modules` under one prefix.
    let prefix = program.parent().and_then(Path::parent).context("Apache lies in no directory")?;
    let modules = prefix.join("lib/apache2/modules");
    let root = directory.join("root");
    fs::create_dir_all(root.join("bytes"))?;
    for size in SIZES {
        fs::write(root.join(format!("bytes/{size}")), vec![b'b'; size])?;
    }
    let mut configuration = String::new();
    let cgi = if processing == "prefork" { "cgi" } else { "cgid" };
    for module in [&format!("mpm_{processing}"), "authz_core", "alias", cgi] {
        let file = modules.join(format!("mod_{module}.so"));
        writeln!(configuration, "LoadModule {}_module {}", module, file.display())?;
    }
    if cgi == "cgid" {
        writeln!(configuration, "ScriptSock {}", directory.join("cgid.sock").display())?;
    }
    for route in ["hello", "echo", "chunked", "status", "slow"] {
        let script = paths::apps().join("cgi/routes.sh");
        writeln!(configuration, "ScriptAlias /{route} {}/{route}", script.display())?;
    }
    let here = directory.display();
    writeln!(
        configuration,
        "ServerRoot {here}\nPidFile {here}/apache.pid\nErrorLog {here}/error.log\nListen 127.0.0.1:{port}\n\
         ServerName shop.test\nDocumentRoot {}\nLimitRequestFieldSize 16000\nKeepAlive On\nMaxKeepAliveRequests 0\n\
         StartServers 2\nEnableSendfile On\n<Directory />\nRequire all granted\nOptions +ExecCGI\n</Directory>",
        root.display()
    )?;
    let file = directory.join("apache.conf");
    fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
    Process::start(scope, directory, "apache", program, |command| command.args(["-DFOREGROUND", "-f"]).arg(&file))
}
