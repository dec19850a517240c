//! Attaches programs to kernel functions by definitions in the tracing file system: to returns, with room for many calls at
//! a time, and to functions of modules that are loaded later.
//!
//! The kernel keeps the returns of only so many calls of a function at once. Where the probe is made by
//! `perf_event_open` alone, as aya makes it, these are twice the CPUs, at least 10 (`register_kretprobe`): a few threads
//! that wait in `recv` use them up, and what the others receive is missed. A probe that is defined through the tracing
//! file system may ask for more (`r[MAXACTIVE]:` in `Documentation/trace/kprobetrace.rst`).
//!
//! A function that is named with its module (`MODULE:FUNCTION`) need not be there yet: the kernel then logs that the probe
//! "might be able to register after target module is loaded", and does so each time that the module is loaded
//! (`trace_kprobe_module_callback`), before any of its functions runs.

use std::{
    fs,
    io::{self, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use aya::programs::KProbe;

use super::perf::{self, Attributes};

/// Calls of one function that may be under way at a time; the kernel takes at most 4096.
const CALLS_MAX: u32 = 2048;
/// What the groups of our definitions begin with; the process id follows.
const GROUP: &str = "netspan_";

/// The probes that this process defined. Dropping it detaches them and takes their definitions back.
pub struct DefinedProbes {
    tracefs: PathBuf,
    group: String,
    attached: Vec<(String, OwnedFd)>,
}

impl DefinedProbes {
    /// None yet. Definitions that a killed agent left behind are taken back: nothing is attached to them any more.
    pub fn new(tracefs: &Path) -> Self {
        let probes =
            Self { tracefs: tracefs.to_owned(), group: format!("{GROUP}{}", std::process::id()), attached: Vec::new() };
        for event in abandoned(&fs::read_to_string(probes.definitions()).unwrap_or_default()) {
            // One that is in use is another agent's, and the kernel refuses.
            if let Err(e) = probes.define(&format!("-:{event}")) {
                log::debug!("the probe {event} stays: {e}");
            }
        }
        probes
    }

    /// Attaches a program that is loaded to the returns of a function.
    pub fn attach(&mut self, program: &KProbe, function: &str) -> io::Result<()> {
        self.attach_as(program, &format!("r{CALLS_MAX}"), bare(function).to_owned(), function)
    }

    /// Attaches a program that is loaded to the entries of a function.
    pub fn attach_entry(&mut self, program: &KProbe, function: &str) -> io::Result<()> {
        self.attach_as(program, "p", format!("{}_entry", bare(function)), function)
    }

    fn attach_as(&mut self, program: &KProbe, kind: &str, name: String, function: &str) -> io::Result<()> {
        self.define(&format!("{kind}:{}/{name} {function}", self.group))?;
        match self.open(program, &name) {
            Ok(event) => {
                self.attached.push((name, event));
                Ok(())
            }
            Err(error) => {
                self.take_back(&name);
                Err(error)
            }
        }
    }

    fn open(&self, program: &KProbe, name: &str) -> io::Result<OwnedFd> {
        let id = fs::read_to_string(self.tracefs.join("events").join(&self.group).join(name).join("id"))?;
        let id: u64 = id.trim().parse().map_err(|_| io::Error::other(format!("{id:?} is no id of an event")))?;
        let event = perf_event_open(id)?;
        let program = program.fd().map_err(io::Error::other)?.as_fd();
        perf::ioctl(event.as_fd(), perf::SET_BPF, program.as_raw_fd())?;
        perf::ioctl(event.as_fd(), perf::ENABLE, 0)?;
        Ok(event)
    }

    fn definitions(&self) -> PathBuf {
        self.tracefs.join("kprobe_events")
    }

    /// Writes one line; the file takes each write as a command.
    fn define(&self, line: &str) -> io::Result<()> {
        fs::OpenOptions::new().append(true).open(self.definitions())?.write_all(format!("{line}\n").as_bytes())
    }

    fn take_back(&self, name: &str) {
        if let Err(e) = self.define(&format!("-:{}/{name}", self.group)) {
            log::debug!("the probe {name} stays defined: {e}");
        }
    }
}

impl Drop for DefinedProbes {
    fn drop(&mut self) {
        for (name, event) in std::mem::take(&mut self.attached) {
            drop(event);
            self.take_back(&name);
        }
    }
}

/// A function's name without its module.
fn bare(function: &str) -> &str {
    function.rsplit(':').next().unwrap_or(function)
}

/// The definitions of agents in a listing, as `GROUP/EVENT`.
fn abandoned(listing: &str) -> Vec<&str> {
    let events = listing.lines().filter_map(|line| line.split_whitespace().next()?.split_once(':'));
    events.map(|(_, event)| event).filter(|event| event.starts_with(GROUP)).collect()
}

/// A tracepoint's event of all processes. It is opened on one CPU: a program that is attached to it runs on all.
fn perf_event_open(id: u64) -> io::Result<OwnedFd> {
    let attributes =
        Attributes { kind: perf::TRACEPOINT, config: id, sample_period: 1, wakeup: 1, ..Attributes::default() };
    perf::open(attributes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probes_name_has_no_module() {
        assert_eq!([bare("tls:tls_sw_sendmsg"), bare("tcp_sendmsg")], ["tls_sw_sendmsg", "tcp_sendmsg"]);
    }

    #[test]
    fn only_what_an_agent_defined_is_taken_back() {
        let listing = "r2048:netspan_41/tcp_recvmsg tcp_recvmsg\np:kprobes/mine do_sys_open\nr:netspan_7/tcp_sendmsg tcp_sendmsg\n";
        assert_eq!(abandoned(listing), ["netspan_41/tcp_recvmsg", "netspan_7/tcp_sendmsg"]);
        assert!(abandoned("").is_empty());
    }
}
