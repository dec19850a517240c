//! The directory of a queue: its segments by name, those that were put aside, and the room that is left on its disk.
#![forbid(unsafe_code)]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::segment::END;

/// End of the name of a segment that was put aside.
const DAMAGED_END: &str = ".damaged";
/// Damaged segments that are kept to be looked at; older ones are removed.
const DAMAGED_MAX: usize = 2;
/// What is left free on the disk for others: a twentieth, but not more than so many bytes.
const HEADROOM_MAX: u64 = 256 << 20;
const HEADROOM_PART: u64 = 20;

/// Segments by the ordinals of their first records, oldest first.
pub fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    named(dir, END)
}

/// Puts a damaged segment aside, and removes older ones of that kind.
pub fn quarantine(dir: &Path, segment: &Path) -> io::Result<()> {
    let mut aside = segment.as_os_str().to_owned();
    aside.push(DAMAGED_END);
    fs::rename(segment, Path::new(&aside))?;
    let mut damaged = named(dir, DAMAGED_END)?;
    while damaged.len() > DAMAGED_MAX {
        fs::remove_file(&damaged.remove(0).1)?;
    }
    Ok(())
}

/// Bytes that may still be written before the headroom is touched.
pub fn room(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    let all = disk.f_blocks.saturating_mul(disk.f_frsize);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Ok(free.saturating_sub(HEADROOM_MAX.min(all / HEADROOM_PART)))
}

fn named(dir: &Path, end: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let entry = |file: fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        let first = name.strip_suffix(end)?;
        Some((first.strip_suffix(END).unwrap_or(first).parse().ok()?, file.path()))
    };
    let mut found: Vec<_> = fs::read_dir(dir)?.filter_map(|file| entry(file.ok()?)).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_listed_in_order_and_only_the_last_damaged_ones_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["00000000000000000009.segment", "00000000000000000010.segment", "2.segment", "ledger", "x.segment"]
        {
            fs::write(dir.path().join(name), b"").expect("a file");
        }
        let firsts = || segments(dir.path()).expect("readable").into_iter().map(|(first, _)| first).collect::<Vec<_>>();
        assert_eq!(firsts(), [2, 9, 10]);
        for (_, path) in segments(dir.path()).expect("readable") {
            quarantine(dir.path(), &path).expect("renamed");
        }
        assert_eq!(firsts(), [0_u64; 0]);
        let kept: Vec<_> =
            named(dir.path(), DAMAGED_END).expect("readable").into_iter().map(|(first, _)| first).collect();
        assert_eq!(kept, [9, 10]);
    }

    #[test]
    fn there_is_room_on_a_disk_that_is_not_full() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(room(dir.path()).expect("a disk") > 0);
        room(Path::new("/nonexistent")).expect_err("no disk");
    }
}
