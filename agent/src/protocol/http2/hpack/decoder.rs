//! Decodes header blocks (RFC 7541, sections 3 and 6).

use super::input::{Input, Text};
use super::table::{Kept, Name, Table};
use super::{Counts, Error, Field, Literal, NAME_MAX, Value, huffman, statics};

/// Size of the dynamic table at a connection's beginning, in bytes (`SETTINGS_HEADER_TABLE_SIZE`, RFC 9113, section 6.5.2).
const INITIAL_SIZE: u32 = 4096;

/// Where decoding starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first header block of a connection.
    Beginning,
    /// Somewhere later: earlier blocks and settings were not seen.
    Middle,
}

/// Decodes the header blocks of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    pub(super) table: Table,
    /// The largest table that the receiver of the blocks ever allowed; unknown after a late start.
    limit: Option<u32>,
}

impl Decoder {
    /// A decoder for the blocks from here on. It takes no memory of its own until an entry is inserted.
    pub fn new(start: Start) -> Self {
        let mut table = Table::exact(INITIAL_SIZE);
        if start == Start::Middle {
            table.forget();
        }
        Self { table, limit: (start == Start::Beginning).then_some(INITIAL_SIZE) }
    }

    /// Notes the `SETTINGS_HEADER_TABLE_SIZE` that the receiver of the blocks announced, in bytes.
    ///
    /// It may be called as soon as the announcement is seen. A lower limit than an earlier one is not held against the
    /// encoder, because blocks from before it learnt of it may still come. Who may see a block before the announcement
    /// that allows its size update sets `u32::MAX` once: then no size is an error. After a late start there is no limit
    /// anyway: the earlier announcements are not known.
    pub fn set_limit(&mut self, bytes: u32) {
        self.limit = self.limit.map(|limit| limit.max(bytes));
    }

    /// Notes that header blocks of this direction were lost: all entries so far, and the table's size, are unknown from
    /// here on.
    pub fn note_gap(&mut self) {
        self.table.forget();
    }

    /// Name of the entry with this index, if there is one and it is known.
    pub fn name(&mut self, index: u32) -> Option<&[u8]> {
        if let Some((name, _)) = statics::get(index) {
            return Some(name);
        }
        let entry = self.table.get(index).ok()?.ok()?;
        self.table.name(&entry)
    }

    /// Memory that the table takes, in bytes.
    pub fn kept_bytes(&self) -> usize {
        self.table.memory()
    }

    /// How often bounds were met.
    pub fn counts(&self) -> Counts {
        self.table.counts
    }

    /// Decodes a whole header block (the fragments of HEADERS or `PUSH_PROMISE` and of CONTINUATION, joined). The fields go
    /// to `sink` in their order.
    ///
    /// `keep` says whether values of a header name (as sent) may be kept. It is asked when a literal comes, and its answer
    /// stays with the entry that the literal inserts; for the static table it is asked each time. The values of other
    /// names are passed over: they are measured, and neither given to `sink` nor stored.
    ///
    /// # Errors
    /// At the first malformed representation; the fields before it were given to `sink`. The decoder then behaves as
    /// after [`note_gap`](Self::note_gap), and may be used for the blocks that follow. A block of which only the first
    /// part is known can be decoded so far: it ends with [`Error::Truncated`], or in order if it was cut between two
    /// fields: then [`note_gap`](Self::note_gap) is for the caller to call.
    pub fn decode(
        &mut self,
        block: &[u8],
        keep: impl Fn(&[u8]) -> bool,
        sink: impl FnMut(Field<'_>),
    ) -> Result<(), Error> {
        self.decode_from(block, 0, keep, sink)
    }

    /// Decodes a block of which the fields before `at` were decoded already: the parts together give what
    /// [`decode`](Self::decode) gives of the whole. A part must end where a representation does (see
    /// [`outline`](super::outline)).
    ///
    /// # Errors
    /// As those of [`decode`](Self::decode).
    pub fn decode_from(
        &mut self,
        block: &[u8],
        at: usize,
        keep: impl Fn(&[u8]) -> bool,
        mut sink: impl FnMut(Field<'_>),
    ) -> Result<(), Error> {
        let decoded = self.fields(&mut Input::at(block, at), &keep, &mut sink);
        if decoded.is_err() {
            self.table.forget();
        }
        self.table.trim();
        decoded
    }

    fn fields(
        &mut self,
        input: &mut Input<'_>,
        keep: &impl Fn(&[u8]) -> bool,
        sink: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Error> {
        let mut begun = input.position() > 0;
        while let Some(first) = input.next() {
            if first >= 0x80 {
                let index = input.integer(first, 7)?;
                self.indexed(index, input.position(), keep, sink)?;
            } else if first >= 0x40 {
                self.literal(input, (first, 6), true, keep, sink)?;
            } else if first >= 0x20 {
                if begun {
                    return Err(Error::SizeUpdateLate);
                }
                let size = input.integer(first, 5)?;
                self.resize(size)?;
                continue;
            } else {
                self.literal(input, (first, 4), false, keep, sink)?;
            }
            begun = true;
        }
        Ok(())
    }

    fn resize(&mut self, size: u32) -> Result<(), Error> {
        match self.limit {
            Some(limit) if size > limit => Err(Error::SizeAboveLimit { size, limit }),
            _ => {
                self.table.resize(size);
                Ok(())
            }
        }
    }

    /// An indexed field (section 6.1).
    fn indexed(
        &mut self,
        index: u32,
        end: usize,
        keep: &impl Fn(&[u8]) -> bool,
        sink: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Error> {
        if index == 0 {
            return Err(Error::IndexZero);
        }
        if let Some((name, value)) = statics::get(index) {
            let value = if keep(name) { Value::Known(value) } else { Value::Dropped(value.len() as u32) };
            sink(Field { name: Some(name), value, literal: None, end });
            return Ok(());
        }
        match self.table.get(index)? {
            Ok(entry) => {
                sink(Field { name: self.table.name(&entry), value: self.table.value(&entry), literal: None, end });
            }
            Err(why) => sink(Field { name: None, value: Value::Unknown(why), literal: None, end }),
        }
        Ok(())
    }

    /// A literal (section 6.2). Its strings are put at the end of the table's store, and stay if it is inserted.
    fn literal(
        &mut self,
        input: &mut Input<'_>,
        (first, prefix): (u8, u32),
        insert: bool,
        keep: &impl Fn(&[u8]) -> bool,
        sink: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Error> {
        let begin = self.table.begin();
        let index = input.integer(first, prefix)?;
        let (name_text, name, name_length) = if index == 0 {
            let text = input.text()?;
            let (name, length) = self.literal_name(input.bytes(&text), text.huffman, begin)?;
            (Some(text), name, length)
        } else {
            let (name, length) = self.indexed_name(index)?;
            (None, name, length)
        };
        let text = input.text()?;
        let kept = match name {
            Name::Static(index) => statics::get(u32::from(index)).is_some_and(|(name, _)| keep(name)),
            Name::Stored(_) => self.table.store().get(begin..).is_some_and(keep),
            Name::Unknown => false,
        };
        let value = self.value(input.bytes(&text), &text, kept)?;
        let entry = self.table.entry(begin, name, name_length, value);
        if insert {
            self.table.insert(entry);
        }
        let literal = Some(Literal { name: name_text, value: text });
        sink(Field { name: self.table.name(&entry), value: self.table.value(&entry), literal, end: input.position() });
        if !insert {
            self.table.discard(begin);
        }
        Ok(())
    }

    /// Puts a name that is a string in the store.
    fn literal_name(&mut self, bytes: &[u8], huffman: bool, begin: usize) -> Result<(Name, u32), Error> {
        let store = self.table.store();
        if huffman {
            huffman::decode(bytes, store)?;
        } else {
            store.extend_from_slice(bytes);
        }
        let length = store.len() - begin;
        if length > NAME_MAX {
            self.table.discard(begin);
            self.table.counts.long_names += 1;
            return Ok((Name::Unknown, length as u32));
        }
        Ok((Name::Stored(length as u16), length as u32))
    }

    /// Puts the name of an entry in the store, unless it is one of the static table.
    fn indexed_name(&mut self, index: u32) -> Result<(Name, u32), Error> {
        if let Some((name, _)) = statics::get(index) {
            return Ok((Name::Static(index as u8), name.len() as u32));
        }
        let Ok(entry) = self.table.get(index)? else { return Ok((Name::Unknown, 0)) };
        self.table.copy_name(&entry);
        Ok((entry.name(), entry.name_length()))
    }

    /// Puts a value in the store if it is kept, and measures it if not.
    fn value(&mut self, bytes: &[u8], text: &Text, kept: bool) -> Result<Kept, Error> {
        let store = self.table.store();
        let before = store.len();
        match (kept, text.huffman) {
            (true, true) => huffman::decode(bytes, store)?,
            (true, false) => store.extend_from_slice(bytes),
            (false, true) => return Ok(Kept::Dropped(huffman::measure(bytes)? as u32)),
            (false, false) => return Ok(Kept::Dropped(bytes.len() as u32)),
        }
        Ok(Kept::Stored((store.len() - before) as u32))
    }
}
