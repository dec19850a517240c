//! One file of records, appended to until it is full. It knows nothing of which records are settled.
#![forbid(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::record::{HEAD, Head, MARK};

/// End of a segment's name; before it stands the ordinal of its first record.
pub const END: &str = ".segment";

/// A record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where its head begins.
    pub offset: u64,
    /// Its head.
    pub head: Head,
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its whole records, by their heads.
    pub places: Vec<Place>,
    /// Where the last of them ends.
    pub end: u64,
    /// Something between records is none.
    pub damaged: bool,
    /// What comes after them.
    pub tail: Tail,
}

/// What comes after the last whole record of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    #[default]
    None,
    /// The beginning of a record.
    CutShort,
    /// Something else.
    Damaged,
}

/// The path of the segment whose first record has this ordinal.
pub fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{END}"))
}

/// Makes a new segment, for its owner alone. One of that name is replaced: it held nothing of use.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path)
}

/// Appends a record at `at`, where the file ends. After an error the file ends there again, if that is possible.
pub fn append(file: &File, at: u64, head: &Head, body: &[u8]) -> io::Result<()> {
    let written =
        file.write_all_at(&head.bytes(), at).and_then(|()| file.write_all_at(body, at.saturating_add(HEAD as u64)));
    written.inspect_err(|_| drop(file.set_len(at)))
}

/// Reads the body of a record; absent when it is not what was written.
pub fn body(file: &File, place: &Place) -> Option<Vec<u8>> {
    let mut body = vec![0; place.head.length as usize];
    file.read_exact_at(&mut body, place.offset.saturating_add(HEAD as u64)).ok()?;
    (crc32c::crc32c(&body) == place.head.checksum).then_some(body)
}

/// Finds the records of a file by their heads; bodies are not read. Where something is no record, the search goes on at
/// the next thing that is.
pub fn contents(file: &File) -> io::Result<Contents> {
    let length = file.metadata()?.len();
    let mut found = Contents::default();
    let mut at = 0;
    while at < length {
        let last = found.places.last().map_or(0, |place| place.head.ordinal);
        let head = head_at(file, at)?.filter(|head| head.ordinal > last && at + head.record_len() <= length);
        match head {
            Some(head) => {
                found.places.push(Place { offset: at, head });
                at += head.record_len();
                found.end = at;
            }
            None => match next_mark(file, at + 1, length)? {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    let bytes: u64 = found.places.iter().map(|place| place.head.record_len()).sum();
    found.damaged = bytes < found.end;
    if found.end < length {
        let is_short = length - found.end < HEAD as u64;
        let is_record = is_short || head_at(file, found.end)?.is_some();
        found.tail = if is_record { Tail::CutShort } else { Tail::Damaged };
    }
    Ok(found)
}

fn head_at(file: &File, at: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(Head::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the next thing stands that looks like the head of a record.
fn next_mark(file: &File, from: u64, length: u64) -> io::Result<Option<u64>> {
    const PIECE: usize = 64 << 10;
    let mut piece = vec![0; PIECE];
    let mut at = from;
    while at + HEAD as u64 <= length {
        let wanted = PIECE.min(usize::try_from(length - at).unwrap_or(PIECE));
        let read = file.read_at(&mut piece[..wanted], at)?;
        let found = memchr::memmem::find_iter(&piece[..read], &MARK).map(|place| at + place as u64);
        for place in found {
            if head_at(file, place)?.is_some() {
                return Ok(Some(place));
            }
        }
        if read <= MARK.len() {
            break;
        }
        // A mark may lie across two pieces.
        at += (read - (MARK.len() - 1)) as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::delivery::{compress::Compression, encode::Format};

    fn head(ordinal: u64, body: &[u8]) -> Head {
        Head {
            ordinal,
            time_ms: 5,
            spans: 3,
            length: u32::try_from(body.len()).expect("short"),
            format: Format::Otlp,
            compression: Compression::None,
            checksum: crc32c::crc32c(body),
        }
    }

    /// A segment of `count` records, from ordinal 1, whose bodies are 100,000 bytes of their ordinals.
    fn segment(count: u8) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = create(&path(dir.path(), 1)).expect("a file");
        let mut at = 0;
        for ordinal in 1..=count {
            let body = vec![ordinal; 100_000];
            let head = head(ordinal.into(), &body);
            append(&file, at, &head, &body).expect("written");
            at += head.record_len();
        }
        (dir, file)
    }

    fn ordinals(contents: &Contents) -> Vec<u64> {
        contents.places.iter().map(|place| place.head.ordinal).collect()
    }

    #[test]
    fn records_come_back_as_they_were_appended() {
        let (_dir, file) = segment(4);
        let found = contents(&file).expect("readable");
        assert_eq!((ordinals(&found), found.damaged, found.tail), (vec![1, 2, 3, 4], false, Tail::None));
        for place in &found.places {
            assert_eq!(body(&file, place), Some(vec![place.head.ordinal as u8; 100_000]));
        }
    }

    #[test]
    fn a_tail_that_was_cut_anywhere_is_torn_and_costs_the_last_record_only() {
        let (_dir, file) = segment(3);
        let third = contents(&file).expect("readable").places[2].offset;
        for length in [third + 100_000, third + HEAD as u64, third + HEAD as u64 - 1, third + 1] {
            file.set_len(length).expect("cut");
            let found = contents(&file).expect("readable");
            assert_eq!(
                (ordinals(&found), found.end, found.damaged, found.tail),
                (vec![1, 2], third, false, Tail::CutShort)
            );
        }
        // After a power cut the file may have got longer before its bytes came.
        file.set_len(third).and_then(|()| file.set_len(third + 500)).expect("zeros");
        assert_eq!(contents(&file).expect("readable").tail, Tail::Damaged);
    }

    #[test]
    fn damage_costs_the_record_that_it_hit_and_no_other() {
        let (_dir, file) = segment(4);
        let places = contents(&file).expect("readable").places;
        file.write_all_at(b"????????", places[1].offset + 2).expect("written");
        let found = contents(&file).expect("readable");
        assert_eq!((ordinals(&found), found.damaged, found.tail), (vec![1, 3, 4], true, Tail::None));
        // In a body it shows only when that is read.
        file.write_all_at(b"????????", places[2].offset + 500).expect("written");
        let found = contents(&file).expect("readable");
        assert_eq!(ordinals(&found), [1, 3, 4]);
        assert_eq!(found.places.iter().filter(|place| body(&file, place).is_some()).count(), 2);
    }

    #[test]
    fn a_head_within_a_body_is_found_only_where_the_records_head_is_gone() {
        let inner = head(9, b"").bytes();
        let dir = tempfile::tempdir().expect("a directory");
        let file = create(&path(dir.path(), 1)).expect("a file");
        append(&file, 0, &head(1, &inner), &inner).expect("written");
        assert_eq!(ordinals(&contents(&file).expect("readable")), [1]);
    }

    #[test]
    fn what_is_no_segment_at_all_has_no_records() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = create(&path(dir.path(), 1)).expect("a file");
        assert_eq!(contents(&file).expect("readable"), Contents::default());
        file.write_all_at(&b"nsR1 garbage ".repeat(20_000), 0).expect("written");
        let found = contents(&file).expect("readable");
        assert_eq!((found.places.len(), found.end, found.tail), (0, 0, Tail::Damaged));
    }
}
