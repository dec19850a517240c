//! One flow's framing: chunks in, steps out. It keeps heads of frames, header blocks and the short payloads that matter,
//! as long as they are not complete, and counts the rest. It knows no streams and no header compression.

use super::{
    HEAD_MAX,
    block::{Block, Fragments},
    data::{DataFrame, Part},
    frame::{ACK, END_HEADERS, HEAD_LENGTH, Head, Kind, PAYLOAD_MAX, PAYLOAD_USUAL},
    plausible::may_begin_frame,
    run::{is_empty, length, missing, take},
    short::Short,
};
use crate::protocol::{Chunk, Flow, Incomplete, Stamp, detect::HTTP2_PREFACE};

/// Where a flow stands.
#[derive(Debug)]
enum At {
    /// Within the client's preface, so far into it.
    Preface(usize),
    /// Within the head of a frame, so far into it.
    Head(usize),
    /// At the payload of a frame.
    Begin(Head),
    Data(DataFrame),
    /// Within a frame of a header block: bytes left, of which the last ones are padding.
    Block {
        left: u32,
        ends: bool,
    },
    Short(Short),
    /// Within a payload that is not needed.
    Pass(u32),
    /// Bytes are missing: looking for a frame at the beginning of a call.
    Seek,
    /// Nothing is looked at any more.
    Over,
}

/// What a byte is, for those who mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of the client's preface.
    Preface,
    /// Of a frame's head, so far into it.
    Head(usize),
    /// Of a DATA frame of this stream.
    Data(u32, Part),
    /// Of a frame of a header block: so many bytes come `before` the fragment, and the block so far is as long as `have`.
    Block { before: usize, have: usize },
    /// Of a short payload that matters, so far into it.
    Short(Kind, usize),
    /// Of nothing that is read.
    Nowhere,
}

/// What a step of a flow gives.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Nothing,
    Data(DataStep<'a>),
    Block(Block<'a>),
    /// `RST_STREAM`, with its code as far as that was seen.
    Reset(u32, Option<u32>),
    /// A parameter of SETTINGS.
    Settings(Vec<(u16, u32)>),
    /// GOAWAY, with the last stream that was or will be acted on.
    GoAway(u32),
    /// From here on frames are missing.
    Gap(Incomplete),
    /// Frames are seen again; what was missing moved until then, in boot-time nanoseconds.
    Resumed(u64),
    /// The bytes cannot be a frame here; from here on frames are missing.
    Malformed,
    /// The flow does not begin as HTTP/2.
    Foreign,
}

/// Bytes of a DATA frame.
#[derive(Debug)]
pub(super) struct DataStep<'a> {
    pub(super) stream: u32,
    /// Bytes on the wire.
    pub(super) wire: u64,
    /// Those of them that are payload.
    pub(super) body: Chunk<'a>,
    /// The bytes were lost: nobody knows when they moved.
    pub(super) lost: bool,
    /// The sender's side of the stream ends with them.
    pub(super) ends: bool,
}

/// Reader of one flow.
#[derive(Debug)]
pub(super) struct Reader {
    flow: Flow,
    at: At,
    head: [u8; HEAD_LENGTH],
    /// The call that moved the first byte of the frame.
    first: Stamp,
    /// A header block that is not complete.
    fragments: Option<Fragments>,
    /// Longest payload that the other side allows, as far as known.
    pub(super) payload_max: u32,
    /// When the last bytes moved that may have been frames and were not seen or passed over.
    missed_ns: Option<u64>,
    /// When the last bytes moved.
    now_ns: u64,
    /// The last call that moved bytes: entry, process, thread.
    call: Option<(u64, u32, u32)>,
    /// Frames seen, so that a flow that never was HTTP/2 can be told.
    pub(super) frames: u64,
}

impl Reader {
    /// A flow from its first byte, or (joined late) from anywhere.
    pub(super) fn new(flow: Flow, joined_late: bool) -> Self {
        let at = match flow {
            _ if joined_late => At::Seek,
            Flow::Requests => At::Preface(0),
            Flow::Responses => At::Head(0),
        };
        Self {
            flow,
            at,
            head: [0; HEAD_LENGTH],
            first: Stamp::default(),
            fragments: None,
            payload_max: if joined_late { PAYLOAD_MAX } else { PAYLOAD_USUAL },
            missed_ns: None,
            now_ns: 0,
            call: None,
            frames: 0,
        }
    }

    /// What the next byte is.
    pub(super) fn place(&self) -> Place {
        match &self.at {
            At::Preface(_) => Place::Preface,
            At::Head(have) => Place::Head(*have),
            At::Data(frame) => Place::Data(frame.stream, frame.part()),
            At::Block { .. } => {
                let block = self.fragments.as_ref();
                Place::Block {
                    before: block.map_or(0, |block| block.before() as usize),
                    have: block.map_or(0, |block| block.bytes().len()),
                }
            }
            At::Short(short) => Place::Short(short.kind(), short.passed() as usize),
            At::Begin(_) | At::Pass(_) | At::Seek | At::Over => Place::Nowhere,
        }
    }

    /// The header block that is not complete, so far.
    pub(super) fn block_so_far(&self) -> Option<&[u8]> {
        self.fragments.as_ref().map(Fragments::bytes)
    }

    /// Stops looking.
    pub(super) fn stop(&mut self) {
        self.at = At::Over;
        self.fragments = None;
    }

    /// Bytes kept.
    pub(super) fn kept(&self) -> usize {
        self.fragments.as_ref().map_or(0, Fragments::kept)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    /// Whether a step can be made without further bytes.
    fn is_ready(&self) -> bool {
        matches!(self.at, At::Begin(_))
    }

    /// A chunk comes; says whether a call begins with it.
    pub(super) fn enter(&mut self, stamp: &Stamp) -> bool {
        let call = Some((stamp.start_ns, stamp.tgid, stamp.tid));
        let begins = self.call != call;
        self.call = call;
        self.now_ns = self.now_ns.max(stamp.end_ns);
        begins
    }

    /// Makes the next step with the rest of a chunk; none if there is no more to do. `begins` says that `rest` is still
    /// the beginning of a call.
    pub(super) fn step<'a>(&mut self, stamp: &Stamp, rest: &mut Chunk<'a>, begins: bool) -> Option<Step<'a>> {
        if let Chunk::Lost(0) = *rest {
            *rest = Chunk::Copied(&[]);
            return Some(self.lose(Incomplete::Lost));
        }
        if is_empty(*rest) && !self.is_ready() {
            return None;
        }
        Some(match std::mem::replace(&mut self.at, At::Over) {
            At::Preface(done) => self.preface(done, rest),
            At::Head(have) => self.frame_head(have, stamp, rest),
            At::Begin(head) => self.begin(head),
            At::Data(frame) => self.data(frame, rest),
            At::Block { left, ends } => self.fragment(left, ends, rest),
            At::Short(short) => self.short(short, rest),
            At::Pass(left) => {
                let passed = length(take(rest, u64::from(left))) as u32;
                self.pass(left - passed)
            }
            At::Seek => self.seek(rest, begins),
            At::Over => {
                take(rest, u64::MAX);
                Step::Nothing
            }
        })
    }

    /// Bytes are missing where they are needed. What there is of a header block is given up with the next step.
    fn lose(&mut self, why: Incomplete) -> Step<'static> {
        if self.is_over() {
            return Step::Nothing;
        }
        self.missed_ns = Some(self.now_ns);
        self.at = At::Seek;
        Step::Gap(why)
    }

    /// The header block that a gap cut off, if there is one.
    pub(super) fn cut_block(&mut self, why: Incomplete) -> Option<Block<'static>> {
        self.fragments.take().map(|fragments| fragments.cut(why))
    }

    fn gap(&mut self, rest: &mut Chunk<'_>) -> Step<'static> {
        let why = missing(take(rest, u64::MAX));
        self.missed_ns = Some(self.now_ns);
        self.at = At::Seek;
        Step::Gap(why)
    }

    fn malformed(&mut self) -> Step<'static> {
        self.missed_ns = Some(self.now_ns);
        self.at = At::Seek;
        Step::Malformed
    }

    fn preface<'a>(&mut self, done: usize, rest: &mut Chunk<'a>) -> Step<'a> {
        let Chunk::Copied(bytes) = *rest else { return self.gap(rest) };
        let expected = HTTP2_PREFACE.get(done..).unwrap_or_default();
        let n = bytes.len().min(expected.len());
        if bytes.get(..n) != expected.get(..n) {
            return Step::Foreign;
        }
        take(rest, n as u64);
        self.at = if n == expected.len() { At::Head(0) } else { At::Preface(done + n) };
        Step::Nothing
    }

    fn frame_head<'a>(&mut self, have: usize, stamp: &Stamp, rest: &mut Chunk<'a>) -> Step<'a> {
        let Chunk::Copied(bytes) = *rest else { return self.gap(rest) };
        if have == 0 {
            self.first = *stamp;
        }
        let n = bytes.len().min(HEAD_LENGTH - have);
        for (to, from) in self.head.iter_mut().skip(have).zip(bytes) {
            *to = *from;
        }
        take(rest, n as u64);
        if have + n < HEAD_LENGTH {
            self.at = At::Head(have + n);
            return Step::Nothing;
        }
        let head = Head::parse(self.head);
        if !head.is_legal(self.flow) || head.length > self.payload_max {
            return self.malformed();
        }
        self.at = At::Begin(head);
        if let Some(block) = self.fragments.take_if(|block| !block.continues(&head)) {
            return Step::Block(block.cut(Incomplete::Malformed));
        }
        Step::Nothing
    }

    /// The head of a legal frame is complete.
    fn begin(&mut self, head: Head) -> Step<'static> {
        self.frames += 1;
        match head.kind {
            Kind::Data => {
                let frame = DataFrame::new(&head);
                let ends = frame.is_over();
                self.at = if ends { At::Head(0) } else { At::Data(frame) };
                let wire = HEAD_LENGTH as u64;
                return Step::Data(DataStep {
                    stream: head.stream,
                    wire,
                    body: Chunk::Copied(&[]),
                    lost: false,
                    ends: ends && frame.ends_stream(),
                });
            }
            Kind::Headers | Kind::PushPromise => {
                self.fragments = Some(Fragments::new(&head, self.first));
                return self.next_fragment(head.length, head.has(END_HEADERS));
            }
            Kind::Continuation => match &mut self.fragments {
                Some(fragments) => {
                    fragments.next(&head);
                    return self.next_fragment(head.length, head.has(END_HEADERS));
                }
                None => return self.malformed(),
            },
            Kind::Reset | Kind::GoAway => self.at = At::Short(Short::new(&head)),
            Kind::Settings if !head.has(ACK) && head.length > 0 => self.at = At::Short(Short::new(&head)),
            Kind::Settings | Kind::Priority | Kind::Ping | Kind::WindowUpdate | Kind::Other(_) => {
                return self.pass(head.length);
            }
        }
        Step::Nothing
    }

    fn pass(&mut self, left: u32) -> Step<'static> {
        self.at = if left == 0 { At::Head(0) } else { At::Pass(left) };
        Step::Nothing
    }

    fn data<'a>(&mut self, mut frame: DataFrame, rest: &mut Chunk<'a>) -> Step<'a> {
        let lost = missing(*rest) == Incomplete::Lost;
        let (wire, body) = frame.take(rest);
        let ends = frame.is_over();
        self.at = if ends { At::Head(0) } else { At::Data(frame) };
        Step::Data(DataStep { stream: frame.stream, wire, body, lost, ends: ends && frame.ends_stream() })
    }

    /// A frame of a header block has so many bytes left.
    fn next_fragment(&mut self, left: u32, ends: bool) -> Step<'static> {
        if left > 0 {
            self.at = At::Block { left, ends };
            return Step::Nothing;
        }
        self.at = At::Head(0);
        match self.fragments.take_if(|_| ends) {
            Some(fragments) => Step::Block(fragments.complete()),
            None => Step::Nothing,
        }
    }

    fn fragment<'a>(&mut self, left: u32, ends: bool, rest: &mut Chunk<'a>) -> Step<'a> {
        let taken = take(rest, u64::from(left));
        let left = left - length(taken) as u32;
        let Some(fragments) = &mut self.fragments else { return self.malformed() };
        if left == 0
            && ends
            && let Chunk::Copied(bytes) = taken
            && fragments.is_empty()
            && bytes.len() <= HEAD_MAX
        {
            // The usual case: the whole block in one piece, which need not be kept.
            self.at = At::Head(0);
            return match self.fragments.take() {
                Some(fragments) => Step::Block(fragments.whole(bytes)),
                None => Step::Nothing,
            };
        }
        fragments.push(taken);
        self.next_fragment(left, ends)
    }

    fn short<'a>(&mut self, mut short: Short, rest: &mut Chunk<'a>) -> Step<'a> {
        short.push(take(rest, u64::from(short.left())));
        if short.left() > 0 {
            self.at = At::Short(short);
            return Step::Nothing;
        }
        self.at = At::Head(0);
        match short.kind() {
            Kind::Reset => Step::Reset(short.stream(), short.word(0)),
            Kind::GoAway => short.word(0).map_or(Step::Nothing, |last| Step::GoAway(last & 0x7fff_ffff)),
            _ => Step::Settings(short.settings()),
        }
    }

    fn seek<'a>(&mut self, rest: &mut Chunk<'a>, begins: bool) -> Step<'a> {
        if let Chunk::Copied(bytes) = *rest
            && begins
        {
            let preface = self.flow == Flow::Requests && bytes.starts_with(HTTP2_PREFACE);
            if preface || may_begin_frame(bytes, self.flow, self.payload_max) {
                self.at = if preface { At::Preface(0) } else { At::Head(0) };
                return self.missed_ns.take().map_or(Step::Nothing, Step::Resumed);
            }
        }
        self.missed_ns = Some(self.now_ns);
        self.at = At::Seek;
        let lost = missing(take(rest, u64::MAX)) == Incomplete::Lost;
        if lost { Step::Gap(Incomplete::Lost) } else { Step::Nothing }
    }
}
