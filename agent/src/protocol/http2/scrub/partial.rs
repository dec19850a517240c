//! A header block in the making: its bytes pass into the records that they are in, with masked values.

use super::{
    super::{
        fields::is_wanted,
        frame::HEAD_LENGTH,
        grpc::is_grpc,
        hpack::{Decoder, Field, Value, mask, outline},
    },
    Counts, put, value,
};
use crate::span::redact::Redaction;

/// A header block, or none yet.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The head of the present frame, as far as it passed.
    pub(super) head: [u8; HEAD_LENGTH],
    /// Bytes of the block whose fields were decoded.
    done: usize,
    /// Where in the block a record ended.
    cuts: Vec<usize>,
    /// Which bytes of the block are in the present record.
    here: Vec<Spot>,
    told: Told,
}

/// Bytes of a block that are in the present record.
#[derive(Clone, Copy, Debug)]
struct Spot {
    block: usize,
    length: usize,
    record: usize,
}

/// What a block told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// It has a `content-type` that is not gRPC's.
    pub(super) not_grpc: bool,
    /// It cannot be decoded.
    pub(super) broken: bool,
}

impl Partial {
    /// So many bytes of the block, from `block` on, are at `record` in the present record.
    pub(super) fn note(&mut self, block: usize, length: usize, record: usize) {
        if length > 0 {
            self.here.push(Spot { block, length, record });
        }
    }

    /// No more of the block will come.
    pub(super) fn ends(
        &mut self,
        bytes: &[u8],
        decoder: &mut Decoder,
        clean: &mut [u8],
        redaction: &Redaction,
        counts: &mut Counts,
    ) -> Told {
        let mut masked = bytes.to_vec();
        self.decode(bytes, bytes.len(), decoder, &mut masked, redaction, counts);
        self.put(&masked, clean);
        let Self { head, told, .. } = std::mem::take(self);
        self.head = head;
        told
    }

    /// The block goes on in the next record.
    pub(super) fn record_ends(
        &mut self,
        bytes: &[u8],
        decoder: &mut Decoder,
        clean: &mut [u8],
        redaction: &Redaction,
        counts: &mut Counts,
    ) {
        let mut masked = bytes.to_vec();
        match outline(bytes, self.done) {
            Ok(outline) => {
                self.decode(bytes, outline.end, decoder, &mut masked, redaction, counts);
                if let (Some(tail), false) = (outline.tail, self.told.broken) {
                    counts.parted += 1;
                    value::tail(&mut masked, bytes, &tail, &self.cuts, decoder, redaction);
                }
            }
            Err(_) => self.spoil(self.done, &mut masked, counts),
        }
        self.put(&masked, clean);
        self.here.clear();
        if self.cuts.last() != Some(&bytes.len()) {
            self.cuts.push(bytes.len());
        }
    }

    /// Decodes the fields up to `end` that were not, and masks their values.
    fn decode(
        &mut self,
        bytes: &[u8],
        end: usize,
        decoder: &mut Decoder,
        masked: &mut [u8],
        redaction: &Redaction,
        counts: &mut Counts,
    ) {
        let Self { done, cuts, told, .. } = self;
        if told.broken {
            mask::undecodable(masked);
            return;
        }
        let begin = *done;
        let take = |field: Field<'_>| {
            *done = field.end;
            if let (Some(b"content-type"), Value::Known(value)) = (field.name, field.value) {
                told.not_grpc |= !is_grpc(value);
            }
            if let Some(literal) = &field.literal {
                value::literal(masked, literal, (field.name, field.value), cuts, redaction);
            }
        };
        let part = bytes.get(..end).unwrap_or(bytes);
        let result = decoder.decode_from(part, begin, |name| is_wanted(name, redaction), take);
        if result.is_err() {
            self.spoil(self.done, masked, counts);
        }
    }

    /// The block cannot be decoded from `begin` on.
    fn spoil(&mut self, begin: usize, masked: &mut [u8], counts: &mut Counts) {
        mask::undecodable(masked.get_mut(begin..).unwrap_or_default());
        counts.undecodable += 1;
        self.told.broken = true;
    }

    /// Puts what is in the present record there.
    fn put(&self, masked: &[u8], clean: &mut [u8]) {
        for Spot { block, length, record } in &self.here {
            put(clean, *record, masked.get(*block..block + length).unwrap_or_default());
        }
    }
}
