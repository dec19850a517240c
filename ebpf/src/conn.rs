//! The connection table: which connection a call is about, and what is known of it.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns};
use netspan_ebpf::{CloseEvent, ConnEvent, EventHead, FdKey, close, counter, family, kind, known, origin};

use crate::{
    context,
    emit::{count, row, send},
    filter::ports_pass,
    kernel::{NO_PATH, Path},
    maps::{CONNS, ESTABLISHED, FDS, FdEntry, PROCESSES, SOCKS},
    scratch::Cell,
    tls::layer,
};

/// Which bytes of one direction are copied; `walk` has the transitions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Way {
    /// Bytes moved since the connection was first seen.
    pub pos: u64,
    /// Bytes left of what is skipped or copied; in a head, the body's length as far as the head told it; in a frame's
    /// head its bytes so far.
    pub left: u64,
    /// Bytes of the present head so far.
    pub head: u32,
    /// Size of a chunk as far as it was read; in HTTP/2 bytes left of the present gRPC message.
    pub chunk: u32,
    /// In HTTP/2: bytes of the present frame that come after what is skipped.
    pub frame: u32,
    /// In HTTP/2: the stream of the present `DATA` frame, or of the last one.
    pub stream: u32,
    /// Status of the present response, or 0.
    pub status: u16,
    /// One of `walk::mode`.
    pub mode: u8,
    /// Mode after what is skipped.
    pub next: u8,
    /// Bits of `walk::way`.
    pub flags: u8,
    /// One of `walk::line`: what of the present line was in earlier bytes.
    pub line: u8,
    /// One of `walk::spell`: what the present line spells, of which a part was in earlier bytes.
    pub spell: u8,
    /// How much of it; in HTTP/2 how many bytes of a frame's or message's head were read.
    pub spelled: u8,
}

impl Way {
    /// Takes over what another one holds, word by word: for an assignment the compiler calls a function that moves bytes
    /// one at a time.
    #[inline(always)]
    pub fn set(&mut self, other: &Self) {
        const WORDS: usize = size_of::<Way>() / 8;
        const _: () = assert!(size_of::<Way>() == 8 * WORDS && align_of::<Way>() == 8);
        let (to, from) = (core::ptr::from_mut(self).cast::<u64>(), core::ptr::from_ref(other).cast::<u64>());
        let mut n = 0;
        while n < WORDS {
            // SAFETY: both are of that many words, without padding, and all bit patterns are valid.
            unsafe { to.add(n).write_volatile(from.add(n).read_volatile()) };
            n += 1;
        }
    }
}

/// What a connection speaks, as far as copying goes.
pub mod class {
    /// Nothing was recognised yet.
    pub const UNKNOWN: u8 = 0;
    /// HTTP/1.
    pub const HTTP1: u8 = 1;
    /// No protocol of ours: bytes are counted only.
    pub const OPAQUE: u8 = 2;
    /// HTTP/2.
    pub const HTTP2: u8 = 3;
    /// HTTP/1 handed it to another protocol (101): HTTP/2, or one that is not ours.
    pub const SWITCHED: u8 = 4;
}

/// Bits of [`Conn::flags`].
pub mod flag {
    /// Something became known since the last event that tells it.
    pub const CHANGED: u8 = 1;
    /// An event told the connection's end.
    pub const ENDED: u8 = 2;
    /// The process is closing its last descriptor.
    pub const CLOSING: u8 = 4;
    /// The process shut its sending side down.
    pub const SHUT: u8 = 8;
    /// The peer reset the connection; its end is told when the process closes it.
    pub const RESET: u8 = 16;
    /// TCP is done with the connection, which the process had shut down; what came before may still be read. Its end is
    /// told when the process closes it.
    pub const DONE: u8 = 32;
}

/// A connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Conn {
    /// Id in events.
    pub id: u64,
    /// Cookie, or 0.
    pub cookie: u64,
    /// Socket, or 0.
    pub sock: u64,
    /// See [`ConnEvent`].
    pub syn_ns: u64,
    /// See [`ConnEvent`].
    pub established_ns: u64,
    /// See [`ConnEvent`].
    pub accepted_ns: u64,
    /// See [`ConnEvent`].
    pub local: [u8; 16],
    /// See [`ConnEvent`].
    pub peer: [u8; 16],
    /// See [`ConnEvent`].
    pub local_port: u16,
    /// See [`ConnEvent`].
    pub peer_port: u16,
    /// See [`ConnEvent`].
    pub fd: i32,
    /// See [`ConnEvent`].
    pub listen_fd: i32,
    /// Process that last used it.
    pub tgid: u32,
    /// Ordinals of the next `DATA` events, received and sent.
    pub seqs: [u32; 2],
    /// Descriptors known to stand for it.
    pub refs: u32,
    /// Generation of `port_verdict`.
    pub port_generation: u32,
    /// See [`ConnEvent`].
    pub netns: u32,
    /// Generation of the filters by which the process `tgid` is seen.
    pub generation: u32,
    /// Requests begun, and final responses begun.
    pub requests: u32,
    /// See `requests`.
    pub responses: u32,
    /// Calls whose bytes were not recognised.
    pub misses: u32,
    /// Bit `n % 64`: request `n` was a HEAD, so that its response has no body.
    pub bodiless: u64,
    /// Bit `n % 64`: request `n` was a CONNECT.
    pub tunnels: u64,
    /// See [`ConnEvent`].
    pub role: u8,
    /// See [`ConnEvent`].
    pub family: u8,
    /// See [`ConnEvent`].
    pub origin: u8,
    /// See [`ConnEvent`].
    pub known: u8,
    /// One of [`class`].
    pub class: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// 1 where the rules by port let it pass.
    pub port_verdict: u8,
    /// Bit `n`: since the last bytes of direction `n` a message began in the other direction.
    pub turned: u8,
    /// When unread data first arrived, or 0.
    pub arrived_ns: u64,
    /// When the present sending call was entered, where its return does not tell.
    pub sending_ns: u64,
    /// Id of the connection that carries this session, or 0.
    pub over: u64,
    /// For a session the key of the connection that carries it, for that one the key of its session, or 0.
    pub other: u64,
    /// Received, and sent.
    pub ways: [Way; 2],
    /// One of `tls::layer`.
    pub tls: u8,
    /// Calls in which the session of a socket was looked for.
    pub tries: u8,
    /// See `tls::rustls::RUSTLS`.
    pub halves: u8,
    /// Calls in which records of rustls were looked for since the last one was found.
    pub looks: u8,
    /// How far the bytes of a direction that carries TLS are copied, from its first one on; 0: not at all.
    pub hellos: [u16; 2],
    /// Bits of `tls::ktls`: which of the socket's bytes the kernel encrypts.
    pub ktls: u8,
    /// Bit `n`: `bases[n]` is known.
    pub based: u8,
    /// Requests whose thread's context was looked at, modulo 256.
    pub told: u8,
    /// Explicit padding.
    pub pad: [u8; 5],
    /// See [`ConnEvent`].
    pub sequences: [u32; 2],
    /// Sequence numbers of the bytes at position 0, received and sent.
    pub bases: [u32; 2],
}

/// Addresses of a socket as an event of the kernel tells them.
pub struct Addresses {
    /// Socket.
    pub sock: u64,
    /// Cookie, or 0.
    pub cookie: u64,
    /// Local address.
    pub local: [u8; 16],
    /// Peer's.
    pub peer: [u8; 16],
    /// Local port.
    pub local_port: u16,
    /// Peer's.
    pub peer_port: u16,
    /// One of [`family`].
    pub family: u8,
}

/// Makes a connection; its key is its id. The caller fills in what it knows and enters it under its descriptor.
#[inline(always)]
pub fn create(tgid: u32, fd: i32, role: u8, family: u8, origin: u8) -> Option<(u64, &'static mut Conn)> {
    create_as(0, tgid, fd, role, family, origin)
}

/// Makes a connection with a key, or with its id as the key for 0.
#[inline(always)]
pub fn create_as(key: u64, tgid: u32, fd: i32, role: u8, family: u8, origin: u8) -> Option<(u64, &'static mut Conn)> {
    let mut cell = Cell::take()?;
    let id = cell.number();
    let blank = &raw mut cell.blank;
    // SAFETY: the cell's own connection; all bit patterns are valid.
    let blank = unsafe {
        core::ptr::write_bytes(blank, 0, 1);
        &mut *blank
    };
    blank.id = id;
    blank.tgid = tgid;
    blank.fd = fd;
    blank.listen_fd = -1;
    blank.role = role;
    blank.family = family;
    blank.origin = origin;
    blank.flags = flag::CHANGED;
    blank.refs = 1;
    let key = if key == 0 { id } else { key };
    // By reference: a copy of it would fill the stack.
    let blank: &Conn = blank;
    if CONNS.insert(key, blank, 0).is_err() {
        count(counter::CONN_FULL, 1);
        return None;
    }
    get(key).map(|conn| (key, conn))
}

/// The connection with a key.
#[inline(always)]
pub fn get(key: u64) -> Option<&'static mut Conn> {
    // SAFETY: a map value lives as long as the program runs; calls on one connection from two CPUs at once may race on
    // its counters, which the application's own two concurrent calls on one socket do as well.
    CONNS.get_ptr_mut(key).map(|conn| unsafe { &mut *conn })
}

/// Enters a descriptor.
#[inline(always)]
pub fn tie(tgid: u32, fd: i32, key: u64, sock: u64) {
    if FDS.insert(FdKey { tgid, fd }, FdEntry { key, sock }, 0).is_err() {
        count(counter::FD_FULL, 1);
    }
    if key > crate::maps::fd::LAST
        && let Some(process) = PROCESSES.get_ptr_mut(tgid)
    {
        // SAFETY: a map value.
        unsafe { (*process).tied = 1 };
    }
}

/// Fills in addresses, and remembers the socket.
#[inline(always)]
pub fn identify(key: u64, conn: &mut Conn, addresses: &Addresses) {
    conn.sock = addresses.sock;
    conn.family = addresses.family;
    conn.local = addresses.local;
    conn.local_port = addresses.local_port;
    conn.peer = addresses.peer;
    conn.peer_port = addresses.peer_port;
    conn.known |= known::SOCKET | known::PEER;
    if addresses.local_port != 0 {
        conn.known |= known::LOCAL;
    }
    if addresses.cookie != 0 {
        conn.cookie = addresses.cookie;
        conn.known |= known::COOKIE;
    }
    conn.flags |= flag::CHANGED;
    conn.port_generation = 0;
    if conn.established_ns == 0 {
        // SAFETY: the value is copied at once.
        if let Some(&at) = unsafe { ESTABLISHED.get(addresses.sock) } {
            conn.established_ns = at;
            let _ = ESTABLISHED.remove(addresses.sock);
        }
    }
    if SOCKS.insert(addresses.sock, key, 0).is_err() {
        count(counter::SOCK_FULL, 1);
    }
}

/// The ordinal of the next `DATA` event of a direction. It is used up whether or not the event is delivered.
#[inline(always)]
pub fn ordinal(conn: &mut Conn, index: usize) -> u32 {
    let seq = conn.seqs[index & 1];
    conn.seqs[index & 1] = seq.wrapping_add(1);
    seq
}

/// The head of an event of a connection.
#[inline(always)]
pub fn head(conn: &Conn, kind: u16, seq: u32, time_ns: u64, pid_tgid: u64) -> EventHead {
    EventHead { time_ns, conn: conn.id, seq, tgid: (pid_tgid >> 32) as u32, tid: pid_tgid as u32, kind, _pad: 0 }
}

/// Which ring a connection's events go to.
#[inline(always)]
pub fn shard(id: u64) -> u64 {
    id >> 15 ^ id
}

/// Tells what is known of a connection, if that changed.
#[inline(always)]
pub fn announce(conn: &mut Conn, pid_tgid: u64) {
    if conn.flags & flag::CHANGED == 0 {
        return;
    }
    conn.flags &= !flag::CHANGED;
    // SAFETY: a helper without pointers.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let head = head(conn, kind::CONN, 0, now, pid_tgid);
    let Some(mut cell) = Cell::take() else { return };
    // Field by field: old kernels have no stack for a copy.
    let told = &mut cell.told;
    told.head = head;
    told.cookie = conn.cookie;
    told.sock = conn.sock;
    told.syn_ns = conn.syn_ns;
    told.established_ns = conn.established_ns;
    told.accepted_ns = conn.accepted_ns;
    told.local = conn.local;
    told.peer = conn.peer;
    told.local_port = conn.local_port;
    told.peer_port = conn.peer_port;
    told.fd = conn.fd;
    told.listen_fd = conn.listen_fd;
    told.role = conn.role;
    told.family = conn.family;
    told.origin = conn.origin;
    told.known = conn.known;
    told.netns = conn.netns;
    told.over = conn.over;
    told.tls = u8::from(conn.tls == layer::SESSION);
    told._pad = [0; 3];
    told.sequences = conn.sequences;
    // The agent has to look at a descriptor before it is closed; that of a session is looked at as its socket's.
    let unaddressed = conn.known & known::PEER == 0;
    let is_inet = conn.family == family::INET || conn.family == family::INET6;
    let urgent = conn.known & known::SOCKET == 0 || unaddressed && (conn.origin == origin::FOUND || !is_inet);
    // SAFETY: the cell's own event, of that size.
    unsafe { send(row(cell.slot()), shard(conn.id), (&raw const cell.told).cast(), size_of::<ConnEvent>(), urgent) };
}

/// Tells of a client's connection when it is made: the first call may return after its answer was seen at the other end,
/// which has to know that this is the one.
#[inline(always)]
pub fn announce_made(conn: &mut Conn) {
    if ports_pass(conn) {
        announce(conn, owner(conn));
    }
}

/// The thread that runs, where it is of the connection's process: an interrupt's may be any.
#[inline(always)]
pub fn owner(conn: &Conn) -> u64 {
    let pid_tgid = bpf_get_current_pid_tgid();
    if conn.tgid == (pid_tgid >> 32) as u32 { pid_tgid } else { u64::from(conn.tgid) << 32 }
}

/// Tells a connection's end, or that of one direction.
#[inline(always)]
pub fn end(conn: &mut Conn, how: u8, error: i32, pid_tgid: u64) {
    end_with(conn, how, error, pid_tgid, &NO_PATH);
}

/// Tells a connection's end, with what TCP knows of the path.
#[inline(always)]
pub fn end_with(conn: &mut Conn, how: u8, error: i32, pid_tgid: u64, path: &Path) {
    announce(conn, pid_tgid);
    // Who ends its side may still wait for an answer.
    if context::is_on() && how != close::PEER_END {
        context::context_over(conn.id);
    }
    // SAFETY: a helper without pointers.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let head = head(conn, kind::CLOSE, conn.seqs[0].wrapping_add(conn.seqs[1]), now, pid_tgid);
    let Some(mut cell) = Cell::take() else { return };
    cell.ended = CloseEvent {
        head,
        bytes_in: conn.ways[0].pos,
        bytes_out: conn.ways[1].pos,
        error,
        srtt_us: path.srtt_us,
        min_rtt_us: path.min_rtt_us,
        retransmits: path.retransmits,
        how,
        tcp: path.known,
        _pad: [0; 6],
    };
    // SAFETY: the cell's own event, of that size.
    unsafe { send(row(cell.slot()), shard(conn.id), (&raw const cell.ended).cast(), size_of::<CloseEvent>(), false) };
}

/// Forgets a connection.
#[inline(always)]
pub fn forget(key: u64, conn: &Conn) {
    if conn.other != 0 {
        conn_part(conn.other, key);
    }
    // By now the number may be another connection's.
    // SAFETY: the value is copied at once.
    if conn.sock != 0 && unsafe { SOCKS.get(conn.sock) }.copied() == Some(key) {
        let _ = SOCKS.remove(conn.sock);
    }
    let _ = CONNS.remove(key);
}

/// What carried a session (`from`), or the session that was carried, is forgotten. A session ends with its socket. Global:
/// the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn conn_part(key: u64, from: u64) -> u32 {
    let Some(conn) = get(key) else { return 0 };
    if conn.other != from {
        // By now the socket carries another process's session.
        return 0;
    }
    conn.other = 0;
    if conn.tls == layer::SESSION {
        if conn.flags & flag::ENDED == 0 && (conn.seqs[0] != 0 || conn.seqs[1] != 0) {
            conn.flags |= flag::ENDED;
            end(conn, close::CLOSED, 0, u64::from(conn.tgid) << 32);
        }
        let _ = CONNS.remove(key);
    } else {
        conn.tls = layer::CARRIER;
        conn.tries = 0;
    }
    0
}
