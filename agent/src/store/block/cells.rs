//! Figures of a block's spans, added up when it is written: one cell for all that share process, name, kind, status, status code and
//! label.
//! What is asked of whole blocks by nothing but these is answered by cells alone, without a look at single spans.

use rustc_hash::FxHashMap;

use super::super::{
    bytes::{Damaged, Input, put_value, put_varint},
    sketch::{self, BINS},
};
use crate::span::{Span, Value};

/// Attributes that hold a status code, in the order in which they count.
pub const CODES: [&str; 2] = ["http.response.status_code", "rpc.response.status_code"];
/// Attributes whose sum is the bytes of an exchange.
pub const SIZES: [&str; 2] = ["http.request.body.size", "http.response.body.size"];
/// Blocks with fewer spans have no cells: they are put together soon.
pub(super) const ROWS_MIN: usize = 1024;
/// A block has no cells where each would be of fewer spans than this: they would be as much to read as the spans.
const ROWS_PER_CELL_MIN: usize = 4;

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Place in the head's list of processes.
    pub process: u16,
    /// Place in the head's list of forms: of one of the forms that have the cell's name, kind and status.
    pub form: u16,
    /// Place in the list of codes, where the spans have one.
    pub code: Option<u16>,
    /// Place in the list of labels.
    pub label: u16,
    /// Spans.
    pub count: u64,
    /// Bytes of bodies, both ways, where they are known.
    pub bytes: u64,
    /// Start of the first span, in nanoseconds since the epoch.
    pub first_ns: u64,
    /// Start of the last span.
    pub last_ns: u64,
    /// Sum of all durations, in nanoseconds.
    pub sum_ns: u64,
    /// Durations by their bins ([`sketch::bin`]), ascending.
    pub bins: Vec<(u16, u32)>,
}

/// A status code: which of [`CODES`] has it, and its value.
pub type Code = (usize, Value);

/// The part [`super::CELLS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Status codes.
    pub codes: Vec<Code>,
    /// Labels ([`label::of`](super::super::label::of)).
    pub labels: Vec<String>,
    /// Cells.
    pub cells: Vec<Cell>,
}

/// The status code of a span, as it counts: of several values of one attribute the last.
pub fn code(span: &Span) -> Option<(usize, &Value)> {
    let last = |name: &&str| span.attributes.iter().rfind(|(key, _)| key == *name).map(|(_, value)| value);
    CODES.iter().enumerate().find_map(|(at, name)| Some((at, last(name)?)))
}

/// The bytes of an exchange, as far as they are known.
pub fn size(span: &Span) -> u64 {
    let last = |name: &&str| span.attributes.iter().rfind(|(key, _)| key == *name);
    let sizes = SIZES.iter().filter_map(|name| match last(name) {
        Some((_, Value::Int(size))) => u64::try_from(*size).ok(),
        _ => None,
    });
    sizes.fold(0, u64::saturating_add)
}

/// Appends a code.
pub(super) fn put_code(out: &mut Vec<u8>, (at, value): (usize, &Value)) {
    out.push(at as u8);
    put_value(out, value);
}

/// What a cell is made of: a row for each span.
pub(super) struct Rows<'a> {
    pub(super) starts: &'a [u64],
    pub(super) durations: &'a [u64],
    pub(super) processes: &'a [u16],
    /// For each span the first form with its name, kind and status.
    pub(super) forms: &'a [u16],
    /// For each span the place of its code, plus one; 0 where it has none.
    pub(super) codes: &'a [u16],
    /// For each span the place of its label.
    pub(super) labels: &'a [u16],
    pub(super) sizes: &'a [u64],
}

/// The part of these rows, `lists` being those of codes and of labels; nothing where cells are of no use.
pub(super) fn put(rows: &Rows<'_>, lists: &[u8]) -> Option<Vec<u8>> {
    let count = rows.starts.len();
    let mut places = FxHashMap::<[u16; 4], usize>::default();
    let mut cells = Vec::<Cell>::new();
    let mut binned = Vec::with_capacity(count);
    for row in 0..count {
        let (process, form, code, label) = (rows.processes[row], rows.forms[row], rows.codes[row], rows.labels[row]);
        let (start_ns, duration_ns) = (rows.starts[row], rows.durations[row]);
        let place = *places.entry([process, form, code, label]).or_insert_with(|| {
            cells.push(Cell {
                process,
                form,
                code: code.checked_sub(1),
                label,
                count: 0,
                bytes: 0,
                first_ns: u64::MAX,
                last_ns: 0,
                sum_ns: 0,
                bins: Vec::new(),
            });
            cells.len() - 1
        });
        if cells.len() * ROWS_PER_CELL_MIN > count {
            return None;
        }
        let cell = &mut cells[place];
        cell.count += 1;
        cell.bytes = cell.bytes.saturating_add(rows.sizes[row]);
        cell.first_ns = cell.first_ns.min(start_ns);
        cell.last_ns = cell.last_ns.max(start_ns);
        cell.sum_ns = cell.sum_ns.saturating_add(duration_ns);
        binned.push((place as u16, sketch::bin(duration_ns) as u16));
    }
    binned.sort_unstable();
    for alike in binned.chunk_by(|a, b| a == b) {
        if let Some((place, bin)) = alike.first() {
            cells[usize::from(*place)].bins.push((*bin, alike.len() as u32));
        }
    }
    let base_ns = rows.starts.iter().copied().min().unwrap_or(0);
    let mut out = lists.to_vec();
    put_varint(&mut out, base_ns);
    put_varint(&mut out, cells.len() as u64);
    for cell in &cells {
        put_cell(&mut out, cell, base_ns);
    }
    Some(out)
}

fn put_cell(out: &mut Vec<u8>, cell: &Cell, base_ns: u64) {
    // Destructured as a whole, so that a new field is decided about here.
    let Cell { process, form, code, label, count, bytes, first_ns, last_ns, sum_ns, bins } = cell;
    put_varint(out, u64::from(*process));
    put_varint(out, u64::from(*form));
    put_varint(out, code.map_or(0, |code| u64::from(code) + 1));
    put_varint(out, u64::from(*label));
    put_varint(out, *count);
    put_varint(out, *bytes);
    put_varint(out, first_ns - base_ns);
    put_varint(out, last_ns - first_ns);
    put_varint(out, *sum_ns);
    put_varint(out, bins.len() as u64);
    let mut before = 0;
    for (bin, count) in bins {
        put_varint(out, u64::from(bin - before));
        put_varint(out, u64::from(*count));
        before = *bin;
    }
}

impl Cells {
    /// Reads the part; so many processes and forms are known.
    pub fn read(raw: &[u8], processes: usize, forms: usize) -> Result<Self, Damaged> {
        let mut input = Input(raw);
        let count = input.count()?;
        let code = |input: &mut Input<'_>| {
            let at = usize::from(input.byte()?);
            if at < CODES.len() { Ok((at, input.value()?)) } else { Err(Damaged) }
        };
        let codes: Vec<_> = (0..count).map(|_| code(&mut input)).collect::<Result<_, _>>()?;
        let count = input.count()?;
        let labels: Vec<_> = (0..count).map(|_| input.text().map(str::to_owned)).collect::<Result<_, _>>()?;
        let base_ns = input.varint()?;
        let count = input.count()?;
        let cell = |input: &mut Input<'_>| get_cell(input, base_ns, [processes, forms, codes.len(), labels.len()]);
        let cells = (0..count).map(|_| cell(&mut input)).collect::<Result<_, _>>()?;
        Ok(Self { codes, labels, cells })
    }
}

fn get_cell(
    input: &mut Input<'_>,
    base_ns: u64,
    [processes, forms, codes, labels]: [usize; 4],
) -> Result<Cell, Damaged> {
    let place = |input: &mut Input<'_>, listed: usize| {
        u16::try_from(input.varint()?).ok().filter(|place| usize::from(*place) < listed).ok_or(Damaged)
    };
    let process = place(input, processes)?;
    let form = place(input, forms)?;
    let code = place(input, codes + 1)?.checked_sub(1);
    let label = place(input, labels)?;
    let count = input.varint()?;
    let bytes = input.varint()?;
    let first_ns = base_ns.checked_add(input.varint()?).ok_or(Damaged)?;
    let last_ns = first_ns.checked_add(input.varint()?).ok_or(Damaged)?;
    let sum_ns = input.varint()?;
    let (mut before, length) = (0_u64, input.count()?);
    let mut bin = || {
        before = before.checked_add(input.varint()?).filter(|bin| *bin < BINS as u64).ok_or(Damaged)?;
        Ok((before as u16, u32::try_from(input.varint()?).map_err(|_| Damaged)?))
    };
    let bins = (0..length).map(|_| bin()).collect::<Result<_, Damaged>>()?;
    Ok(Cell { process, form, code, label, count, bytes, first_ns, last_ns, sum_ns, bins })
}
