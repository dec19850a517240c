//! A block: some thousand spans, column by column. Each part of it is a blob of its own, so that a query reads the parts
//! that it asks about and no others:
//!
//! | part | holds |
//! |---|---|
//! | [`HEAD`] | what few values there are: processes with their resources, forms, names of attributes |
//! | [`TIME`], [`DURATION`] | per span, in nanoseconds |
//! | [`FORM`], [`PROCESS`] | per span, its place in the head's lists |
//! | [`IDS`] | per span, its ids and thread |
//! | [`LINKS`] | references to other spans, of those that have any |
//! | [`TRACES`], [`VALUES`], [`PATHS`] | Bloom filters of trace ids, of attributes with their values, and of what paths begin with and consist of |
//! | [`GRAMS`] | which three bytes follow each other in paths and names of peers |
//! | [`CELLS`] | figures of all spans by process, name, kind, status and status code |
//! | [`COLUMNS`] and on | per attribute, the values there are, and which one each span has |
//!
//! A span's *form* is all that spans share that differ only in time, process and values: name, kind, status, how it was
//! linked, and which attributes it has, in which order. Pure: bytes in, spans out.

mod build;
mod cells;
mod form;
mod grams;
mod head;
mod view;

pub(super) use self::view::{families, rows_of, times, traces};
pub use self::{
    build::{Builder, Encoded, Summary},
    cells::{CODES, Cell, Cells, Code, SIZES},
    form::Form,
    grams::may_contain,
    head::Head,
    view::{Column, Rows, numbers, places, spans},
};

use super::bloom;
use crate::control::Mark;

/// Spans of a block at most; it must fit [`u16`].
pub const ROWS_MAX: usize = 8192;
/// Names of attributes in a block at most; a block with as many is closed early.
pub const KEYS_MAX: usize = 1024;

/// Part: lists.
pub const HEAD: u16 = 0;
/// Part: starts.
pub const TIME: u16 = 1;
/// Part: durations.
pub const DURATION: u16 = 2;
/// Part: forms.
pub const FORM: u16 = 3;
/// Part: processes.
pub const PROCESS: u16 = 4;
/// Part: ids.
pub const IDS: u16 = 5;
/// Part: links.
pub const LINKS: u16 = 6;
/// Part: filter of trace ids.
pub const TRACES: u16 = 7;
/// Part: filter of attributes.
pub const VALUES: u16 = 8;
/// Part: filter of paths' beginnings and segments. Blocks of older agents have none.
pub const PATHS: u16 = 9;
/// Part: figures of all spans. Small blocks, those of great variety and those of older agents have none.
pub const CELLS: u16 = 10;
/// Part: what follows each other in texts that are searched with wildcards ([`is_searched`](crate::control::is_searched)). Blocks of older
/// agents have none.
pub const GRAMS: u16 = 11;
/// First part of an attribute; the one of the n-th name is n later.
pub const COLUMNS: u16 = 16;

/// The hash of a path's mark, as it is in the part [`PATHS`]. It is stored: it must never change.
pub fn mark_hash(mark: Mark<'_>) -> u64 {
    match mark {
        Mark::Beginning(text) => bloom::hash(b"beginning", text.as_bytes()),
        Mark::Segment(text) => bloom::hash(b"segment", text.as_bytes()),
        Mark::Deep => bloom::hash(b"deep", b""),
    }
}

/// The attribute that a span's `tracestate` is kept as; no attribute has such a name.
const TRACE_STATE: &str = "\0tracestate";

#[cfg(test)]
mod tests;
