//! Real servers and clients of gRPC, each in the scope of the test.
#![forbid(unsafe_code)]

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;
use tempfile::TempDir;

use super::{Call, Outcome, Plan};
use crate::{
    certificate::Certificate,
    paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
    web::run_program,
};

/// An implementation of gRPC: each is a server and a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// tonic, on hyper; TLS by rustls.
    Tonic,
    /// Python's `grpcio`, on the C core; TLS by the `BoringSSL` inside of it.
    Grpcio,
    /// Node's `@grpc/grpc-js`, on `http2`; TLS by the OpenSSL inside of Node.
    GrpcJs,
}

/// What a client did.
#[derive(Clone, Debug)]
pub struct Called {
    /// Its process id.
    pub pid: u32,
    /// How the calls ended, in no order.
    pub outcomes: Vec<Outcome>,
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: Address,
    certificate: Option<Certificate>,
    _directory: TempDir,
}

/// A program and its first arguments.
struct Program {
    file: PathBuf,
    arguments: Vec<OsString>,
}

impl Peer {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Tonic, Self::Grpcio, Self::GrpcJs];

    /// Whether the agent can see what it says, with and without TLS.
    pub fn is_seen(self, tls: bool) -> bool {
        // grpcio's BoringSSL is stripped: nothing says where its functions are.
        !tls || self != Self::Grpcio
    }

    /// Starts its server on a free port of 127.0.0.1, and waits until it listens.
    pub fn start(self, scope: &Scope, tls: bool) -> Result<Running> {
        let directory = tempfile::tempdir()?;
        let certificate = tls.then(Certificate::new).transpose()?;
        let port = ports::free()?;
        let address = Address::local(port);
        let Program { file, mut arguments } = self.program("serve-rpc")?;
        arguments.push(port.to_string().into());
        if let Some(certificate) = &certificate {
            arguments.extend([certificate.chain().into_os_string(), certificate.key().into_os_string()]);
        }
        let process = Process::start(scope, directory.path(), "rpc", file, |command| {
            command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1")
        })?
        .listening(&address)?;
        Ok(Running { process, address, certificate, _directory: directory })
    }

    /// Makes the calls of the plan in a process of its own, and waits for its end.
    pub fn call(self, scope: &Scope, plan: &Plan) -> Result<Called> {
        let Program { file, arguments } = self.program("call")?;
        let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
        let (pid, outcomes) = run_program(scope, &file, &arguments, plan)?;
        Ok(Called { pid, outcomes })
    }

    fn program(self, task: &str) -> Result<Program> {
        let script = |name: &str| paths::apps().join(name).into_os_string();
        let (file, mut arguments) = match self {
            Self::Tonic => (paths::binary("netspan-lab")?, vec![]),
            Self::Grpcio => (python::program("python")?, vec![script("python/rpc.py")]),
            Self::GrpcJs => {
                let modules = crate::node::modules()?.into_os_string();
                (paths::tool("node", "nodejs")?, vec![script("node/rpc.js"), modules])
            }
        };
        arguments.push(task.into());
        Ok(Program { file, arguments })
    }
}

impl Running {
    /// A plan for it.
    pub fn plan(&self, connections: Vec<Vec<Call>>, in_flight: usize) -> Result<Plan> {
        let Address::Tcp(address) = self.address else { bail!("{} is no TCP address", self.address) };
        let authority = self.certificate.as_ref().map(Certificate::authority);
        Ok(Plan { address, authority, in_flight, connections })
    }
}
