//! HPACK (RFC 7541) as seen from the middle of a connection: a decoder that may join late, may miss header blocks, and is
//! never wrong for that. What it cannot know it calls [`Unknown`], and it keeps no value that the caller does not ask for.
//!
//! # What is known after a late start
//! The dynamic table is the entries inserted since the start, newest first, which are exact, and behind them, if the start
//! was late, entries that nobody here has seen. Indexes count from the newest, so the exact ones are right from the first
//! block on, and an index behind them is unknown, not another entry. The unseen ones are gone, for certain, once the exact
//! ones leave no room for them in a table of known size; the size is known from the first size update on, or from the
//! connection's beginning.
//!
//! A literal may take its name from an unseen entry, and the next one from the entry that this one made, and so on: an encoder
//! that needs a name in each block passes it on for ever, and nothing in the blocks ever spells it again. Such a name stays
//! unknown; what its values look like would be a guess. It does not happen to names of the static table, which encoders
//! take from there: pseudo-headers are known after a turn of the table at the latest.
//!
//! # Bounds
//! A block of `n` bytes gives at most `n` fields and costs time in proportion to `n` (each representation is at least one
//! byte, and a name that is copied is at most [`NAME_MAX`] bytes). An indexed field may give a value of up to
//! [`TABLE_MAX`] bytes for one byte of the block, without a copy: what a caller adds up is the caller's to bound.
#![forbid(unsafe_code)]

mod decoder;
mod huffman;
mod input;
pub mod mask;
mod outline;
mod statics;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Start};
pub use input::Text;
pub use outline::{Outline, Tail, outline};
pub use table::Counts;

/// Size of a dynamic table that is kept, in bytes as RFC 7541, section 4.1, counts them. Of a larger table the older
/// entries are let go and become [`Unknown::Evicted`] ([`Counts::evicted`]).
pub const TABLE_MAX: u32 = 64 * 1024;

/// Bytes of the longest header name that is kept in the table; longer names are unknown when they are referred to
/// ([`Counts::long_names`]), and their values are never kept.
pub const NAME_MAX: usize = 256;

/// One header field of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name as sent; absent where it is that of an entry which is not known, or which was longer than [`NAME_MAX`].
    pub name: Option<&'a [u8]>,
    /// Value, if it is known and may be kept.
    pub value: Value<'a>,
    /// Where its strings are in the block; absent for a field that is an index and nothing else.
    pub literal: Option<Literal>,
    /// Where it ends in the block.
    pub end: usize,
}

/// Value of a [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The value as sent. The caller's `keep` let its name pass.
    Known(&'a [u8]),
    /// It was passed over, now or when its entry was inserted, because its name is not kept or not known. Holds its
    /// length in bytes.
    Dropped(u32),
    /// The field is an index of an entry that is not here.
    Unknown(Unknown),
}

/// Why an entry of the dynamic table is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// It was inserted before the start, in blocks that were lost, or before an error.
    Unseen,
    /// It was let go because the table is larger than [`TABLE_MAX`].
    Evicted,
}

/// Where the strings of a literal (RFC 7541, section 6.2) are in its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The name, where it is a string and not an index.
    pub name: Option<Text>,
    /// The value.
    pub value: Text,
}

/// Why a block cannot be decoded. For the end-points each is an error of the connection (`COMPRESSION_ERROR`, RFC 9113,
/// section 4.3); here the decoder goes on as after [`Decoder::note_gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// An integer above 2^32 - 1, or of more bytes than one of that size needs.
    #[error("an integer of the header block is too large (RFC 7541, section 5.1)")]
    IntegerTooLarge,
    /// The block ends within a representation. The fields before it were decoded.
    #[error("the header block ends within a field (RFC 7541, sections 5 and 6)")]
    Truncated,
    /// An indexed field with index 0.
    #[error("a header field has index 0 (RFC 7541, section 6.1)")]
    IndexZero,
    /// An index behind the last entry that the tables can have.
    #[error("a header field has index {0}, behind the end of the table (RFC 7541, section 2.3.3)")]
    IndexBeyond(u32),
    /// A Huffman-coded string that contains the end-of-string symbol, or does not end in at most 7 one-bits.
    #[error("a Huffman-coded string is malformed (RFC 7541, section 5.2)")]
    Huffman,
    /// The encoder uses a larger table than the receiver of the blocks allows.
    #[error("the header table's size becomes {size} bytes, the limit is {limit} (RFC 7541, section 6.3)")]
    SizeAboveLimit {
        /// The new size.
        size: u32,
        /// The largest limit that the receiver announced.
        limit: u32,
    },
    /// A size update after a field.
    #[error("the header table's size changes within a header block (RFC 7541, section 4.2)")]
    SizeUpdateLate,
}
