//! Real servers of many kinds, each with the same small set of routes (`tests/apps`), and what each can do.
#![forbid(unsafe_code)]

mod apache;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{
    drive::{Ask, Body, Talk},
    paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache with threads and an event loop.
    ApacheEvent,
    /// Apache with a process per connection.
    ApachePrefork,
    /// gunicorn, one request per process at a time.
    GunicornSync,
    /// gunicorn with threads.
    GunicornThreads,
    /// gunicorn, sync, on a Unix socket.
    GunicornUnix,
    /// uvicorn with its parser in Python.
    UvicornH11,
    /// uvicorn with its parser in C.
    UvicornTools,
    /// Node's `http`.
    Node,
    /// Go's `net/http`.
    Go,
    /// Java's `HttpServer`.
    Java,
    /// axum.
    Axum,
    /// A server on `io_uring` alone.
    Uring,
}

/// What a server can do beyond one request per connection.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent abilities, named where they are set")]
pub struct Abilities {
    /// Several requests sent at once.
    pub pipelining: bool,
    /// Request bodies in chunks.
    pub chunked_uploads: bool,
    /// Heads of 40 KiB.
    pub long_heads: bool,
    /// 101 on `/upgrade`.
    pub upgrade: bool,
    /// Content-Length in answers to `/hello` (else they are chunked or end with the connection).
    pub keep_alive: bool,
}

/// A running server.
#[derive(Debug)]
pub struct App {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: Address,
    /// What it can do.
    pub abilities: Abilities,
    _directory: TempDir,
}

impl Kind {
    /// Its abilities, as its documentation and a try say.
    pub fn abilities(self) -> Abilities {
        let all =
            Abilities { pipelining: true, chunked_uploads: true, long_heads: true, upgrade: true, keep_alive: true };
        match self {
            Self::Node | Self::Go | Self::Axum => all,
            Self::ApacheEvent | Self::ApachePrefork | Self::UvicornH11 | Self::UvicornTools => {
                Abilities { upgrade: false, ..all }
            }
            Self::GunicornThreads | Self::Java => Abilities { upgrade: false, pipelining: false, ..all },
            Self::Uring => Abilities { pipelining: true, keep_alive: true, ..Abilities::default() },
            Self::GunicornSync | Self::GunicornUnix => {
                Abilities { upgrade: false, pipelining: false, keep_alive: false, ..all }
            }
        }
    }

    /// Starts it and waits until it listens.
    pub fn start(self, scope: &Scope) -> Result<App> {
        let directory = tempfile::tempdir()?;
        let port = ports::free()?;
        let mut address = Address::local(port);
        let here = directory.path();
        let process = match self {
            Self::ApacheEvent => apache::start(scope, here, port, "event")?,
            Self::ApachePrefork => apache::start(scope, here, port, "prefork")?,
            Self::GunicornSync => gunicorn(scope, here, &address, &["--workers", "2"])?,
            Self::GunicornThreads => gunicorn(scope, here, &address, &["--worker-class", "gthread", "--threads", "4"])?,
            Self::GunicornUnix => {
                address = Address::Unix(here.join("gunicorn.sock"));
                gunicorn(scope, here, &address, &["--workers", "2"])?
            }
            Self::UvicornH11 => uvicorn(scope, here, port, "h11")?,
            Self::UvicornTools => uvicorn(scope, here, port, "httptools")?,
            Self::Node => Process::start(scope, here, "node", paths::tool("node", "nodejs")?, |command| {
                let source = paths::apps().join("node/routes.js");
                command.arg("--max-http-header-size=65536").arg(source).arg(port.to_string())
            })?,
            Self::Go => Process::start(
                scope,
                here,
                "go",
                built_by_go(&paths::tool("go", "golang-go")?, "routes")?,
                |command| command.arg(port.to_string()),
            )?,
            Self::Java => {
                Process::start(scope, here, "java", paths::tool("java", "openjdk-17-jdk-headless")?, |command| {
                    let source = paths::apps().join("java/Routes.java");
                    command.args(["-XX:+UseSerialGC", "-Xmx256m"]).arg(source).arg(port.to_string())
                })?
            }
            Self::Uring => {
                Process::start(scope, here, "uring", paths::binary("app-uring")?, |c| c.arg(port.to_string()))?
            }
            Self::Axum => Process::start(scope, here, "axum", paths::binary("app-axum")?, |command| {
                command.arg(port.to_string())
            })?,
        };
        let process = process.listening(&address)?;
        Ok(App { process, address, abilities: self.abilities(), _directory: directory })
    }
}

/// All ways to speak that the server understands. `ApacheEvent` and the others answer alike.
pub fn talks(abilities: Abilities) -> Vec<Talk> {
    let chunked = |total, per_chunk| Ask { body: Body::Chunked { total, per_chunk }, ..Ask::new("POST", "/echo") };
    let plain = vec![
        Ask::get("/hello"),
        Ask::new("HEAD", "/hello"),
        Ask::get("/bytes/0"),
        Ask::get("/bytes/100"),
        Ask::get("/bytes/200000"),
        Ask::get("/chunked/5500?secret=hunter2"),
        Ask::get("/status/404"),
        Ask::get("/status/204"),
        Ask::get("/status/304"),
        Ask::get("/status/500"),
        Ask::get("/slow/30"),
        Ask::post("/echo", 0),
        Ask::post("/echo", 3000),
        Ask::post("/echo", 300_000),
        Ask { expect: true, ..Ask::post("/echo", 5000) },
        Ask { parts: 7, ..Ask::get("/hello") },
        Ask { parts: 3, ..Ask::post("/echo", 10) },
    ];
    let closed = |ask: &Ask| Talk::InTurn(vec![Ask { close: true, ..ask.clone() }]);
    let mut talks: Vec<Talk> = plain.iter().map(closed).collect();
    talks.push(Talk::InTurn(plain));
    talks.push(Talk::InTurn(vec![Ask { old: true, ..Ask::get("/hello") }]));
    if abilities.chunked_uploads {
        talks.push(Talk::InTurn(vec![chunked(10, 3), chunked(100_000, 7000), Ask { parts: 4, ..chunked(50, 10) }]));
    }
    if abilities.long_heads {
        let long = Ask { padding: 40 * 1024, ..Ask::get("/hello") };
        talks.push(Talk::InTurn(vec![long.clone(), Ask { parts: 5, ..long }, Ask::get("/bytes/10")]));
    }
    if abilities.pipelining {
        let mut asks: Vec<Ask> = (0..8).map(|n| Ask::get(&format!("/bytes/{n}"))).collect();
        asks.insert(3, Ask::post("/echo", 700));
        asks.insert(5, Ask::new("HEAD", "/hello"));
        talks.push(Talk::Pipelined(asks));
    }
    if abilities.upgrade {
        talks.push(Talk::Upgraded { target: "/upgrade".into(), bytes: 3000 });
    }
    talks
}

fn gunicorn(scope: &Scope, directory: &Path, address: &Address, options: &[&str]) -> Result<Process> {
    Process::start(scope, directory, "gunicorn", python::program("gunicorn")?, |command| {
        command
            .args(["--bind", &address.to_string(), "--no-sendfile"])
            .args(options)
            .arg("wsgi:application")
            .current_dir(paths::apps().join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
    })
}

fn uvicorn(scope: &Scope, directory: &Path, port: u16, parser: &str) -> Result<Process> {
    Process::start(scope, directory, "uvicorn", python::program("uvicorn")?, |command| {
        command
            .args(["--port", &port.to_string(), "--http", parser, "--ws", "none", "--lifespan", "off"])
            .args(["--h11-max-incomplete-event-size", "65536", "asgi:application"])
            .current_dir(paths::apps().join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
    })
}

/// The Go program `NAME.go`, built once per state of its source.
pub fn built_by_go(go: &Path, name: &str) -> Result<PathBuf> {
    built(go, name, name, &[])
}

/// The same without symbols.
pub fn stripped_by_go(go: &Path, name: &str) -> Result<PathBuf> {
    built(go, name, &format!("{name}-stripped"), &["-ldflags=-s -w"])
}

fn built(go: &Path, name: &str, to: &str, options: &[&str]) -> Result<PathBuf> {
    let directory = paths::kept("go")?;
    let lock = fs::File::create(directory.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock the Go programs")?;
    let source = paths::apps().join("go").join(name).with_extension("go");
    let program = directory.join(to);
    let marker = program.with_extension("go");
    let text = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
    if program.exists() && fs::read(&marker).is_ok_and(|built| built == text) {
        return Ok(program);
    }
    let mut command = Command::new(go);
    command.arg("build").args(options).arg("-o").arg(&program).arg(&source);
    command.env("GOCACHE", directory.join("cache")).env("GO111MODULE", "off").env("CGO_ENABLED", "0");
    let output = command.output().context("cannot run go")?;
    if !output.status.success() {
        bail!("go build failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::write(&marker, text)?;
    Ok(program)
}
