//! Everything between an event and a span, as one state machine: the connection table, the protocols, the linker, the routes. It does
//! no I/O and takes no clock, so that `run`, `watch`, `replay` and the tests all drive the same thing.
#![forbid(unsafe_code)]

mod replay;

pub use replay::{identities, replay};

use crate::{
    capture::{
        count::Account,
        event::{DecodeError, Event},
    },
    conn::{self, Closed, Report, Table},
    control::FilterRules,
    host::{Identities, Identity},
    link::{self, Linker, Tally, Why},
    protocol::{Exchange, Notice},
    route::{Routes, Template},
    span::{Span, redact::Redaction},
};
use netspan_ebpf::{ConnEvent, ProcessEvent, kind};
use std::{cmp::Reverse, sync::Arc};

/// Connections that are over and wait to be taken, at most; more are counted only.
pub const CLOSED_MAX: usize = 16_384;

/// Processes whose links are told of, at most.
pub const LINKS_MAX: usize = 1000;

/// What a pipeline is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections that are known at one time.
    pub connections: usize,
    /// What may be kept of requests and responses.
    pub redaction: Arc<Redaction>,
    /// Ids, clock and threshold of the linker.
    pub link: link::Options,
    /// What is to be seen; the kernel side applies what it can decide, the pipeline the rest.
    pub filter: Filter,
    /// Routes that are given.
    pub templates: Arc<[Template]>,
}

/// The rules that the pipeline applies to each exchange, before it is linked.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The rules.
    pub rules: FilterRules,
    /// Whether no kernel side has filtered before.
    pub is_replay: bool,
}

impl Filter {
    /// Whether exchanges of a process on a connection are to be seen.
    fn admits(&self, identity: &Identity, ports: (Option<u16>, Option<u16>)) -> bool {
        let process = if self.is_replay { self.rules.admits_replayed(identity) } else { self.rules.admits(identity) };
        process && self.rules.admits_ports(ports.0, ports.1)
    }
}

/// From events to spans. `I` says who processes are.
pub struct Pipeline<I> {
    table: Table,
    linker: Linker,
    routes: Routes,
    identities: I,
    reports: Vec<Report>,
    filter: Filter,
    /// Exchanges of processes or ports that are not to be seen.
    filtered: u64,
    /// Records taken, and those of them that were no events.
    records: u64,
    undecodable: u64,
    /// Processes that called `io_uring_setup`, which only the `socket` family sees into.
    io_uring: u64,
    newest_ns: u64,
    watermark_ns: u64,
    /// Connections that are over and not taken yet; `None` where nobody asks for them.
    closed: Option<Vec<Closed>>,
    closed_untold: u64,
}

impl<I: Identities> Pipeline<I> {
    /// A pipeline that knows nothing yet.
    pub fn new(options: Options, identities: I) -> Self {
        Self {
            table: Table::new(options.connections, options.redaction),
            linker: Linker::new(options.link),
            routes: Routes::new(options.templates),
            identities,
            reports: Vec::new(),
            filter: options.filter,
            filtered: 0,
            records: 0,
            undecodable: 0,
            io_uring: 0,
            newest_ns: 0,
            watermark_ns: 0,
            closed: None,
            closed_untold: 0,
        }
    }

    /// Takes one record of a ring or of a recording. One that is no event is counted, and the error tells why.
    pub fn record(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        self.records += 1;
        match Event::decode(record) {
            Ok(event) => {
                self.event(&event);
                Ok(())
            }
            Err(error) => {
                self.undecodable += 1;
                Err(error)
            }
        }
    }

    /// Takes one event. Events of one connection must come in the order in which they were sent; others may come in any.
    pub fn event(&mut self, event: &Event<'_>) {
        self.newest_ns = self.newest_ns.max(event.head().time_ns);
        match event {
            Event::Process(event) => self.process(event),
            Event::Goroutine(event) => self.linker.goroutine(event),
            Event::Task(event) => self.linker.task(event),
            Event::Thread(event) => self.linker.thread(event),
            Event::Context(event) => self.linker.told(event),
            Event::ThreadContext(event) => self.linker.published(event),
            Event::Conn(_) | Event::Data(..) | Event::Close(_) => {
                self.table.event(event, &mut self.reports);
                self.link();
            }
        }
    }

    /// Takes what was found out about a connection since its event, if it is still there; see [`Table::update`].
    pub fn update(&mut self, event: &ConnEvent) {
        if !self.table.knows(event.head.conn) {
            return;
        }
        self.table.update(event, &mut self.reports);
        self.link();
    }

    /// All events before `now_ns` (boot-time nanoseconds) have been taken.
    pub fn advance(&mut self, now_ns: u64) {
        self.newest_ns = self.newest_ns.max(now_ns);
        self.watermark_ns = self.watermark_ns.max(now_ns);
        self.table.expire(now_ns, &mut self.reports);
        self.link();
        self.linker.advance(now_ns);
    }

    /// No more events will come: what is open ends unobserved, and every span is let go.
    pub fn finish(&mut self) {
        self.table.finish(self.newest_ns, &mut self.reports);
        self.link();
        self.linker.finish();
    }

    /// Takes the spans that were let go since the last call, parents before their children.
    pub fn take(&mut self) -> Vec<Arc<Span>> {
        let mut spans = self.linker.take();
        // Nobody else has them yet.
        spans.iter_mut().filter_map(Arc::get_mut).for_each(|span| self.routes.name(span));
        spans
    }

    /// From now on keeps the connections that are over, for [`take_closed`](Self::take_closed).
    pub fn keep_closed(&mut self) {
        self.closed.get_or_insert_default();
    }

    /// Takes the connections that ended since the last call: how long they lived, what they moved, how they ended.
    pub fn take_closed(&mut self) -> Vec<Closed> {
        self.closed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The newest time that an event or a call of [`advance`](Self::advance) told, in boot-time nanoseconds.
    pub const fn newest_ns(&self) -> u64 {
        self.newest_ns
    }

    /// The time that the last call of [`advance`](Self::advance) told. A recording has it after the events of each turn.
    pub const fn watermark_ns(&self) -> u64 {
        self.watermark_ns
    }

    /// Records taken, and those of them that were no events.
    pub const fn records(&self) -> (u64, u64) {
        (self.records, self.undecodable)
    }

    /// Replaces the rules.
    pub fn set_rules(&mut self, rules: FilterRules) {
        self.filter.rules = rules;
    }

    /// What may be kept of the heads of connections that begin from now on.
    pub fn set_redaction(&mut self, redaction: Redaction) {
        self.table.set_redaction(Arc::new(redaction));
    }

    /// Replaces the routes that are given.
    pub fn set_templates(&mut self, templates: Arc<[Template]>) {
        self.routes.set_templates(templates);
    }

    /// Who processes are.
    pub const fn identities(&mut self) -> &mut I {
        &mut self.identities
    }

    /// What became of the spans of each process, by its id: those with the most spans first, at most [`LINKS_MAX`].
    pub fn links(&self) -> Vec<(u32, Tally)> {
        let mut tallies: Vec<(u32, &Tally)> = self.linker.tallies().collect();
        tallies.sort_by_key(|(pid, tally)| (Reverse(tally.calls.spans() + tally.requests.spans()), *pid));
        tallies.into_iter().take(LINKS_MAX).map(|(pid, tally)| (pid, tally.clone())).collect()
    }

    /// Adds the counters of every stage to an account.
    pub fn account(&mut self, account: &mut Account) {
        #[rustfmt::skip]
        let conn::Counts {
            opened, closed, evicted, idle, opaque, http2, events_lost, bytes_lost, disorder, hellos, hellos_unread,
            hellos_untaken,
        } = self.table.counts();
        account.add(
            "conn",
            [
                ("opened", opened),
                ("closed", closed),
                ("evicted", evicted),
                ("idle", idle),
                ("opaque", opaque),
                ("http2", http2),
                ("events_lost", events_lost),
                ("bytes_lost", bytes_lost),
                ("disorder", disorder),
                ("hellos", hellos),
                ("hellos_unread", hellos_unread),
                ("hellos_untaken", hellos_untaken),
                ("io_uring_processes", self.io_uring),
                ("filtered_exchanges", self.filtered),
                ("closed_untold", if self.closed.is_some() { self.closed_untold } else { 0 }),
            ],
        );
        let counts = self.table.http1_counts();
        account.add(
            "http1",
            [
                ("request_gaps", counts.request_gaps),
                ("response_gaps", counts.response_gaps),
                ("unpaired", counts.unpaired),
                ("malformed", counts.malformed),
                ("head_too_long", counts.head_too_long),
                ("held_full", counts.held_full),
                ("open_full", counts.open_full),
                ("cut", counts.cut),
            ],
        );
        account.add("http2", self.table.http2_counts().named());
        let links = self.linker.counts();
        account.add("link", links.named());
        account.add("route", self.routes.counts().named());
        account.add("unlinked", Why::ALL.map(|why| (why.name(), links.unlinked[why as usize])));
        // A replay has none of its own: the account of the recorded run has them.
        let counted = self.identities.counted();
        if !counted.is_empty() {
            account.add("host", counted);
        }
    }

    fn process(&mut self, event: &ProcessEvent) {
        self.identities.on_process_event(event);
        match event.head.kind {
            kind::EXEC => self.linker.executed(event.head.tgid, event.head.time_ns),
            kind::EXIT => self.linker.exited(event.head.tgid, event.head.time_ns),
            _ => self.io_uring += 1,
        }
    }

    /// Hands what the table told to the linker.
    fn link(&mut self) {
        for report in self.reports.drain(..) {
            match report {
                Report::Socket(socket) => {
                    // Asked as early as possible: a short-lived process is soon gone.
                    self.identities.identity(socket.tgid, self.newest_ns);
                    self.linker.socket(&socket);
                }
                Report::Notice { conn, notice: Notice::Started { ordinal, first, tokens }, .. } => {
                    if !admits(&self.filter, &self.table, &mut self.identities, conn, (first.tgid, first.end_ns)) {
                        continue;
                    }
                    let resource = self.identities.resource(first.tgid, first.end_ns);
                    self.linker.started(conn, ordinal, &first, tokens, resource);
                }
                Report::Notice { conn, at_ns, notice: Notice::Finished(exchange) } => {
                    let (tgid, called_ns) = caller(&exchange);
                    if !admits(&self.filter, &self.table, &mut self.identities, conn, (tgid, called_ns)) {
                        self.filtered += 1;
                        continue;
                    }
                    let resource = self.identities.resource(tgid, called_ns);
                    self.linker.finished(conn, exchange, at_ns, resource);
                }
                Report::Notice { notice: Notice::Opaque, .. } => {}
                Report::Hellos { conn, hellos } => self.linker.hellos(conn, hellos),
                Report::Received { conn, at_ns, tgid, tid } => self.linker.received(conn, at_ns, tgid, tid),
                Report::Lost { tgid, at_ns } => self.linker.lost(tgid, at_ns),
                Report::Closed(closed) => {
                    self.linker.closed(closed.socket.id, closed.at_ns);
                    if let Some(kept) = self.closed.as_mut().filter(|kept| kept.len() < CLOSED_MAX) {
                        kept.push(closed);
                    } else {
                        self.closed_untold += 1;
                    }
                }
            }
        }
    }
}

/// Whether an exchange is to be seen, by the process that made its first call (and when) and by its connection's ports.
fn admits(
    filter: &Filter,
    table: &Table,
    identities: &mut impl Identities,
    conn: u64,
    (tgid, at_ns): (u32, u64),
) -> bool {
    filter.rules.is_empty() || filter.admits(&identities.identity(tgid, at_ns), table.ports(conn))
}

/// The process that made the first call of an exchange, and when.
fn caller(exchange: &Exchange) -> (u32, u64) {
    exchange.sent.or(exchange.answered).map_or((0, 0), |transfer| (transfer.first.tgid, transfer.first.end_ns))
}
