//! The TCP option that tells another host's agent whose request a segment carries: an experimental one (RFC 4727) with an
//! identifier of its own (RFC 6994), as it lies in a segment.
//!
//! A SYN and the SYN-ACK that answers it carry the head alone: both ends know the option, and nothing took it away. Only then
//! the first segments of a request carry it with [`Context`]. With timestamps a data segment has 28 bytes of room, which
//! is what that takes.

/// Kind for experiments.
pub const KIND: u8 = 253;
/// Identifier of the experiment.
pub const MAGIC: [u8; 2] = *b"nS";
/// Size of the head alone.
pub const OFFER_LEN: u32 = 4;
/// Size of the option with context.
pub const CONTEXT_LEN: u32 = 28;
/// Segments of a request that carry it, at most: when the first is lost, what is sent again has it too.
pub const SEGMENTS_MAX: u32 = 4;

/// The option with context.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// [`KIND`]
    pub kind: u8,
    /// [`CONTEXT_LEN`], or [`OFFER_LEN`] where only the head is sent.
    pub len: u8,
    /// [`MAGIC`]
    pub magic: [u8; 2],
    /// The trace's id.
    pub trace: [u32; 4],
    /// The id of the caller's span.
    pub span: [u32; 2],
}
const _: () = assert!(size_of::<Context>() == CONTEXT_LEN as usize);
