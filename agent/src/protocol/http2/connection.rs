//! One connection: takes chunks of both flows, gives notices. What header blocks mean is in `requests` and `responses`;
//! here is what concerns both.

use super::{
    Config, Counts, DOUBT_NS, MALFORMED_MAX,
    block::Block,
    fields::{Fields, is_wanted},
    flow::{DataStep, Reader, Step},
    grpc,
    hpack::{Decoder, Start},
    stream::{Answer, Ask, Stream, index},
    streams::Streams,
};
use crate::protocol::{Chunk, End, Flow, Incomplete, Notice, Observer, Request, Stamp, Transfer};

/// The stream of a request that came before an upgrade from HTTP/1 (RFC 7540, section 3.2).
const UPGRADED: u32 = 1;
/// Parameters of SETTINGS (RFC 9113, section 6.5.2).
pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const MAX_FRAME_SIZE: u16 = 5;

/// Parser of one connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) config: Config,
    /// By flow: requests, responses.
    flows: [Reader; 2],
    decoders: [Decoder; 2],
    pub(super) streams: Streams,
    pub(super) counts: Counts,
    /// Why no more will come of a flow.
    pub(super) ended: [Option<Incomplete>; 2],
    /// The last stream that the server acts on, once it said so.
    pub(super) last_served: Option<u32>,
    /// When bytes moved last.
    newest_ns: u64,
    /// Frames and blocks that could not be.
    faults: u64,
    /// Nothing is looked at any more.
    over: bool,
}

impl Connection {
    /// A connection of which nothing was seen yet, or (joined late) of which the beginning was missed.
    pub fn new(config: Config) -> Self {
        let late = config.joined_late;
        let decoder = || Decoder::new(if late { Start::Middle } else { Start::Beginning });
        Self {
            flows: [Flow::Requests, Flow::Responses].map(|flow| Reader::new(flow, late)),
            decoders: [decoder(), decoder()],
            streams: Streams::default(),
            counts: Counts::default(),
            ended: [None; 2],
            last_served: None,
            newest_ns: 0,
            faults: 0,
            over: false,
            config,
        }
    }

    /// A connection that HTTP/1 was upgraded on (`h2c`): its flows go on with the client's preface and the server's
    /// SETTINGS. `request`, of which `sent` moved, is answered on stream 1; its exchange has the ordinal 0 and was told as
    /// started before.
    pub fn upgraded(config: Config, request: Request, sent: Option<Transfer>) -> Self {
        let mut connection = Self::new(Config { joined_late: false, ..config });
        let (stream, _) = connection.streams.begin(UPGRADED, 0, &mut Vec::new());
        stream.ask = Ask::Over;
        stream.is_rpc = request.headers.iter().any(|(name, value)| name == "content-type" && grpc::is_grpc(value));
        stream.exchange.request = Some(request);
        stream.exchange.sent = sent;
        connection
    }

    /// Takes the next bytes of a flow, which the call `stamp` moved. The chunks of one flow must come in order; those of
    /// the two flows nearly so.
    pub fn data(&mut self, flow: Flow, stamp: &Stamp, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        if self.over {
            return;
        }
        self.newest_ns = self.newest_ns.max(stamp.end_ns);
        let mut rest = chunk;
        let mut begins = self.flow(flow).enter(stamp);
        while let Some(step) = self.flow(flow).step(stamp, &mut rest, begins) {
            begins = false;
            self.step(flow, stamp, step, out);
        }
    }

    /// A flow ended, or (without one) the whole connection; after that, nothing of it is looked at.
    pub fn end(&mut self, flow: Option<Flow>, end: End, out: &mut Vec<Notice>) {
        let why = reason(end);
        for each in [Flow::Requests, Flow::Responses] {
            if !self.over && flow.is_none_or(|flow| flow == each) {
                self.end_flow(each, why, out);
            }
        }
        if flow.is_none() {
            self.stop(why, out);
        }
    }

    /// Reports the exchanges of which no byte moved since `before_ns` (end of a call, boot-time nanoseconds) as timed
    /// out, and those that may have ended unseen for [`DOUBT_NS`] as they are. Frames that come for them later are passed
    /// over.
    pub fn expire(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        let doubtful_ns = self.newest_ns.saturating_sub(DOUBT_NS).max(before_ns);
        self.counts.unpaired += self.streams.end(
            |_, stream| {
                if stream.is_doubtful(doubtful_ns) {
                    stream.give_up(Incomplete::Lost);
                    return true;
                }
                let silent = stream.moved_ns() < before_ns;
                if silent {
                    stream.give_up(Incomplete::TimedOut);
                }
                silent
            },
            out,
        );
    }

    /// Exchanges that have started and were not reported as finished.
    pub fn open(&self) -> usize {
        self.streams.open()
    }

    /// What was given up so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of unfinished header blocks and of the tables of header compression, so that their sum over all connections
    /// can be bounded.
    pub fn kept_bytes(&self) -> usize {
        let flows: usize = self.flows.iter().map(Reader::kept).sum();
        flows + self.decoders.iter().map(Decoder::kept_bytes).sum::<usize>()
    }

    fn flow(&mut self, flow: Flow) -> &mut Reader {
        &mut self.flows[index(flow)]
    }

    pub(super) fn decoder(&mut self, flow: Flow) -> &mut Decoder {
        &mut self.decoders[index(flow)]
    }

    fn step(&mut self, flow: Flow, stamp: &Stamp, step: Step<'_>, out: &mut Vec<Notice>) {
        match step {
            Step::Nothing => {}
            Step::Data(data) => self.stream_data(flow, stamp, &data, out),
            Step::Block(block) => self.block(flow, stamp, &block, out),
            Step::Reset(id, code) => {
                // A server may refuse a stream before its request is seen.
                let is_new = self.streams.get(id).is_none() && flow == Flow::Responses && !id.is_multiple_of(2);
                let stream = if is_new { self.streams.early(id) } else { self.streams.get(id) };
                if let Some(stream) = stream {
                    stream.reset(flow, code);
                    self.streams.settle(id, out);
                }
            }
            Step::Settings(settings) => self.settings(flow, &settings),
            Step::GoAway(last) => self.go_away(flow, last, out),
            Step::Gap(why) => self.gap(flow, stamp, why, out),
            Step::Resumed(until_ns) => {
                self.decoder(flow).note_gap();
                self.doubt(flow, Incomplete::Lost, until_ns, out);
            }
            Step::Malformed => {
                self.counts.malformed += 1;
                if self.flow(flow).frames == 0 && !self.config.joined_late {
                    self.turn_opaque(out);
                } else {
                    self.gap(flow, stamp, Incomplete::Malformed, out);
                    self.fault(out);
                }
            }
            Step::Foreign => self.turn_opaque(out),
        }
    }

    fn stream_data(&mut self, flow: Flow, stamp: &Stamp, data: &DataStep<'_>, out: &mut Vec<Notice>) {
        let Some(stream) = self.streams.get(data.stream).filter(|stream| stream.is_open(flow)) else { return };
        if flow == Flow::Responses && stream.answer == Answer::Awaited {
            // Its head was missed, or there was none.
            stream.mark(Incomplete::Malformed);
            stream.answer = Answer::Coming;
        }
        stream.data(flow, stamp, data);
        if data.ends {
            stream.finish(flow);
            self.streams.settle(data.stream, out);
        }
    }

    fn block(&mut self, flow: Flow, stamp: &Stamp, block: &Block<'_>, out: &mut Vec<Notice>) {
        let fields = self.decode(flow, block);
        let broken = fields.flaw == Some(Incomplete::Malformed);
        match flow {
            Flow::Requests => self.request_block(stamp, block, fields, out),
            Flow::Responses => self.response_block(stamp, block, fields, out),
        }
        if broken {
            self.fault(out);
        }
    }

    fn decode(&mut self, flow: Flow, block: &Block<'_>) -> Fields {
        let redaction = &self.config.redaction;
        let mut fields = Fields::new();
        let result = self.decoders[index(flow)].decode(
            &block.bytes,
            |name| is_wanted(name, redaction),
            |field| fields.take(&field, redaction),
        );
        fields.flaw = block.flaw;
        match block.flaw {
            None if result.is_err() => {
                self.counts.header_errors += 1;
                fields.flaw = Some(Incomplete::Malformed);
            }
            None => {}
            Some(why) => {
                self.counts.head_too_long += u64::from(why == Incomplete::HeadTooLong);
                self.counts.malformed += u64::from(why == Incomplete::Malformed);
                self.decoder(flow).note_gap();
            }
        }
        self.counts.cut += fields.cut;
        fields
    }

    /// A side's SETTINGS say what the other side's flow may do.
    fn settings(&mut self, from: Flow, settings: &[(u16, u32)]) {
        let to = match from {
            Flow::Requests => Flow::Responses,
            Flow::Responses => Flow::Requests,
        };
        for &(id, value) in settings {
            match id {
                HEADER_TABLE_SIZE => self.decoder(to).set_limit(value),
                MAX_FRAME_SIZE => {
                    let reader = self.flow(to);
                    reader.payload_max = reader.payload_max.max(value);
                }
                _ => {}
            }
        }
    }

    /// The server acts on no stream above `last`. What a client says so is about pushed streams.
    fn go_away(&mut self, from: Flow, last: u32, out: &mut Vec<Notice>) {
        if from == Flow::Requests {
            return;
        }
        self.last_served = Some(last);
        self.counts.unpaired += self.streams.end(
            |id, stream| {
                let refused = id > last;
                if refused {
                    stream.give_up(Incomplete::Refused);
                }
                refused
            },
            out,
        );
    }

    /// Frames of a flow are missing from here on.
    fn gap(&mut self, flow: Flow, stamp: &Stamp, why: Incomplete, out: &mut Vec<Notice>) {
        match flow {
            Flow::Requests => self.counts.request_gaps += 1,
            Flow::Responses => self.counts.response_gaps += 1,
        }
        if let Some(block) = self.flow(flow).cut_block(why) {
            self.block(flow, stamp, &block, out);
        }
        self.decoder(flow).note_gap();
        self.doubt(flow, why, self.newest_ns, out);
    }

    /// The ends of the streams that are open may have been missed, if they were open before `until_ns`.
    fn doubt(&mut self, flow: Flow, why: Incomplete, until_ns: u64, out: &mut Vec<Notice>) {
        let (now, observer) = (self.newest_ns, self.config.observer);
        // A request's bytes exist from the entry of the call that sends them, or the return of the one that receives them.
        let begun_ns = |first: Stamp| if observer == Observer::Client { first.start_ns } else { first.end_ns };
        let change = |stream: &mut Stream| {
            if stream.exchange.sent.is_none_or(|sent| begun_ns(sent.first) <= until_ns) {
                stream.doubt(flow, now, why);
            }
        };
        self.streams.update(change, out);
    }

    fn end_flow(&mut self, flow: Flow, why: Incomplete, out: &mut Vec<Notice>) {
        if self.flow(flow).is_over() {
            return;
        }
        if let Some(block) = self.flow(flow).cut_block(why) {
            let stamp = Stamp { end_ns: self.newest_ns, ..block.first };
            self.block(flow, &stamp, &block, out);
        }
        self.flow(flow).stop();
        self.ended[index(flow)].get_or_insert(why);
        self.streams.update(|stream| stream.end(flow, why), out);
    }

    /// Something that cannot be was seen: too often, and it is not HTTP/2.
    fn fault(&mut self, out: &mut Vec<Notice>) {
        self.faults += 1;
        if self.faults > MALFORMED_MAX {
            self.turn_opaque(out);
        }
    }

    /// The connection speaks something else from here on.
    fn turn_opaque(&mut self, out: &mut Vec<Notice>) {
        if !self.over {
            self.stop(Incomplete::Unobserved, out);
            out.push(Notice::Opaque);
        }
    }

    fn stop(&mut self, why: Incomplete, out: &mut Vec<Notice>) {
        self.counts.unpaired += self.streams.end(
            |_, stream| {
                stream.give_up(why);
                true
            },
            out,
        );
        self.flows.iter_mut().for_each(Reader::stop);
        self.decoders.iter_mut().for_each(|decoder| *decoder = Decoder::new(Start::Middle));
        self.over = true;
    }
}

/// Why a response that was not complete at this end never will be.
fn reason(end: End) -> Incomplete {
    match end {
        End::Finished | End::Closed => Incomplete::Closed,
        End::Error(_) => Incomplete::Reset,
        End::Exited => Incomplete::Exited,
        End::Unobserved => Incomplete::Unobserved,
    }
}
