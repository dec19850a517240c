//! One virtual machine: qemu, and `virtiofsd` that shows it this machine's root. Both end with the value, and with us.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    accel::Accel,
    console::{self, Meaning},
    kernel::Kernel,
    too_late,
};

/// Time until the job begins: 4 s when the host is idle; this allows for a busy one.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
/// Time in which the kernel may say more after it panicked: stacks take an emulated machine a while.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// Lines of the console that an error shows.
const SHOWN_LINES: usize = 40;
/// Stalls are reported late: an emulated processor may wait long for a busy host.
const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 oops=panic rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60";

/// A machine that could be started.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Its first root.
    pub initrd: &'a Path,
    /// What runs the instructions.
    pub accel: Accel,
    /// Mebibytes of memory.
    pub memory: u32,
    /// More of the kernel's command line.
    pub append: &'a str,
}

/// A processor of the machine stands still.
#[derive(Debug)]
pub struct Stalled(String);

impl fmt::Display for Stalled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the kernel does not go on: {}", self.0)
    }
}

impl std::error::Error for Stalled {}

/// A machine that runs.
#[derive(Debug)]
pub struct Running {
    lines: Receiver<String>,
    console: PathBuf,
    _qemu: Ended,
    _files: Ended,
}

impl Machine<'_> {
    /// Starts it under a name that no other machine of ours has at the time. Everything that it prints is also written to the
    /// file `console`.
    pub fn start(&self, name: &str, console: &Path) -> Result<Running> {
        let socket = format!("netspan-vm-{}-{name}", std::process::id());
        // Listening before either program starts: qemu needs not wait for virtiofsd. The name is abstract: no file stays.
        let listener = SocketAddr::from_abstract_name(&socket)
            .and_then(|address| UnixListener::bind_addr(&address))
            .with_context(|| format!("can't listen on the abstract socket {socket}"))?;
        let log = File::create(console.with_extension("virtiofsd")).context("can't create virtiofsd's log")?;
        let files = Ended(virtiofsd(log)?.stdin(OwnedFd::from(listener)).spawn().context("can't start virtiofsd")?);
        let mut qemu = Ended(self.qemu(&socket).spawn().context("can't start qemu-system-x86_64")?);
        let output = qemu.0.stdout.take().context("qemu has an output")?;
        let (sender, lines) = channel();
        let mut copy = File::create(console).with_context(|| format!("can't create {}", console.display()))?;
        thread::spawn(move || {
            read_lines(output, |line| {
                // The file is for people; the run goes on without it.
                let _ = writeln!(copy, "{line}");
                sender.send(line).is_ok()
            });
        });
        Ok(Running { lines, console: console.to_owned(), _qemu: qemu, _files: files })
    }

    fn qemu(&self, socket: &str) -> Command {
        let memory = format!("{}M", self.memory);
        let mut command = bound_to_us("qemu-system-x86_64");
        command
            .args(self.accel.arguments())
            .args(["-m", &memory, "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"])
            .args(["-object", &format!("memory-backend-memfd,id=memory,size={memory},share=on")])
            .args(["-numa", "node,memdev=memory"])
            .args(["-chardev", &format!("socket,id=root,path={socket},abstract=on,tight=on")])
            .args(["-device", "vhost-user-fs-pci,chardev=root,tag=root"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(self.initrd)
            .args(["-append", &format!("{COMMAND_LINE} {}", self.append)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
}

impl Running {
    /// Waits until the job begins.
    pub fn boot(&mut self) -> Result<()> {
        let console = self.console.clone();
        self.read_until("the boot", BOOT_LIMIT, |line, meaning| match meaning {
            Meaning::Job => Ok(Some(())),
            Meaning::Stopped => bail!("the guest says: {line}"),
            _ => Ok(None),
        })
        .with_context(|| tail(&console))
    }

    /// Waits until the job ends, gives its lines to `show`, and returns its exit code. What the kernel says is for the console's file,
    /// as long as it goes on.
    pub fn job(&mut self, limit: Duration, mut show: impl FnMut(&str)) -> Result<i32> {
        self.read_until("the job", limit, |line, meaning| {
            if let Meaning::Verdict(code) = meaning {
                return Ok(Some(code));
            }
            if meaning == Meaning::Fatal || !console::is_kernels(line) {
                show(line);
            }
            Ok(None)
        })
    }

    /// Waits until a line contains a word.
    pub fn says(&mut self, word: &str, limit: Duration) -> Result<()> {
        self.read_until("the first word", limit, |line, _| Ok(line.contains(word).then_some(())))
    }

    fn read_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut decide: impl FnMut(&str, Meaning) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let line = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Err(too_late(what, limit)),
                Err(RecvTimeoutError::Disconnected) => bail!("the machine ended before {what} did"),
            };
            let meaning = console::read(&line);
            if let Some(result) = decide(&line, meaning)? {
                return Ok(result);
            }
            if meaning == Meaning::Fatal {
                return Err(self.last_words(&line, decide));
            }
        }
    }

    /// Shows what the kernel says after a panic, and makes an error of its first line.
    fn last_words<T>(
        &mut self,
        line: &str,
        mut decide: impl FnMut(&str, Meaning) -> Result<Option<T>>,
    ) -> anyhow::Error {
        let deadline = Instant::now() + LAST_WORDS;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            // What it means is settled; this only shows it.
            let _ = decide(&line, Meaning::Fatal);
        }
        if console::is_stall(line) {
            return Stalled(line.to_owned()).into();
        }
        anyhow::anyhow!("the kernel does not go on: {line}")
    }
}

/// The last lines of the console, for an error.
fn tail(console: &Path) -> String {
    let text = fs::read_to_string(console).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    format!("the last it printed:\n{}\n", lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"))
}

/// Reads lines until the end of the output, or until `take` wants no more.
fn read_lines(output: ChildStdout, mut take: impl FnMut(String) -> bool) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if !take(console::plain(&line)) {
            break;
        }
        line.clear();
    }
}

/// `virtiofsd` in either of its versions: in C (Debian 12), in Rust (later ones). It listens on its standard input.
fn virtiofsd(log: File) -> Result<Command> {
    let (in_c, in_rust) = (Path::new("/usr/lib/qemu/virtiofsd"), Path::new("/usr/libexec/virtiofsd"));
    let mut command = if in_c.exists() {
        let mut command = bound_to_us(in_c);
        command.args(["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]);
        command
    } else if in_rust.exists() {
        let mut command = bound_to_us(in_rust);
        command.args(["--shared-dir", "/", "--cache", "always", "--sandbox", "chroot"]);
        command
    } else {
        bail!("virtiofsd is missing (Debian packages qemu-system-common or virtiofsd)");
    };
    command.arg("--fd=0").stdout(log.try_clone().context("can't share virtiofsd's log")?).stderr(log);
    Ok(command)
}

/// A command whose process the kernel kills when the thread that started it ends, however that happens.
fn bound_to_us(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A process that ends with this value.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only when it ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
