use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    span::{Resource, Span, SpanId, Value, sample},
    store::bytes::{Damaged, unseal},
};

/// Spans of many kinds, `count` of them.
fn mixed(count: usize) -> Vec<Span> {
    let shops: Vec<_> = (0..3)
        .map(|n| Arc::new(Resource { service: format!("shop-{n}"), ..(*sample::server().resource).clone() }))
        .collect();
    let one = |n: usize| {
        let mut span = if n.is_multiple_of(3) { sample::root() } else { sample::server() };
        span.span_id = SpanId((n as u64 + 1).to_be_bytes());
        span.resource = Arc::clone(&shops[n % 3]);
        span.pid = n as u32 % 5;
        // Starts go back and forth.
        span.start_ns = span.start_ns + (n as u64 * 1_000) - (n as u64 % 7) * 5_000;
        span.end_ns = span.start_ns + n as u64 * 17;
        if n.is_multiple_of(4) {
            span.attributes.push((Cow::Borrowed("n"), Value::Int((n as u64).cast_signed())));
            span.attributes.push((Cow::Borrowed("n"), Value::Int(-(n as u64).cast_signed())));
        }
        span
    };
    (0..count).map(one).collect()
}

fn encoded(spans: &[Span]) -> BTreeMap<u16, Vec<u8>> {
    let mut builder = Builder::default();
    for span in spans {
        builder.push(span);
    }
    builder.encode().expect("spans").parts.into_iter().collect()
}

fn decoded(parts: &BTreeMap<u16, Vec<u8>>, rows: &[u16]) -> Result<Vec<Span>, Damaged> {
    spans(rows, |number| parts.get(&number).map(|blob| unseal(blob)).transpose())
}

#[test]
fn spans_come_back_as_they_were() {
    let sent = mixed(1000);
    let parts = encoded(&sent);
    let all: Vec<u16> = (0..1000).collect();
    assert_eq!(decoded(&parts, &all), Ok(sent.clone()));
    for rows in [&[][..], &[0], &[999], &[3, 4, 5, 997]] {
        let expected: Vec<_> = rows.iter().map(|row| sent[usize::from(*row)].clone()).collect();
        assert_eq!(decoded(&parts, rows), Ok(expected), "{rows:?}");
    }
}

#[test]
fn a_summary_bounds_its_spans_and_nothing_makes_no_block() {
    assert!(Builder::default().encode().is_none());
    let mut builder = Builder::default();
    let spans = mixed(50);
    for span in &spans {
        builder.push(span);
    }
    let summary = builder.encode().expect("spans").summary;
    assert_eq!(summary.rows, 50);
    assert_eq!(Some(summary.start_min), spans.iter().map(|span| span.start_ns).min());
    assert_eq!(Some(summary.start_max), spans.iter().map(|span| span.start_ns).max());
    assert_eq!(summary.duration_max, 49 * 17);
}

#[test]
fn a_part_that_is_missing_or_of_another_block_is_damage_and_no_panic() {
    let (small, large) = (encoded(&mixed(10)), encoded(&mixed(300)));
    let all: Vec<u16> = (0..300).collect();
    for number in large.keys().copied().filter(|number| ![LINKS, TRACES, VALUES, PATHS, GRAMS, CELLS].contains(number))
    {
        let mut lacking = large.clone();
        lacking.remove(&number);
        assert_eq!(decoded(&lacking, &all), Err(Damaged), "without part {number}");
        let mut wrong = large.clone();
        wrong.insert(number, small[&number].clone());
        // It may happen to be readable; that it does not panic is what is tested.
        let _ = decoded(&wrong, &all);
    }
    assert_eq!(decoded(&large, &[300]), Err(Damaged));
}

#[test]
fn raw_parts_cut_anywhere_are_damage_and_no_panic() {
    let parts = encoded(&mixed(60));
    let all: Vec<u16> = (0..60).collect();
    for (&number, blob) in &parts {
        let raw = unseal(blob).expect("own output");
        for length in 0..raw.len().min(400) {
            let read = |wanted: u16| {
                let raw = parts.get(&wanted).map(|blob| unseal(blob)).transpose();
                raw.map(|raw| raw.map(|raw| if wanted == number { raw[..length].to_vec() } else { raw }))
            };
            let _ = spans(&all, read);
        }
    }
}
