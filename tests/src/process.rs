//! One program in a cgroup of its own below a test's scope. It ends, with all its children, when the value is dropped.
#![forbid(unsafe_code)]

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::{
    scope::{Scope, kill},
    wait,
};

/// Time for a program to begin to listen; Java and Go are built in it.
const READY_BOUND: Duration = Duration::from_mins(1);
/// Time for a program to end after it was asked to.
const STOP_BOUND: Duration = Duration::from_secs(10);
/// Bytes of a failed program's output that an error message quotes.
const QUOTED: usize = 2000;

/// Where a program can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// A port of 127.0.0.1.
    pub fn local(port: u16) -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Reads what [`Display`](std::fmt::Display) writes.
    pub fn parse(text: &str) -> Result<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => Ok(Self::Tcp(text.parse().with_context(|| format!("{text} is no address"))?)),
        }
    }

    fn accepts(&self) -> bool {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A command that begins in the cgroup: a shell moves itself there and becomes the program.
pub fn command_in(scope: &Scope, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(scope.path().join("cgroup.procs")).arg(program);
    command
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    // Dropped after the program was ended in `drop`.
    scope: Scope,
}

impl Process {
    /// Starts `program` in a new cgroup below `scope`; `set` adds arguments and variables. What it prints goes to
    /// `NAME.log` in `directory`.
    pub fn start(
        scope: &Scope,
        directory: &Path,
        name: &str,
        program: impl AsRef<OsStr>,
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self> {
        let own = scope.child(name)?;
        let output = directory.join(format!("{name}.log"));
        let log = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        let mut command = command_in(&own, program);
        // A group of its own: the terminal's Ctrl-C is for the one who started the test.
        set(&mut command).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.into(), child, output, scope: own })
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// When it ended, or did not listen in time: the message quotes what it printed.
    pub fn listening(mut self, address: &Address) -> Result<Self> {
        let what = format!("that {} listens at {address}", self.name);
        let waited = wait::until(&what, READY_BOUND, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status})", self.name);
            }
            Ok(address.accepts().then_some(()))
        });
        match waited {
            Ok(()) => Ok(self),
            Err(error) => Err(error.context(format!("{} printed: {}", self.name, self.printed()))),
        }
    }

    /// Its process id: the shell became the program, so it is the program's own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its cgroup.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// The end of what it printed.
    pub fn printed(&self) -> String {
        let text = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(QUOTED)..]).trim().to_owned()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `bound`.
    pub fn finish(&mut self, bound: Duration) -> Result<ExitStatus> {
        wait::exit(&mut self.child, bound)?.with_context(|| {
            format!("{} still runs after {} s; it printed: {}", self.name, bound.as_secs(), self.printed())
        })
    }

    /// Asks it to end by `signal`, and waits for it.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        kill(self.pid(), signal)?;
        self.finish(STOP_BOUND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First its whole cgroup, so that no child outlives it; then the child is reaped.
        if let Err(error) = self.scope.clear() {
            eprintln!("{} may still run: {error:#}", self.name);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
