//! Which request a call is made for, as far as the kernel side can be sure of it, and what another host is told of that
//! (`--propagate tcp-option`). `sockops` puts it into segments and takes it out of them; nothing here sees a packet.
//!
//! A call's trace is that of the request which its process is at: the only one that is open, or the only one that the calling
//! thread read, in a process whose threads never hold two. What is less sure than that is not told. These are the linker's
//! rules for `exclusive` and `thread`, without what only the future shows.

use core::ptr::read_volatile;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_boot_ns};
use netspan_ebpf::{
    ContextEvent, counter,
    id::{number, purpose},
    kind,
    option::SEGMENTS_MAX,
    role,
};

use crate::{
    conn::{Conn, class, get, head, shard},
    emit::{SHARED, add, count, send},
    maps::{AT_WORK, OPEN_REQUESTS, PEERS, PROPAGATE, SEED, constant},
    scratch::cell_at,
    tls::layer,
    user,
    walk::begins_request,
};

/// A socket whose peer may know the option. The client's end has what it sends, the server's what it got.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Peer {
    /// Trace id, in the order of the wire.
    pub trace: [u64; 2],
    /// Span id, likewise.
    pub span: u64,
    /// 1: the peer answered the offer.
    pub ready: u32,
    /// Segments that are yet to carry it.
    pub left: u32,
    /// 1: the request was counted as sent.
    pub counted: u32,
    /// 1: it came, and no request has taken it.
    pub fresh: u32,
}

impl Peer {
    /// Of which nothing is known.
    pub const UNKNOWN: Self = Self { trace: [0; 2], span: 0, ready: 0, left: 0, counted: 0, fresh: 0 };
}

/// The request that a connection waits to have answered.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenRequest {
    /// Its trace id, in the order of the wire.
    pub trace: [u64; 2],
    /// The thread that read it (`pid_tgid`), or 0 where none is open.
    pub reader: u64,
    /// [`Conn::requests`] and [`Conn::responses`] when this was written.
    pub requests: u32,
    /// See `requests`.
    pub responses: u32,
}

/// The open requests of a thread, or of a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AtWork {
    /// Changes begun.
    begun: u64,
    /// Changes done: where this is another number, what is here may be half of one.
    done: u64,
    /// How many are open.
    open: u64,
    /// The sum of their trace ids, by word: of one open request its id.
    trace: [u64; 2],
    /// 1, of a process: a thread has held two requests at once.
    crowded: u64,
}

/// What a call is made for.
enum Cause {
    /// For a request with this trace.
    Request([u64; 2]),
    /// For none: it begins a trace.
    None,
    /// There is more than one that it may be made for.
    Unsure,
}

/// The key of a process in [`AT_WORK`].
#[inline(always)]
fn process(pid_tgid: u64) -> u64 {
    pid_tgid >> 32 << 32
}

/// Adds a request (`by` 1), or takes it away (`by` -1). Gives how many are open then.
#[inline(always)]
fn change(key: u64, trace: [u64; 2], by: i64) -> u64 {
    let Some(work) = AT_WORK.get_ptr_mut(key) else {
        if by > 0 {
            let work = AtWork { begun: 0, done: 0, open: 1, trace, crowded: 0 };
            // Where another thread was first, this request is left out: it is then one of too many, at worst.
            let _ = AT_WORK.insert(key, work, u64::from(BPF_NOEXIST));
        }
        return 1;
    };
    let sign = |word: u64| if by > 0 { word } else { word.wrapping_neg() };
    // SAFETY: fields of a map value, aligned to eight bytes.
    unsafe {
        add(&raw mut (*work).begun, 1);
        add(&raw mut (*work).trace[0], sign(trace[0]));
        add(&raw mut (*work).trace[1], sign(trace[1]));
        add(&raw mut (*work).open, sign(1));
        add(&raw mut (*work).done, 1);
        read_volatile(&raw const (*work).open)
    }
}

/// What a thread or process is at, if nobody is changing it.
#[inline(always)]
fn steady(key: u64) -> Option<(u64, [u64; 2], u64)> {
    let work = AT_WORK.get_ptr(key)?;
    // SAFETY: fields of a map value; what is read while it changes is not used.
    unsafe {
        let done = read_volatile(&raw const (*work).done);
        let open = read_volatile(&raw const (*work).open);
        let trace = [read_volatile(&raw const (*work).trace[0]), read_volatile(&raw const (*work).trace[1])];
        let crowded = read_volatile(&raw const (*work).crowded);
        let is_steady = read_volatile(&raw const (*work).begun) == done;
        // More than can be: it did not add up.
        Some(if is_steady && open < u64::from(u32::MAX) { (open, trace, crowded) } else { (2, trace, 1) })
    }
}

/// What a call of the current thread is made for.
#[inline(always)]
fn cause(pid_tgid: u64) -> Cause {
    match steady(process(pid_tgid)) {
        None | Some((0, ..)) => Cause::None,
        Some((1, trace, _)) => Cause::Request(trace),
        Some((_, _, 0)) => match steady(pid_tgid) {
            Some((1, trace, _)) => Cause::Request(trace),
            _ => Cause::Unsure,
        },
        Some(_) => Cause::Unsure,
    }
}

/// A number as it lies on the wire.
#[inline(always)]
fn wire(conn: u64, ordinal: u32, purpose: u64) -> u64 {
    number(constant(&SEED), conn, u64::from(ordinal), purpose).to_be()
}

/// The id of the trace that a request begins.
#[inline(always)]
fn own_trace(conn: u64, ordinal: u32) -> [u64; 2] {
    [wire(conn, ordinal, purpose::TRACE_HIGH), wire(conn, ordinal, purpose::TRACE_LOW)]
}

/// A call was walked over: takes note of a request that begins in it, or of an answer. Global: it has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn context_walked(slot: u32) -> u32 {
    let Some(scratch) = cell_at(slot) else { return 0 };
    let pid_tgid = scratch.work.pid_tgid();
    let Some(conn) = get(scratch.work.key()) else { return 0 };
    if conn.role != role::SERVER || conn.class != class::HTTP1 {
        return 0;
    }
    let (requests, responses) = (conn.requests, conn.responses);
    if let Some(open) = OPEN_REQUESTS.get_ptr(conn.id) {
        // SAFETY: a map value.
        let open = unsafe { &*open };
        if open.requests == requests && open.responses == responses {
            return 0;
        }
        context_over(conn.id);
    }
    if requests == responses {
        return 0;
    }
    let ordinal = requests.wrapping_sub(1);
    let trace = match received(conn, ordinal, pid_tgid) {
        Some(trace) => trace,
        None => own_trace(conn.id, ordinal),
    };
    let open = OpenRequest { trace, reader: pid_tgid, requests, responses };
    if OPEN_REQUESTS.insert(conn.id, open, 0).is_err() {
        return 0;
    }
    change(process(pid_tgid), trace, 1);
    if change(pid_tgid, trace, 1) > 1
        && let Some(work) = AT_WORK.get_ptr_mut(process(pid_tgid))
    {
        // SAFETY: a map value; all write the same.
        unsafe { (*work).crowded = 1 };
    }
    0
}

/// No request of a connection is open any more. Global: it is called from many places.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn context_over(conn: u64) -> u32 {
    // SAFETY: the value is copied at once.
    let Some(open) = (unsafe { OPEN_REQUESTS.get(conn) }).copied() else { return 0 };
    if OPEN_REQUESTS.remove(conn).is_ok() {
        change(process(open.reader), open.trace, -1);
        change(open.reader, open.trace, -1);
    }
    0
}

/// The connection whose socket carries this one's bytes.
#[inline(always)]
fn socket_of(conn: &Conn) -> Option<u64> {
    let sock = if conn.tls == layer::SESSION { get(conn.other)?.sock } else { conn.sock };
    if sock == 0 { None } else { Some(sock) }
}

/// What came with a request, which the agent is told. Gives the trace.
#[inline(always)]
fn received(conn: &Conn, ordinal: u32, pid_tgid: u64) -> Option<[u64; 2]> {
    let peer = PEERS.get_ptr_mut(socket_of(conn)?)?;
    // SAFETY: a map value. A segment that comes at this moment is of the same request, or comes after it was answered.
    let peer = unsafe { &mut *peer };
    if peer.fresh == 0 {
        return None;
    }
    peer.fresh = 0;
    count(counter::OPTION_RECEIVED, 1);
    // SAFETY: a helper without pointers; integers of the same size.
    let (now, trace, span) = unsafe {
        (bpf_ktime_get_boot_ns(), core::mem::transmute::<[u64; 2], [u8; 16]>(peer.trace), peer.span.to_ne_bytes())
    };
    let event =
        ContextEvent { head: head(conn, kind::CONTEXT, 0, now, pid_tgid), ordinal: u64::from(ordinal), trace, span };
    // SAFETY: a local of that size.
    unsafe {
        send(SHARED, shard(conn.id), core::ptr::from_ref(&event).cast(), size_of::<ContextEvent>(), false);
    }
    Some(peer.trace)
}

/// The current thread is about to send on a connection: what its segments are to carry, if a request begins with it. `lead` is
/// where the bytes are, or 0 where that is not known. Global: it has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn context_sending(key: u64, pid_tgid: u64, lead: u64) -> u32 {
    let Some(carrier) = get(key) else { return 0 };
    if carrier.role != role::CLIENT || carrier.sock == 0 {
        return 0;
    }
    let Some(peer) = PEERS.get_ptr_mut(carrier.sock) else { return 0 };
    // SAFETY: a map value, which only the thread that sends writes from here on.
    let peer = unsafe { &mut *peer };
    if peer.ready == 0 {
        return 0;
    }
    let speaker = match carrier.tls {
        layer::CARRIES => match get(carrier.other) {
            Some(session) => session,
            None => return 0,
        },
        // SAFETY: integers.
        layer::NONE if lead != 0 => match unsafe { user::read::<[u8; 8]>(lead) } {
            Some(bytes) if begins_request(&bytes) => carrier,
            _ => return 0,
        },
        _ => return 0,
    };
    let begins = speaker.requests == speaker.responses;
    if !begins || speaker.class != class::UNKNOWN && speaker.class != class::HTTP1 {
        return 0;
    }
    let (conn, ordinal) = (speaker.id, speaker.requests);
    peer.left = 0;
    let trace = match cause(pid_tgid) {
        Cause::Request(trace) => trace,
        Cause::None => own_trace(conn, ordinal),
        Cause::Unsure => {
            count(counter::OPTION_UNSURE, 1);
            return 0;
        }
    };
    peer.trace = trace;
    peer.span = wire(conn, ordinal, purpose::SPAN);
    peer.counted = 0;
    peer.left = SEGMENTS_MAX;
    0
}

/// Whether requests are told to other hosts.
#[inline(always)]
pub fn is_on() -> bool {
    constant(&PROPAGATE) != 0
}
