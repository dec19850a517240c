//! Collects encoded spans by process, and closes them into requests that are ready to send. It never makes a request
//! larger than its bound.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::Format;
use crate::{
    export::delivery::compress::Compression,
    span::{Attribute, Resource, Span},
};

/// A request, encoded.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Ordinal of the batch among those that this process closed, from 0.
    pub serial: u64,
    /// Its ordinal in the queue on the disk, if it is there.
    pub ordinal: Option<u64>,
    /// When its first span was put in, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Spans in it.
    pub spans: u64,
    /// How it is encoded.
    pub format: Format,
    /// How it is compressed.
    pub compression: Compression,
    /// The request.
    pub body: Bytes,
}

/// A span is larger than a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized;

/// When a batch is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Spans in a batch.
    pub spans: u64,
    /// Bytes of a request.
    pub bytes: usize,
}

/// The open batch.
#[derive(Debug)]
pub struct Batcher {
    format: Format,
    compression: Compression,
    bounds: Bounds,
    common: Vec<Attribute>,
    groups: Vec<Group>,
    /// Where in `groups` a resource is, by its address; `groups` holds the resource, so that no other takes the address.
    places: FxHashMap<usize, usize>,
    spans: u64,
    bytes: usize,
    opened: Option<Instant>,
    closed: u64,
    scratch: Vec<u8>,
    /// A closed batch's largest buffer, for the next batch: one that grew from nothing would be copied several times.
    spare: Vec<u8>,
}

/// One process's spans.
#[derive(Debug)]
struct Group {
    resource: Arc<Resource>,
    encoded_resource: Vec<u8>,
    /// Its spans, as the format joins them.
    spans: Vec<u8>,
}

impl Batcher {
    /// An empty one; `common` are attributes for every resource that does not have them.
    pub fn new(format: Format, compression: Compression, bounds: Bounds, common: Vec<Attribute>) -> Self {
        Self {
            format,
            compression,
            bounds,
            common,
            groups: Vec::new(),
            places: FxHashMap::default(),
            spans: 0,
            bytes: 0,
            opened: None,
            closed: 0,
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Puts a span in. Batches that this closes are appended to `closed`.
    ///
    /// # Errors
    /// The span alone is larger than a request may be; it is not put in.
    pub fn push(&mut self, span: &Span, now: Instant, closed: &mut Vec<Batch>) -> Result<(), Oversized> {
        let mut encoded = std::mem::take(&mut self.scratch);
        encoded.clear();
        self.format.span(&mut encoded, span);
        let result = self.put(&encoded, span, now, closed);
        self.scratch = encoded;
        result
    }

    fn put(&mut self, encoded: &[u8], span: &Span, now: Instant, closed: &mut Vec<Batch>) -> Result<(), Oversized> {
        let (place, group) = self.place(&span.resource);
        let size = self.format.span_len(encoded.len());
        let fresh = group.as_ref().map_or(0, |group| self.overhead(group));
        if self.bytes + size + fresh > self.bounds.bytes {
            // Into the next batch; there its process is always new.
            let group = group.unwrap_or_else(|| self.group(&span.resource));
            if size + self.overhead(&group) > self.bounds.bytes {
                return Err(Oversized);
            }
            closed.extend(self.close());
            self.add(0, Some(group), encoded, now);
        } else {
            self.add(place, group, encoded, now);
        }
        if self.spans >= self.bounds.spans {
            closed.extend(self.close());
        }
        Ok(())
    }

    /// When the open batch was opened; absent while it is empty.
    pub const fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// Batches closed so far.
    pub const fn closed(&self) -> u64 {
        self.closed
    }

    /// Closes the open batch, unless it is empty.
    pub fn close(&mut self) -> Option<Batch> {
        let opened = self.opened.take()?;
        let mut body = Vec::with_capacity(self.bytes);
        self.format.begin(&mut body);
        for (index, mut group) in self.groups.drain(..).enumerate() {
            self.format.group(&mut body, index == 0, &group.encoded_resource, &group.spans);
            if group.spans.capacity() > self.spare.capacity() {
                group.spans.clear();
                self.spare = group.spans;
            }
        }
        self.format.end(&mut body);
        debug_assert!(body.len() <= self.bytes, "the size of a batch is never underestimated");
        self.places.clear();
        self.bytes = 0;
        let serial = self.closed;
        self.closed += 1;
        let (compression, body) = self.compression.apply(body.into());
        let time_ms = unix_ms().saturating_sub(opened.elapsed().as_millis() as u64);
        let spans = std::mem::take(&mut self.spans);
        Some(Batch { serial, ordinal: None, time_ms, spans, format: self.format, compression, body })
    }

    /// Where the resource's group is, and the group itself if it is not there yet.
    fn place(&self, resource: &Arc<Resource>) -> (usize, Option<Group>) {
        if !self.format.is_grouped() && !self.groups.is_empty() {
            return (0, None);
        }
        match self.places.get(&Arc::as_ptr(resource).addr()) {
            Some(&place) => (place, None),
            None => (self.groups.len(), Some(self.group(resource))),
        }
    }

    fn group(&self, resource: &Arc<Resource>) -> Group {
        let mut encoded_resource = Vec::new();
        self.format.resource(&mut encoded_resource, resource, &self.common);
        Group { resource: Arc::clone(resource), encoded_resource, spans: Vec::new() }
    }

    /// Most bytes that a group takes beside its spans; the first one's also has what is around all groups.
    fn overhead(&self, group: &Group) -> usize {
        group.encoded_resource.len() + self.format.overhead()
    }

    fn add(&mut self, place: usize, fresh: Option<Group>, encoded: &[u8], now: Instant) {
        if let Some(mut group) = fresh {
            group.spans = std::mem::take(&mut self.spare);
            self.bytes += self.overhead(&group);
            self.places.insert(Arc::as_ptr(&group.resource).addr(), place);
            self.groups.push(group);
        }
        self.format.add(&mut self.groups[place].spans, encoded);
        self.bytes += self.format.span_len(encoded.len());
        self.spans += 1;
        self.opened.get_or_insert(now);
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    use super::*;
    use crate::{
        export::delivery::encode::SCHEMA_URL,
        span::{Value, sample},
    };

    const WIDE: Bounds = Bounds { spans: 1000, bytes: 1 << 20 };

    fn of(format: Format, bounds: Bounds) -> Batcher {
        Batcher::new(format, Compression::None, bounds, Vec::new())
    }

    fn otlp(bounds: Bounds) -> Batcher {
        of(Format::Otlp, bounds)
    }

    fn decoded(batch: &Batch) -> ExportTraceServiceRequest {
        let decoded = ExportTraceServiceRequest::decode(batch.body.clone()).expect("prost reads a request");
        assert_eq!(decoded.encode_to_vec(), batch.body, "nothing that prost does not know, and all in its order");
        decoded
    }

    #[test]
    fn spans_are_grouped_by_process_under_schema_and_scope() {
        let mut batcher = otlp(WIDE);
        let (mut closed, now) = (Vec::new(), Instant::now());
        let (one, two) = (sample::server(), sample::server());
        for span in [&one, &two, &one] {
            batcher.push(span, now, &mut closed).expect("fits");
        }
        assert_eq!((batcher.closed(), batcher.opened()), (0, Some(now)));
        let batch = batcher.close().expect("not empty");
        assert_eq!((batch.spans, batch.serial, batch.format), (3, 0, Format::Otlp));
        let request = decoded(&batch);
        let counts: Vec<_> = request.resource_spans.iter().map(|group| group.scope_spans[0].spans.len()).collect();
        assert_eq!(counts, [2, 1]);
        for group in &request.resource_spans {
            assert_eq!(group.schema_url, SCHEMA_URL);
            assert_eq!(group.scope_spans[0].schema_url, SCHEMA_URL);
            let scope = group.scope_spans[0].scope.as_ref().expect("a scope");
            assert_eq!((scope.name.as_str(), scope.version.as_str()), ("netspan", env!("CARGO_PKG_VERSION")));
            assert!(group.resource.is_some());
        }
        assert!(batcher.close().is_none() && batcher.opened().is_none());
    }

    #[test]
    fn a_batch_closes_when_it_has_its_spans() {
        let mut batcher = otlp(Bounds { spans: 2, ..WIDE });
        let mut closed = Vec::new();
        for _ in 0..5 {
            batcher.push(&sample::root(), Instant::now(), &mut closed).expect("fits");
        }
        assert_eq!(closed.iter().map(|batch| (batch.serial, batch.spans)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
        assert_eq!(batcher.close().map(|batch| (batch.serial, batch.spans)), Some((2, 1)));
    }

    /// The spans of a batch, counted by a reader of its format.
    fn count(batch: &Batch) -> usize {
        let json = || serde_json::from_slice::<serde_json::Value>(&batch.body).expect("JSON");
        match batch.format {
            Format::Otlp => decoded(batch).resource_spans.iter().map(|group| group.scope_spans[0].spans.len()).sum(),
            Format::OtlpJson => json()["resourceSpans"]
                .as_array()
                .expect("groups")
                .iter()
                .map(|group| group["scopeSpans"][0]["spans"].as_array().expect("spans").len())
                .sum(),
            Format::Zipkin => json().as_array().expect("spans").len(),
            Format::Lines => std::str::from_utf8(&batch.body).expect("text").lines().count(),
        }
    }

    #[test]
    fn no_request_is_larger_than_its_bound_whatever_the_spans_and_the_format() {
        for (format, bytes) in
            Format::ALL.into_iter().flat_map(|format| (700..4000).step_by(97).map(move |n| (format, n)))
        {
            let mut batcher = of(format, Bounds { spans: 1000, bytes });
            let mut closed = Vec::new();
            let mut span = sample::root();
            let (mut put, mut refused) = (0, 0);
            for length in (0..1500).step_by(37) {
                span.attributes = vec![("url.path".into(), Value::Text("/".repeat(length).into()))];
                if length % 5 == 0 {
                    span.resource = Arc::new((*span.resource).clone());
                }
                match batcher.push(&span, Instant::now(), &mut closed) {
                    Ok(()) => put += 1,
                    Err(Oversized) => refused += 1,
                }
            }
            closed.extend(batcher.close());
            assert!(closed.iter().all(|batch| batch.body.len() <= bytes), "{format:?}, bound {bytes}");
            let arrived: usize = closed.iter().map(count).sum();
            assert_eq!(arrived as u64, closed.iter().map(|batch| batch.spans).sum::<u64>());
            assert_eq!((arrived, put + refused), (put, 41));
        }
    }

    #[test]
    fn a_span_larger_than_a_request_is_refused_and_the_batch_stays() {
        let mut batcher = otlp(Bounds { spans: 10, bytes: 2000 });
        let (mut closed, mut span) = (Vec::new(), sample::root());
        batcher.push(&span, Instant::now(), &mut closed).expect("fits");
        span.name = "x".repeat(2000);
        assert_eq!(batcher.push(&span, Instant::now(), &mut closed), Err(Oversized));
        assert!(closed.is_empty());
        assert_eq!(batcher.close().map(|batch| batch.spans), Some(1));
    }
}
