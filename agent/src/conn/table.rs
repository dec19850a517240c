//! The connection table: which connection an event is about, what is known of it, and what its bytes say. It is bounded,
//! and everything that falls out of it is counted and told.

use super::{
    hellos::Hellos,
    lru::Lru,
    reader::{Reader, Sums},
    socket::{Role, Socket},
    stream::{Irregular, Stream},
};
use crate::{
    capture::event::{Event, runs},
    protocol::{End, Flow, Notice, Stamp, http1, http2, tls},
    span::redact::Redaction,
};
use netspan_ebpf::{CloseEvent, ConnEvent, DataEvent, EventHead, close, data_flag, direction};
use std::{net::SocketAddr, sync::Arc};

/// Connections that are known at one time, unless told otherwise; past it, the one used longest ago falls out.
pub const DEFAULT_CAPACITY: usize = 65_536;
/// How long a connection may be silent before it is forgotten, in nanoseconds.
pub const IDLE_NS: u64 = 3_600_000_000_000;
/// How long an exchange may be silent before it is over, in nanoseconds.
pub const EXPIRE_NS: u64 = 300_000_000_000;
/// Broken connections that are remembered, the latest ones.
const BROKEN_MAX: usize = 4096;
/// How often exchanges are looked through for silent ones, in nanoseconds.
const EXPIRE_EVERY_NS: u64 = 5_000_000_000;

/// What the table tells, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A connection is known, or known better.
    Socket(Arc<Socket>),
    /// What was said when a session of TLS began. It may come when the session is over: another connection told it.
    Hellos {
        /// Id of the session's connection.
        conn: u64,
        /// What was said so far.
        hellos: Arc<tls::Hellos>,
    },
    /// A protocol's notice about a connection, at the time of the event that gave rise to it.
    Notice {
        /// Id of the connection.
        conn: u64,
        /// Boot-time nanoseconds.
        at_ns: u64,
        /// The notice.
        notice: Notice,
    },
    /// A call received bytes on a connection.
    Received {
        /// Id of the connection.
        conn: u64,
        /// When the call returned, boot-time nanoseconds.
        at_ns: u64,
        /// Process that called.
        tgid: u32,
        /// Thread that called.
        tid: u32,
    },
    /// Events of a connection were lost.
    Lost {
        /// Process that holds it.
        tgid: u32,
        /// When that was noticed, boot-time nanoseconds.
        at_ns: u64,
    },
    /// A connection is over; nothing more will be told of it.
    Closed(Closed),
}

/// A connection that is over, as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What was known of it.
    pub socket: Arc<Socket>,
    /// When, boot-time nanoseconds.
    pub at_ns: u64,
    /// How: [`End::Closed`] and [`End::Exited`] by the process that holds it, [`End::Error`] by the other end or the
    /// network.
    pub end: End,
    /// Whether the other end had ended its side before.
    pub peer_ended: bool,
    /// How long it was known, in nanoseconds.
    pub lifetime_ns: u64,
    /// Bytes received since it was first seen.
    pub bytes_in: u64,
    /// Bytes sent since then.
    pub bytes_out: u64,
    /// TCP's own measurements, where the kernel tells.
    pub tcp: Option<Tcp>,
}

/// What TCP measured on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Smoothed round trip, in microseconds.
    pub srtt_us: u32,
    /// Smallest round trip measured lately, in microseconds.
    pub min_rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
}

/// What happened to connections so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections first seen.
    pub opened: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Connections that fell out because the table was full.
    pub evicted: u64,
    /// Connections forgotten because they were silent.
    pub idle: u64,
    /// Connections that speak no protocol of ours, or not any more.
    pub opaque: u64,
    /// Connections that speak HTTP/2.
    pub http2: u64,
    /// Events lost, by the gaps in the connections' ordinals.
    pub events_lost: u64,
    /// Bytes whose events were lost, as far as positions tell.
    pub bytes_lost: u64,
    /// Events that contradict earlier ones of their connection.
    pub disorder: u64,
    /// Hellos of TLS that were read: one of each side.
    pub hellos: u64,
    /// Hellos of TLS that told nothing: a part of them was lost, or they were no hellos.
    pub hellos_unread: u64,
    /// Connections that carry TLS whose hellos were forgotten before a session took them over.
    pub hellos_untaken: u64,
}

/// The connection table. See the [module](self).
pub struct Table {
    conns: Lru<Conn>,
    /// Connections that broke while their process still has the descriptor: that it is shut down or closed tells nothing new.
    broken: Lru<()>,
    hellos: Hellos,
    redaction: Arc<Redaction>,
    counts: Counts,
    /// Sums of the parsers that are gone.
    sums: Sums,
    expired_ns: u64,
}

/// A connection.
struct Conn {
    socket: Arc<Socket>,
    first_ns: u64,
    last_ns: u64,
    /// Ordinals of the next events that move bytes, received and sent.
    seqs: [u32; 2],
    /// Received and sent bytes.
    streams: [Stream; 2],
    reader: Reader,
    /// The other end ended its side.
    peer_ended: bool,
    tcp: Option<Tcp>,
    /// Notices not told yet.
    notices: Vec<Notice>,
}

impl Table {
    /// A table for at most `capacity` connections. `redaction` says what may be kept of heads.
    pub fn new(capacity: usize, redaction: Arc<Redaction>) -> Self {
        Self {
            conns: Lru::new(capacity),
            hellos: Hellos::default(),
            broken: Lru::new(BROKEN_MAX),
            redaction,
            counts: Counts::default(),
            sums: Sums::default(),
            expired_ns: 0,
        }
    }

    /// What may be kept of the heads of connections that begin from now on.
    pub fn set_redaction(&mut self, redaction: Arc<Redaction>) {
        self.redaction = redaction;
    }

    /// What happened so far.
    pub const fn counts(&self) -> Counts {
        let hellos = self.hellos.counts;
        Counts { hellos: hellos.read, hellos_unread: hellos.unread, hellos_untaken: hellos.untaken, ..self.counts }
    }

    /// What the HTTP/1 parsers gave up so far, those of open connections included.
    pub fn http1_counts(&mut self) -> http1::Counts {
        self.sums().http1
    }

    /// What the HTTP/2 parsers gave up so far, those of open connections included.
    pub fn http2_counts(&mut self) -> http2::Counts {
        self.sums().http2
    }

    fn sums(&mut self) -> Sums {
        let mut sums = self.sums;
        self.conns.for_each(|_, conn| conn.reader.add_counts(&mut sums));
        sums
    }

    /// Local and peer's port of a connection, as far as they are known.
    pub fn ports(&self, conn: u64) -> (Option<u16>, Option<u16>) {
        let socket = self.conns.get(conn).map(|conn| &conn.socket);
        let port = |address: Option<SocketAddr>| address.map(|address| address.port());
        socket.map_or((None, None), |socket| (port(socket.local), port(socket.peer)))
    }

    /// Connections that are known.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes an event. Events of one connection must come in the order in which they were sent.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<Report>) {
        match event {
            Event::Conn(event) => self.update(event, out),
            Event::Data(event, payload) if event.flags & data_flag::HELLO != 0 => {
                if let Some((session, hellos)) = self.hellos.data(event, payload) {
                    self.learn(session, hellos, out);
                }
            }
            Event::Data(event, payload) => {
                self.sequence(event, out);
                self.data(event, payload, out);
            }
            Event::Close(event) => {
                let is_whole = !matches!(event.how, close::SHUT_WRITE | close::PEER_END);
                if self.broken.contains(event.head.conn) && !self.conns.contains(event.head.conn) {
                    // The process lets go of what was told to be over; before that it may shut a direction down.
                    if is_whole {
                        self.broken.remove(event.head.conn);
                    }
                    return;
                }
                if is_whole {
                    self.broken.remove(event.head.conn);
                    self.total(&event.head, out);
                }
                self.close(event, out);
            }
            Event::Process(_)
            | Event::Goroutine(_)
            | Event::Context(_)
            | Event::ThreadContext(_)
            | Event::Task(_)
            | Event::Thread(_) => {}
        }
    }

    /// Whether a connection is known.
    pub fn knows(&self, conn: u64) -> bool {
        self.conns.contains(conn)
    }

    /// Takes what user space found out about a connection by looking at its descriptor. Only the head's `conn`, `tgid`
    /// and `time_ns` are used of the head.
    pub fn update(&mut self, event: &ConnEvent, out: &mut Vec<Report>) {
        let conn = entry(&mut self.conns, &event.head, &mut self.counts, &mut self.sums, out);
        let mut socket = Socket::clone(&conn.socket);
        socket.learn(event);
        if socket.tls && socket.over != 0 {
            socket.hellos = Some(self.hellos.session(socket.over, socket.id));
        }
        if socket != *conn.socket {
            conn.socket = Arc::new(socket);
            conn.reader.identify(&conn.socket);
            out.push(Report::Socket(Arc::clone(&conn.socket)));
        }
    }

    /// More is known of how a session began.
    fn learn(&mut self, session: u64, hellos: Arc<tls::Hellos>, out: &mut Vec<Report>) {
        if let Some(conn) = self.conns.touch(session) {
            conn.socket = Arc::new(conn.socket.with_hellos(Arc::clone(&hellos)));
        }
        out.push(Report::Hellos { conn: session, hellos });
    }

    /// Ends exchanges and connections that were silent for too long at `now_ns`.
    pub fn expire(&mut self, now_ns: u64, out: &mut Vec<Report>) {
        if now_ns < self.expired_ns.saturating_add(EXPIRE_EVERY_NS) {
            return;
        }
        self.expired_ns = now_ns;
        let before_ns = now_ns.saturating_sub(EXPIRE_NS);
        self.conns.for_each(|id, conn| {
            conn.reader.expire(before_ns, &mut conn.notices);
            tell(id, conn, now_ns, out);
        });
        while let Some((_, conn)) = self.conns.oldest()
            && conn.last_ns.saturating_add(IDLE_NS) < now_ns
            && let Some((id, conn)) = self.conns.pop_oldest()
        {
            self.counts.idle += 1;
            let at_ns = conn.last_ns;
            unobserved(id, conn, at_ns, &mut self.sums, out);
        }
    }

    /// No more events will come.
    pub fn finish(&mut self, now_ns: u64, out: &mut Vec<Report>) {
        while let Some((id, conn)) = self.conns.pop_oldest() {
            unobserved(id, conn, now_ns, &mut self.sums, out);
        }
    }

    /// Looks for events that were lost after the last ones of either direction.
    fn total(&mut self, head: &EventHead, out: &mut Vec<Report>) {
        let conn = entry(&mut self.conns, head, &mut self.counts, &mut self.sums, out);
        let ahead = head.seq.wrapping_sub(conn.seqs[0].wrapping_add(conn.seqs[1]));
        if ahead == 0 || ahead > u32::MAX / 2 {
            return;
        }
        self.counts.events_lost += u64::from(ahead);
        // Which direction they were of is told by the bytes.
        conn.streams.iter_mut().for_each(|stream| stream.note_gap(head.time_ns));
        out.push(Report::Lost { tgid: head.tgid, at_ns: head.time_ns });
    }

    /// Looks for gaps before an event.
    fn sequence(&mut self, event: &DataEvent, out: &mut Vec<Report>) {
        let (head, index) = (&event.head, usize::from(event.direction == direction::OUT));
        let conn = entry(&mut self.conns, head, &mut self.counts, &mut self.sums, out);
        let ahead = head.seq.wrapping_sub(conn.seqs[index]);
        if ahead > u32::MAX / 2 {
            self.counts.disorder += 1;
            return;
        }
        conn.seqs[index] = head.seq.wrapping_add(1);
        if ahead > 0 {
            self.counts.events_lost += u64::from(ahead);
            conn.streams[index].note_gap(head.time_ns);
            out.push(Report::Lost { tgid: head.tgid, at_ns: head.time_ns });
        }
    }

    fn data(&mut self, event: &DataEvent, payload: &[u8], out: &mut Vec<Report>) {
        let conn = entry(&mut self.conns, &event.head, &mut self.counts, &mut self.sums, out);
        let was = conn.reader.kind();
        let Conn { streams, reader, notices, socket, .. } = conn;
        let received = event.direction == direction::IN;
        if received {
            let EventHead { conn, time_ns: at_ns, tgid, tid, .. } = event.head;
            out.push(Report::Received { conn, at_ns, tgid, tid });
        }
        let stream = &mut streams[usize::from(!received)];
        let redaction = &self.redaction;
        for (run, bytes, _) in runs(event, payload) {
            let Irregular { lost, disorder } = stream.data(&run, bytes, |stamp, chunk| {
                reader.data(socket, received, stamp, chunk, redaction, notices);
            });
            self.counts.bytes_lost += lost;
            self.counts.disorder += u64::from(disorder);
        }
        self.counts.opaque += u64::from(was != conn.reader.kind() && conn.reader.is_opaque());
        self.counts.http2 += u64::from(was != conn.reader.kind() && conn.reader.is_http2());
        resolve_role(conn, out);
        tell(event.head.conn, conn, event.head.time_ns, out);
    }

    fn close(&mut self, event: &CloseEvent, out: &mut Vec<Report>) {
        let head = &event.head;
        let conn = entry(&mut self.conns, head, &mut self.counts, &mut self.sums, out);
        // What was lost before the end is known only now.
        let stamp =
            Stamp { start_ns: head.time_ns, end_ns: head.time_ns, tgid: head.tgid, tid: head.tid, arrived_ns: None };
        for (received, total) in [(true, event.bytes_in), (false, event.bytes_out)] {
            let stopped = match event.how {
                close::SHUT_WRITE => !received,
                close::PEER_END => received,
                _ => true,
            };
            if !stopped {
                continue;
            }
            let Conn { streams, reader, notices, socket, .. } = &mut *conn;
            self.counts.bytes_lost += streams[usize::from(!received)].end(total, &stamp, |stamp, chunk| {
                reader.data(socket, received, stamp, chunk, &self.redaction, notices);
            });
        }
        conn.peer_ended |= event.how == close::PEER_END;
        if event.tcp != 0 {
            let CloseEvent { srtt_us, min_rtt_us, retransmits, .. } = *event;
            conn.tcp = Some(Tcp { srtt_us, min_rtt_us, retransmits });
        }
        let Conn { reader, notices, socket, .. } = &mut *conn;
        let server = socket.role == Role::Server;
        let (received, sent) =
            if server { (Flow::Requests, Flow::Responses) } else { (Flow::Responses, Flow::Requests) };
        let mut end = |flow, end| reader.end(flow, end, notices);
        let whole = match event.how {
            close::SHUT_WRITE => {
                end(Some(sent), End::Finished);
                None
            }
            close::PEER_END => {
                end(Some(received), End::Finished);
                None
            }
            close::ERROR => {
                end(None, End::Error(event.error));
                Some(End::Error(event.error))
            }
            close::EXITED => {
                end(None, End::Exited);
                Some(End::Exited)
            }
            // What this side sent is complete by its close; what it received may not be.
            _ => {
                end(Some(sent), End::Finished);
                end(None, End::Closed);
                Some(End::Closed)
            }
        };
        tell(head.conn, conn, head.time_ns, out);
        if let Some(end) = whole
            && let Some(conn) = self.conns.remove(head.conn)
        {
            self.counts.closed += 1;
            if matches!(end, End::Error(_)) {
                self.broken.insert(head.conn, ());
            }
            conn.reader.add_counts(&mut self.sums);
            out.push(Report::Closed(closed(&conn, head.time_ns, end)));
        }
    }
}

/// The connection of an event, made if it is not known.
fn entry<'a>(
    conns: &'a mut Lru<Conn>,
    head: &EventHead,
    counts: &mut Counts,
    sums: &mut Sums,
    out: &mut Vec<Report>,
) -> &'a mut Conn {
    if !conns.contains(head.conn) {
        counts.opened += 1;
        let socket = Arc::new(Socket::unknown(head.conn, head.tgid));
        let conn = Conn {
            socket,
            first_ns: head.time_ns,
            last_ns: head.time_ns,
            seqs: [0; 2],
            streams: Default::default(),
            reader: Reader::default(),
            peer_ended: false,
            tcp: None,
            notices: Vec::new(),
        };
        if let Some((id, fallen)) = conns.insert(head.conn, conn) {
            counts.evicted += 1;
            unobserved(id, fallen, head.time_ns, sums, out);
        }
    }
    let conn = conns.touch(head.conn).expect("it was just put in");
    conn.last_ns = conn.last_ns.max(head.time_ns);
    conn
}

/// Takes over the role that the bytes revealed.
fn resolve_role(conn: &mut Conn, out: &mut Vec<Report>) {
    if conn.socket.role == Role::Unknown
        && let Some(role) = conn.reader.role()
    {
        conn.socket = Arc::new(Socket { role, ..Socket::clone(&conn.socket) });
        out.push(Report::Socket(Arc::clone(&conn.socket)));
    }
}

fn tell(id: u64, conn: &mut Conn, at_ns: u64, out: &mut Vec<Report>) {
    out.extend(conn.notices.drain(..).map(|notice| Report::Notice { conn: id, at_ns, notice }));
}

/// A connection is not looked at any more.
fn unobserved(id: u64, mut conn: Conn, at_ns: u64, sums: &mut Sums, out: &mut Vec<Report>) {
    conn.reader.end(None, End::Unobserved, &mut conn.notices);
    tell(id, &mut conn, at_ns, out);
    conn.reader.add_counts(sums);
    out.push(Report::Closed(closed(&conn, at_ns, End::Unobserved)));
}

fn closed(conn: &Conn, at_ns: u64, end: End) -> Closed {
    let [received, sent] = &conn.streams;
    Closed {
        socket: Arc::clone(&conn.socket),
        at_ns,
        end,
        peer_ended: conn.peer_ended,
        lifetime_ns: at_ns.saturating_sub(conn.first_ns),
        bytes_in: received.bytes(),
        bytes_out: sent.bytes(),
        tcp: conn.tcp,
    }
}
