//! Real servers of HTTP/1.1 and HTTP/2, each in a cgroup of its own.
#![forbid(unsafe_code)]

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use tempfile::TempDir;

use super::{Plan, Request, Version, Wire, apache, go, nginx, plan};
use crate::{
    certificate::Certificate,
    paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
    truth::{LogLine, path_of},
};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// hyper, TLS by rustls.
    Hyper,
    /// nginx, TLS by OpenSSL.
    Nginx,
    /// Apache with threads, TLS by OpenSSL. In the clear it also takes the upgrade to HTTP/2.
    Apache,
    /// nghttp2's own server, HTTP/2 only, TLS by OpenSSL.
    Nghttpd,
    /// Node's `http`, `https` and `http2`, TLS by the OpenSSL inside of it.
    Node,
    /// Go's `net/http`, TLS by `crypto/tls`.
    Go,
    /// gunicorn, HTTP/1.1 only, TLS by Python's `ssl`.
    Gunicorn,
    /// uvicorn on asyncio, HTTP/1.1 only, TLS by Python's `ssl` on memory buffers.
    Uvicorn,
    /// uvicorn on uvloop, likewise.
    UvicornUvloop,
    /// nginx that hands OpenSSL's keys to the kernel, so that files go by `SSL_sendfile`. Not among [`Server::ALL`], as the
    /// next one: the kernel must have the module `tls`.
    NginxKtls,
    /// A server in Rust that does the hand-shake by rustls and all else by calls on the socket; HTTP/1.1 only.
    RustKtls,
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: Address,
    kind: Server,
    wire: Wire,
    certificate: Option<Certificate>,
    directory: TempDir,
}

impl Server {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Hyper,
        Self::Nginx,
        Self::Apache,
        Self::Nghttpd,
        Self::Node,
        Self::Go,
        Self::Gunicorn,
        Self::Uvicorn,
        Self::UvicornUvloop,
    ];

    /// Whether the kernel encrypts for it.
    pub fn is_ktls(self) -> bool {
        matches!(self, Self::NginxKtls | Self::RustKtls)
    }

    /// Whether it can be started so.
    pub fn speaks(self, wire: Wire) -> bool {
        match self {
            Self::Gunicorn | Self::Uvicorn | Self::UvicornUvloop => wire.version == Version::H1,
            Self::Nghttpd => wire.version == Version::H2,
            Self::NginxKtls => wire.tls,
            Self::RustKtls => wire == Wire { version: Version::H1, tls: true },
            _ => true,
        }
    }

    /// Starts it on a free port of 127.0.0.1, and waits until it listens.
    pub fn start(self, scope: &Scope, wire: Wire) -> Result<Running> {
        ensure!(self.speaks(wire), "{self:?} does not speak {wire:?}");
        let directory = tempfile::tempdir()?;
        let certificate = wire.tls.then(Certificate::new).transpose()?;
        let port = ports::free()?;
        let address = Address::local(port);
        let (here, number) = (directory.path(), port.to_string());
        let process = match self {
            Self::Nginx => nginx::start(scope, here, port, wire, certificate.as_ref(), false)?,
            Self::NginxKtls => nginx::start(scope, here, port, wire, certificate.as_ref(), true)?,
            Self::RustKtls => Process::start(scope, here, "ktls", paths::binary("app-ktls")?, |command| {
                files(command.arg(&number), certificate.as_ref())
            })?,
            Self::Apache => apache::start(scope, here, port, wire, certificate.as_ref())?,
            Self::Hyper => Process::start(scope, here, "hyper", paths::binary("netspan-lab")?, |command| {
                files(command.args(["serve", &number]), certificate.as_ref())
            })?,
            Self::Go => Process::start(scope, here, "go", go::program()?, |command| {
                files(command.args(["serve", &number]), certificate.as_ref())
            })?,
            Self::Node => Process::start(scope, here, "node", paths::tool("node", "nodejs")?, |command| {
                let version = if wire.version == Version::H2 { "h2" } else { "h1" };
                files(command.arg(paths::apps().join("node/routes.js")).args([&number, version]), certificate.as_ref())
            })?,
            Self::Nghttpd => Process::start(scope, here, "nghttpd", paths::tool("nghttpd", "nghttp2-server")?, |c| {
                c.args(["--echo-upload", "--address=127.0.0.1", "--max-concurrent-streams=1000", "--htdocs"]).arg(here);
                match &certificate {
                    None => c.args(["--no-tls", &number]),
                    Some(certificate) => c.arg(&number).arg(certificate.key()).arg(certificate.chain()),
                }
            })?,
            Self::Gunicorn => Process::start(scope, here, "gunicorn", python::program("gunicorn")?, |command| {
                // A worker waits on one connection until it ends: as many as there are connections.
                command.args(["--worker-class", "gthread", "--threads", "64", "--no-sendfile", "--keep-alive", "30"]);
                in_python(command.args(["--bind", &address.to_string()]), "--", "wsgi", certificate.as_ref())
            })?,
            Self::Uvicorn => uvicorn(scope, here, &number, "asyncio", certificate.as_ref())?,
            Self::UvicornUvloop => uvicorn(scope, here, &number, "uvloop", certificate.as_ref())?,
        };
        let process = process.listening(&address)?;
        Ok(Running { process, address, kind: self, wire, certificate, directory })
    }
}

fn files<'a>(command: &'a mut Command, certificate: Option<&Certificate>) -> &'a mut Command {
    match certificate {
        None => command,
        Some(certificate) => command.arg(certificate.chain()).arg(certificate.key()),
    }
}

/// The application in `tests/apps/python`; `prefix` is how its options about TLS begin.
fn in_python<'a>(
    command: &'a mut Command,
    prefix: &str,
    module: &str,
    certificate: Option<&Certificate>,
) -> &'a mut Command {
    if let Some(certificate) = certificate {
        command.arg(format!("{prefix}certfile")).arg(certificate.chain());
        command.arg(format!("{prefix}keyfile")).arg(certificate.key());
    }
    command
        .arg(format!("{module}:application"))
        .current_dir(paths::apps().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

fn uvicorn(
    scope: &Scope,
    directory: &Path,
    port: &str,
    event_loop: &str,
    certificate: Option<&Certificate>,
) -> Result<Process> {
    Process::start(scope, directory, "uvicorn", python::program("uvicorn")?, |command| {
        command.args(["--port", port, "--loop", event_loop, "--ws", "none", "--lifespan", "off", "--no-access-log"]);
        in_python(command, "--ssl-", "asgi", certificate)
    })
}

impl Running {
    /// A plan for it. nghttpd serves files only, which are made here, and answers HEAD with a body: it is asked by GET.
    pub fn plan(&self, mut connections: Vec<Vec<Request>>, in_flight: usize) -> Result<Plan> {
        if self.kind == Server::Nghttpd {
            for request in connections.iter_mut().flatten().filter(|request| request.method == "HEAD") {
                request.method = "GET".into();
            }
            connections.iter().flatten().try_for_each(|request| self.file_for(request))?;
        }
        let Address::Tcp(address) = self.address else { bail!("{} is no TCP address", self.address) };
        let authority = self.certificate.as_ref().map(Certificate::authority);
        Ok(Plan { address, version: self.wire.version, authority, in_flight, connections, gate: None })
    }

    fn file_for(&self, request: &Request) -> Result<()> {
        let expected = request.expected();
        let file = self.directory.path().join(path_of(&request.path).trim_start_matches('/'));
        if request.method != "GET" || expected.status != Some(200) {
            return Ok(());
        }
        fs::create_dir_all(file.parent().context("a path without directory")?)?;
        fs::write(&file, vec![b'b'; expected.body as usize]).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Its certificate, where it has one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Whether it answers as [`Request::expected`] says.
    pub fn answers_as_expected(&self) -> bool {
        !matches!(self.kind, Server::Nginx | Server::NginxKtls | Server::Apache | Server::Nghttpd)
    }

    /// nginx's access log once it has so many lines. With HTTP/2 its `body` counts the heads of the DATA frames too.
    pub fn access_log(&self, lines: usize) -> Result<Vec<LogLine>> {
        let is_nginx = matches!(self.kind, Server::Nginx | Server::NginxKtls);
        ensure!(is_nginx, "{:?} has no access log", self.kind);
        crate::nginx::log_in(self.directory.path(), lines)
    }
}

/// Requests that every server here answers, and every client can send on each of its connections.
pub fn plain_gets(connections: usize, each: usize) -> Vec<Vec<Request>> {
    let mut all = plan::requests(connections, each);
    for request in all.iter_mut().flatten() {
        (request.method, request.body) = ("GET".into(), 0);
        request.path = request.path.replace("/echo/0/", "/bytes/3000/");
    }
    all
}
