//! Decoding of one event from bytes, and encoding for recordings and tests. It must never panic on bad bytes, and must
//! not judge what an event means.
#![forbid(unsafe_code)]

use netspan_ebpf::{
    COMM_LEN, CloseEvent, ConnEvent, ContextEvent, DataEvent, EventHead, GoroutineEvent, PATH_LEN, PIECE_ALIGN,
    PieceHead, ProcessEvent, TASKS_MAX, TaskEvent, TaskId, ThreadEvent, data_flag, kind,
};
use thiserror::Error;

/// One event of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A connection was first seen, or more became known about it.
    Conn(ConnEvent),
    /// A call moved bytes; the slice holds the `copied` ones, see [`runs`].
    Data(DataEvent, &'a [u8]),
    /// A connection, or one direction of it, ended.
    Close(CloseEvent),
    /// Something happened to a process.
    Process(ProcessEvent),
    /// A goroutine is at a request of a connection.
    Goroutine(GoroutineEvent),
    /// A request came with its trace, told by the host that sent it.
    Context(ContextEvent),
    /// The thread that sent a request publishes what it is at.
    ThreadContext(ContextEvent),
    /// A task of asyncio sends on a connection.
    Task(TaskEvent),
    /// A thread made another one.
    Thread(ThreadEvent),
}

/// Why bytes are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer bytes than the head or the kind's struct has.
    #[error("an event of {got} bytes is shorter than its kind needs")]
    Short {
        /// Bytes that there were.
        got: usize,
    },
    /// A kind that this version does not know.
    #[error("event kind {0} is unknown")]
    Kind(u16),
    /// `off + copied` reaches past `len`, or `copied` past the record.
    #[error("a data event claims more bytes than it has, or in another order")]
    Range,
}

impl<'a> Event<'a> {
    /// Decodes one record of a ring or of a recording. Bytes after the event are ignored: a ring record may be longer
    /// than what was used of it.
    pub fn decode(record: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields { rest: record };
        let short = DecodeError::Short { got: record.len() };
        let head = fields.head().ok_or(short)?;
        match head.kind {
            kind::CONN => fields.conn(head).map(Self::Conn).ok_or(short),
            kind::DATA => {
                let data = fields.data(head).ok_or(short)?;
                match fields.rest.get(..data.copied as usize) {
                    Some(payload) if is_inside(&data, payload) => Ok(Self::Data(data, payload)),
                    _ => Err(DecodeError::Range),
                }
            }
            kind::CLOSE => fields.close(head).map(Self::Close).ok_or(short),
            kind::EXEC | kind::EXIT | kind::IO_URING => fields.process(head).map(Self::Process).ok_or(short),
            kind::GOROUTINE => fields.goroutine(head).map(Self::Goroutine).ok_or(short),
            kind::CONTEXT => fields.context(head).map(Self::Context).ok_or(short),
            kind::THREAD_CONTEXT => fields.context(head).map(Self::ThreadContext).ok_or(short),
            kind::TASK => fields.task(head).map(Self::Task).ok_or(short),
            kind::THREAD => fields.thread(head).map(Self::Thread).ok_or(short),
            other => Err(DecodeError::Kind(other)),
        }
    }

    /// Appends the bytes that [`decode`](Self::decode) reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Conn(event) => put_conn(out, event),
            Self::Data(event, payload) => {
                put_data(out, event);
                out.extend_from_slice(payload);
            }
            Self::Close(event) => put_close(out, event),
            Self::Process(event) => put_process(out, event),
            Self::Goroutine(event) => put_goroutine(out, event),
            Self::Context(event) | Self::ThreadContext(event) => put_context(out, event),
            Self::Task(event) => put_task(out, event),
            Self::Thread(event) => put_thread(out, event),
        }
    }

    /// The event's head.
    pub const fn head(&self) -> &EventHead {
        match self {
            Self::Conn(event) => &event.head,
            Self::Data(event, _) => &event.head,
            Self::Close(event) => &event.head,
            Self::Process(event) => &event.head,
            Self::Goroutine(event) => &event.head,
            Self::Context(event) | Self::ThreadContext(event) => &event.head,
            Self::Task(event) => &event.head,
            Self::Thread(event) => &event.head,
        }
    }
}

/// Whether the runs of an event are in order, and within the bytes that its call moved.
fn is_inside(event: &DataEvent, payload: &[u8]) -> bool {
    if event.flags & data_flag::PIECES == 0 {
        return u64::from(event.off) + u64::from(event.copied) <= u64::from(event.len);
    }
    let mut end = 0;
    let mut read = 0;
    for piece in (Pieces { payload, at: 0 }) {
        if u64::from(piece.off) < end {
            return false;
        }
        end = u64::from(piece.off) + piece.bytes.len() as u64;
        read = piece.range().end;
    }
    read == payload.len() && end <= u64::from(event.len)
}

/// The runs of bytes that an event tells, each as an event of its own, with the place of its bytes in `payload`. An
/// event without pieces is one run.
pub fn runs<'a>(event: &DataEvent, payload: &'a [u8]) -> impl Iterator<Item = (DataEvent, &'a [u8], usize)> {
    let in_pieces = event.flags & data_flag::PIECES != 0;
    let whole = (!in_pieces).then_some((*event, payload, 0));
    let event = *event;
    let mut pieces = Pieces { payload: if in_pieces { payload } else { &[] }, at: 0 }.peekable();
    let each = std::iter::from_fn(move || {
        let piece = pieces.next()?;
        let flags = event.flags & !data_flag::PIECES;
        // What the flags say of the rest of the call is said behind the last piece.
        let flags = if pieces.peek().is_some() {
            flags & !(data_flag::CUT | data_flag::FAULT) | data_flag::MORE
        } else {
            flags
        };
        let run = DataEvent { off: piece.off, copied: piece.bytes.len() as u32, flags, ..event };
        Some((run, piece.bytes, piece.at))
    });
    whole.into_iter().chain(each)
}

/// Takes the pieces of an event apart; ends at one that is not whole.
struct Pieces<'a> {
    payload: &'a [u8],
    at: usize,
}

struct Piece<'a> {
    off: u32,
    bytes: &'a [u8],
    at: usize,
}

impl Piece<'_> {
    fn range(&self) -> std::ops::Range<usize> {
        self.at..self.at + self.bytes.len()
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let mut fields = Fields { rest: self.payload.get(self.at..)? };
        let (off, len) = (fields.u32()?, fields.u32()? as usize);
        let at = self.at + size_of::<PieceHead>();
        let bytes = self.payload.get(at..at.checked_add(len)?)?;
        self.at = (at + len).next_multiple_of(PIECE_ALIGN);
        Some(Piece { off, bytes, at })
    }
}

/// Reads fields in their order; `None` once the bytes run out.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }
    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }
    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_ne_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    fn head(&mut self) -> Option<EventHead> {
        Some(EventHead {
            time_ns: self.u64()?,
            conn: self.u64()?,
            seq: self.u32()?,
            tgid: self.u32()?,
            tid: self.u32()?,
            kind: self.u16()?,
            _pad: self.u16()?,
        })
    }

    fn conn(&mut self, head: EventHead) -> Option<ConnEvent> {
        Some(ConnEvent {
            head,
            cookie: self.u64()?,
            sock: self.u64()?,
            syn_ns: self.u64()?,
            established_ns: self.u64()?,
            accepted_ns: self.u64()?,
            local: self.array()?,
            peer: self.array()?,
            local_port: self.u16()?,
            peer_port: self.u16()?,
            fd: self.i32()?,
            listen_fd: self.i32()?,
            netns: self.u32()?,
            role: self.u8()?,
            family: self.u8()?,
            origin: self.u8()?,
            known: self.u8()?,
            tls: self.u8()?,
            _pad: self.array()?,
            over: self.u64()?,
            sequences: [self.u32()?, self.u32()?],
        })
    }

    fn data(&mut self, head: EventHead) -> Option<DataEvent> {
        Some(DataEvent {
            head,
            start_ns: self.u64()?,
            pos: self.u64()?,
            arrived_ns: self.u64()?,
            len: self.u32()?,
            off: self.u32()?,
            copied: self.u32()?,
            direction: self.u8()?,
            flags: self.u8()?,
            _pad: self.u16()?,
        })
    }

    fn close(&mut self, head: EventHead) -> Option<CloseEvent> {
        Some(CloseEvent {
            head,
            bytes_in: self.u64()?,
            bytes_out: self.u64()?,
            error: self.i32()?,
            srtt_us: self.u32()?,
            min_rtt_us: self.u32()?,
            retransmits: self.u32()?,
            how: self.u8()?,
            tcp: self.u8()?,
            _pad: self.array()?,
        })
    }

    fn goroutine(&mut self, head: EventHead) -> Option<GoroutineEvent> {
        Some(GoroutineEvent { head, goroutine: self.u64()?, parent: self.u64()?, site: self.u64()?, role: self.u64()? })
    }

    fn context(&mut self, head: EventHead) -> Option<ContextEvent> {
        Some(ContextEvent { head, ordinal: self.u64()?, trace: self.array()?, span: self.array()? })
    }

    fn task(&mut self, head: EventHead) -> Option<TaskEvent> {
        let start_ns = self.u64()?;
        let mut tasks = [TaskId::default(); TASKS_MAX];
        for task in &mut tasks {
            *task = TaskId { address: self.u64()?, made_ns: self.u64()? };
        }
        Some(TaskEvent { head, start_ns, tasks })
    }

    fn thread(&mut self, head: EventHead) -> Option<ThreadEvent> {
        Some(ThreadEvent { head, made: self.u32()?, pad: self.u32()? })
    }

    fn process(&mut self, head: EventHead) -> Option<ProcessEvent> {
        Some(ProcessEvent {
            head,
            cgroup: self.u64()?,
            comm: self.array::<COMM_LEN>()?,
            path: self.array::<PATH_LEN>()?,
            _pad: self.array()?,
        })
    }
}

// The structs are taken apart field by field, so that a new field breaks the build here.

fn put_head(out: &mut Vec<u8>, event: EventHead) {
    let EventHead { time_ns, conn, seq, tgid, tid, kind, _pad } = event;
    out.extend(time_ns.to_ne_bytes());
    out.extend(conn.to_ne_bytes());
    out.extend(seq.to_ne_bytes());
    out.extend(tgid.to_ne_bytes());
    out.extend(tid.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend([0; 2]);
}

fn put_conn(out: &mut Vec<u8>, event: &ConnEvent) {
    #[rustfmt::skip]
    let ConnEvent {
        head, cookie, sock, syn_ns, established_ns, accepted_ns, local, peer, local_port, peer_port, fd, listen_fd, netns,
        role, family, origin, known, tls, _pad, over,
        sequences,
    } = *event;
    put_head(out, head);
    for field in [cookie, sock, syn_ns, established_ns, accepted_ns] {
        out.extend(field.to_ne_bytes());
    }
    out.extend(local);
    out.extend(peer);
    out.extend(local_port.to_ne_bytes());
    out.extend(peer_port.to_ne_bytes());
    out.extend(fd.to_ne_bytes());
    out.extend(listen_fd.to_ne_bytes());
    out.extend(netns.to_ne_bytes());
    out.extend([role, family, origin, known, tls, 0, 0, 0]);
    out.extend(over.to_ne_bytes());
    for sequence in sequences {
        out.extend(sequence.to_ne_bytes());
    }
}

fn put_data(out: &mut Vec<u8>, event: &DataEvent) {
    let DataEvent { head, start_ns, pos, arrived_ns, len, off, copied, direction, flags, _pad } = *event;
    put_head(out, head);
    out.extend(start_ns.to_ne_bytes());
    out.extend(pos.to_ne_bytes());
    out.extend(arrived_ns.to_ne_bytes());
    out.extend(len.to_ne_bytes());
    out.extend(off.to_ne_bytes());
    out.extend(copied.to_ne_bytes());
    out.extend([direction, flags, 0, 0]);
}

fn put_close(out: &mut Vec<u8>, event: &CloseEvent) {
    let CloseEvent { head, bytes_in, bytes_out, error, srtt_us, min_rtt_us, retransmits, how, tcp, _pad } = *event;
    put_head(out, head);
    out.extend(bytes_in.to_ne_bytes());
    out.extend(bytes_out.to_ne_bytes());
    out.extend(error.to_ne_bytes());
    for field in [srtt_us, min_rtt_us, retransmits] {
        out.extend(field.to_ne_bytes());
    }
    out.extend([how, tcp, 0, 0, 0, 0, 0, 0]);
}

fn put_process(out: &mut Vec<u8>, event: &ProcessEvent) {
    let ProcessEvent { head, cgroup, comm, path, _pad } = *event;
    put_head(out, head);
    out.extend(cgroup.to_ne_bytes());
    out.extend(comm);
    out.extend(path);
    out.extend([0; 4]);
}

fn put_goroutine(out: &mut Vec<u8>, event: &GoroutineEvent) {
    let GoroutineEvent { head, goroutine, parent, site, role } = *event;
    put_head(out, head);
    for field in [goroutine, parent, site, role] {
        out.extend(field.to_ne_bytes());
    }
}

fn put_context(out: &mut Vec<u8>, event: &ContextEvent) {
    let ContextEvent { head, ordinal, trace, span } = *event;
    put_head(out, head);
    out.extend(ordinal.to_ne_bytes());
    out.extend(trace);
    out.extend(span);
}

fn put_task(out: &mut Vec<u8>, event: &TaskEvent) {
    let TaskEvent { head, start_ns, tasks } = *event;
    put_head(out, head);
    out.extend(start_ns.to_ne_bytes());
    for TaskId { address, made_ns } in tasks {
        out.extend(address.to_ne_bytes());
        out.extend(made_ns.to_ne_bytes());
    }
}

fn put_thread(out: &mut Vec<u8>, event: &ThreadEvent) {
    put_head(out, event.head);
    out.extend(event.made.to_ne_bytes());
    out.extend(event.pad.to_ne_bytes());
}

#[cfg(test)]
mod tests;
