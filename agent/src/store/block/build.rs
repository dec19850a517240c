//! From spans to the parts of a block. Spans are taken apart as they come, so that what waits is small.

use std::{borrow::Cow, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    super::{
        bloom,
        bytes::{Input, put_attributes, put_bytes, put_signed, put_value, put_varint, seal},
        label,
    },
    CELLS, COLUMNS, DURATION, FORM, GRAMS, HEAD, IDS, KEYS_MAX, LINKS, PATHS, PROCESS, ROWS_MAX, TIME, TRACE_STATE,
    TRACES, VALUES,
    cells::{self, Rows},
    form,
    grams::Grams,
    mark_hash,
};
use crate::{
    control::{PATHS as PATH_NAMES, is_searched, marks},
    span::{Kind, Resource, Span, Status, TraceId, Value},
};

/// What a partition's index says of a block, to rule it out without reading it. Times in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Spans.
    pub rows: u64,
    /// Start of the first one.
    pub start_min: u64,
    /// Start of the last one.
    pub start_max: u64,
    /// The longest duration.
    pub duration_max: u64,
}

/// A block, encoded.
#[derive(Debug)]
pub struct Encoded {
    /// For the index.
    pub summary: Summary,
    /// Parts by their numbers, sealed.
    pub parts: Vec<(u16, Vec<u8>)>,
}

/// A block in the making.
#[derive(Debug, Default)]
pub struct Builder {
    rows: usize,
    starts: Vec<u64>,
    durations: Vec<u64>,
    forms: Distinct,
    form_of: Vec<u16>,
    processes: Distinct,
    process_of: Vec<u16>,
    resources: Distinct,
    /// Resources that were seen, by address; holding them keeps the addresses from being used again.
    known: FxHashMap<usize, (Arc<Resource>, u16)>,
    traces: FxHashMap<TraceId, u16>,
    trace_ids: Vec<TraceId>,
    trace_of: Vec<u16>,
    span_ids: Vec<u8>,
    parents: Vec<u8>,
    tids: Vec<u8>,
    links: Vec<u8>,
    linked: u64,
    keys: FxHashMap<Cow<'static, str>, u16>,
    columns: Vec<Values>,
    /// The first form of each name, kind and status.
    alike: FxHashMap<Box<[u8]>, u16>,
    alike_of: Vec<u16>,
    codes: Distinct,
    code_of: Vec<u16>,
    /// Of each span the attribute that holds its path, and the place of its value.
    path_of: Vec<Option<(u16, u16)>>,
    sizes: Vec<u64>,
    scratch: Vec<u8>,
    keys_of_span: Vec<u16>,
}

#[derive(Debug, Default)]
struct Values {
    name: String,
    distinct: Distinct,
    places: Vec<u16>,
}

/// Different byte strings in the order of their coming.
#[derive(Debug, Default)]
struct Distinct {
    places: FxHashMap<Box<[u8]>, u16>,
    all: Vec<u8>,
}

impl Distinct {
    fn place(&mut self, bytes: &[u8]) -> u16 {
        if let Some(place) = self.places.get(bytes) {
            return *place;
        }
        // A block's rows fit the type, and nothing is here more often than once per row.
        let place = self.places.len() as u16;
        self.places.insert(bytes.into(), place);
        self.all.extend_from_slice(bytes);
        place
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.places.len() as u64);
        out.extend_from_slice(&self.all);
    }
}

impl Builder {
    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Spans in it.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it has to be closed.
    pub fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.columns.len() >= KEYS_MAX
    }

    /// Adds a span.
    pub fn push(&mut self, span: &Span) {
        // Destructured as a whole, so that a new field of the span is decided about here.
        let Span {
            trace_id,
            span_id,
            parent,
            parent_is_remote: _,
            trace_state,
            kind: _,
            name: _,
            start_ns,
            end_ns,
            status: _,
            resource,
            pid,
            tid,
            incomplete: _,
            link: _,
            links,
            attributes,
        } = span;
        self.starts.push(*start_ns);
        self.durations.push(end_ns.saturating_sub(*start_ns));
        self.span_ids.extend_from_slice(&span_id.0);
        if let Some(parent) = parent {
            self.parents.extend_from_slice(&parent.0);
        }
        put_varint(&mut self.tids, u64::from(*tid));
        let (traces, trace_ids) = (&mut self.traces, &mut self.trace_ids);
        self.trace_of.push(*traces.entry(*trace_id).or_insert_with(|| {
            trace_ids.push(*trace_id);
            trace_ids.len() as u16 - 1
        }));
        self.process(resource, *pid);
        self.keys_of_span.clear();
        let mut paths = [None; PATH_NAMES.len()];
        for (name, value) in attributes {
            // A borrowed name is not copied, and most are.
            let place = self.value(Cow::clone(name), value);
            if let Some(at) = PATH_NAMES.iter().position(|path| *path == name.as_ref()) {
                paths[at] = Some(place);
            }
        }
        self.path_of.push(paths.into_iter().flatten().next());
        if !trace_state.is_empty() {
            self.value(Cow::Borrowed(TRACE_STATE), &Value::Text(trace_state.clone().into()));
        }
        self.scratch.clear();
        form::put(&mut self.scratch, span, &self.keys_of_span);
        let form = self.forms.place(&self.scratch);
        self.form_of.push(form);
        self.cell(span, form);
        if !links.is_empty() {
            self.linked += 1;
            put_varint(&mut self.links, self.rows as u64);
            put_varint(&mut self.links, links.len() as u64);
            for link in links {
                self.links.extend_from_slice(&link.trace_id.0);
                self.links.extend_from_slice(&link.span_id.0);
                put_attributes(&mut self.links, &link.attributes);
            }
        }
        self.rows += 1;
    }

    fn process(&mut self, resource: &Arc<Resource>, pid: u32) {
        let place = if let Some((_, place)) = self.known.get(&Arc::as_ptr(resource).addr()) {
            *place
        } else {
            self.scratch.clear();
            put_bytes(&mut self.scratch, resource.service.as_bytes());
            put_attributes(&mut self.scratch, &resource.attributes);
            let place = self.resources.place(&self.scratch);
            self.known.insert(Arc::as_ptr(resource).addr(), (Arc::clone(resource), place));
            place
        };
        self.scratch.clear();
        put_varint(&mut self.scratch, u64::from(place));
        put_varint(&mut self.scratch, u64::from(pid));
        self.process_of.push(self.processes.place(&self.scratch));
    }

    /// What the cells ask of a span.
    fn cell(&mut self, span: &Span, form: u16) {
        self.scratch.clear();
        self.scratch.extend_from_slice(span.name.as_bytes());
        self.scratch.extend([u8::from(span.kind == Kind::Server), u8::from(span.status == Status::Error)]);
        let first = self.alike.get(self.scratch.as_slice()).copied().unwrap_or_else(|| {
            self.alike.insert(self.scratch.as_slice().into(), form);
            form
        });
        self.alike_of.push(first);
        let code = cells::code(span).map_or(0, |code| {
            self.scratch.clear();
            cells::put_code(&mut self.scratch, code);
            self.codes.place(&self.scratch) + 1
        });
        self.code_of.push(code);
        self.sizes.push(cells::size(span));
    }

    /// Takes a value. Returns the places of its attribute and of itself.
    fn value(&mut self, name: Cow<'static, str>, value: &Value) -> (u16, u16) {
        let key = if let Some(key) = self.keys.get(name.as_ref()) {
            *key
        } else {
            let key = self.columns.len() as u16;
            self.keys.insert(name.clone(), key);
            self.columns.push(Values { name: name.into_owned(), ..Values::default() });
            key
        };
        self.keys_of_span.push(key);
        self.scratch.clear();
        put_value(&mut self.scratch, value);
        let column = &mut self.columns[usize::from(key)];
        let place = column.distinct.place(&self.scratch);
        column.places.push(place);
        (key, place)
    }

    /// The block; nothing if there are no spans.
    pub fn encode(&self) -> Option<Encoded> {
        let summary = Summary {
            rows: self.rows as u64,
            start_min: *self.starts.iter().min()?,
            start_max: *self.starts.iter().max()?,
            duration_max: *self.durations.iter().max()?,
        };
        let mut parts = vec![
            (HEAD, seal(&self.head())),
            (TIME, seal(&self.time())),
            (DURATION, seal(&varints(&self.durations))),
            (FORM, seal(&packed(&self.form_of))),
            (PROCESS, seal(&packed(&self.process_of))),
            (IDS, seal(&self.ids())),
            (TRACES, seal(&bloom::build(&self.trace_hashes(), bloom::BITS_MANY))),
            (VALUES, seal(&bloom::build(&self.value_hashes(), bloom::BITS))),
            (PATHS, seal(&bloom::build(&self.path_hashes(), bloom::BITS))),
            (GRAMS, seal(self.grams().bits())),
        ];
        if let Some(raw) = self.cells() {
            parts.push((CELLS, seal(&raw)));
        }
        if self.linked > 0 {
            let mut raw = Vec::with_capacity(self.links.len() + 4);
            put_varint(&mut raw, self.linked);
            raw.extend_from_slice(&self.links);
            parts.push((LINKS, seal(&raw)));
        }
        for (part, column) in (COLUMNS..).zip(&self.columns) {
            let mut raw = Vec::new();
            column.distinct.put(&mut raw);
            raw.extend_from_slice(&packed(&column.places));
            parts.push((part, seal(&raw)));
        }
        Some(Encoded { summary, parts })
    }

    fn head(&self) -> Vec<u8> {
        let mut raw = Vec::new();
        put_varint(&mut raw, self.rows as u64);
        put_varint(&mut raw, self.columns.len() as u64);
        for column in &self.columns {
            put_bytes(&mut raw, column.name.as_bytes());
        }
        self.resources.put(&mut raw);
        self.processes.put(&mut raw);
        self.forms.put(&mut raw);
        raw
    }

    fn cells(&self) -> Option<Vec<u8>> {
        if self.rows < cells::ROWS_MIN {
            return None;
        }
        let mut lists = Vec::new();
        self.codes.put(&mut lists);
        let labels = self.labels(&mut lists);
        let rows = Rows {
            starts: &self.starts,
            durations: &self.durations,
            processes: &self.process_of,
            forms: &self.alike_of,
            codes: &self.code_of,
            labels: &labels,
            sizes: &self.sizes,
        };
        cells::put(&rows, &lists)
    }

    /// For each span the place of its label, in a list that is appended.
    fn labels(&self, out: &mut Vec<u8>) -> Vec<u16> {
        let mut names = vec![""; self.forms.places.len()];
        for (name, form) in &self.alike {
            // Behind the name are its kind and status.
            let name = name.split_last_chunk::<2>().map_or(&[][..], |(name, _)| name);
            names[usize::from(*form)] = std::str::from_utf8(name).unwrap_or_default();
        }
        let values: Vec<Vec<String>> = self.columns.iter().map(Values::templates).collect();
        let (mut known, mut distinct) = (FxHashMap::default(), Distinct::default());
        let label = |(form, path): (&u16, &Option<(u16, u16)>)| {
            *known.entry((*form, *path)).or_insert_with(|| {
                let template = path.and_then(|(key, place)| values[usize::from(key)].get(usize::from(place)));
                let mut label = Vec::new();
                put_bytes(&mut label, label::of(names[usize::from(*form)], template.map(String::as_str)).as_bytes());
                distinct.place(&label)
            })
        };
        let labels = self.alike_of.iter().zip(&self.path_of).map(label).collect();
        distinct.put(out);
        labels
    }

    /// Each start as the difference to the one before.
    fn time(&self) -> Vec<u8> {
        let (mut raw, mut before) = (Vec::with_capacity(self.rows * 5), 0_u64);
        for start in &self.starts {
            put_signed(&mut raw, start.wrapping_sub(before).cast_signed());
            before = *start;
        }
        raw
    }

    fn ids(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(self.rows * 40);
        put_varint(&mut raw, self.trace_ids.len() as u64);
        for trace in &self.trace_ids {
            raw.extend_from_slice(&trace.0);
        }
        put_bytes(&mut raw, &packed(&self.trace_of));
        raw.extend_from_slice(&self.span_ids);
        put_bytes(&mut raw, &self.parents);
        raw.extend_from_slice(&self.tids);
        raw
    }

    fn trace_hashes(&self) -> Vec<u64> {
        self.trace_ids.iter().map(|trace| bloom::hash(b"", &trace.0)).collect()
    }

    fn value_hashes(&self) -> Vec<u64> {
        let of = |column: &Values| -> Vec<u64> {
            column.distinct.places.keys().map(|value| bloom::hash(column.name.as_bytes(), value)).collect()
        };
        self.columns.iter().flat_map(of).collect()
    }

    /// Of what paths begin with and consist of; most are alike.
    fn path_hashes(&self) -> Vec<u64> {
        let mut hashes = FxHashSet::default();
        for column in &self.columns {
            for text in column.texts() {
                hashes.extend(marks(&column.name, text).map(mark_hash));
            }
        }
        hashes.into_iter().collect()
    }

    fn grams(&self) -> Grams {
        let mut grams = Grams::new();
        for column in self.columns.iter().filter(|column| is_searched(&column.name)) {
            column.texts().for_each(|text| grams.add(text));
        }
        grams
    }
}

impl Values {
    /// What paths have in common with others, by their places; of other attributes nothing.
    fn templates(&self) -> Vec<String> {
        if !PATH_NAMES.contains(&self.name.as_str()) {
            return Vec::new();
        }
        let mut input = Input(&self.distinct.all);
        let mut template = || Some(label::template(&label::text(&input.value().ok()?)));
        (0..self.distinct.places.len()).map_while(|_| template()).collect()
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.distinct.places.keys().filter_map(|value| text_of(value))
    }
}

fn text_of(value: &[u8]) -> Option<&str> {
    let (0, text) = value.split_first()? else { return None };
    Input(text).text().ok()
}

fn varints(numbers: &[u64]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(numbers.len() * 4);
    for number in numbers {
        put_varint(&mut raw, *number);
    }
    raw
}

/// Places in a list: a byte that says how many bytes each takes, then all low bytes, then all high ones.
fn packed(places: &[u16]) -> Vec<u8> {
    let is_wide = places.iter().any(|place| *place > 0xff);
    let mut raw = Vec::with_capacity(1 + places.len() * 2);
    raw.push(1 + u8::from(is_wide));
    raw.extend(places.iter().map(|place| *place as u8));
    if is_wide {
        raw.extend(places.iter().map(|place| (place >> 8) as u8));
    }
    raw
}
