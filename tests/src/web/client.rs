//! Real clients, each a process (or one per connection) in the scope of the test, that do what a plan says.
#![forbid(unsafe_code)]

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Serialize, de::DeserializeOwned};

use super::{Exchange, Plan, Request, Version, Wire, go, nghttp, plan, server, tools};
use crate::{paths, process::command_in, python, scope::Scope};

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// hyper, TLS by rustls.
    Hyper,
    /// reqwest on hyper, TLS by rustls.
    Reqwest,
    /// Node, all connections in one event loop; TLS by the OpenSSL inside of it.
    Node,
    /// Go's `net/http`.
    Go,
    /// Python's requests, a thread per connection.
    Requests,
    /// Python's httpx on asyncio.
    Httpx,
    /// Python's aiohttp on asyncio, all connections in one event loop.
    Aiohttp,
    /// The same on uvloop.
    AiohttpUvloop,
    /// curl, a process per connection; TLS by OpenSSL.
    Curl,
    /// wget, a process per connection, GET only; TLS by `GnuTLS`.
    Wget,
    /// gnutls-cli, a process per connection, with HTTP/1.1 on its standard input.
    GnutlsCli,
    /// nghttp, a process per connection, GET only, all at once.
    Nghttp,
    /// The same with the upgrade from HTTP/1.1 (RFC 7540 section 3.2): only Apache takes it. One request per
    /// connection: Apache may send GOAWAY after the first answer, and nghttp does not send the others again. (curl
    /// 7.88 fails with an answer that comes in one read with the 101.)
    NghttpUpgrade,
}

/// What a client did.
#[derive(Clone, Debug)]
pub struct Driven {
    /// Its processes.
    pub pids: Vec<u32>,
    /// What it did and got, in no order. The port is 0 where the client does not tell it (wget, gnutls-cli, nghttp).
    pub exchanges: Vec<Exchange>,
}

impl Client {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Hyper,
        Self::Reqwest,
        Self::Node,
        Self::Go,
        Self::Requests,
        Self::Httpx,
        Self::Aiohttp,
        Self::AiohttpUvloop,
        Self::Curl,
        Self::Wget,
        Self::GnutlsCli,
        Self::Nghttp,
        Self::NghttpUpgrade,
    ];

    /// Whether it can speak so.
    pub fn speaks(self, wire: Wire) -> bool {
        match self {
            Self::Hyper | Self::Reqwest | Self::Node | Self::Go | Self::Httpx | Self::Curl => true,
            Self::Requests | Self::Aiohttp | Self::AiohttpUvloop | Self::Wget => wire.version == Version::H1,
            Self::GnutlsCli => wire == Wire { version: Version::H1, tls: true },
            Self::Nghttp => wire.version == Version::H2,
            Self::NghttpUpgrade => wire == Wire { version: Version::H2, tls: false },
        }
    }

    /// Requests that it can send: GET only for some.
    pub fn requests(self, connections: usize, each: usize) -> Vec<Vec<Request>> {
        match self {
            Self::Wget | Self::Nghttp => server::plain_gets(connections, each),
            Self::NghttpUpgrade => server::plain_gets(connections, each.min(1)),
            _ => plan::requests(connections, each),
        }
    }

    /// Does what the plan says, and waits for its end.
    pub fn send(self, scope: &Scope, plan: &Plan) -> Result<Driven> {
        let script = |name: &str| paths::apps().join(name).into_os_string();
        let in_python = |library: &str| -> Result<Driven> {
            send_by(scope, &python::program("python")?, &[&script("python/send.py"), OsStr::new(library)], plan)
        };
        match self {
            Self::Hyper => send_by(scope, &paths::binary("netspan-lab")?, &[OsStr::new("send")], plan),
            Self::Reqwest => {
                send_by(scope, &paths::binary("netspan-lab")?, &[OsStr::new("send"), OsStr::new("--reqwest")], plan)
            }
            Self::Node => send_by(scope, &paths::tool("node", "nodejs")?, &[&script("node/send.js")], plan),
            Self::Go => send_by(scope, &go::program()?, &[OsStr::new("send")], plan),
            Self::Requests => in_python("requests"),
            Self::Httpx => in_python("httpx"),
            Self::Aiohttp => in_python("aiohttp"),
            Self::AiohttpUvloop => in_python("aiohttp-uvloop"),
            Self::Curl => tools::curl(scope, plan),
            Self::Wget => tools::wget(scope, plan),
            Self::GnutlsCli => tools::gnutls_cli(scope, plan),
            Self::Nghttp => nghttp::nghttp(scope, plan, false),
            Self::NghttpUpgrade => nghttp::nghttp(scope, plan, true),
        }
    }
}

fn send_by(scope: &Scope, program: &Path, arguments: &[&OsStr], plan: &Plan) -> Result<Driven> {
    let (pid, exchanges) = run_program(scope, program, arguments, plan)?;
    Ok(Driven { pids: vec![pid], exchanges })
}

/// Runs a program of ours in the scope: JSON goes in and comes out. Gives its process id with what it printed.
pub(crate) fn run_program<T: DeserializeOwned>(
    scope: &Scope,
    program: &Path,
    arguments: &[&OsStr],
    input: &impl Serialize,
) -> Result<(u32, T)> {
    let mut command = command_in(scope, program);
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped());
    let name = program.display();
    let mut child = spawn(&mut command)?;
    let pid = child.id();
    // The program reads all of its input before it does anything; dropping the pipe ends it.
    serde_json::to_writer(child.stdin.take().context("no pipe")?, input)
        .with_context(|| format!("{name} reads nothing"))?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    let printed = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{name} printed no list: {}", String::from_utf8_lossy(&output.stdout[..output.stdout.len().min(500)]))
    })?;
    Ok((pid, printed))
}

pub(super) fn spawn(command: &mut Command) -> Result<std::process::Child> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))
}
