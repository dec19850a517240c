//! What a linker is told, in the order of the events' times, and the watermark close behind.

use crate::truth::{Place, Score, Truth};
use bytes::Bytes;
use netspan::{
    conn::{Family, Origin, Role, Socket, SocketEnd},
    link::Linker,
    protocol::{Exchange, Request, Response, Size, Stamp, Tokens, Transfer, Version},
    span::Resource,
};
use rustix::time::{ClockId, clock_gettime};
use std::{collections::HashMap, hint::black_box, net::Ipv4Addr, sync::Arc};

/// From one watermark to the next: a turn of the agent at some load.
const TURN_NS: u64 = 10_000_000;
/// From entering a call to its return.
const CALL_NS: u64 = 5_000;

/// An event, as small as can be: what the linker takes is made turn by turn, as it is in the agent.
enum Told {
    Socket(Arc<Socket>),
    Received { conn: u64, tgid: u32, tid: u32 },
    Started { conn: u64, ordinal: u64, first: Stamp },
    Finished { conn: u64, ordinal: u64, path: &'static str, sent: Transfer, last: Stamp },
}

/// The same as the linker takes it.
enum Ready {
    Socket(Arc<Socket>),
    Received { conn: u64, tgid: u32, tid: u32 },
    Started { conn: u64, ordinal: u64, first: Stamp, resource: Arc<Resource> },
    Finished { conn: u64, exchange: Box<Exchange>, resource: Arc<Resource> },
}

/// One end of a connection.
struct End {
    tgid: u32,
    role: Role,
    next: u64,
    /// The request that waits for its answer.
    open: Option<(&'static str, Transfer)>,
}

/// Events of some processes.
#[derive(Default)]
pub struct Feed {
    told: Vec<(u64, Told)>,
    ends: HashMap<u64, End>,
    resources: HashMap<u32, Arc<Resource>>,
    truth: Truth,
}

impl Feed {
    /// Tells it all. Returns the CPU time that the linker took, its threads included, in nanoseconds, and how right it was.
    pub fn tell(mut self, linker: &mut Linker) -> (i64, Score) {
        // Events of one time stay in their order.
        self.told.sort_by_key(|(at_ns, _)| *at_ns);
        let others_ns = || cpu_ns(ClockId::ProcessCPUTime) - cpu_ns(ClockId::ThreadCPUTime);
        let (mut ns, others_began_ns) = (0, others_ns());
        let mut next_ns = self.told.first().map_or(0, |(at_ns, _)| *at_ns) + TURN_NS;
        let mut told = std::mem::take(&mut self.told).into_iter().peekable();
        let mut turn: Vec<(u64, Ready)> = Vec::new();
        while told.peek().is_some() {
            turn.extend(
                std::iter::from_fn(|| told.next_if(|(at_ns, _)| *at_ns < next_ns))
                    .map(|(at_ns, told)| (at_ns, self.ready(told))),
            );
            let began_ns = cpu_ns(ClockId::ThreadCPUTime);
            for (at_ns, ready) in turn.drain(..) {
                match ready {
                    Ready::Socket(socket) => {
                        linker.socket(&socket);
                    }
                    Ready::Received { conn, tgid, tid } => {
                        linker.received(conn, at_ns, tgid, tid);
                    }
                    Ready::Started { conn, ordinal, first, resource } => {
                        linker.started(conn, ordinal, &first, Tokens::default(), resource);
                    }
                    Ready::Finished { conn, exchange, resource } => {
                        linker.finished(conn, exchange, at_ns, resource);
                    }
                }
            }
            linker.advance(next_ns);
            let spans = linker.take();
            ns += cpu_ns(ClockId::ThreadCPUTime) - began_ns;
            for span in black_box(&spans) {
                self.truth.note(span, CALL_NS);
            }
            drop(spans);
            next_ns += TURN_NS;
        }
        linker.finish();
        for span in &linker.take() {
            self.truth.note(span, CALL_NS);
        }
        (ns + others_ns() - others_began_ns, self.truth.score())
    }

    fn ready(&mut self, told: Told) -> Ready {
        match told {
            Told::Socket(socket) => Ready::Socket(socket),
            Told::Received { conn, tgid, tid } => Ready::Received { conn, tgid, tid },
            Told::Started { conn, ordinal, first } => {
                Ready::Started { conn, ordinal, first, resource: self.resource(first.tgid) }
            }
            Told::Finished { conn, ordinal, path, sent, last } => {
                let exchange = Box::new(exchange(ordinal, path, sent, last));
                Ready::Finished { conn, exchange, resource: self.resource(last.tgid) }
            }
        }
    }

    /// A call belongs to a request.
    pub fn belongs(&mut self, call: Place, request: Place) {
        self.truth.belongs(call, request);
    }

    /// A process opens or accepts a connection.
    pub fn open(&mut self, at_ns: u64, tgid: u32, role: Role, (local, peer): (SocketEnd, SocketEnd)) -> u64 {
        let id = self.ends.len() as u64 + 1;
        let address = |([.., a, b, c, d], port): SocketEnd| (Ipv4Addr::new(a, b, c, d), port).into();
        let socket = Socket {
            id,
            tgid,
            role,
            family: Family::Inet,
            origin: if role == Role::Client { Origin::Connect } else { Origin::Accept },
            local: Some(address(local)),
            peer: Some(address(peer)),
            ends: Some((local, peer)),
            netns: 1,
            syn_ns: at_ns,
            established_ns: at_ns + 10,
            accepted_ns: if role == Role::Server { at_ns + 20 } else { 0 },
            ..Socket::default()
        };
        self.told.push((at_ns, Told::Socket(Arc::new(socket))));
        self.ends.insert(id, End { tgid, role, next: 0, open: None });
        id
    }

    fn stamp(&self, conn: u64, at_ns: u64, tid: u32, is_received: bool) -> Stamp {
        let arrived_ns = is_received.then_some(at_ns - 1000);
        Stamp { start_ns: at_ns - CALL_NS, end_ns: at_ns, arrived_ns, tgid: self.ends[&conn].tgid, tid }
    }

    fn resource(&mut self, tgid: u32) -> Arc<Resource> {
        let new = || Arc::new(Resource { service: format!("program-{tgid}"), attributes: Vec::new() });
        Arc::clone(self.resources.entry(tgid).or_insert_with(new))
    }

    fn received(&mut self, conn: u64, at_ns: u64, tid: u32) {
        self.told.push((at_ns, Told::Received { conn, tgid: self.ends[&conn].tgid, tid }));
    }

    /// A request moves: a call that returns at `at_ns`.
    pub fn ask(&mut self, conn: u64, at_ns: u64, tid: u32, path: &'static str) {
        let is_received = self.ends[&conn].role == Role::Server;
        if is_received {
            self.received(conn, at_ns, tid);
        }
        let first = self.stamp(conn, at_ns, tid, is_received);
        let end = self.ends.get_mut(&conn).expect("a connection of this feed");
        end.open = Some((path, Transfer { first, last: first, size: Size { wire: 120, body: 0 } }));
        self.told.push((at_ns, Told::Started { conn, ordinal: end.next, first }));
    }

    /// Its response moves.
    pub fn answer(&mut self, conn: u64, at_ns: u64, tid: u32) {
        let is_received = self.ends[&conn].role == Role::Client;
        if is_received {
            self.received(conn, at_ns, tid);
        }
        let last = self.stamp(conn, at_ns, tid, is_received);
        let end = self.ends.get_mut(&conn).expect("a connection of this feed");
        let (path, sent) = end.open.take().expect("an open request");
        self.told.push((at_ns, Told::Finished { conn, ordinal: end.next, path, sent, last }));
        end.next += 1;
    }
}

/// CPU time so far, in nanoseconds.
fn cpu_ns(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn exchange(ordinal: u64, path: &str, sent: Transfer, last: Stamp) -> Exchange {
    Exchange {
        ordinal,
        offset: Some(ordinal * 120),
        request: Some(request(path)),
        response: Some(response()),
        sent: Some(sent),
        answered: Some(Transfer { first: last, last, size: Size { wire: 800, body: 615 } }),
        informational: None,
        switched: false,
        reset: None,
        rpc: None,
        incomplete: None,
    }
}

/// Kept headers, as a parser keeps them: slices of one buffer.
fn headers(buffer: &Bytes, from: usize, fields: &[(&'static str, &str)]) -> Vec<(Bytes, Bytes)> {
    let mut at = from;
    let field = |(name, value): &(&'static str, &str)| {
        let (start, name) = (at, Bytes::from_static(name.as_bytes()));
        at += value.len();
        (name, buffer.slice(start..at))
    };
    fields.iter().map(field).collect()
}

fn request(path: &str) -> Request {
    let fields = [("host", "shop.example:8080"), ("user-agent", "curl/7.88.1")];
    let buffer = Bytes::from([path, fields[0].1, fields[1].1].concat());
    Request {
        method: Bytes::from_static(b"GET"),
        scheme: None,
        target: buffer.slice(..path.len()),
        version: Version::Http11,
        headers: headers(&buffer, path.len(), &fields),
    }
}

fn response() -> Response {
    let fields = [
        ("server", "nginx/1.22.1"),
        ("content-type", "text/html"),
        ("content-length", "615"),
        ("connection", "keep-alive"),
    ];
    let buffer = Bytes::from(fields.map(|(_, value)| value).concat());
    Response { status: 200, version: Version::Http11, headers: headers(&buffer, 0, &fields) }
}
