//! From the parts of a block back to columns, and to spans.

use super::{
    super::bytes::{Damaged, Input},
    DURATION, FORM, Form, HEAD, Head, IDS, LINKS, PROCESS, TIME, TRACE_STATE,
};
use crate::{
    control::Condition,
    span::{Attribute, Span, SpanId, SpanLink, TraceId, Value},
};

/// Places of spans within a block, ascending.
pub type Rows = Vec<u16>;

/// Durations, one per span, or starts as differences ([`starts`]).
pub fn numbers(raw: &[u8], rows: usize) -> Result<Vec<u64>, Damaged> {
    let mut input = Input(raw);
    (0..rows).map(|_| input.varint()).collect()
}

/// Starts.
fn starts(raw: &[u8], rows: usize) -> Result<Vec<u64>, Damaged> {
    let (mut input, mut before) = (Input(raw), 0_u64);
    let next = |input: &mut Input<'_>, before: &mut u64| {
        *before = before.wrapping_add(input.signed()?.cast_unsigned());
        Ok(*before)
    };
    (0..rows).map(|_| next(&mut input, &mut before)).collect()
}

/// Places in a list of `listed`, of as many spans as there are bytes for.
pub fn places(raw: &[u8], listed: usize) -> Result<Vec<u16>, Damaged> {
    let (&width, bytes) = raw.split_first().ok_or(Damaged)?;
    let places: Vec<u16> = match width {
        1 => bytes.iter().map(|low| u16::from(*low)).collect(),
        2 if bytes.len().is_multiple_of(2) => {
            let (low, high) = bytes.split_at(bytes.len() / 2);
            low.iter().zip(high).map(|(low, high)| u16::from_le_bytes([*low, *high])).collect()
        }
        _ => return Err(Damaged),
    };
    if places.iter().any(|place| usize::from(*place) >= listed) { Err(Damaged) } else { Ok(places) }
}

/// The values of an attribute: those that there are, and which one each span has that has any, in their order.
#[derive(Debug)]
pub struct Column<'a> {
    /// Different values, as they are stored: most are never looked at.
    values: Vec<&'a [u8]>,
    /// The bytes of [`Self::places`].
    rest: &'a [u8],
}

impl<'a> Column<'a> {
    /// Reads the part of an attribute.
    pub fn read(raw: &'a [u8]) -> Result<Self, Damaged> {
        let mut input = Input(raw);
        let count = input.count()?;
        let values = (0..count).map(|_| input.raw_value()).collect::<Result<_, _>>()?;
        Ok(Self { values, rest: input.0 })
    }

    /// For each value what `of` says of it.
    pub fn values<T>(&self, mut of: impl FnMut(Value) -> T) -> Result<Vec<T>, Damaged> {
        self.values.iter().map(|raw| Ok(of(Input(raw).value()?))).collect()
    }

    /// How many values there are.
    pub const fn count(&self) -> usize {
        self.values.len()
    }

    /// Whether a condition holds for the value at this place.
    pub fn judge(&self, place: u16, condition: &Condition<'_>) -> Result<bool, Damaged> {
        let raw = *self.values.get(usize::from(place)).ok_or(Damaged)?;
        match raw.split_first() {
            // No text is copied to be judged.
            Some((0, text)) => Ok(condition.holds_text(Input(text).text()?)),
            _ => Ok(condition.holds(&Input(raw).value()?)),
        }
    }

    /// Which value each span has that has any.
    fn places(&self) -> Result<Vec<u16>, Damaged> {
        places(self.rest, self.values.len())
    }

    /// For each span what `of` says of its value's place, nothing where it has none. Of several values the last one.
    pub fn spread<T: Copy>(
        &self,
        key: u16,
        forms: &[Form],
        form_of: &[u16],
        of: impl Fn(u16) -> T,
    ) -> Result<Vec<Option<T>>, Damaged> {
        let counts: Vec<usize> = forms.iter().map(|form| form.count(key)).collect();
        let places = self.places()?;
        let (mut rest, mut spread) = (places.as_slice(), Vec::with_capacity(form_of.len()));
        for form in form_of {
            let (own, after) = rest.split_at_checked(counts[usize::from(*form)]).ok_or(Damaged)?;
            rest = after;
            spread.push(own.last().map(|place| of(*place)));
        }
        Ok(spread)
    }
}

/// The part [`IDS`], of a whole block.
struct Ids<'a> {
    traces: Vec<TraceId>,
    trace_of: Vec<u16>,
    spans: &'a [u8],
    parents: &'a [u8],
    tids: Input<'a>,
}

impl<'a> Ids<'a> {
    fn read(raw: &'a [u8], rows: usize) -> Result<Self, Damaged> {
        let mut input = Input(raw);
        let count = input.count()?;
        let traces: Vec<_> = (0..count).map(|_| input.array().map(TraceId)).collect::<Result<_, _>>()?;
        let trace_of = places(input.bytes()?, traces.len())?;
        if trace_of.len() != rows {
            return Err(Damaged);
        }
        let spans = input.take(rows * 8)?;
        let parents = input.bytes()?;
        Ok(Self { traces, trace_of, spans, parents, tids: input })
    }
}

/// The starts of all spans.
pub(in crate::store) fn times(raw: &[u8], rows: usize) -> Result<Vec<u64>, Damaged> {
    starts(raw, rows)
}

/// The traces of all spans.
pub(in crate::store) fn traces(raw_ids: &[u8], rows: usize) -> Result<Vec<TraceId>, Damaged> {
    let ids = Ids::read(raw_ids, rows)?;
    Ok(ids.trace_of.iter().map(|trace| ids.traces[usize::from(*trace)]).collect())
}

/// The spans of a block that belong to one of these traces.
pub(in crate::store) fn rows_of(raw_ids: &[u8], rows: usize, wanted: &[TraceId]) -> Result<Rows, Damaged> {
    let ids = Ids::read(raw_ids, rows)?;
    let is_wanted: Vec<bool> = ids.traces.iter().map(|trace| wanted.contains(trace)).collect();
    Ok(chosen(&ids.trace_of, |trace| is_wanted[usize::from(*trace)]))
}

/// Span ids of all spans, and their parents' by the forms.
pub(in crate::store) type Family = (SpanId, Option<SpanId>);

/// The ids of all spans and their parents'.
pub(in crate::store) fn families(
    raw_ids: &[u8],
    rows: usize,
    forms: &[Form],
    form_of: &[u16],
) -> Result<Vec<Family>, Damaged> {
    let ids = Ids::read(raw_ids, rows)?;
    let (mut spans, mut parents) = (Input(ids.spans), Input(ids.parents));
    let family = |form: &u16| {
        let parent = if forms[usize::from(*form)].is_child { Some(SpanId(parents.array()?)) } else { None };
        Ok((SpanId(spans.array()?), parent))
    };
    form_of.iter().map(family).collect()
}

fn chosen<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> Rows {
    all.iter().enumerate().filter(|(_, one)| wanted(one)).map(|(row, _)| row as u16).collect()
}

/// The spans at `rows`, which ascend, in that order. `part` gives a part by its number, nothing where there is none.
pub fn spans<E: From<Damaged>>(
    rows: &[u16],
    mut part: impl FnMut(u16) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Span>, E> {
    let mut need = |number: u16| part(number)?.ok_or(E::from(Damaged));
    let head = Head::read(&need(HEAD)?)?;
    let form_of = places(&need(FORM)?, head.forms.len())?;
    let process_of = places(&need(PROCESS)?, head.processes.len())?;
    if form_of.len() != head.rows || process_of.len() != head.rows {
        return Err(Damaged.into());
    }
    let starts = starts(&need(TIME)?, head.rows)?;
    let durations = numbers(&need(DURATION)?, head.rows)?;
    let raw_ids = need(IDS)?;
    let ids = Ids::read(&raw_ids, head.rows)?;
    let mut links = match part(LINKS)? {
        Some(raw) => links(&raw, rows)?,
        None => Vec::new(),
    };
    // Only attributes that one of the wanted spans has are read.
    let mut is_needed = vec![false; head.keys.len()];
    for row in rows {
        let form = form_of.get(usize::from(*row)).ok_or(Damaged)?;
        head.forms[usize::from(*form)].keys.iter().for_each(|key| is_needed[usize::from(*key)] = true);
    }
    let mut raw_columns = Vec::with_capacity(head.keys.len());
    for (key, is_needed) in is_needed.iter().enumerate() {
        raw_columns.push(if *is_needed { Some(part(Head::part(key as u16))?.ok_or(Damaged)?) } else { None });
    }
    let columns = raw_columns.iter().map(|raw| raw.as_deref().map(Open::read).transpose());
    let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
    let mut next = vec![0; columns.len()];
    let (mut tids, mut parents, mut span_ids) = (ids.tids, Input(ids.parents), Input(ids.spans));
    let (mut spans, mut wanted) = (Vec::with_capacity(rows.len()), rows.iter().copied().peekable());
    for row in 0..head.rows {
        if wanted.peek().is_none() {
            break;
        }
        let form = &head.forms[usize::from(form_of[row])];
        let tid = u32::try_from(tids.varint()?).map_err(|_| Damaged)?;
        let span_id = SpanId(span_ids.array()?);
        let parent = if form.is_child { Some(SpanId(parents.array()?)) } else { None };
        let is_wanted = wanted.next_if(|wanted| usize::from(*wanted) == row).is_some();
        let (mut attributes, mut trace_state): (Vec<Attribute>, _) = (Vec::new(), String::new());
        for key in form.keys.iter().copied().map(usize::from) {
            if is_wanted {
                match columns[key].as_ref().ok_or(Damaged)?.value(next[key])? {
                    Value::Text(text) if head.keys[key] == TRACE_STATE => trace_state = text.into_owned(),
                    value => attributes.push((head.keys[key].clone().into(), value)),
                }
            }
            next[key] += 1;
        }
        if !is_wanted {
            continue;
        }
        let (resource, pid) = &head.processes[usize::from(process_of[row])];
        let own_links = links.iter_mut().find(|(at, _)| *at == row).map(|(_, links)| std::mem::take(links));
        spans.push(Span {
            trace_id: ids.traces[usize::from(ids.trace_of[row])],
            span_id,
            parent,
            parent_is_remote: form.parent_is_remote,
            trace_state,
            kind: form.kind,
            name: form.name.clone(),
            start_ns: starts[row],
            end_ns: starts[row].saturating_add(durations[row]),
            status: form.status,
            resource: resource.clone(),
            pid: *pid,
            tid,
            incomplete: form.incomplete,
            link: form.link,
            links: own_links.unwrap_or_default(),
            attributes,
        });
    }
    Ok(spans)
}

/// A column of which single values are wanted.
struct Open<'a> {
    column: Column<'a>,
    places: Vec<u16>,
}

impl<'a> Open<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, Damaged> {
        let column = Column::read(raw)?;
        let places = column.places()?;
        Ok(Self { column, places })
    }

    /// The n-th value of a span that has any.
    fn value(&self, n: usize) -> Result<Value, Damaged> {
        let place = self.places.get(n).ok_or(Damaged)?;
        Input(self.column.values[usize::from(*place)]).value()
    }
}

/// The links of the wanted spans, by their places.
fn links(raw: &[u8], wanted: &[u16]) -> Result<Vec<(usize, Vec<SpanLink>)>, Damaged> {
    let mut input = Input(raw);
    let (count, mut all) = (input.count()?, Vec::new());
    for _ in 0..count {
        let row = u16::try_from(input.varint()?).map_err(|_| Damaged)?;
        let count = input.count()?;
        let link = |input: &mut Input<'_>| {
            Ok(SpanLink {
                trace_id: TraceId(input.array()?),
                span_id: SpanId(input.array()?),
                attributes: input.attributes()?,
            })
        };
        let links = (0..count).map(|_| link(&mut input)).collect::<Result<Vec<_>, Damaged>>()?;
        if wanted.binary_search(&row).is_ok() {
            all.push((usize::from(row), links));
        }
    }
    Ok(all)
}
