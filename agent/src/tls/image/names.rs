//! Names of symbols, searched as one text: of a table of millions only the few that matter are looked at one by one.

use memchr::{memchr, memmem::Finder, memrchr};

use super::{Image, Refusal, Section};

/// Bytes that are searched at once: what the processor's own memory holds, since each needle goes through them.
const PIECE: u64 = 1 << 18;
/// Bytes of names at most that have a needle in them.
pub const NAMES_MAX: usize = 32 << 20;

/// Names that have one of some needles in them.
#[derive(Debug, Default)]
pub(in crate::tls) struct Names {
    /// In the order of the table, none twice.
    found: Vec<Name>,
    /// All of them, each with a zero behind it.
    text: Vec<u8>,
}

/// Where a name is.
#[derive(Clone, Copy, Debug)]
struct Name {
    /// In the table.
    begin: u64,
    /// In [`Names::text`].
    at: usize,
    len: usize,
}

impl Names {
    /// Searches a table of names. A name longer than half a [`PIECE`] is cut.
    pub(super) fn search(image: &Image<'_>, table: &Section, needles: &[&[u8]]) -> Result<Self, Refusal> {
        let finders: Vec<Finder<'_>> = needles.iter().map(Finder::new).collect();
        let mut names = Self::default();
        let mut hits = Vec::new();
        let mut at = 0;
        while at < table.size {
            let offset = table.offset.checked_add(at).ok_or(Refusal::Damaged("a table beyond its end"))?;
            let mut piece = image.read(offset, PIECE.min(table.size - at))?;
            // The last one may go on in the next piece.
            if at + (piece.len() as u64) < table.size
                && let Some(end) = memrchr(0, &piece).filter(|end| end * 2 > piece.len())
            {
                piece.truncate(end + 1);
            }
            hits.clear();
            for finder in &finders {
                find(finder, &piece, &mut hits);
            }
            hits.sort_unstable();
            hits.dedup();
            for &(begin, end) in &hits {
                names.take(at + begin as u64, piece.get(begin..end).unwrap_or_default())?;
            }
            at += piece.len() as u64;
        }
        Ok(names)
    }

    fn take(&mut self, begin: u64, name: &[u8]) -> Result<(), Refusal> {
        if self.text.len() + name.len() >= NAMES_MAX {
            return Err(Refusal::TooLarge("its symbol table"));
        }
        self.found.push(Name { begin, at: self.text.len(), len: name.len() });
        self.text.extend_from_slice(name);
        self.text.push(0);
        Ok(())
    }

    /// The name that begins there in the table, which may be the end of a longer one; nothing where that has no needle.
    pub(super) fn of(&self, begin: u64) -> Option<&[u8]> {
        let before = self.found.partition_point(|name| name.begin <= begin);
        let name = self.found.get(before.checked_sub(1)?)?;
        let skipped = usize::try_from(begin - name.begin).ok()?;
        let len = name.len.checked_sub(skipped)?;
        self.text.get(name.at + skipped..)?.get(..len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, each with a zero behind it.
    pub(in crate::tls) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Notes where the names begin and end that the needle is in.
fn find(finder: &Finder<'_>, names: &[u8], hits: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(hit) = names.get(from..).and_then(|rest| finder.find(rest)) {
        let hit = from + hit;
        let begin = names.get(..hit).and_then(|before| memrchr(0, before)).map_or(0, |zero| zero + 1);
        let end = names.get(hit..).and_then(|rest| memchr(0, rest)).map_or(names.len(), |zero| hit + zero);
        hits.push((begin, end));
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::image::Machine;

    fn search(table: &Vec<u8>, needles: &[&[u8]]) -> Result<Names, Refusal> {
        let image = Image {
            source: table,
            left: std::cell::Cell::new(u64::MAX),
            machine: Machine::X86_64,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        let section = Section { name: Vec::new(), kind: 0, address: 0, offset: 0, size: table.len() as u64, link: 0 };
        Names::search(&image, &section, needles)
    }

    #[test]
    fn names_are_found_by_what_is_in_them_and_told_by_where_they_begin() {
        let names = search(&b"\0SSL_read\0read\0my_SSL_write@V\0gnutls_SSL_x".to_vec(), &[b"SSL_", b"gnutls_"]);
        let names = names.expect("it is read");
        assert_eq!(names.text(), b"SSL_read\0my_SSL_write@V\0gnutls_SSL_x\0");
        for (begin, expected) in [
            (0, None),
            (1, Some("SSL_read")),
            // A name may be the end of another one.
            (5, Some("read")),
            (9, Some("")),
            (10, None),
            (15, Some("my_SSL_write@V")),
            (18, Some("SSL_write@V")),
            (30, Some("gnutls_SSL_x")),
            (42, Some("")),
            (43, None),
            (u64::MAX, None),
        ] {
            assert_eq!(names.of(begin), expected.map(str::as_bytes), "{begin}");
        }
        assert!(search(&b"\0read\0write\0".to_vec(), &[b"SSL_"]).expect("it is read").is_empty());
        assert!(search(&Vec::new(), &[b"SSL_"]).expect("it is read").is_empty());
    }

    #[test]
    fn a_name_on_the_edge_of_two_pieces_is_found_whole_and_once() {
        let edge = PIECE as usize;
        for begin in edge - 20..edge + 2 {
            let mut table = vec![b'x'; begin - 1];
            // Names of ordinary length before it.
            table.iter_mut().step_by(50).for_each(|byte| *byte = 0);
            table.extend_from_slice(b"\0a_SSL_read_z\0behind\0");
            let names = search(&table, &[b"SSL_", b"read"]).expect("it is read");
            assert_eq!(names.text(), b"a_SSL_read_z\0", "{begin}");
            assert_eq!(names.of(begin as u64), Some(b"a_SSL_read_z".as_slice()));
        }
    }

    #[test]
    fn a_name_that_has_no_end_is_cut_and_the_search_ends() {
        let mut table = vec![b'x'; 3 * PIECE as usize];
        table.extend_from_slice(b"SSL_read");
        let names = search(&table, &[b"SSL_"]).expect("it is read");
        assert_eq!(names.of(3 * PIECE), Some(b"SSL_read".as_slice()));
    }

    #[test]
    fn what_is_kept_of_the_names_is_bounded() {
        let mut table = b"SSL_".repeat(NAMES_MAX / 4 - 1);
        table.iter_mut().skip(99).step_by(100).for_each(|byte| *byte = 0);
        assert!(search(&table, &[b"SSL_"]).is_ok());
        table.extend_from_slice(b"\0SSL_read\0");
        assert_eq!(search(&table, &[b"SSL_"]).err(), Some(Refusal::TooLarge("its symbol table")));
    }
}
