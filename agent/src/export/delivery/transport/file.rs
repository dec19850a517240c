//! Appends batches to a file, and begins a new one when it is full: `PATH`, then `PATH.1` for the one before, and so on.
//! A batch is never torn apart: what could not be written whole is taken back.
#![forbid(unsafe_code)]

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::export::delivery::{config::FileTarget, outcome::Outcome};

/// Appends to one file. Clones share it.
#[derive(Clone, Debug)]
pub struct FileTransport {
    target: FileTarget,
    open: Arc<Mutex<Option<File>>>,
}

impl FileTransport {
    /// Nothing is opened yet.
    pub fn new(target: &FileTarget) -> Self {
        Self { target: target.clone(), open: Arc::default() }
    }

    /// Appends whole lines.
    pub fn append(&self, lines: &[u8]) -> Outcome {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match self.write(&mut open, lines) {
            Ok(()) => Outcome::Taken { rejected: 0, message: String::new() },
            Err(error) => {
                // The next attempt opens it anew.
                *open = None;
                Outcome::unanswered(format!("{}: {error}", self.target.path.display()))
            }
        }
    }

    fn write(&self, open: &mut Option<File>, lines: &[u8]) -> io::Result<()> {
        let path = &self.target.path;
        let mut file = open.take().filter(|file| is_still_at(file, path)).map_or_else(|| opened(path), Ok)?;
        let mut length = file.metadata()?.len();
        let ends_line = lines.last().is_none_or(|last| *last == b'\n');
        let more = lines.len() as u64 + u64::from(!ends_line);
        if length > 0 && length + more > self.target.bytes {
            rotate(path, self.target.files)?;
            (file, length) = (opened(path)?, 0);
        }
        let end = if ends_line { &b""[..] } else { b"\n" };
        if let Err(error) = file.write_all(lines).and_then(|()| file.write_all(end)) {
            // What is left of it, if this fails as well, is half a line.
            drop(file.set_len(length));
            return Err(error);
        }
        *open = Some(file);
        Ok(())
    }
}

fn opened(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Whether the file is still the one of that name: somebody else may have rotated or removed it.
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |data: fs::Metadata| (data.dev(), data.ino());
    file.metadata().and_then(|own| Ok(id(own) == id(fs::metadata(path)?))).unwrap_or(false)
}

/// Moves each file one place on; the one at the last place goes. `files` counts the one that is written to.
fn rotate(path: &Path, files: u32) -> io::Result<()> {
    for place in (1..files).rev() {
        let from = if place == 1 { path.to_owned() } else { numbered(path, place - 1) };
        match fs::rename(from, numbered(path, place)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if files <= 1 {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn numbered(path: &Path, place: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{place}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(dir: &Path, bytes: u64, files: u32) -> FileTransport {
        FileTransport::new(&FileTarget { path: dir.join("spans"), bytes, files })
    }

    fn read(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name)).ok()
    }

    fn is_taken(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Taken { .. })
    }

    #[test]
    fn files_move_on_when_they_are_full_and_the_oldest_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = transport(dir.path(), 10, 3);
        for line in ["aaaa\n", "bbbb", "cccc\n", "dddd-too-long-for-one-file\n", "e\n"] {
            assert!(is_taken(&file.append(line.as_bytes())), "{line}");
        }
        let all = ["spans", "spans.1", "spans.2", "spans.3"].map(|name| read(dir.path(), name));
        let expected = [Some("e\n"), Some("dddd-too-long-for-one-file\n"), Some("cccc\n"), None];
        assert_eq!(all, expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn a_file_that_is_moved_or_removed_by_others_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = transport(dir.path(), 1000, 1);
        assert!(is_taken(&file.append(b"a\n")));
        fs::rename(dir.path().join("spans"), dir.path().join("elsewhere")).expect("moved");
        assert!(is_taken(&file.append(b"b\n")));
        assert_eq!(
            (read(dir.path(), "elsewhere"), read(dir.path(), "spans")),
            (Some("a\n".into()), Some("b\n".into()))
        );
    }

    #[test]
    fn one_file_alone_is_begun_anew_when_it_is_full() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = transport(dir.path(), 4, 1);
        assert!(is_taken(&file.append(b"aaa\n")) && is_taken(&file.append(b"b\n")));
        assert_eq!((read(dir.path(), "spans").as_deref(), read(dir.path(), "spans.1")), (Some("b\n"), None));
    }

    #[test]
    fn what_can_not_be_written_is_to_be_tried_again() {
        let file = FileTransport::new(&FileTarget { path: "/nonexistent/spans".into(), bytes: 10, files: 1 });
        let Outcome::Retry { reason, garbled: false, .. } = file.append(b"a\n") else { panic!("not tried again") };
        assert!(reason.starts_with("/nonexistent/spans: "), "{reason}");
    }
}
