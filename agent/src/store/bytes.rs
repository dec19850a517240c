//! Numbers and texts as bytes, and parts of a block as checked, compressed blobs. Reading never panics, whatever the
//! bytes are: they may come from a damaged disk.

use crate::span::{Attribute, Value};

/// Bytes of a part at most, once decompressed: what claims to be larger is damaged.
const PART_MAX: usize = 64 << 20;

/// What was read is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are damaged")]
pub struct Damaged;

/// Compresses a part and puts its checksum in front.
pub fn seal(raw: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress_prepend_size(raw);
    let mut blob = Vec::with_capacity(packed.len() + 4);
    blob.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
    blob.extend_from_slice(&packed);
    blob
}

/// Undoes [`seal`].
pub fn unseal(blob: &[u8]) -> Result<Vec<u8>, Damaged> {
    let (sum, packed) = blob.split_first_chunk::<4>().ok_or(Damaged)?;
    let (size, _) = packed.split_first_chunk::<4>().ok_or(Damaged)?;
    if crc32fast::hash(packed) != u32::from_le_bytes(*sum) || u32::from_le_bytes(*size) as usize > PART_MAX {
        return Err(Damaged);
    }
    lz4_flex::block::decompress_size_prepended(packed).map_err(|_| Damaged)
}

/// Appends a number, seven bits to a byte, the low ones first.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number; small ones of either sign are short.
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Appends bytes with their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a value.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            out.push(0);
            put_bytes(out, text.as_bytes());
        }
        Value::Int(number) => {
            out.push(1);
            put_signed(out, *number);
        }
        Value::Float(number) => {
            out.push(2);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Bool(truth) => out.push(3 + u8::from(*truth)),
        Value::List(texts) => {
            out.push(5);
            put_varint(out, texts.len() as u64);
            for text in texts {
                put_bytes(out, text.as_bytes());
            }
        }
    }
}

/// Appends attributes with their number.
pub fn put_attributes(out: &mut Vec<u8>, attributes: &[Attribute]) {
    put_varint(out, attributes.len() as u64);
    for (name, value) in attributes {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

/// Bytes that are being read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// So many bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// So many bytes, as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }

    /// A number.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Damaged> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
            if shift > 63 {
                return Err(Damaged);
            }
        }
    }

    /// A number of things, each of which takes at least a byte of what is left.
    pub fn count(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.varint()?).ok().filter(|count| *count <= self.0.len()).ok_or(Damaged)
    }

    /// A signed number.
    pub fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Bytes with their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.count()?;
        self.take(length)
    }

    /// Text.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// A value.
    pub fn value(&mut self) -> Result<Value, Damaged> {
        Ok(match self.byte()? {
            0 => Value::Text(self.text()?.to_owned().into()),
            1 => Value::Int(self.signed()?),
            2 => Value::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            3 => Value::Bool(false),
            4 => Value::Bool(true),
            5 => {
                let count = self.count()?;
                Value::List((0..count).map(|_| self.text().map(str::to_owned)).collect::<Result<_, _>>()?)
            }
            _ => return Err(Damaged),
        })
    }

    /// The bytes of a value, which is not read yet.
    pub fn raw_value(&mut self) -> Result<&'a [u8], Damaged> {
        let from = self.0;
        match self.byte()? {
            0 => drop(self.bytes()?),
            1 => drop(self.varint()?),
            2 => drop(self.take(8)?),
            3 | 4 => {}
            5 => {
                for _ in 0..self.count()? {
                    self.bytes()?;
                }
            }
            _ => return Err(Damaged),
        }
        from.get(..from.len() - self.0.len()).ok_or(Damaged)
    }

    /// Attributes with their number.
    pub fn attributes(&mut self) -> Result<Vec<Attribute>, Damaged> {
        let count = self.count()?;
        (0..count).map(|_| Ok((self.text()?.to_owned().into(), self.value()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_values_come_back() {
        let mut out = Vec::new();
        for number in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX] {
            out.clear();
            put_varint(&mut out, number);
            assert_eq!(Input(&out).varint(), Ok(number));
        }
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            out.clear();
            put_signed(&mut out, number);
            assert_eq!(Input(&out).signed(), Ok(number));
        }
        let values = [
            Value::Text("a".into()),
            Value::Int(-5),
            Value::Float(0.25),
            Value::Bool(true),
            Value::Bool(false),
            Value::List(vec!["x".into(), String::new()]),
        ];
        for value in values {
            out.clear();
            put_value(&mut out, &value);
            let length = out.len();
            out.push(0xff);
            let mut input = Input(&out);
            assert_eq!((input.raw_value(), input.0), (Ok(&out[..length]), &[0xff][..]), "{value:?}");
            assert_eq!(Input(&out).value(), Ok(value));
        }
    }

    #[test]
    fn a_part_with_any_bit_turned_is_damaged() {
        let raw: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let sealed = seal(&raw);
        assert_eq!(unseal(&sealed), Ok(raw));
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert_eq!(unseal(&broken), Err(Damaged), "bit 0 of byte {at}");
        }
        assert_eq!(unseal(&sealed[..7]), Err(Damaged));
    }

    #[test]
    fn input_that_ends_early_or_lies_about_its_length_is_damaged() {
        assert_eq!(Input(&[0x80; 11]).varint(), Err(Damaged));
        assert_eq!(Input(&[0x80]).varint(), Err(Damaged));
        assert_eq!(Input(&[5, b'a']).text(), Err(Damaged));
        assert_eq!(Input(&[1, 0xff]).text(), Err(Damaged));
        assert_eq!(Input(&[9]).value(), Err(Damaged));
        assert_eq!(Input(&[0xff, 0xff, 3]).attributes(), Err(Damaged));
    }
}
