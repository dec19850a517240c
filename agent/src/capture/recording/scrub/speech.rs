//! What a connection speaks, as far as masking needs to know. It is found as the pipeline finds it
//! ([`Undecided`](crate::conn::Undecided)), so that a replay reads what it read.

use crate::{
    conn::{Choice, Socket, Undecided},
    protocol::{
        Chunk, Flow, Observer, Stamp,
        detect::HTTP2_PREFACE,
        http1,
        http2::{self, begins_with_settings},
    },
    span::redact::Redaction,
};

/// Masks the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct Speech {
    tongue: Tongue,
    /// Received and sent.
    http1: [http1::Scrubber; 2],
    counts: http2::ScrubCounts,
}

#[derive(Debug)]
enum Tongue {
    /// Not known yet: what may begin a message of HTTP/1 is read as one.
    Undecided(Undecided),
    Http1(Observer),
    Http2(Box<http2::Scrubber>, Observer),
    /// None of ours: everything is masked.
    Other,
}

impl Default for Tongue {
    fn default() -> Self {
        Self::Undecided(Undecided::default())
    }
}

/// A run of bytes of one direction, and where it belongs in a record's payload of which every byte is masked.
pub(super) struct Run<'a, 'b> {
    pub(super) received: bool,
    pub(super) stamp: &'a Stamp,
    pub(super) chunk: Chunk<'a>,
    /// A message begins with it.
    pub(super) starts: bool,
    pub(super) clean: &'b mut [u8],
    pub(super) at: usize,
}

impl Speech {
    /// The first event of a direction does not say that a message begins: it may begin in the middle of one.
    pub(super) fn begins_anywhere(&mut self, received: bool) {
        self.http1[place(received)].missing(Chunk::Lost(0));
    }

    /// What could not be judged so far.
    pub(super) fn counts(&self) -> http2::ScrubCounts {
        if let Tongue::Http2(scrubber, _) = &self.tongue { scrubber.counts() } else { self.counts }
    }

    /// Takes the next run.
    pub(super) fn run(&mut self, socket: &Socket, run: &mut Run<'_, '_>, redaction: &Redaction) {
        if let Tongue::Undecided(undecided) = &mut self.tongue {
            let is_preface = begins_preface(undecided, run);
            let choice = undecided.look(socket, run.received, run.stamp, run.chunk);
            match choice {
                // It tells nothing but the protocol, which is not known for certain without its end.
                Choice::Later if is_preface => return run.pass(),
                Choice::Later | Choice::Http1 { .. } => {}
                Choice::Perhaps => return perhaps(run, redaction),
                Choice::Opaque => self.tongue = Tongue::Other,
                Choice::Http2 { observer, joined_late } => {
                    let undecided = std::mem::take(undecided);
                    self.turn_http2(observer, joined_late, undecided, redaction);
                }
            }
            if let Choice::Http1 { observer, .. } = choice {
                self.tongue = Tongue::Http1(observer);
            }
        }
        match &mut self.tongue {
            Tongue::Http2(scrubber, observer) => {
                let flow = observer.flow(run.received);
                scrubber.chunk(flow, run.stamp, run.chunk, (run.clean, run.at), redaction);
            }
            Tongue::Undecided(_) => drop(self.http1(run, redaction)),
            Tongue::Http1(observer) => {
                let observer = *observer;
                self.one(run, observer, redaction);
            }
            Tongue::Other => {}
        }
    }

    /// A record ends.
    pub(super) fn flush(&mut self, received: bool, clean: &mut [u8], redaction: &Redaction) {
        if let Tongue::Http2(scrubber, observer) = &mut self.tongue {
            scrubber.flush(observer.flow(received), clean, redaction);
        }
    }

    /// HTTP/2 from the beginning of the runs that were held.
    fn turn_http2(&mut self, observer: Observer, joined_late: bool, undecided: Undecided, redaction: &Redaction) {
        let mut scrubber = Box::new(http2::Scrubber::new(joined_late));
        for (received, runs) in [true, false].into_iter().zip(undecided.into_held()) {
            for (stamp, bytes) in runs {
                // They are in the recording already.
                let flow = observer.flow(received);
                scrubber.chunk(flow, &stamp, Chunk::Copied(&bytes), (&mut [], 0), redaction);
                scrubber.flush(flow, &mut [], redaction);
            }
        }
        self.tongue = Tongue::Http2(scrubber, observer);
    }

    /// Takes a run of HTTP/1; returns how many of its bytes come behind a switch of protocols.
    fn http1(&mut self, run: &mut Run<'_, '_>, redaction: &Redaction) -> usize {
        let scrubber = &mut self.http1[place(run.received)];
        match run.chunk {
            Chunk::Copied(bytes) => {
                run.pass();
                let clean = run.clean.get_mut(run.at..run.at + bytes.len()).unwrap_or_default();
                scrubber.copied(clean, run.starts, redaction)
            }
            missing => {
                scrubber.missing(missing);
                0
            }
        }
    }

    /// A run of a connection that speaks HTTP/1, perhaps up to a switch to HTTP/2 (RFC 7540, section 3.2).
    fn one(&mut self, run: &mut Run<'_, '_>, observer: Observer, redaction: &Redaction) {
        let was_switched = self.http1.iter().any(http1::Scrubber::is_switched);
        let behind = self.http1(run, redaction);
        let Chunk::Copied(bytes) = run.chunk else { return };
        let behind = if was_switched { bytes.len() } else { behind };
        let rest = bytes.get(bytes.len().saturating_sub(behind)..).unwrap_or_default();
        let is_http2 = match observer.flow(run.received) {
            Flow::Requests => was_switched && !rest.is_empty() && rest.iter().zip(HTTP2_PREFACE).all(|(a, b)| a == b),
            Flow::Responses => begins_with_settings(rest),
        };
        if !is_http2 {
            return;
        }
        let mut scrubber = Box::new(http2::Scrubber::new(false));
        let at = run.at + bytes.len() - rest.len();
        let masked = run.clean.get_mut(at..at + rest.len()).unwrap_or_default();
        masked.fill(super::MASKED);
        let flow = observer.flow(run.received);
        scrubber.chunk(flow, run.stamp, Chunk::Copied(rest), (run.clean, at), redaction);
        self.tongue = Tongue::Http2(scrubber, observer);
    }
}

impl Run<'_, '_> {
    /// Puts the bytes into their place.
    fn pass(&mut self) {
        if let Chunk::Copied(bytes) = self.chunk
            && let Some(clean) = self.clean.get_mut(self.at..self.at + bytes.len())
        {
            clean.copy_from_slice(bytes);
        }
    }
}

/// Whether the direction's bytes so far, this run included, are the beginning of HTTP/2's preface.
fn begins_preface(undecided: &Undecided, run: &Run<'_, '_>) -> bool {
    let Chunk::Copied(bytes) = run.chunk else { return false };
    let mut preface = HTTP2_PREFACE.iter().copied();
    undecided.held(run.received).chain(bytes.iter().copied()).all(|byte| preface.next() == Some(byte))
}

/// A run that may be frames of a connection that is not known to speak HTTP/2: heads of frames pass, so that a replay sees
/// as much.
fn perhaps(run: &mut Run<'_, '_>, redaction: &Redaction) {
    let mut scrubber = http2::Scrubber::new(true);
    // The server may send whatever a client may.
    let flow = Flow::Responses;
    scrubber.chunk(flow, run.stamp, run.chunk, (run.clean, run.at), redaction);
    scrubber.flush(flow, run.clean, redaction);
}

const fn place(received: bool) -> usize {
    if received { 0 } else { 1 }
}
