//! Front ends, by their style of concurrency, and what they note of themselves.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    downstream::Downstream,
    load::{Ids, Sent},
};
use crate::{
    apps, nginx, paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
};

/// The JDK that brought virtual threads.
const VIRTUAL_SINCE: u32 = 21;

/// How a front end does many things at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// nginx with connections kept open to what is behind it.
    Nginx,
    /// nginx with a new connection for each request.
    NginxClose,
    /// Node: calls in sequence, in parallel (`Promise.all`), and none.
    Node,
    /// Node with timers between reading a request and calling.
    NodeTimers,
    /// The same with a request id that is handed on.
    NodeToken,
    /// The same, but all requests have the same one.
    NodeForged,
    /// asyncio with aiohttp.
    Asyncio,
    /// The same with timers.
    AsyncioTimers,
    /// The same with timers and a request id that is handed on.
    AsyncioToken,
    /// The same without timers, on uvloop.
    Uvloop,
    /// uvicorn on asyncio, with httpx.
    Uvicorn,
    /// Go's `net/http`.
    Go,
    /// The same without symbols.
    GoStripped,
    /// Go with pauses.
    GoTimers,
    /// Go with calls that no request waits for.
    GoLeft,
    /// A thread to each connection.
    Threads,
    /// One thread that reads, and others that work, with a queue between.
    Pool,
    /// gunicorn with processes that handle one request at a time, on a connection of its own.
    GunicornSync,
    /// gunicorn with one process and threads.
    GunicornThreads,
    /// Tokio's threads: axum and reqwest.
    Tokio,
    /// The same with timers.
    TokioTimers,
    /// `HAProxy` with two threads, which share connections to what is behind it.
    Haproxy,
    /// Java's `HttpServer` on a pool of threads.
    JavaPool,
    /// The same with a virtual thread for each request (JDK 21).
    JavaVirtual,
    /// tonic on Tokio's threads: gRPC on both sides, many calls at once on each connection.
    Tonic,
    /// grpc-js, the same.
    GrpcJs,
    /// grpcio with threads, the same.
    Grpcio,
    /// grpcio on asyncio, the same.
    GrpcioAsyncio,
}

/// A running front end.
#[derive(Debug)]
pub(super) struct Front {
    style: Style,
    process: Process,
    port: u16,
    address: Address,
    directory: TempDir,
}

/// An exchange: the client's port, the server's, and its ordinal between them, from 0; in HTTP/2 its stream.
pub(super) type Place = (u16, u16, u32);

/// A request, and the call that was made for it. A request of port 0 is none: no request waits for the call.
pub(super) type Made = (Place, Place);

impl Style {
    /// What it is asked for, by weight.
    pub(super) fn routes(self) -> &'static [(u64, &'static str)] {
        match self {
            Self::Nginx | Self::NginxClose | Self::Haproxy => &[(1, "one"), (1, "two")],
            Self::NodeTimers
            | Self::NodeToken
            | Self::NodeForged
            | Self::AsyncioTimers
            | Self::AsyncioToken
            | Self::TokioTimers
            | Self::GoTimers => &[(2, "timer"), (2, "sequence"), (1, "parallel"), (1, "none")],
            Self::GoLeft => &[(2, "one"), (2, "parallel"), (2, "spread"), (1, "left"), (1, "none")],
            _ => &[(2, "one"), (2, "sequence"), (2, "parallel"), (2, "cached"), (1, "none")],
        }
    }

    /// Whether it speaks gRPC.
    pub(super) fn is_rpc(self) -> bool {
        matches!(self, Self::Tonic | Self::GrpcJs | Self::Grpcio | Self::GrpcioAsyncio)
    }

    /// Which request ids it is sent.
    pub(super) fn ids(self) -> Ids {
        match self {
            Self::NodeToken | Self::AsyncioToken => Ids::Own,
            Self::NodeForged => Ids::Same,
            _ => Ids::None,
        }
    }

    /// Why it can't run here, if it can't.
    pub(super) fn missing(self) -> Result<Option<String>> {
        if self != Self::JavaVirtual {
            return Ok(None);
        }
        let output = Command::new(java()?).arg("-version").output().context("cannot run java")?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let version = text.split('"').nth(1).and_then(|version| version.split('.').next()).unwrap_or("0");
        let is_old = version.parse::<u32>().is_ok_and(|major| major < VIRTUAL_SINCE);
        Ok(is_old.then(|| format!("virtual threads came with JDK {VIRTUAL_SINCE}, this is {version}")))
    }

    pub(super) fn start(self, scope: &Scope, behind: [u16; 2]) -> Result<Front> {
        let directory = tempfile::tempdir()?;
        let (here, port) = (directory.path(), ports::free()?);
        let address = Address::local(port);
        let log = here.join("truth");
        let behind = behind.map(|port| port.to_string());
        let sources = paths::apps().join("links");
        let started = |program: &Path, first: &[&str]| {
            Process::start(scope, here, "front", program, |command| {
                command.args(first).arg(port.to_string()).arg(&log).args(&behind)
            })?
            .listening(&address)
        };
        let gunicorn = |options: &[&str]| {
            Process::start(scope, here, "front", python::program("gunicorn")?, |command| {
                command
                    .args(["--bind", &address.to_string(), "--no-sendfile"])
                    .args(options)
                    .arg("wsgi:application")
                    .current_dir(&sources)
                    .env("PYTHONDONTWRITEBYTECODE", "1")
                    .env("LINKS", format!("{} {}", log.display(), behind.join(" ")))
            })?
            .listening(&address)
        };
        let text = |name: &str| sources.join(name).display().to_string();
        let process = match self {
            Self::Nginx | Self::NginxClose => {
                nginx::start(scope, here, &proxy(port, &behind, self == Self::Nginx), &address)?
            }
            Self::Node | Self::NodeTimers | Self::NodeToken | Self::NodeForged => {
                started(&paths::tool("node", "nodejs")?, &[&text("node.js")])?
            }
            Self::Asyncio | Self::AsyncioTimers | Self::AsyncioToken => {
                started(&python::program("python")?, &[&text("aio.py"), "asyncio"])?
            }
            Self::Uvloop => started(&python::program("python")?, &[&text("aio.py"), "uvloop"])?,
            Self::Uvicorn => started(&python::program("python")?, &[&text("asgi.py")])?,
            Self::Go | Self::GoTimers | Self::GoLeft => {
                started(&apps::built_by_go(&paths::tool("go", "golang-go")?, "links")?, &[])?
            }
            Self::GoStripped => started(&apps::stripped_by_go(&paths::tool("go", "golang-go")?, "links")?, &[])?,
            Self::Threads => started(&python::program("python")?, &[&text("threads.py"), "thread"])?,
            Self::Pool => started(&python::program("python")?, &[&text("threads.py"), "pool"])?,
            Self::GunicornSync => gunicorn(&["--workers", "16"])?,
            Self::GunicornThreads => gunicorn(&["--worker-class", "gthread", "--threads", "64"])?,
            Self::Tokio | Self::TokioTimers => started(&paths::binary("app-links")?, &[])?,
            Self::Haproxy => {
                let file = here.join("haproxy.cfg");
                fs::write(&file, balanced(port, &behind))?;
                Process::start(scope, here, "front", paths::tool("haproxy", "haproxy")?, |command| {
                    command.args(["-db", "-f"]).arg(&file)
                })?
                .listening(&address)?
            }
            Self::JavaPool => started(&java()?, &["-XX:+UseSerialGC", &text_of_java(), "pool"])?,
            Self::JavaVirtual => started(&java()?, &["-XX:+UseSerialGC", &text_of_java(), "virtual"])?,
            Self::Tonic => started(&paths::binary("app-links-rpc")?, &[])?,
            Self::GrpcJs => {
                let modules = crate::node::modules()?.display().to_string();
                started(&paths::tool("node", "nodejs")?, &[&text("rpc.js"), &modules])?
            }
            Self::Grpcio => started(&python::program("python")?, &[&text("rpc.py"), "threads"])?,
            Self::GrpcioAsyncio => started(&python::program("python")?, &[&text("rpc.py"), "asyncio"])?,
        };
        Ok(Front { style: self, process, port, address, directory })
    }
}

impl Front {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Ends it, and says what belonged together.
    pub(super) fn stop(&mut self, sent: &[Sent], behind: &[Downstream]) -> Result<Vec<Made>> {
        if self.style.is_rpc() || matches!(self.style, Style::Nginx | Style::NginxClose | Style::Haproxy) {
            // HAProxy's orderly end waits for connections.
            let is_nginx = matches!(self.style, Style::Nginx | Style::NginxClose);
            self.process.stop(if is_nginx { Signal::QUIT } else { Signal::TERM })?;
            return Ok(by_serial(self.port, sent, behind));
        }
        self.process.stop(Signal::TERM)?;
        let file = self.directory.path().join("truth");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("no truth was written; it printed: {}", self.process.printed()))?;
        text.lines().filter(|line| !line.is_empty()).map(|line| made(self.port, line)).collect()
    }
}

fn made(own: u16, line: &str) -> Result<Made> {
    let numbers: Vec<u32> =
        line.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| format!("{line:?} in the truth"))?;
    let [port, ordinal, from, to, call_ordinal] = numbers[..] else { anyhow::bail!("{line:?} in the truth") };
    Ok(((u16::try_from(port)?, own, ordinal), (u16::try_from(from)?, u16::try_from(to)?, call_ordinal)))
}

/// By the serial numbers that both ends of the proxy noted.
fn by_serial(own: u16, sent: &[Sent], behind: &[Downstream]) -> Vec<Made> {
    let requests: HashMap<u64, Place> = sent.iter().map(|sent| (sent.serial, (sent.port, own, sent.ordinal))).collect();
    let mut made = Vec::new();
    for server in behind {
        made.extend(
            server
                .asked()
                .into_iter()
                .filter_map(|asked| Some((*requests.get(&asked.serial?)?, (asked.port, server.port(), asked.ordinal)))),
        );
    }
    made
}

fn java() -> Result<PathBuf> {
    paths::tool("java", "openjdk-17-jdk-headless")
}

fn text_of_java() -> String {
    paths::apps().join("java/Links.java").display().to_string()
}

/// `HAProxy`'s configuration.
fn balanced(port: u16, behind: &[String; 2]) -> String {
    let backend = |name, port| format!("backend {name}\n  http-reuse always\n  server {name} 127.0.0.1:{port}\n");
    format!(
        "global\n  nbthread 2\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\nfrontend front\n  bind 127.0.0.1:{port}\n  use_backend two if {{ path_beg /two }}\n  \
         default_backend one\n{}{}",
        backend("one", &behind[0]),
        backend("two", &behind[1]),
    )
}

fn proxy(port: u16, behind: &[String; 2], keep: bool) -> String {
    let keepalive = if keep { "keepalive 256;" } else { "" };
    let upstream = |name, port| format!("upstream {name} {{ server 127.0.0.1:{port}; {keepalive} }}\n");
    let upstreams = upstream("one", &behind[0]) + &upstream("two", &behind[1]);
    let kept = if keep { "proxy_http_version 1.1; proxy_set_header Connection '';" } else { "" };
    format!(
        "{}http {{\n{}keepalive_requests 1000000;\n{upstreams}server {{\n listen 127.0.0.1:{port};\n \
         location /one {{ proxy_pass http://one; {kept} }}\n location /two {{ proxy_pass http://two; {kept} }}\n}}\n}}\n",
        nginx::preamble(2),
        nginx::http_preamble(),
    )
}
