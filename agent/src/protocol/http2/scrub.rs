//! Lets through what a recording may hold of HTTP/2, byte for byte in its place, so that a parser makes the same exchanges
//! of it: the preface, heads of frames, header blocks with masked values, settings, and prefixes of gRPC messages. All
//! else stays masked.
//!
//! It reads with the parser's own reader of frames ([`flow`](super::flow)), and does what
//! [`Connection`](super::Connection) does where that matters for what bytes mean.
//!
//! A header block that goes on in the next record is judged as far as it goes: of a value that goes on there, only what
//! can be judged without its end passes ([`Counts::parted`]).

mod partial;
mod value;

use std::collections::BTreeMap;

use super::{
    MALFORMED_MAX, STREAMS_MAX,
    block::Block,
    connection::{HEADER_TABLE_SIZE, MAX_FRAME_SIZE},
    data::Part,
    flow::{Place, Reader, Step},
    frame::{HEAD_LENGTH, Head, Kind},
    grpc::Messages,
    hpack::{Decoder, Start},
    run::length,
    stream::index,
};
use crate::{
    protocol::{Chunk, Flow, Incomplete, Stamp},
    span::redact::Redaction,
};
use partial::Partial;

/// Bytes of `GOAWAY` that are no text for debugging.
const GO_AWAY: usize = 8;

/// Where in a frame's head its type is.
const TYPE_AT: usize = 3;
/// Type that stands for those that are not known.
const UNKNOWN_TYPE: u8 = 0xff;

/// What could not be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names and values of header blocks that went on in another record, so that what needs their end is masked.
    pub parted: u64,
    /// Header blocks that could not be decoded; the rest of each is masked.
    pub undecodable: u64,
    /// Streams past the bound on those that are followed; prefixes of their messages are masked.
    pub streams_full: u64,
}

impl Counts {
    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        let Self { parted, undecodable, streams_full } = other;
        self.parted += parted;
        self.undecodable += undecodable;
        self.streams_full += streams_full;
    }

    /// Each counter with its name.
    pub const fn named(&self) -> [(&'static str, u64); 3] {
        let Self { parted, undecodable, streams_full } = *self;
        [("parted", parted), ("undecodable", undecodable), ("streams_full", streams_full)]
    }
}

/// Scrubs both directions of a connection.
#[derive(Debug)]
pub struct Scrubber {
    joined_late: bool,
    /// By flow: requests, responses.
    ways: [Way; 2],
    streams: BTreeMap<u32, Stream>,
    faults: u64,
    /// Everything is masked from here on.
    over: bool,
    counts: Counts,
}

/// A stream that is not over: where the messages of gRPC begin in it, and which sides have ended, by flow.
#[derive(Debug, Default)]
struct Stream {
    messages: [Messages; 2],
    ended: [bool; 2],
}

/// One flow.
#[derive(Debug)]
struct Way {
    reader: Reader,
    decoder: Decoder,
    block: Partial,
}

impl Scrubber {
    /// A connection from its beginning, or (joined late) from anywhere.
    pub fn new(joined_late: bool) -> Self {
        let start = if joined_late { Start::Middle } else { Start::Beginning };
        let way = |flow| Way {
            reader: Reader::new(flow, joined_late),
            decoder: Decoder::new(start),
            block: Partial::default(),
        };
        Self {
            joined_late,
            ways: [way(Flow::Requests), way(Flow::Responses)],
            streams: BTreeMap::new(),
            faults: 0,
            over: false,
            counts: Counts::default(),
        }
    }

    /// Takes the next bytes of a flow, which the call `stamp` moved. Copied ones belong at `at` in `clean`, a record's
    /// payload with every byte masked: those that may be seen are put there. [`flush`](Self::flush) ends the record.
    pub fn chunk(
        &mut self,
        flow: Flow,
        stamp: &Stamp,
        chunk: Chunk<'_>,
        (clean, at): (&mut [u8], usize),
        redaction: &Redaction,
    ) {
        if self.over {
            return;
        }
        let mut rest = chunk;
        let mut begins = self.way(flow).reader.enter(stamp);
        loop {
            let place = self.way(flow).reader.place();
            let before = rest;
            let Some(step) = self.way(flow).reader.step(stamp, &mut rest, begins) else { return };
            begins = false;
            let (used, at) = match before {
                Chunk::Copied(bytes) => {
                    let used = bytes.len() - (length(rest) as usize).min(bytes.len());
                    let passed = if let Chunk::Copied(whole) = chunk { whole.len() - bytes.len() } else { 0 };
                    (bytes.get(..used).unwrap_or_default(), at + passed)
                }
                _ => (&[][..], at),
            };
            self.pass(flow, place, &step, used, (clean, at));
            self.step(flow, step, clean, redaction);
        }
    }

    /// A record ends: what there is of a header block that goes on behind it is judged so far. `clean` is as in
    /// [`chunk`](Self::chunk).
    pub fn flush(&mut self, flow: Flow, clean: &mut [u8], redaction: &Redaction) {
        let Way { reader, decoder, block } = &mut self.ways[index(flow)];
        if let Some(bytes) = reader.block_so_far() {
            block.record_ends(bytes, decoder, clean, redaction, &mut self.counts);
        }
    }

    /// What could not be judged so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn way(&mut self, flow: Flow) -> &mut Way {
        &mut self.ways[index(flow)]
    }

    /// Lets bytes pass by where they are; those of a header block are only noted.
    fn pass(&mut self, flow: Flow, place: Place, step: &Step<'_>, used: &[u8], (clean, at): (&mut [u8], usize)) {
        match place {
            Place::Head(have) if matches!(step, Step::Malformed) => {
                put(clean, at, used);
                spoil(&mut self.way(flow).block.head, have, used.len(), clean, at, flow);
            }
            Place::Head(have) => {
                let head = &mut self.way(flow).block.head;
                head.iter_mut().skip(have).zip(used).for_each(|(to, from)| *to = *from);
                let head = *head;
                let has_type = have + used.len() > TYPE_AT;
                let shown = if has_type { shown_of_head(head) } else { head };
                put(clean, at, shown.get(have..have + used.len()).unwrap_or_default());
            }
            Place::Data(stream, Part::Body) => self.body(flow, stream, used, (clean, at)),
            Place::Block { before, have } => {
                let (front, rest) = used.split_at_checked(before).unwrap_or((used, &[]));
                put(clean, at, front);
                let way = self.way(flow);
                let now = match step {
                    Step::Block(block) => block.bytes.len(),
                    _ => way.reader.block_so_far().map_or(have, <[u8]>::len),
                };
                way.block.note(have, rest.len().min(now.saturating_sub(have)), at + front.len());
            }
            Place::Short(Kind::GoAway, passed) => {
                put(clean, at, used.get(..GO_AWAY.saturating_sub(passed)).unwrap_or(used));
            }
            Place::Preface | Place::Short(..) | Place::Data(_, Part::PadLength) => put(clean, at, used),
            Place::Data(_, Part::Padding) | Place::Nowhere => {}
        }
    }

    /// Lets prefixes of messages pass.
    fn body(&mut self, flow: Flow, stream: u32, used: &[u8], (clean, at): (&mut [u8], usize)) {
        let Some(stream) = self.streams.get_mut(&stream) else { return };
        let mut done = 0;
        stream.messages[index(flow)].each(used, |n, is_prefix| {
            if is_prefix {
                put(clean, at + done, used.get(done..done + n).unwrap_or_default());
            }
            done += n;
        });
    }

    /// What [`Connection`](super::Connection) makes of a step, as far as it matters here.
    fn step(&mut self, flow: Flow, step: Step<'_>, clean: &mut [u8], redaction: &Redaction) {
        match step {
            Step::Nothing | Step::GoAway(_) => {}
            Step::Data(data) => {
                if !matches!(data.body, Chunk::Copied(_))
                    && let Some(stream) = self.streams.get_mut(&data.stream)
                {
                    stream.messages[index(flow)].data(data.body);
                }
                if data.ends {
                    self.end(flow, data.stream);
                }
            }
            Step::Block(block) => {
                if !block.is_promise {
                    self.follow(block.stream);
                }
                self.block(flow, &block, clean, redaction);
                if block.ends {
                    self.end(flow, block.stream);
                }
            }
            Step::Reset(stream, _) => drop(self.streams.remove(&stream)),
            Step::Settings(settings) => {
                let [requests, responses] = &mut self.ways;
                let to = if flow == Flow::Requests { responses } else { requests };
                for (id, value) in settings {
                    match id {
                        HEADER_TABLE_SIZE => to.decoder.set_limit(value),
                        MAX_FRAME_SIZE => to.reader.payload_max = to.reader.payload_max.max(value),
                        _ => {}
                    }
                }
            }
            Step::Gap(why) => self.gap(flow, why, clean, redaction),
            Step::Resumed(_) => self.way(flow).decoder.note_gap(),
            Step::Malformed if self.way(flow).reader.frames == 0 && !self.joined_late => self.over = true,
            Step::Malformed => {
                self.gap(flow, Incomplete::Malformed, clean, redaction);
                self.fault();
            }
            Step::Foreign => self.over = true,
        }
    }

    /// A stream is there; past the bound the one with the lowest id is not followed any more.
    fn follow(&mut self, stream: u32) {
        self.streams.entry(stream).or_default();
        if self.streams.len() > STREAMS_MAX {
            self.streams.pop_first();
            self.counts.streams_full += 1;
        }
    }

    /// A side of a stream ended.
    fn end(&mut self, flow: Flow, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.ended[index(flow)] = true;
            if stream.ended == [true; 2] {
                self.streams.remove(&id);
            }
        }
    }

    fn block(&mut self, flow: Flow, block: &Block<'_>, clean: &mut [u8], redaction: &Redaction) {
        let Way { decoder, block: partial, .. } = &mut self.ways[index(flow)];
        let told = partial.ends(&block.bytes, decoder, clean, redaction, &mut self.counts);
        if told.not_grpc
            && let Some(stream) = self.streams.get_mut(&block.stream)
        {
            stream.messages[index(flow)].lose();
        }
        if block.flaw.is_some() {
            decoder.note_gap();
        }
        if block.flaw == Some(Incomplete::Malformed) || block.flaw.is_none() && told.broken {
            self.fault();
        }
    }

    fn gap(&mut self, flow: Flow, why: Incomplete, clean: &mut [u8], redaction: &Redaction) {
        if let Some(block) = self.way(flow).reader.cut_block(why) {
            self.block(flow, &block, clean, redaction);
        }
        self.way(flow).decoder.note_gap();
    }

    fn fault(&mut self) {
        self.faults += 1;
        self.over |= self.faults > MALFORMED_MAX;
    }
}

/// What may be seen of a frame's head: of a type that is not known, nothing but the length. Out of step, it may be
/// anything.
fn shown_of_head(head: [u8; HEAD_LENGTH]) -> [u8; HEAD_LENGTH] {
    let [a, b, c, ..] = head;
    match Head::parse(head).kind {
        Kind::Other(_) => [a, b, c, UNKNOWN_TYPE, 0, 0, 0, 0, 0],
        _ => head,
    }
}

/// Puts bytes into their place.
fn put(clean: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = clean.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Overwrites those bytes of a head that is none which are in this record, so that it still is none; as they are, they may
/// be anything.
fn spoil(head: &mut [u8; HEAD_LENGTH], have: usize, used: usize, clean: &mut [u8], at: usize, flow: Flow) {
    for fill in [0, 0xff] {
        head.iter_mut().skip(have).take(used).for_each(|byte| *byte = fill);
        if !Head::parse(*head).is_legal(flow) {
            put(clean, at, head.get(have..have + used).unwrap_or_default());
            return;
        }
    }
}
