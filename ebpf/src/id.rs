//! Ids of spans and traces, for both sides: the kernel side tells another host the ids that the agent will give.

/// What an id is of.
pub mod purpose {
    /// A span.
    pub const SPAN: u64 = 1;
    /// The first half of a trace's id.
    pub const TRACE_HIGH: u64 = 2;
    /// The second half of a trace's id.
    pub const TRACE_LOW: u64 = 3;
}

/// Half of an id, as a big-endian number: one to one in each argument while the others stay, and never 0. `seed` is that of
/// the agent's run.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call between programs' functions costs the verifier its bounds")]
pub const fn number(seed: [u64; 2], conn: u64, ordinal: u64, purpose: u64) -> u64 {
    let connection = mix(conn ^ seed[0]);
    let exchange = mix(connection.wrapping_add(ordinal) ^ seed[1]);
    match mix(exchange.wrapping_add(purpose)) {
        0 => 1,
        number => number,
    }
}

/// Spreads each bit over all others, one to one (shifts and odd factors are invertible).
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call between programs' functions costs the verifier its bounds")]
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
