//! The live agent: turns of draining the rings into the pipeline, until it is told to stop. It blocks nowhere but in
//! waiting for the rings.

use std::{sync::Arc, time::Duration};

use netspan_ebpf::{ConnEvent, LookEvent, LoopEvent, ThreadSlot, family, kind, known, origin};

use crate::{
    capture::{
        count::{Account, KernelCounts},
        drain::Drain,
        event::Event,
    },
    host::{Conntrack, Identities},
    pipeline::{Options, Pipeline},
    probe::{
        Counters, Descriptor, Descriptors, Family, Filters, KernelRules, ProbeError, Probes, Tasks, ThreadSlots,
        UnixDiag, inspect,
        tls::{Admits, Watch},
    },
    span::Span,
};

/// How long a turn waits for a wake-up before it looks by itself.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// Gets to know what the pipeline gets, as a recorder has to.
pub trait Tap {
    /// A record, as the pipeline gets it.
    fn event(&mut self, _record: &[u8]) {}

    /// What was found out about a connection since its event.
    fn update(&mut self, _event: &ConnEvent) {}

    /// All events before a time have been taken.
    fn advance(&mut self, _now_ns: u64) {}
}

/// Nobody wants to know.
impl Tap for () {}

/// Probes and pipeline, together.
pub struct Live<I> {
    probes: Probes,
    drain: Drain,
    counters: Counters,
    filters: Filters,
    pipeline: Pipeline<I>,
    intake: Intake,
    threads: ThreadSlots,
    /// Events that the agent answered itself.
    answered: u64,
}

/// What is done with a record before the pipeline gets it.
struct Intake {
    descriptors: Descriptors,
    unix_diag: UnixDiag,
    /// Where the kernel side can't read sequence numbers.
    conntrack: Option<Conntrack>,
    /// Begun when libraries are watched, and so after privileges are given up.
    tasks: Option<Tasks>,
    /// A record that was completed.
    completed: Vec<u8>,
    /// When the session was told to stop: calls that begin later are left out.
    stop_ns: Option<u64>,
    /// Records that were left out for that.
    after_stop: u64,
}

impl<I: Identities> Live<I> {
    /// Takes loaded probes. Nothing is seen until [`filter`](Self::filter).
    pub fn new(mut probes: Probes, options: Options, identities: I) -> Result<Self, ProbeError> {
        let drain = Drain::new(probes.rings()?);
        let (counters, filters) = (probes.counters()?, probes.filters()?);
        let intake = Intake {
            descriptors: probes.descriptors()?,
            unix_diag: UnixDiag::default(),
            conntrack: if probes.family == Family::Syscall { Conntrack::start() } else { None },
            tasks: None,
            completed: Vec::new(),
            stop_ns: None,
            after_stop: 0,
        };
        let threads = probes.thread_slots()?;
        let pipeline = Pipeline::new(options, identities);
        Ok(Self { probes, drain, counters, filters, pipeline, intake, threads, answered: 0 })
    }

    /// Replaces the kernel side's filters.
    pub fn filter(&mut self, rules: &KernelRules) -> Result<(), ProbeError> {
        self.filters.set(rules)
    }

    /// Reads what the threads of a process publish, from now on until it ends or runs another program.
    pub fn read_threads(&mut self, pid: u32, slot: ThreadSlot) {
        self.threads.set(pid, slot);
    }

    /// Sees plaintext under TLS from now on, in processes that `admits` lets pass.
    pub fn watch_tls(&mut self, admits: Admits, goroutines: bool) {
        match self.probes.tasks() {
            Ok(tasks) => self.intake.tasks = Some(tasks),
            Err(error) => log::warn!("tasks of asyncio are not followed: {error}"),
        }
        if let Err(why) = self.probes.watch_tls(admits, goroutines) {
            log::warn!("TLS is not seen: {why}");
        }
    }

    /// What is attached.
    pub const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Waits for events, at most [`DRAIN_INTERVAL`], and takes what there is. Returns the spans that are done.
    pub fn turn(&mut self, tap: &mut impl Tap) -> Result<Vec<Arc<Span>>, std::io::Error> {
        self.drain.wait(DRAIN_INTERVAL)?;
        Ok(self.take(tap))
    }

    /// Takes what is in the rings now.
    fn take(&mut self, tap: &mut impl Tap) -> Vec<Arc<Span>> {
        // All events from before this moment are in the rings already, but for those that a program is about to submit:
        // such a program runs for microseconds.
        let now_ns = boot_ns().saturating_sub(SUBMIT_NS).min(self.intake.stop_ns.unwrap_or(u64::MAX));
        let (pipeline, intake, answered) = (&mut self.pipeline, &mut self.intake, &mut self.answered);
        let tls = self.probes.tls();
        let turn = self.drain.turn(now_ns, |record| match intake.complete(record, tls) {
            Some(record) => {
                tap.event(record);
                if let Err(error) = pipeline.record(record) {
                    log::debug!("a record is no event: {error}");
                }
            }
            None => *answered += 1,
        });
        for event in intake.conntrack.iter().flat_map(Conntrack::answers) {
            tap.update(&event);
            pipeline.update(&event);
        }
        tap.advance(turn.watermark_ns);
        pipeline.advance(turn.watermark_ns);
        pipeline.take()
    }

    /// Sees nothing that begins later, takes what is still in the rings, and ends what is open. Returns the last spans and
    /// the account of the whole run.
    ///
    /// What was sent is told when the call returns, and by then the other end may have received it: were both told to stop
    /// at one moment, a request would be seen received and never sent. So calls that are under way have [`RETURN_NS`] to
    /// return, and what was sent or received since is left out.
    pub fn finish(mut self, tap: &mut impl Tap) -> (Vec<Arc<Span>>, Account) {
        let stop_ns = boot_ns();
        self.intake.stop_ns = Some(stop_ns);
        let mut spans = Vec::new();
        while boot_ns() < stop_ns + RETURN_NS {
            match self.turn(tap) {
                Ok(done) => spans.extend(done),
                Err(error) => {
                    log::warn!("the rings can't be waited for: {error}");
                    break;
                }
            }
        }
        if let Err(error) = self.filters.close() {
            log::warn!("the probes can't be told to stop: {error}");
        }
        let (rest, kernel) = self.take_all(tap);
        spans.extend(rest);
        self.pipeline.finish();
        spans.extend(self.pipeline.take());
        (spans, self.account_with(&kernel))
    }

    /// Takes turns until nothing waits: one turn is bounded, and programs that ran when the filters were closed may still
    /// submit. Gives up where nothing comes for [`SETTLE_NS`]. The kernel side's counters are those of the moment when
    /// nothing waited: what a hook still sends afterwards was not asked for.
    fn take_all(&mut self, tap: &mut impl Tap) -> (Vec<Arc<Span>>, KernelCounts) {
        let mut spans = Vec::new();
        let (mut taken, mut last_ns) = (0, boot_ns());
        loop {
            spans.extend(self.take(tap));
            let now_ns = boot_ns();
            let records = self.pipeline.records().0 + self.answered;
            if records > taken {
                (taken, last_ns) = (records, now_ns);
            }
            let kernel = self.kernel_counts();
            if self.account_with(&kernel).events.waiting == 0 || now_ns > last_ns + SETTLE_NS {
                return (spans, kernel);
            }
            if let Err(error) = self.drain.wait(SETTLE_PAUSE) {
                log::warn!("the rings can't be waited for: {error}");
            }
        }
    }

    /// What was seen and what was lost so far.
    pub fn account(&mut self) -> Account {
        let kernel = self.kernel_counts();
        self.account_with(&kernel)
    }

    fn kernel_counts(&self) -> KernelCounts {
        self.counters.read().unwrap_or_else(|error| {
            log::warn!("the kernel side's counters can't be read: {error}");
            [0; netspan_ebpf::counter::COUNT as usize]
        })
    }

    fn account_with(&mut self, kernel: &KernelCounts) -> Account {
        let (records, undecodable) = self.pipeline.records();
        let mut account = Account::new(kernel, records + self.answered, undecodable);
        account.add("capture", [("after_stop", self.intake.after_stop)]);
        self.pipeline.account(&mut account);
        if let Some(tls) = self.probes.tls() {
            account.add("tls", tls.counts().named());
        }
        account
    }

    /// The pipeline.
    pub const fn pipeline(&mut self) -> &mut Pipeline<I> {
        &mut self.pipeline
    }
}

/// At the end, how long calls that are under way may take to return, for which a processor of an emulated machine may have to be
/// given back to it first.
const RETURN_NS: u64 = 200_000_000;
/// At the end, how long to wait for events that were submitted and do not come.
const SETTLE_NS: u64 = 200_000_000;
/// At the end, the pause between two looks at the rings.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// How long a program may run between its stamp and its event's submission.
const SUBMIT_NS: u64 = 1_000_000;

/// The boot-time clock.
pub fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// What is to be added to boot-time nanoseconds to get nanoseconds since the Unix epoch.
pub fn clock_offset_ns() -> u64 {
    // The clock is read between two readings of the other one: their middle is the best guess at the same moment.
    let before = boot_ns();
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let after = boot_ns();
    let wall_ns = u64::try_from(wall.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(wall.tv_nsec).unwrap_or(0);
    wall_ns.saturating_sub(before + (after - before) / 2)
}

impl Intake {
    /// The record as the pipeline should get it; nothing where the agent answers it itself.
    fn complete<'a>(&'a mut self, record: &'a [u8], tls: Option<&Watch>) -> Option<&'a [u8]> {
        if self.stop_ns.is_some_and(|stop_ns| is_later(record, stop_ns)) {
            self.after_stop += 1;
            return None;
        }
        match record_kind(record) {
            Some(kind::LOOK) => {
                self.look(record);
                None
            }
            Some(kind::LOOP) => {
                self.asked(record);
                None
            }
            Some(kind::CONN) => match Event::decode(record) {
                Ok(Event::Conn(event)) if is_unclear(&event) => {
                    let event = self.completed(event);
                    Some(self.conn(event))
                }
                Ok(Event::Conn(event)) if event.tls != 0 && event.over == 0 => {
                    if let Some(tls) = tls {
                        tls.unbound(event.head.tgid);
                    }
                    Some(record)
                }
                Ok(Event::Conn(event)) if self.conntrack.is_some() => Some(self.conn(event)),
                _ => Some(record),
            },
            _ => Some(record),
        }
    }

    /// A connection's record, as the pipeline should get it.
    fn conn(&mut self, mut event: ConnEvent) -> &[u8] {
        let is_inet = event.family == family::INET || event.family == family::INET6;
        if is_inet && self.conntrack.as_mut().is_some_and(|conntrack| conntrack.ask(&event)) {
            event.known |= known::LOOKING;
        }
        self.completed.clear();
        Event::Conn(event).encode(&mut self.completed);
        &self.completed
    }

    /// Answers the kernel side's question what a descriptor is.
    fn look(&mut self, record: &[u8]) {
        if record.len() < size_of::<LookEvent>() {
            return;
        }
        let at = |n: usize| u32::from_ne_bytes([record[n], record[n + 1], record[n + 2], record[n + 3]]);
        let (tgid, fd) = (at(20), at(32).cast_signed());
        if inspect(tgid, fd) == Some(Descriptor::Other) {
            self.descriptors.ignore(tgid, fd);
        }
    }

    /// Has it looked at what a thread uses asyncio for.
    fn asked(&self, record: &[u8]) {
        let (Some(tasks), Some(record)) = (&self.tasks, record.first_chunk::<{ size_of::<LoopEvent>() }>()) else {
            return;
        };
        let at = |n: usize| u32::from_ne_bytes([record[n], record[n + 1], record[n + 2], record[n + 3]]);
        let object = record.last_chunk().map_or(0, |object| u64::from_ne_bytes(*object));
        tasks.look(at(20), at(24), object);
    }

    /// Numbers for both ends of a Unix connection, which mirror each other as addresses of TCP do.
    ///
    /// The end that connected may be looked at before it is accepted, when the other one has no inode yet: the connection
    /// then goes by this end's. Where both ends were found, each goes by its own.
    fn unix_ends(&mut self, inode: u32, origin: u8) -> Option<[[u8; 16]; 2]> {
        let number = |inode: u32, end: u8| {
            let mut number = [0; 16];
            number[..4].copy_from_slice(&inode.to_ne_bytes());
            number[4] = end;
            number
        };
        Some(match origin {
            origin::CONNECT => [number(inode, 1), number(inode, 2)],
            origin::ACCEPT => {
                let connected = self.unix_diag.peer(inode)?;
                [number(connected, 2), number(connected, 1)]
            }
            _ => [number(inode, 3), number(self.unix_diag.peer(inode)?, 3)],
        })
    }

    /// Fills in what can be learned from the descriptor itself.
    fn completed(&mut self, mut event: ConnEvent) -> ConnEvent {
        let (tgid, fd) = (event.head.tgid, event.fd);
        // By now the number may be another connection's: what it says then is not of this one.
        let conn = if event.tls == 0 { event.head.conn } else { event.over };
        let found = inspect(tgid, fd).filter(|_| self.descriptors.stands_for(tgid, fd, conn));
        match found {
            Some(Descriptor::Tcp { local, peer, cookie }) => {
                let (local, peer) = (local.map(address), peer.map(address));
                if let Some((ip, port)) = local {
                    (event.local, event.local_port) = (ip, port);
                    event.known |= known::LOCAL;
                }
                if let Some((ip, port)) = peer {
                    (event.peer, event.peer_port) = (ip, port);
                    event.known |= known::PEER;
                }
                let mapped = |ip: &[u8; 16]| ip[..10] == [0; 10] && ip[10..12] == [0xff; 2];
                event.family = if mapped(&event.local) { family::INET } else { family::INET6 };
                event.cookie = cookie;
                event.known |= known::SOCKET | known::COOKIE;
            }
            Some(Descriptor::Unix { cookie, inode }) => {
                if let Some([local, peer]) = self.unix_ends(inode, event.origin) {
                    (event.local, event.peer) = (local, peer);
                    event.known |= known::LOCAL | known::PEER;
                }
                event.family = family::UNIX;
                event.cookie = cookie;
                event.known |= known::SOCKET | known::COOKIE;
            }
            Some(Descriptor::Other) => {
                event.family = family::OTHER;
                self.descriptors.ignore(tgid, fd);
            }
            // Gone already: what the kernel side knew stays.
            None => {}
        }
        event
    }
}

/// Whether a record tells of a message or of a connection's end that came after a session was told to stop. What is sent
/// counts from the call's entry: it is never later than what the other end receives of it.
fn is_later(record: &[u8], stop_ns: u64) -> bool {
    match Event::decode(record) {
        Ok(Event::Data(event, _)) => event.start_ns >= stop_ns,
        Ok(Event::Close(event)) => event.head.time_ns >= stop_ns,
        _ => false,
    }
}

/// Whether a look at the descriptor can tell more than the kernel side could.
fn is_unclear(event: &ConnEvent) -> bool {
    let addressed = known::LOCAL | known::PEER;
    event.fd >= 0 && (event.known & known::SOCKET == 0 || event.known & addressed != addressed)
}

/// Kind of a record.
fn record_kind(record: &[u8]) -> Option<u16> {
    const AT: usize = core::mem::offset_of!(netspan_ebpf::EventHead, kind);
    record.get(AT..AT + 2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]))
}

/// As events have addresses.
fn address(address: std::net::SocketAddr) -> ([u8; 16], u16) {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    (ip.octets(), address.port())
}

#[cfg(test)]
mod tests {
    use netspan_ebpf::{CloseEvent, DataEvent, EventHead, ThreadEvent};

    use super::*;

    fn bytes(event: &Event<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    }

    fn head(kind: u16, time_ns: u64) -> EventHead {
        EventHead { time_ns, kind, ..EventHead::default() }
    }

    fn moved(start_ns: u64, time_ns: u64) -> Vec<u8> {
        bytes(&Event::Data(DataEvent { head: head(kind::DATA, time_ns), start_ns, ..DataEvent::default() }, &[]))
    }

    #[test]
    fn of_one_message_the_receipt_is_left_out_before_the_sending_is() {
        // The call that sends is entered at 10 and returns at 30; the other end has the bytes at 20.
        let (sent, received) = (moved(10, 30), moved(20, 20));
        let left_out = |stop_ns| [is_later(&sent, stop_ns), is_later(&received, stop_ns)];
        assert_eq!(left_out(10), [true, true]);
        assert_eq!([left_out(11), left_out(20)], [[false, true]; 2]);
        assert_eq!([left_out(21), left_out(40)], [[false, false]; 2]);
    }

    #[test]
    fn ends_count_from_when_they_are_told_and_all_else_is_taken() {
        let closed = bytes(&Event::Close(CloseEvent { head: head(kind::CLOSE, 20), ..CloseEvent::default() }));
        assert_eq!([is_later(&closed, 20), is_later(&closed, 21)], [true, false]);
        let made = bytes(&Event::Thread(ThreadEvent { head: head(kind::THREAD, 20), ..ThreadEvent::default() }));
        assert!(!is_later(&made, 1));
        assert!(!is_later(&[0; 4], 1));
    }
}
