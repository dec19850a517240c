//! Cuts a stream of bytes into lines, each an event of a watch. A line that is longer than the bound is skipped, and told as such.

use bytes::{Bytes, BytesMut};

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line, without its end.
    Whole(Bytes),
    /// One that was too long.
    Oversized,
}

/// What is left of a stream until its next line is whole.
#[derive(Debug)]
pub(super) struct Lines {
    rest: BytesMut,
    /// Bytes of `rest` that were searched.
    searched: usize,
    max: usize,
    skips: bool,
}

impl Lines {
    /// Lines of at most `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { rest: BytesMut::new(), searched: 0, max, skips: false }
    }

    /// Takes bytes. To be called with pieces of the size that they arrive in, and followed by [`Self::next`] until there is none.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next line, if it is whole. Empty ones are left out.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(at) = memchr::memchr(b'\n', &self.rest[self.searched..]) else {
                self.searched = self.rest.len();
                if self.rest.len() > self.max {
                    self.rest = BytesMut::new();
                    self.searched = 0;
                    // Told once, when it begins to be too long.
                    return (!std::mem::replace(&mut self.skips, true)).then_some(Line::Oversized);
                }
                return None;
            };
            let line = self.rest.split_to(self.searched + at + 1);
            self.searched = 0;
            if std::mem::take(&mut self.skips) {
                continue;
            }
            if line.len() > self.max + 1 {
                return Some(Line::Oversized);
            }
            let line = line.freeze();
            let line = line.slice(..line.len() - 1);
            if !line.trim_ascii().is_empty() {
                return Some(Line::Whole(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a stream that arrives in pieces of a size.
    fn read(stream: &[u8], max: usize, piece: usize) -> Vec<String> {
        let (mut lines, mut read) = (Lines::new(max), Vec::new());
        for bytes in stream.chunks(piece) {
            lines.push(bytes);
            while let Some(line) = lines.next() {
                read.push(match line {
                    Line::Whole(line) => String::from_utf8_lossy(&line).into_owned(),
                    Line::Oversized => "!".to_owned(),
                });
            }
        }
        read
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let stream = b"{\"a\":1}\n\n{\"b\":2}\r\n0123456789abcdef-too-long\nend\nhalf";
        for piece in [1, 2, 3, 7, 16, 1000] {
            let read = read(stream, 12, piece);
            assert_eq!(read, ["{\"a\":1}", "{\"b\":2}\r", "!", "end"], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_room_than_the_bound() {
        let mut lines = Lines::new(100);
        let mut told = 0;
        for _ in 0..1000 {
            lines.push(&[b'x'; 64]);
            while lines.next().is_some() {
                told += 1;
            }
            assert!(lines.rest.len() <= 164);
        }
        assert_eq!(told, 1, "it is one line");
        lines.push(b"\nnext\n");
        assert_eq!(lines.next(), Some(Line::Whole(Bytes::from_static(b"next"))));
    }
}
