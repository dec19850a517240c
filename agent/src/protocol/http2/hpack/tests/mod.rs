//! Tests of the decoder as a whole.

mod bounds;
mod errors;
mod examples;
mod fuzz;
mod late;
mod masking;
mod oracle;
mod random;
mod strings;
mod traffic;

use super::*;

/// A field with everything owned, so that it can be collected. `Err` holds what stands in the place of the value.
type Owned = (Option<Vec<u8>>, Result<Vec<u8>, Missing>);

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Dropped(u32),
    Unknown(Unknown),
}

fn owned(field: &Field<'_>) -> Owned {
    let value = match field.value {
        Value::Known(value) => Ok(value.to_vec()),
        Value::Dropped(length) => Err(Missing::Dropped(length)),
        Value::Unknown(why) => Err(Missing::Unknown(why)),
    };
    (field.name.map(<[u8]>::to_vec), value)
}

/// Decodes a block, keeping the values of all names but those of `dropped`.
fn decode_without(decoder: &mut Decoder, dropped: &[&[u8]], block: &[u8]) -> (Vec<Owned>, Result<(), Error>) {
    let mut fields = Vec::new();
    let result = decoder.decode(block, |name| !dropped.contains(&name), |field| fields.push(owned(&field)));
    (fields, result)
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> (Vec<Owned>, Result<(), Error>) {
    decode_without(decoder, &[], block)
}

/// A block as lines of `name: value`; what is not known is `?`, what is not kept is `<length>`.
fn text(decoder: &mut Decoder, block: &[u8]) -> String {
    lines(&decode(decoder, block).0)
}

fn lines(fields: &[Owned]) -> String {
    let line = |(name, value): &Owned| {
        let name = name.as_ref().map_or("?".into(), |name| String::from_utf8_lossy(name));
        match value {
            Ok(value) => format!("{name}: {}", String::from_utf8_lossy(value)),
            Err(Missing::Dropped(length)) => format!("{name}: <{length}>"),
            Err(Missing::Unknown(_)) => format!("{name}: ?"),
        }
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Bytes from hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
