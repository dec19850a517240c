//! One direction of a connection: data events in, runs of bytes without silent gaps out. It knows no protocol.

use crate::protocol::{Chunk, Stamp};
use netspan_ebpf::{DataEvent, data_flag};

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Offset of the first byte not yet handed on.
    next: u64,
    /// The call whose events are not all here yet.
    call: Option<Call>,
    /// An event of the connection was lost since the last event of this direction, so bytes that seem left out on
    /// purpose may just as well be lost. Without a gap, bytes that no event told of are ones that the kernel side chose
    /// not to tell of: it did not recognise them. Holds the time before which the lost event's call returned.
    gap: Option<u64>,
}

/// A call that moved bytes, while its events come in.
#[derive(Clone, Copy, Debug)]
struct Call {
    stamp: Stamp,
    pos: u64,
    len: u32,
    /// How many of its bytes were handed on.
    done: u32,
    /// What the bytes after those are, up to the next copied ones.
    rest: Rest,
}

#[derive(Clone, Copy, Debug)]
enum Rest {
    Skipped,
    Cut,
    Lost,
}

impl Rest {
    fn chunk(self, bytes: u32) -> Chunk<'static> {
        let bytes = u64::from(bytes);
        match self {
            Self::Skipped => Chunk::Skipped(bytes),
            Self::Cut => Chunk::Cut(bytes),
            Self::Lost => Chunk::Lost(bytes),
        }
    }
}

/// What an event told besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Irregular {
    /// Bytes whose events were lost.
    pub(crate) lost: u64,
    /// It contradicts the ones before: its bytes were already handed on.
    pub(crate) disorder: bool,
}

impl Stream {
    /// Bytes moved in this direction since the connection was first seen.
    pub(crate) fn bytes(&self) -> u64 {
        self.next
    }

    /// An event of this connection was lost before an event of that time, nobody knows of which direction.
    pub(crate) fn note_gap(&mut self, before_ns: u64) {
        self.gap = self.gap.max(Some(before_ns));
    }

    /// Hands on the bytes that `event` accounts for: those copied, and those around them.
    pub(crate) fn data<'a>(
        &mut self,
        event: &DataEvent,
        payload: &'a [u8],
        mut emit: impl FnMut(&Stamp, Chunk<'a>),
    ) -> Irregular {
        let stamp = stamp(event);
        let mut told = Irregular::default();
        let mut call = match self.call.take() {
            Some(call) if call.has(event) => call,
            unfinished => {
                told.lost += self.abandon(unfinished, &mut emit);
                told.lost += self.skip_to(event.pos, &stamp, &mut emit);
                if event.pos < self.next {
                    told.disorder = true;
                    emit(&stamp, Chunk::Lost(0));
                }
                self.next = event.pos;
                Call { stamp, pos: event.pos, len: event.len, done: 0, rest: Rest::Skipped }
            }
        };
        if self.gap.take().is_some() {
            call.rest = Rest::Lost;
        }
        if event.off > call.done {
            told.lost += call.hand_rest(event.off, &mut emit);
        }
        let again = (call.done - event.off.min(call.done)) as usize;
        told.disorder |= again > 0;
        if let Some(fresh) = payload.get(again..)
            && !fresh.is_empty()
        {
            emit(&stamp, Chunk::Copied(fresh));
        }
        call.done = call.done.max(event.off + event.copied);
        call.rest = match event.flags {
            flags if flags & data_flag::FAULT != 0 => Rest::Lost,
            flags if flags & data_flag::CUT != 0 => Rest::Cut,
            _ => Rest::Skipped,
        };
        if event.flags & data_flag::MORE == 0 {
            told.lost += call.hand_rest(call.len, &mut emit);
            self.next = call.pos + u64::from(call.len);
        } else {
            self.call = Some(call);
        }
        told
    }

    /// The direction moves no more bytes; `total` of them moved since the connection was first seen, or 0 if that is not
    /// told. Returns how many of them are lost.
    pub(crate) fn end(&mut self, total: u64, stamp: &Stamp, mut emit: impl FnMut(&Stamp, Chunk<'static>)) -> u64 {
        let call = self.call.take();
        self.abandon(call, &mut emit) + self.skip_to(total, stamp, &mut emit)
    }

    /// A call's remaining events will not come any more.
    fn abandon<'a>(&mut self, call: Option<Call>, emit: &mut impl FnMut(&Stamp, Chunk<'a>)) -> u64 {
        let Some(mut call) = call else { return 0 };
        call.rest = Rest::Lost;
        self.next = call.pos + u64::from(call.len);
        call.hand_rest(call.len, emit)
    }

    fn skip_to<'a>(&mut self, pos: u64, stamp: &Stamp, emit: &mut impl FnMut(&Stamp, Chunk<'a>)) -> u64 {
        let missing = pos.saturating_sub(self.next);
        if missing == 0 {
            return 0;
        }
        self.next = pos;
        let Some(before_ns) = self.gap else {
            emit(stamp, Chunk::Cut(missing));
            return 0;
        };
        // The call itself is not known, but that it returned before the next event of either direction.
        let at_ns = before_ns.saturating_sub(1).min(stamp.end_ns);
        emit(&Stamp { start_ns: at_ns, end_ns: at_ns, arrived_ns: None, ..*stamp }, Chunk::Lost(missing));
        missing
    }
}

impl Call {
    /// Whether `event` is of this call.
    fn has(&self, event: &DataEvent) -> bool {
        let Self { stamp, pos, len, .. } = self;
        (*pos, *len, stamp.start_ns, stamp.tid) == (event.pos, event.len, event.start_ns, event.head.tid)
    }

    /// Hands on the bytes up to `end`, none of which were copied. Returns how many of them are lost.
    fn hand_rest<'a>(&mut self, end: u32, emit: &mut impl FnMut(&Stamp, Chunk<'a>)) -> u64 {
        let bytes = end.saturating_sub(self.done);
        self.done += bytes;
        if bytes > 0 {
            emit(&self.stamp, self.rest.chunk(bytes));
        }
        if matches!(self.rest, Rest::Lost) { u64::from(bytes) } else { 0 }
    }
}

/// The call behind an event.
fn stamp(event: &DataEvent) -> Stamp {
    Stamp {
        start_ns: event.start_ns,
        end_ns: event.head.time_ns,
        arrived_ns: (event.arrived_ns != 0).then_some(event.arrived_ns),
        tgid: event.head.tgid,
        tid: event.head.tid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netspan_ebpf::EventHead;

    #[derive(Debug, PartialEq, Eq)]
    enum Run {
        Copied(Vec<u8>),
        Skipped(u64),
        Cut(u64),
        Lost(u64),
    }

    fn run(chunk: Chunk<'_>) -> Run {
        match chunk {
            Chunk::Copied(bytes) => Run::Copied(bytes.to_vec()),
            Chunk::Skipped(bytes) => Run::Skipped(bytes),
            Chunk::Cut(bytes) => Run::Cut(bytes),
            Chunk::Lost(bytes) => Run::Lost(bytes),
        }
    }

    fn copied(bytes: &[u8]) -> Run {
        Run::Copied(bytes.to_vec())
    }

    struct Direction {
        stream: Stream,
        runs: Vec<Run>,
        lost: u64,
        disorder: u32,
    }

    impl Direction {
        fn new() -> Self {
            Self { stream: Stream::default(), runs: Vec::new(), lost: 0, disorder: 0 }
        }

        /// An event of the call that began at `pos` and moved `len` bytes.
        fn event(&mut self, pos: u64, len: u32, off: u32, payload: &[u8], flags: u8) -> &mut Self {
            let head = EventHead { time_ns: pos + 1, ..EventHead::default() };
            let copied = payload.len() as u32;
            let event = DataEvent { head, pos, len, off, copied, flags, ..DataEvent::default() };
            let told = self.stream.data(&event, payload, |_, chunk| self.runs.push(run(chunk)));
            self.lost += told.lost;
            self.disorder += u32::from(told.disorder);
            self
        }

        fn gap(&mut self) -> &mut Self {
            self.stream.note_gap(1);
            self
        }

        fn end(&mut self, total: u64) -> &mut Self {
            let runs = &mut self.runs;
            self.lost += self.stream.end(total, &Stamp::default(), |_, chunk| runs.push(run(chunk)));
            self
        }

        fn gives(&self, runs: &[Run], lost: u64) {
            assert_eq!((self.runs.as_slice(), self.lost), (runs, lost));
            let sum: u64 = runs
                .iter()
                .map(|run| match run {
                    Run::Copied(bytes) => bytes.len() as u64,
                    Run::Skipped(bytes) | Run::Cut(bytes) | Run::Lost(bytes) => *bytes,
                })
                .sum();
            if self.disorder == 0 {
                assert_eq!(sum, self.stream.bytes(), "the runs are the whole direction");
            }
        }
    }

    #[test]
    fn bytes_between_the_copied_parts_of_a_call_are_skipped() {
        let mut direction = Direction::new();
        direction
            .event(0, 100, 0, b"head", data_flag::MORE)
            .event(0, 100, 50, b"next", 0)
            .event(100, 3, 0, b"end", 0)
            .gives(&[copied(b"head"), Run::Skipped(46), copied(b"next"), Run::Skipped(46), copied(b"end")], 0);
    }

    #[test]
    fn a_cut_call_says_what_was_cut() {
        Direction::new().event(0, 100, 0, b"head", data_flag::CUT).gives(&[copied(b"head"), Run::Cut(96)], 0);
    }

    #[test]
    fn bytes_that_could_not_be_read_are_lost_up_to_the_next_copied_ones() {
        let mut direction = Direction::new();
        direction
            .event(0, 10, 0, b"", data_flag::FAULT | data_flag::MORE)
            .event(0, 10, 6, b"abcd", 0)
            .gives(&[Run::Lost(6), copied(b"abcd")], 6);
    }

    #[test]
    fn a_lost_call_is_as_long_as_the_next_position_says() {
        let mut direction = Direction::new();
        direction.event(0, 2, 0, b"ab", 0).gap().event(30, 2, 0, b"cd", 0);
        direction.gives(&[copied(b"ab"), Run::Lost(28), copied(b"cd")], 28);
    }

    #[test]
    fn a_gap_within_a_call_makes_the_missing_part_lost_and_not_skipped() {
        let mut direction = Direction::new();
        direction.event(0, 10, 0, b"ab", data_flag::MORE).gap().event(0, 10, 8, b"cd", 0);
        direction.gives(&[copied(b"ab"), Run::Lost(6), copied(b"cd")], 6);
    }

    #[test]
    fn a_lost_first_event_of_a_call_makes_the_bytes_before_the_second_lost() {
        let mut direction = Direction::new();
        direction.gap().event(0, 10, 8, b"cd", 0).gives(&[Run::Lost(8), copied(b"cd")], 8);
    }

    #[test]
    fn a_lost_last_event_of_a_call_makes_its_remaining_bytes_lost() {
        let mut direction = Direction::new();
        direction.event(0, 10, 0, b"ab", data_flag::MORE).gap().event(10, 2, 0, b"cd", 0);
        direction.gives(&[copied(b"ab"), Run::Lost(8), copied(b"cd")], 8);
    }

    #[test]
    fn a_gap_of_the_other_direction_costs_this_one_nothing() {
        let mut direction = Direction::new();
        direction.event(0, 2, 0, b"ab", 0).gap().event(2, 2, 0, b"cd", 0);
        direction.gives(&[copied(b"ab"), copied(b"cd")], 0);
    }

    #[test]
    fn the_end_tells_of_bytes_that_no_event_told_of() {
        let mut direction = Direction::new();
        direction.event(0, 10, 0, b"ab", data_flag::MORE).gap().end(25);
        direction.gives(&[copied(b"ab"), Run::Lost(8), Run::Lost(15)], 23);
    }

    #[test]
    fn bytes_without_events_but_without_a_gap_are_cut_and_not_lost() {
        let mut direction = Direction::new();
        direction.event(5, 2, 0, b"ab", 0).end(9);
        direction.gives(&[Run::Cut(5), copied(b"ab"), Run::Cut(2)], 0);
    }

    #[test]
    fn bytes_told_twice_are_disorder_and_the_reader_is_warned() {
        let mut direction = Direction::new();
        direction.event(0, 4, 0, b"abcd", 0).event(2, 4, 0, b"cdef", 0);
        direction.gives(&[copied(b"abcd"), Run::Lost(0), copied(b"cdef")], 0);
        assert_eq!(direction.disorder, 1);
    }
}
