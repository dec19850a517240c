//! Plays dialogues between processes as events of the kernel side, and runs the pipeline on them. Time is a counter: each
//! call takes [`CALL_NS`], and [`STEP_NS`] lie between the entries of two calls.

use netspan::{
    capture::event::Event,
    conn::Tcp,
    host::{Identities, Identity},
    link,
    pipeline::{Filter, Options, Pipeline},
    span::{Resource, Span},
};
use netspan_ebpf::{
    CloseEvent, ConnEvent, ContextEvent, DataEvent, EventHead, GoroutineEvent, ProcessEvent, TaskEvent, TaskId,
    ThreadEvent, close, data_flag, direction, family, kind, known, origin, role,
};
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

/// From entering a call to its return.
pub const CALL_NS: u64 = 400;
/// From entering a call to entering the next one.
pub const STEP_NS: u64 = 1000;
/// When a play begins.
pub const BEGIN_NS: u64 = 1_000_000;
/// Clock offset of the plays: Unix times are boot times plus this.
pub const OFFSET_NS: u64 = 1_000_000_000_000;

/// An address and a port.
pub type Place = ([u8; 4], u16);

/// One end of a connection in a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End(pub u64);

/// What is known of an end while the play goes on.
struct State {
    event: ConnEvent,
    tgid: u32,
    seqs: [u32; 2],
    pos: [u64; 2],
}

/// A play: events in the order of their times.
pub struct Play {
    pub now: u64,
    events: Vec<Vec<u8>>,
    states: HashMap<End, State>,
    services: HashMap<u32, &'static str>,
    next_id: u64,
    next_port: u16,
}

impl Play {
    pub fn new() -> Self {
        Self {
            now: BEGIN_NS,
            events: Vec::new(),
            states: HashMap::new(),
            services: HashMap::new(),
            next_id: 1,
            next_port: 40_000,
        }
    }

    /// Names a process.
    pub fn process(&mut self, tgid: u32, service: &'static str) -> u32 {
        self.services.insert(tgid, service);
        tgid
    }

    /// A process accepts a connection from another host.
    pub fn accept(&mut self, tgid: u32) -> End {
        let (local, peer) = (([10, 0, 0, 1], 80), ([192, 0, 2, 7], self.port()));
        self.open(tgid, role::SERVER, origin::ACCEPT, Some((local, peer)))
    }

    /// A process connects to another host.
    pub fn connect(&mut self, tgid: u32) -> End {
        let (local, peer) = (([10, 0, 0, 1], self.port()), ([192, 0, 2, 80], 8080));
        self.open(tgid, role::CLIENT, origin::CONNECT, Some((local, peer)))
    }

    /// One process connects to another: the client's end and the server's.
    pub fn pair(&mut self, client: u32, server: u32) -> (End, End) {
        let (from, to) = (([127, 0, 0, 1], self.port()), ([127, 0, 0, 1], 8000));
        let client = self.open(client, role::CLIENT, origin::CONNECT, Some((from, to)));
        let server = self.open(server, role::SERVER, origin::ACCEPT, Some((to, from)));
        (client, server)
    }

    /// The same, over a connection that is older than the agent and of which nothing but the addresses is known.
    pub fn found_pair(&mut self, client: u32, server: u32) -> (End, End) {
        let (from, to) = (([127, 0, 0, 1], self.port()), ([127, 0, 0, 1], 8000));
        let client = self.open(client, role::UNKNOWN, origin::FOUND, Some((from, to)));
        let server = self.open(server, role::UNKNOWN, origin::FOUND, Some((to, from)));
        (client, server)
    }

    /// A connection with any role, origin and (perhaps) addresses.
    pub fn open(&mut self, tgid: u32, role: u8, origin: u8, ends: Option<(Place, Place)>) -> End {
        let end = End(self.next_id);
        self.next_id += 1;
        let begun = self.now;
        self.now += STEP_NS;
        let timed = origin != origin::FOUND;
        let mut event = ConnEvent {
            role,
            origin,
            family: family::INET,
            fd: 5,
            listen_fd: -1,
            syn_ns: if timed { begun } else { 0 },
            established_ns: if timed { begun + 100 } else { 0 },
            accepted_ns: if origin == origin::ACCEPT { begun + 300 } else { 0 },
            known: known::SOCKET,
            ..ConnEvent::default()
        };
        address(&mut event, ends);
        self.states.insert(end, State { event, tgid, seqs: [0; 2], pos: [0; 2] });
        self.announce(end);
        end
    }

    /// A session of TLS over an end, from its beginning: what is told of it is told of its socket.
    pub fn session(&mut self, over: End, role: u8) -> End {
        let end = End(self.next_id);
        self.next_id += 1;
        let State { event, tgid, .. } = &self.states[&over];
        let event = ConnEvent { role, origin: origin::SESSION, tls: 1, over: over.0, ..*event };
        self.states.insert(end, State { event, tgid: *tgid, seqs: [0; 2], pos: [0; 2] });
        self.announce(end);
        end
    }

    /// A hello of TLS moves on a connection that carries it.
    pub fn hello(&mut self, end: End, direction: u8, bytes: &[u8]) {
        let start_ns = self.now;
        self.now += STEP_NS;
        let head = self.head(end, 0, kind::DATA, start_ns + CALL_NS);
        let pos = &mut self.states.get_mut(&end).expect("an end of this play").pos[usize::from(direction)];
        let len = bytes.len() as u32;
        let flags = data_flag::HELLO;
        let event = DataEvent { head, start_ns, pos: *pos, len, copied: len, direction, flags, ..DataEvent::default() };
        *pos += u64::from(len);
        self.push(&Event::Data(event, bytes));
    }

    /// The addresses of an end become known.
    pub fn addresses(&mut self, end: End, local: Place, peer: Place) {
        let state = self.states.get_mut(&end).expect("an end of this play");
        address(&mut state.event, Some((local, peer)));
        self.announce(end);
    }

    fn announce(&mut self, end: End) {
        let head = self.head(end, 0, kind::CONN, self.now);
        let event = ConnEvent { head, ..self.states[&end].event };
        self.push(&Event::Conn(event));
    }

    /// The thread sends bytes, and after them so many of a body that is not copied.
    pub fn send(&mut self, end: End, tid: u32, bytes: &str, body: u32) {
        self.call(end, tid, direction::OUT, bytes.as_bytes(), body, true);
    }

    /// The thread receives bytes, and after them so many of a body that is not copied.
    pub fn receive(&mut self, end: End, tid: u32, bytes: &str, body: u32) {
        self.call(end, tid, direction::IN, bytes.as_bytes(), body, true);
    }

    /// Bytes go from one end to the other: sent by the one's thread, then received by the other's.
    pub fn carry(&mut self, (from, sender): (End, u32), (to, receiver): (End, u32), bytes: &[u8]) {
        self.call(from, sender, direction::OUT, bytes, 0, true);
        self.call(to, receiver, direction::IN, bytes, 0, true);
    }

    /// The thread sends bytes whose event is lost.
    pub fn send_lost(&mut self, end: End, tid: u32, bytes: &str) {
        self.call(end, tid, direction::OUT, bytes.as_bytes(), 0, false);
    }

    /// The thread receives bytes whose event is lost.
    pub fn receive_lost(&mut self, end: End, tid: u32, bytes: &str) {
        self.call(end, tid, direction::IN, bytes.as_bytes(), 0, false);
    }

    fn call(&mut self, end: End, tid: u32, direction: u8, bytes: &[u8], body: u32, delivered: bool) {
        let start_ns = self.now;
        self.now += STEP_NS;
        let mut head = self.head(end, tid, kind::DATA, start_ns + CALL_NS);
        let state = self.states.get_mut(&end).expect("an end of this play");
        let seq = &mut state.seqs[usize::from(direction)];
        head.seq = *seq;
        *seq += 1;
        let pos = &mut state.pos[usize::from(direction)];
        let copied = bytes.len() as u32;
        let len = copied + body;
        let off = if copied == 0 { len } else { 0 };
        let flags = if bytes.windows(6).any(|six| six == b"HTTP/1") { data_flag::START } else { 0 };
        let event = DataEvent { head, start_ns, pos: *pos, arrived_ns: 0, len, off, copied, direction, flags, _pad: 0 };
        *pos += u64::from(len);
        if delivered {
            self.push(&Event::Data(event, bytes));
        }
    }

    /// A GET goes out.
    pub fn ask(&mut self, end: End, tid: u32, path: &str) {
        self.send(end, tid, &get(path, ""), 0);
    }

    /// A GET comes in.
    pub fn hear(&mut self, end: End, tid: u32, path: &str) {
        self.receive(end, tid, &get(path, ""), 0);
    }

    /// A 200 with a body of 10 bytes goes out.
    pub fn answer(&mut self, end: End, tid: u32) {
        self.send(end, tid, OK, 10);
    }

    /// A 200 with a body of 10 bytes comes in.
    pub fn learn(&mut self, end: End, tid: u32) {
        self.receive(end, tid, OK, 10);
    }

    /// A goroutine, made by another one or by one that is not known (0), is at a request of the connection.
    pub fn goroutine(&mut self, end: End, goroutine: u64, parent: u64) {
        let head = self.head(end, 0, kind::GOROUTINE, self.now);
        let role = u64::from(self.states[&end].event.role);
        self.now += STEP_NS;
        self.push(&Event::Goroutine(GoroutineEvent { head, goroutine, parent, site: 77, role }));
    }

    /// A task of asyncio, made by another one and so on, sends next on the connection.
    pub fn task(&mut self, end: End, tasks: &[TaskId]) {
        let head = self.head(end, 0, kind::TASK, self.now + CALL_NS);
        let mut event = TaskEvent { head, start_ns: self.now, ..TaskEvent::default() };
        event.tasks.iter_mut().zip(tasks).for_each(|(into, task)| *into = *task);
        self.push(&Event::Task(event));
    }

    /// A thread makes another one.
    pub fn thread(&mut self, tgid: u32, maker: u32, made: u32) {
        let time_ns = self.tick();
        let head = EventHead { time_ns, conn: 0, seq: 0, tgid, tid: maker, kind: kind::THREAD, _pad: 0 };
        self.push(&Event::Thread(ThreadEvent { head, made, pad: 0 }));
    }

    /// A moment later: the time of what is made then.
    pub fn tick(&mut self) -> u64 {
        self.now += STEP_NS;
        self.now
    }

    /// The request of the connection with that ordinal came with a TCP option: a trace of this byte, a span of that.
    pub fn told(&mut self, end: End, ordinal: u64, trace: u8, span: u8) {
        let head = self.head(end, 0, kind::CONTEXT, self.now);
        self.now += STEP_NS;
        self.push(&Event::Context(ContextEvent { head, ordinal, trace: [trace; 16], span: [span; 8] }));
    }

    /// The thread that made the last call, on this connection, published a trace of this byte and a span of that.
    pub fn publishes(&mut self, end: End, trace: u8, span: u8) {
        let last = self.events.last().expect("a call was made");
        let at_ns = Event::decode(last).expect("an event").head().time_ns;
        let head = self.head(end, 0, kind::THREAD_CONTEXT, at_ns);
        self.push(&Event::ThreadContext(ContextEvent { head, ordinal: 0, trace: [trace; 16], span: [span; 8] }));
    }

    /// The connection ends.
    pub fn end(&mut self, end: End, how: u8, error: i32) {
        let mut head = self.head(end, 0, kind::CLOSE, self.now);
        head.seq = self.states[&end].seqs.iter().sum();
        self.now += STEP_NS;
        let [bytes_in, bytes_out] = self.states[&end].pos;
        self.push(&Event::Close(CloseEvent { head, bytes_in, bytes_out, error, how, ..CloseEvent::default() }));
    }

    /// The process closes the connection, and the kernel tells what TCP measured on it.
    pub fn measured(&mut self, end: End, tcp: Tcp) {
        self.end(end, close::CLOSED, 0);
        let last = self.events.pop().expect("the close");
        let Ok(Event::Close(mut event)) = Event::decode(&last) else { panic!("the close") };
        (event.tcp, event.srtt_us, event.min_rtt_us, event.retransmits) =
            (1, tcp.srtt_us, tcp.min_rtt_us, tcp.retransmits);
        self.push(&Event::Close(event));
    }

    /// The process closes the connection.
    pub fn close(&mut self, end: End) {
        self.end(end, close::CLOSED, 0);
    }

    fn head(&self, end: End, tid: u32, kind: u16, time_ns: u64) -> EventHead {
        let state = self.states.get(&end).expect("an end of this play");
        EventHead { time_ns, conn: end.0, seq: 0, tgid: state.tgid, tid, kind, _pad: 0 }
    }

    fn port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
        self.next_port
    }

    fn push(&mut self, event: &Event<'_>) {
        let mut record = Vec::new();
        event.encode(&mut record);
        self.events.push(record);
    }

    /// The events so far.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.events
    }

    /// A pipeline that knows the processes of this play.
    pub fn pipeline(&self, min_confidence: f64) -> Pipeline<Cast> {
        self.pipeline_for(min_confidence, 1000)
    }

    /// The same, with room for so many connections.
    pub fn pipeline_for(&self, min_confidence: f64, connections: usize) -> Pipeline<Cast> {
        let resource =
            |service: &&'static str| Arc::new(Resource { service: (*service).to_owned(), attributes: Vec::new() });
        let cast = Cast(self.services.iter().map(|(tgid, service)| (*tgid, resource(service))).collect());
        let link = link::Options {
            ids: link::Ids::new([1, 2]),
            clock_offset_ns: OFFSET_NS,
            min_confidence,
            adopt_traces: true,
        };
        let options =
            Options { connections, redaction: Arc::default(), link, filter: Filter::default(), templates: [].into() };
        Pipeline::new(options, cast)
    }

    /// The spans of the play. It is given to the pipeline twice: in the order of time with the watermark close behind, and
    /// connection by connection with the watermark at the end. Both must give the same spans.
    pub fn spans(&self) -> Vec<Arc<Span>> {
        let live = self.run(0.95);
        let mut pipeline = self.pipeline(0.95);
        let mut by_connection: Vec<&Vec<u8>> = self.events.iter().collect();
        by_connection.sort_by_key(|record| Event::decode(record).expect("an event").head().conn);
        for record in by_connection {
            pipeline.record(record).expect("an event");
        }
        pipeline.advance(self.now + 1);
        pipeline.finish();
        let sorted = |mut spans: Vec<Arc<Span>>| {
            spans.sort_by_key(|span| span.span_id);
            spans
        };
        for (ordered, live) in sorted(pipeline.take()).iter().zip(sorted(live.clone())) {
            assert_eq!(*ordered, live, "the order of the rings must not matter");
        }
        live
    }

    /// The spans of the play, with the watermark close behind the events.
    pub fn run(&self, min_confidence: f64) -> Vec<Arc<Span>> {
        self.finished(min_confidence).take()
    }

    /// The pipeline at the end of the play, with the watermark close behind the events.
    pub fn finished(&self, min_confidence: f64) -> Pipeline<Cast> {
        let mut pipeline = self.pipeline(min_confidence);
        for record in &self.events {
            let time_ns = Event::decode(record).expect("an event").head().time_ns;
            pipeline.advance(time_ns);
            pipeline.record(record).expect("an event");
        }
        pipeline.advance(self.now + 1);
        pipeline.finish();
        pipeline
    }
}

/// A response's head that tells a body of 10 bytes.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

/// A request, with more header lines (each ended by CRLF).
pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n{headers}\r\n")
}

fn address(event: &mut ConnEvent, ends: Option<(Place, Place)>) {
    let Some(((local, local_port), (peer, peer_port))) = ends else { return };
    let mapped = |ip: [u8; 4]| SocketAddrV4::new(Ipv4Addr::from(ip), 0).ip().to_ipv6_mapped().octets();
    event.local = mapped(local);
    event.peer = mapped(peer);
    event.local_port = local_port;
    event.peer_port = peer_port;
    event.known |= known::LOCAL | known::PEER;
}

/// The processes of a play.
pub struct Cast(HashMap<u32, Arc<Resource>>);

impl Identities for Cast {
    fn on_process_event(&mut self, _event: &ProcessEvent) {}

    fn identity(&mut self, pid: u32, _at_ns: u64) -> Arc<Identity> {
        Arc::new(Identity { pid, ..Identity::default() })
    }

    fn resource(&mut self, pid: u32, _at_ns: u64) -> Arc<Resource> {
        self.0.get(&pid).cloned().unwrap_or_default()
    }
}
