//! The agent as its users run it: the built binary, its options, its lines on standard output, its exit code. It is
//! always given a scope.
#![forbid(unsafe_code)]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::{
    paths,
    scope::{Scope, kill},
    span::JsonSpan,
    wait,
};

/// What the agent prints on standard error once it sees everything.
pub const READY: &str = "netspan: ready in ";
/// Time for the agent to be ready, on a busy machine or an emulated one, where verifying programs takes seconds.
const READY_BOUND: Duration = Duration::from_mins(4);
/// Time for the agent to flush and end.
const STOP_BOUND: Duration = Duration::from_secs(30);

/// What the threads that read the agent's output found so far.
#[derive(Debug, Default)]
struct Output {
    lines: Vec<String>,
    errors: String,
    error_ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    output: Mutex<Output>,
    changed: Condvar,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut Output)) {
        change(&mut self.output.lock().expect("readers do not panic"));
        self.changed.notify_all();
    }

    /// Waits until `done` of the output; whether it came within `bound`.
    fn wait(&self, bound: Duration, mut done: impl FnMut(&Output) -> bool) -> bool {
        let output = self.output.lock().expect("readers do not panic");
        let (_output, late) =
            self.changed.wait_timeout_while(output, bound, |output| !done(output)).expect("readers do not panic");
        !late.timed_out()
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
    ready_in: Duration,
}

/// What an agent said by its end.
#[derive(Debug)]
pub struct Report {
    /// All spans, in the order of output.
    pub spans: Vec<JsonSpan>,
    /// The lines that the spans were read from.
    pub lines: Vec<String>,
    /// Everything it printed on standard error: log lines and the summary.
    pub errors: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Agent {
    /// `netspan watch --json` on everything in `scope` and below, ready.
    pub fn watch(scope: &Scope) -> Result<Self> {
        Self::watch_with(scope, [""; 0])
    }

    /// Like [`watch`](Self::watch), with more options.
    pub fn watch_with(scope: &Scope, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let mut command = Self::command()?;
        command.args(["watch", "--json", "--cgroup"]).arg(scope.name()?).args(options);
        Self::start(command)
    }

    /// The agent's binary, without arguments, and without the variables that would configure it.
    pub fn command() -> Result<Command> {
        Ok(Self::unconfigured(Command::new(paths::agent()?)))
    }

    /// The same of a binary that `setpriv` starts, with these options of its own.
    pub fn command_by_setpriv(binary: &Path, privileges: &[&str]) -> Result<Command> {
        let mut command = Command::new(paths::tool("setpriv", "util-linux")?);
        command.args(privileges).arg("--").arg(binary);
        Ok(Self::unconfigured(command))
    }

    /// A command in a mount namespace of its own, which is to become the agent.
    pub fn command_by_unshare() -> Result<Command> {
        let mut command = Command::new(paths::tool("unshare", "util-linux")?);
        command.args(["--mount", "--propagation", "private", "--"]);
        Ok(Self::unconfigured(command))
    }

    fn unconfigured(mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("OTEL_") || (text.starts_with("NETSPAN_") && text != paths::AGENT_VARIABLE) {
                command.env_remove(&name);
            }
        }
        // A test's agent keeps nothing on the host, and agents side by side want no address each.
        command.env("NETSPAN_STORE_OFF", "true").env("NETSPAN_QUEUE_OFF", "true").env("NETSPAN_LISTEN", "none");
        command
    }

    /// Starts the agent and waits until it is ready. Its standard output is read; see [`Report::spans`].
    ///
    /// # Errors
    /// When it ends or is not ready in time: the message quotes what it printed.
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped());
        Self::begin(command)
    }

    /// Like [`start`](Self::start), but what it prints is for people: it goes where this program's own output goes.
    pub fn show(mut command: Command) -> Result<Self> {
        // The terminal's Ctrl-C is for this program, which then ends the agent.
        command.stdout(Stdio::inherit()).process_group(0);
        Self::begin(command)
    }

    fn begin(mut command: Command) -> Result<Self> {
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let shared = Arc::new(Shared::default());
        let err = child.stderr.take().context("no standard error")?;
        let mut readers = vec![read_lines(
            err,
            shared.clone(),
            |output, line| {
                output.errors.push_str(&line);
                output.errors.push('\n');
            },
            |output| output.error_ended = true,
        )];
        if let Some(out) = child.stdout.take() {
            readers.push(read_lines(out, shared.clone(), |output, line| output.lines.push(line), |_| {}));
        }
        let mut agent = Self { child, shared, readers, ready_in: Duration::ZERO };
        let answered = agent.shared.wait(READY_BOUND, |output| output.error_ended || is_ready(output));
        agent.ready_in = begun.elapsed();
        if !answered || !agent.shared.output.lock().is_ok_and(|output| is_ready(&output)) {
            bail!("the agent is not ready after {:?}; it printed:\n{}", agent.ready_in, agent.printed());
        }
        Ok(agent)
    }

    /// How long it took to be ready.
    pub fn ready_in(&self) -> Duration {
        self.ready_in
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed on standard error so far.
    pub fn printed(&self) -> String {
        self.shared.output.lock().map_or_else(|_| String::new(), |output| output.errors.clone())
    }

    /// Waits until it has printed so many spans, at most `bound`. That fewer come is no error here: the comparison at
    /// the end says more.
    pub fn await_spans(&self, count: usize, bound: Duration) -> bool {
        self.shared.wait(bound, |output| output.lines.len() >= count)
    }

    /// The spans it has printed so far.
    pub fn spans(&self) -> Result<Vec<JsonSpan>> {
        let output = self.shared.output.lock().expect("readers do not panic");
        output.lines.iter().map(|line| JsonSpan::parse(line)).collect()
    }

    /// Waits until one of its spans satisfies `wanted`, at most `bound`. Each is looked at once, in the order in which it was printed.
    pub fn await_span(&self, bound: Duration, mut wanted: impl FnMut(&JsonSpan) -> bool) -> bool {
        let mut looked = 0;
        self.shared.wait(bound, |output| {
            let fresh = &output.lines[looked..];
            looked = output.lines.len();
            fresh.iter().any(|line| JsonSpan::parse(line).is_ok_and(|span| wanted(&span)))
        })
    }

    /// Waits for its end, at most `bound`: an agent does not end by itself, so this is to notice when something is wrong.
    pub fn ended(&mut self, bound: Duration) -> Result<Option<ExitStatus>> {
        wait::exit(&mut self.child, bound)
    }

    /// Ends it by SIGINT and gives what it said.
    ///
    /// # Errors
    /// When it does not end, ends with another code than 0, or printed something that is no span.
    pub fn stop(self) -> Result<Report> {
        let report = self.stop_by(Signal::INT)?;
        ensure!(report.status.success(), "the agent ended with {}; it printed:\n{}", report.status, report.errors);
        Ok(report)
    }

    /// Ends it by a signal; the exit code is the caller's to judge.
    pub fn stop_by(mut self, signal: Signal) -> Result<Report> {
        kill(self.pid(), signal)?;
        let Some(status) = wait::exit(&mut self.child, STOP_BOUND)? else {
            bail!("the agent did not end within {STOP_BOUND:?}; it printed:\n{}", self.printed());
        };
        for reader in self.readers.drain(..) {
            reader.join().ok().context("a reader of the agent's output panicked")?;
        }
        let mut output = self.shared.output.lock().expect("readers do not panic");
        let lines = std::mem::take(&mut output.lines);
        let spans = lines.iter().map(|line| JsonSpan::parse(line)).collect::<Result<_>>()?;
        Ok(Report { spans, lines, errors: std::mem::take(&mut output.errors), status })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // After an orderly stop this is a no-op; a test that failed before must not leave it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    /// The spans seen on accepting sides.
    pub fn servers(&self) -> impl Iterator<Item = &JsonSpan> {
        self.spans.iter().filter(|span| span.is_server())
    }

    /// The spans seen on connecting sides.
    pub fn clients(&self) -> impl Iterator<Item = &JsonSpan> {
        self.spans.iter().filter(|span| span.is_client())
    }

    /// A figure of the summary, by the word before it: `attempted` of `events: attempted 3 = delivered 2 + lost 1`.
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.errors.lines().rev().find_map(|line| {
            let value = line.split_whitespace().skip_while(|word| *word != name).nth(1)?;
            value.trim_end_matches([',', ';']).parse().ok()
        })
    }
}

fn is_ready(output: &Output) -> bool {
    output.errors.lines().any(|line| line.starts_with(READY))
}

fn read_lines(
    source: impl Read + Send + 'static,
    shared: Arc<Shared>,
    add: impl Fn(&mut Output, String) + Send + 'static,
    end: impl Fn(&mut Output) + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            shared.update(|output| add(output, line));
        }
        shared.update(end);
    })
}
