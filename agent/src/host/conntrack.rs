//! Connections whose addresses are translated on the way (NAT), by the kernel's own account (`/proc/PID/net/nf_conntrack`): where no
//! sequence numbers can be read, this joins their two ends. A thread reads, because the account may be long; who asks waits for nothing.
//!
//! An account belongs to a network namespace. Those of the agent and of the processes with connections are read, so what another
//! namespace translates, such as a router's in which nobody is watched, is not found.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use netspan_ebpf::{ConnEvent, known, role};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::privilege::{self, Role};

/// Connections that wait to be looked at, at most; more are not looked at.
const WAITING_MAX: usize = 1024;
/// Namespaces whose accounts are read at most.
const PLACES_MAX: usize = 64;
/// Bytes of an account that are read at most: some 350,000 connections.
const ACCOUNT_MAX: u64 = 64 << 20;
/// How long after its beginning a connection is looked up again, when a namespace becomes known.
const PATIENCE: Duration = Duration::from_secs(2);
/// After reading comes a pause of so many times as long: two percent of a processor at most.
const PAUSE: u32 = 49;
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Processes that were told to the thread; past it, all are told again.
const TOLD_MAX: usize = 4096;

/// Asks the thread, and has its answers.
#[derive(Debug)]
pub struct Conntrack {
    questions: SyncSender<ConnEvent>,
    answers: Receiver<ConnEvent>,
    told: FxHashSet<u32>,
}

impl Conntrack {
    /// Begins to look, where the kernel keeps an account.
    pub fn start() -> Option<Self> {
        if let Err(error) = File::open("/proc/self/net/nf_conntrack") {
            log::debug!("translated addresses are not looked up: nf_conntrack: {error}");
            return None;
        }
        let (questions, asked) = sync_channel(WAITING_MAX);
        let (answer, answers) = channel();
        let begun = thread::Builder::new().name("conntrack".into()).spawn(move || serve(&asked, &answer));
        if let Err(error) = begun {
            log::warn!("translated addresses are not looked up: {error}");
            return None;
        }
        Some(Self { questions, answers, told: FxHashSet::default() })
    }

    /// Whether a connection is being looked up now: its answer has [`known::TRANSLATED`]. What goes to a loopback address is
    /// taken to arrive there.
    pub fn ask(&mut self, event: &ConnEvent) -> bool {
        let is_addressed = event.known & (known::LOCAL | known::PEER) == known::LOCAL | known::PEER;
        if !is_addressed || way(event).1.ip().is_loopback() {
            return false;
        }
        if event.role == role::SERVER {
            // Only where it is, for those of others.
            if self.told.len() >= TOLD_MAX {
                self.told.clear();
            }
            if self.told.insert(event.head.tgid) {
                let _ = self.questions.try_send(*event);
            }
            return false;
        }
        self.questions.try_send(*event).is_ok()
    }

    /// What was found since the last call.
    pub fn answers(&self) -> impl Iterator<Item = ConnEvent> {
        self.answers.try_iter()
    }
}

/// An address and a port: whose, and where to.
type Way = (SocketAddr, SocketAddr);

/// The thread.
fn serve(asked: &Receiver<ConnEvent>, answer: &Sender<ConnEvent>) {
    privilege::settle(Role::Question);
    let mut places = Places::default();
    let mut open: VecDeque<(Instant, ConnEvent)> = VecDeque::new();
    loop {
        let first = match open.front() {
            None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some((since, _)) => asked.recv_timeout(PATIENCE.saturating_sub(since.elapsed())),
        };
        if matches!(first, Err(RecvTimeoutError::Disconnected)) {
            return;
        }
        let mut is_new = false;
        let mut fresh = Vec::new();
        for event in first.into_iter().chain(asked.try_iter().take(WAITING_MAX)) {
            is_new |= places.learn(event.head.tgid);
            if event.role != role::SERVER {
                fresh.push((Instant::now(), event));
            }
        }
        // What was looked up in vain is looked up again where there is a new place to look.
        let again = if is_new { std::mem::take(&mut open) } else { VecDeque::new() };
        if !fresh.is_empty() || !again.is_empty() {
            let begun = Instant::now();
            let found = places.find(&fresh.iter().chain(&again).map(|(_, event)| way(event)).collect());
            let told = |event: &ConnEvent, reply| answer.send(translated(event, reply)).is_ok();
            let is_found = |event: &ConnEvent| found.get(&way(event)).is_some_and(|reply| told(event, *reply));
            open.extend(again.into_iter().filter(|(_, event)| !is_found(event)));
            for (since, event) in fresh {
                if !is_found(&event) {
                    let (local, peer) = way(&event);
                    told(&event, (peer, local));
                    open.push_back((since, event));
                }
            }
            thread::sleep((begun.elapsed() * PAUSE).min(PAUSE_MAX));
        }
        while open.len() > WAITING_MAX || open.front().is_some_and(|(since, _)| since.elapsed() >= PATIENCE) {
            open.pop_front();
        }
    }
}

/// A connection's own way, as its socket has it.
fn way(event: &ConnEvent) -> Way {
    let end = |ip: [u8; 16], port| SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)).to_canonical(), port);
    (end(event.local, event.local_port), end(event.peer, event.peer_port))
}

/// The answer: the connection's ends as the other end has them, by the way that its answers take before they are translated.
fn translated(event: &ConnEvent, (server, client): Way) -> ConnEvent {
    let octets = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    ConnEvent {
        head: event.head,
        known: known::TRANSLATED,
        local: octets(client),
        local_port: client.port(),
        peer: octets(server),
        peer_port: server.port(),
        ..ConnEvent::default()
    }
}

/// Network namespaces, each by a process that is in it.
#[derive(Debug, Default)]
struct Places(BTreeMap<u64, u32>);

impl Places {
    /// Takes up a process's namespace. Whether it is a new one.
    fn learn(&mut self, pid: u32) -> bool {
        let Some(inode) = namespace(pid) else { return false };
        if self.0.len() >= PLACES_MAX && !self.0.contains_key(&inode) {
            self.0.retain(|inode, pid| namespace(*pid) == Some(*inode));
            if self.0.len() >= PLACES_MAX {
                return false;
            }
        }
        self.0.insert(inode, pid).is_none()
    }

    /// Which of these ways are translated, and the way that answers take before they are.
    fn find(&self, wanted: &FxHashSet<Way>) -> FxHashMap<Way, Way> {
        let mut found = FxHashMap::default();
        // The agent's own may be that of one of the processes, which costs no more than a second look.
        let all = self.0.values().map(u32::to_string).chain(["self".to_owned()]);
        for place in all {
            let Ok(file) = File::open(format!("/proc/{place}/net/nf_conntrack")) else { continue };
            for line in BufReader::with_capacity(1 << 16, file.take(ACCOUNT_MAX)).lines() {
                let Ok(line) = line else { break };
                if let Some((own, reply)) = entry(&line)
                    && wanted.contains(&own)
                    && reply != (own.1, own.0)
                {
                    found.insert(own, reply);
                }
            }
        }
        found
    }
}

/// The inode number of a process's network namespace.
fn namespace(pid: u32) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|file| file.ino())
}

/// A connection of TCP in an account: its way, and the way of its answers, both before they are translated.
fn entry(line: &str) -> Option<(Way, Way)> {
    let mut words = line.split_ascii_whitespace();
    (words.nth(2)? == "tcp").then_some(())?;
    let mut way = || {
        let mut value = |name: &str| words.by_ref().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let (from, to): (IpAddr, IpAddr) = (value("src")?.parse().ok()?, value("dst")?.parse().ok()?);
        let (from_port, to_port) = (value("sport")?.parse().ok()?, value("dport")?.parse().ok()?);
        Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port)))
    };
    Some((way()?, way()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_tells_both_ways_and_nonsense_tells_nothing() {
        let line = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.77.1.1 dst=10.96.0.1 sport=60292 dport=80 \
                    src=10.77.1.2 dst=10.77.1.1 sport=8080 dport=45213 [ASSURED] mark=0 zone=0 use=2";
        let way = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
        let both = (way("10.77.1.1:60292", "10.96.0.1:80"), way("10.77.1.2:8080", "10.77.1.1:45213"));
        assert_eq!(entry(line), Some(both));
        let six = "ipv6 10 tcp 6 9 SYN_SENT src=fd00::1 dst=fd00::2 sport=1 dport=2 [UNREPLIED] src=fd00::3 dst=fd00::1 \
                   sport=4 dport=1 mark=0";
        assert_eq!(entry(six), Some((way("[fd00::1]:1", "[fd00::2]:2"), way("[fd00::3]:4", "[fd00::1]:1"))));
        for nonsense in ["", "ipv4 2", "ipv4 2 udp 17 29 src=10.0.0.1", "ipv4 2 tcp 6 9 src=x dst=y sport=1 dport=2"] {
            assert_eq!(entry(nonsense), None, "{nonsense}");
        }
        for end in 0..line.len() {
            // A line that was cut never tells another way.
            if let Some(told) = entry(&line[..end]) {
                assert_eq!(told.0, both.0, "{}", &line[..end]);
            }
        }
    }

    #[test]
    fn an_answer_has_the_ends_as_the_other_end_has_them() {
        let event = ConnEvent {
            local: "10.77.1.1".parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets(),
            local_port: 60292,
            ..ConnEvent::default()
        };
        let reply = ("10.77.1.2:8080".parse().unwrap(), "10.77.1.1:45213".parse().unwrap());
        let answer = translated(&event, reply);
        assert_eq!(way(&answer), (reply.1, reply.0));
        assert_eq!(answer.known, known::TRANSLATED);
    }
}
