//! Raw tracepoints: they tell states and arrivals, whichever hooks the rest uses.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use super::life;

/// `inet_sock_set_state(sk, oldstate, newstate)`
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn raw_set_state(ctx: RawTracePointContext) -> i32 {
    life::state(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// [`raw_set_state`] once more, where the kernel may skip one: a change that was acted on changes nothing again.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn raw_set_state_again(ctx: RawTracePointContext) -> i32 {
    life::state(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// `sk_data_ready(sk)`, from 6.3 on.
#[raw_tracepoint(tracepoint = "sk_data_ready")]
pub fn raw_data_ready(ctx: RawTracePointContext) -> i32 {
    life::arrived(ctx.arg(0));
    0
}
