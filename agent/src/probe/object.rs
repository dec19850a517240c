//! The BPF object that `build.rs` made, inside this binary.

/// The object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NETSPAN_PROBES"));
