//! Where the representations of a block end (RFC 7541, section 6), without what they mean: so that a block can be judged of
//! which only the first part is here.

use super::input::{Input, Text};
use super::{Error, NAME_MAX, huffman};

/// The representations of a part of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Where the last whole one ends.
    pub end: usize,
    /// A literal that goes on behind the end of the part, as far as its strings have begun.
    pub tail: Option<Tail>,
}

/// A literal that is not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Index of its name; 0 where the name is a string.
    pub index: u32,
    /// The name, where it is a string; its range may go on behind the end of the part, if there is no value.
    pub name: Option<Text>,
    /// The value, whose range may do so.
    pub value: Option<Text>,
}

/// Looks at the representations of `block` from `at` on, where one must begin.
///
/// # Errors
/// An integer that is too large.
pub fn outline(block: &[u8], at: usize) -> Result<Outline, Error> {
    let mut input = Input::at(block, at);
    loop {
        let end = input.position();
        let Some(first) = input.next() else { return Ok(Outline { end, tail: None }) };
        let mut tail = Tail::default();
        match representation(&mut input, first, &mut tail) {
            Ok(()) if input.position() <= block.len() => {}
            Ok(()) | Err(Error::Truncated) => {
                let tail = (tail.name.is_some() || tail.value.is_some()).then_some(tail);
                return Ok(Outline { end, tail });
            }
            Err(why) => return Err(why),
        }
    }
}

fn representation(input: &mut Input<'_>, first: u8, tail: &mut Tail) -> Result<(), Error> {
    let prefix = match first {
        0x80.. => 7,
        0x40.. => 6,
        0x20.. => 5,
        _ => 4,
    };
    tail.index = input.integer(first, prefix)?;
    if matches!(first, 0x80.. | 0x20..0x40) {
        return Ok(());
    }
    if tail.index == 0 {
        tail.name = Some(input.text_begun()?);
    }
    tail.value = Some(input.text_begun()?);
    Ok(())
}

impl Text {
    /// Appends the string to `out`, if all of it is in `block`, it is well formed, and as long as a name may be.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Huffman`].
    pub fn decode(&self, block: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let bytes = block.get(self.range.clone()).filter(|bytes| bytes.len() <= NAME_MAX).ok_or(Error::Truncated)?;
        if self.huffman {
            return huffman::decode(bytes, out);
        }
        out.extend_from_slice(bytes);
        Ok(())
    }
}
