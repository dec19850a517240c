//! Writes Protocol Buffers into a buffer. It knows field numbers and wire types, and nothing of what they mean.
//!
//! Spans are written straight from their own fields: the generated types would first need a copy of each name and each
//! value (some forty allocations a span).

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED_32: u32 = 5;

/// Appends fields to a message in `0`. A field with its default value may be left out by the caller.
#[derive(Debug)]
pub struct Wire<'a>(pub &'a mut Vec<u8>);

impl Wire<'_> {
    /// An integer, an enum's number, or a truth value. Negative integers are given in two's complement.
    pub fn varint(&mut self, field: u32, value: u64) {
        self.key(field, VARINT);
        put_varint(self.0, value);
    }

    /// A `fixed32`.
    pub fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, FIXED_32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A `fixed64`.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, FIXED_64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A `double`.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// Bytes, text, or a message that is written already.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.begin(field, value.len());
        self.0.extend_from_slice(value);
    }

    /// The beginning of a message of `length` bytes, which the caller appends.
    pub fn begin(&mut self, field: u32, length: usize) {
        self.key(field, LENGTH);
        put_varint(self.0, length as u64);
    }

    /// A message whose fields `body` writes.
    pub fn message(&mut self, field: u32, body: impl FnOnce(&mut Wire<'_>)) {
        self.key(field, LENGTH);
        let start = self.0.len();
        // One byte holds most lengths; a longer one moves the body.
        self.0.push(0);
        body(&mut Wire(self.0));
        let length = self.0.len() - start - 1;
        let extra = varint_len(length as u64) - 1;
        if extra > 0 {
            self.0.resize(start + 1 + length + extra, 0);
            self.0.copy_within(start + 1..start + 1 + length, start + 1 + extra);
        }
        write_varint_at(self.0, start, length as u64);
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        put_varint(self.0, u64::from(field << 3 | wire_type));
    }
}

/// Bytes that `value` takes as a varint: 1 to 10.
const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Bytes that a field takes whose value is `length` bytes, and whose number is below 16.
pub const fn field_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_varint_at(out: &mut [u8], mut at: usize, mut value: u64) {
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_length_of_a_varint_is_that_of_prost() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                assert_eq!(varint_len(value), prost::length_delimiter_len(value as usize), "{value}");
            }
        }
    }

    #[test]
    fn messages_of_every_length_of_length_are_read_back_by_prost() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let text = "x".repeat(length);
            let mut out = Vec::new();
            Wire(&mut out).bytes(1, b"name");
            Wire(&mut out).message(3, |pair| {
                pair.bytes(1, b"key");
                pair.message(2, |value| value.bytes(1, text.as_bytes()));
            });
            let expected = InstrumentationScope {
                name: "name".to_owned(),
                attributes: vec![KeyValue {
                    key: "key".to_owned(),
                    value: Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }),
                    ..KeyValue::default()
                }],
                ..InstrumentationScope::default()
            };
            assert_eq!(InstrumentationScope::decode(out.as_slice()).expect("prost reads it"), expected);
            assert_eq!(out, expected.encode_to_vec());
        }
    }
}
