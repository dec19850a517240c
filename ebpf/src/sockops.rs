//! The TCP option that tells another host whose request a segment carries: offered in the SYN, answered in the SYN-ACK, then
//! put on the first segments of requests that `context` knows the cause of. Kernels from 5.10.
//!
//! Which connections: those that processes make which are seen (`conn` has them by then), to peers that answer. Nothing of the
//! payload is read or written. Where the header has no room (SACK blocks), the segment goes without.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::bpf_sock_ops,
    helpers::generated::{bpf_load_hdr_opt, bpf_reserve_hdr_opt, bpf_store_hdr_opt},
    macros::sock_ops,
    programs::SockOpsContext,
};
use netspan_ebpf::{
    counter,
    option::{CONTEXT_LEN, Context, KIND, MAGIC, OFFER_LEN},
    role,
};

use crate::{
    conn,
    context::Peer,
    emit::count,
    maps::{KERNEL_READS, PEERS, SOCKS, constant},
};

// Values of `BPF_SOCK_OPS_*`.
const TCP_CONNECT: u32 = 3;
const ACTIVE_ESTABLISHED: u32 = 4;
const PASSIVE_ESTABLISHED: u32 = 5;
const TCP_LISTEN: u32 = 11;
const PARSE_HDR_OPT: u32 = 13;
const HDR_OPT_LEN: u32 = 14;
const WRITE_HDR_OPT: u32 = 15;
/// `BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG`
const PARSES: u32 = 1 << 5;
/// `BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG`
const WRITES: u32 = 1 << 6;
/// `BPF_LOAD_HDR_OPT_TCP_SYN`
const OF_SYN: u64 = 1;
const TCP_SYN: u32 = 2;
const TCP_ACK: u32 = 16;

/// What happens to a socket of the cgroup.
#[sock_ops]
pub fn tcp_option(ctx: SockOpsContext) -> u32 {
    let ops = ctx.ops;
    match ctx.op() {
        TCP_CONNECT => connecting(&ctx),
        ACTIVE_ESTABLISHED => connected(&ctx),
        PASSIVE_ESTABLISHED => {
            let _ = PEERS.remove(sock(ops));
            set_flags(&ctx, PARSES, WRITES);
        }
        TCP_LISTEN => set_flags(&ctx, WRITES, 0),
        PARSE_HDR_OPT => received(ops),
        HDR_OPT_LEN => reserve(ops),
        WRITE_HDR_OPT => write(ops),
        _ => {}
    }
    // Others may have programs that reply to the kernel; this one has nothing to say.
    1
}

/// The socket's address, as a mere number.
#[inline(always)]
fn sock(ops: *mut bpf_sock_ops) -> u64 {
    let mut value: u64;
    // SAFETY: a read of the context; two instructions on one register. The field is a pointer of its own type to the verifier,
    // and negated twice a number.
    unsafe {
        asm!(
            "{value} = *(u64 *)({ops} + {at})",
            "{value} = -{value}",
            "{value} = -{value}",
            value = out(reg) value,
            ops = in(reg) ops,
            at = const core::mem::offset_of!(bpf_sock_ops, __bindgen_anon_2),
            options(nostack),
        );
    }
    value
}

/// A 32-bit field of the context.
macro_rules! field {
    ($ops:expr, $name:ident) => {{
        let value: u64;
        // SAFETY: a read of the context, at an offset that is a constant to the verifier.
        unsafe {
            asm!(
                "{value} = *(u32 *)({ops} + {at})",
                value = out(reg) value,
                ops = in(reg) $ops,
                at = const core::mem::offset_of!(bpf_sock_ops, $name),
                options(nostack),
            );
        }
        value as u32
    }};
}

/// Asks for callbacks, and for those no more.
#[inline(always)]
fn set_flags(ctx: &SockOpsContext, more: u32, less: u32) {
    let flags = field!(ctx.ops, bpf_sock_ops_cb_flags) & !less | more;
    let _ = ctx.set_cb_flags(flags.cast_signed());
}

/// A SYN is about to be sent.
#[inline(always)]
fn connecting(ctx: &SockOpsContext) {
    let sock = sock(ctx.ops);
    let key = if constant(&KERNEL_READS) != 0 {
        sock
    } else {
        // SAFETY: the value is copied at once.
        match unsafe { SOCKS.get(sock) } {
            Some(&key) => key,
            None => return,
        }
    };
    // Only processes that are seen have connections.
    if conn::get(key).is_some_and(|conn| conn.role == role::CLIENT) && PEERS.insert(sock, Peer::UNKNOWN, 0).is_ok() {
        set_flags(ctx, WRITES, 0);
    }
}

/// The SYN-ACK is here.
#[inline(always)]
fn connected(ctx: &SockOpsContext) {
    let sock = sock(ctx.ops);
    let Some(peer) = PEERS.get_ptr_mut(sock) else { return };
    let mut found = search();
    if load(ctx.ops, &mut found, 0) >= i64::from(OFFER_LEN) {
        // SAFETY: a map value.
        unsafe { (*peer).ready = 1 };
    } else {
        let _ = PEERS.remove(sock);
        set_flags(ctx, 0, WRITES);
        count(counter::OPTION_NO_PEER, 1);
    }
}

/// A segment with an option that the kernel does not know is here.
#[inline(always)]
fn received(ops: *mut bpf_sock_ops) {
    let mut found = search();
    if load(ops, &mut found, 0) != i64::from(CONTEXT_LEN) {
        return;
    }
    let sock = sock(ops);
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let trace = [join(found.trace[0], found.trace[1]), join(found.trace[2], found.trace[3])];
    let span = join(found.span[0], found.span[1]);
    if let Some(peer) = PEERS.get_ptr_mut(sock) {
        // SAFETY: a map value.
        let peer = unsafe { &mut *peer };
        // Further segments of a request say the same, some when it has been taken.
        if peer.span != span || peer.trace[0] != trace[0] || peer.trace[1] != trace[1] {
            peer.trace = trace;
            peer.span = span;
            peer.fresh = 1;
        }
    } else {
        let _ = PEERS.insert(sock, Peer { trace, span, fresh: 1, ..Peer::UNKNOWN }, 0);
    }
}

/// The kernel asks how much room is needed: for a segment, or (without flags) to know how large segments can be.
#[inline(always)]
fn reserve(ops: *mut bpf_sock_ops) {
    let flags = field!(ops, skb_tcp_flags);
    if flags & TCP_SYN != 0 {
        let mut found = search();
        if flags & TCP_ACK == 0 || load(ops, &mut found, OF_SYN) >= i64::from(OFFER_LEN) {
            // SAFETY: the program's context.
            let _ = unsafe { bpf_reserve_hdr_opt(ops, OFFER_LEN, 0) };
        }
        return;
    }
    if flags != 0 && field!(ops, skb_len) == 0 {
        return;
    }
    let Some(peer) = PEERS.get_ptr_mut(sock(ops)) else { return };
    // SAFETY: a map value; the program's context.
    unsafe {
        if (*peer).left != 0 && bpf_reserve_hdr_opt(ops, CONTEXT_LEN, 0) != 0 && flags != 0 {
            count(counter::OPTION_NO_ROOM, 1);
        }
    }
}

/// The header is being written, with the room that was asked for.
#[inline(always)]
fn write(ops: *mut bpf_sock_ops) {
    if field!(ops, skb_tcp_flags) & TCP_SYN != 0 {
        let offer = search();
        store(ops, &offer, OFFER_LEN);
        return;
    }
    let Some(peer) = PEERS.get_ptr_mut(sock(ops)) else { return };
    // SAFETY: a map value.
    let peer = unsafe { &mut *peer };
    if peer.left == 0 {
        return;
    }
    let option = Context {
        kind: KIND,
        len: CONTEXT_LEN as u8,
        magic: MAGIC,
        trace: [peer.trace[0] as u32, (peer.trace[0] >> 32) as u32, peer.trace[1] as u32, (peer.trace[1] >> 32) as u32],
        span: [peer.span as u32, (peer.span >> 32) as u32],
    };
    if store(ops, &option, CONTEXT_LEN) {
        peer.left -= 1;
        if peer.counted == 0 {
            peer.counted = 1;
            count(counter::OPTION_SENT, 1);
        }
    }
}

/// The option's head, which is what it is searched by.
#[inline(always)]
fn search() -> Context {
    Context { kind: KIND, len: OFFER_LEN as u8, magic: MAGIC, trace: [0; 4], span: [0; 2] }
}

/// Loads the option of the present segment, or of the SYN. Gives its size, or a negative error.
#[inline(always)]
fn load(ops: *mut bpf_sock_ops, option: &mut Context, flags: u64) -> i64 {
    // SAFETY: the program's context, and a local of that size.
    unsafe { bpf_load_hdr_opt(ops, core::ptr::from_mut(option).cast::<c_void>(), CONTEXT_LEN, flags) }
}

#[inline(always)]
fn store(ops: *mut bpf_sock_ops, option: &Context, len: u32) -> bool {
    // SAFETY: the program's context, and a local of at least that size.
    unsafe { bpf_store_hdr_opt(ops, core::ptr::from_ref(option).cast::<c_void>(), len, 0) == 0 }
}
