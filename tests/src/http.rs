//! An HTTP/1 client as small as the tests need it: it writes what it is told, byte for byte, and reads answers exactly.
#![forbid(unsafe_code)]

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    process::{ChildStdin, ChildStdout},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process::Address;

/// Time that a server may be silent.
pub const SILENCE: Duration = Duration::from_secs(30);
/// Size of the buffer for answers.
const BUFFER: usize = 64 * 1024;
/// Longest head of an answer.
const HEAD_MAX: usize = 48 * 1024;

/// What the bytes go through.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// The standard input and output of a program that does the rest, such as TLS.
    Pipes(ChildStdin, ChildStdout),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Pipes(_, output) => output.read(buffer),
        }
    }
}

/// A final answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Bytes of the body's payload, without chunk heads.
    pub body: u64,
    /// Whether the payload came in chunks.
    pub chunked: bool,
    /// Whether the server ends the connection after it.
    pub close: bool,
    /// Status of the last 1xx answer before it.
    pub informational: Option<u16>,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects.
    pub fn open(address: &Address) -> Result<Self> {
        let stream = match address {
            Address::Tcp(tcp) => {
                let stream = TcpStream::connect(tcp).with_context(|| format!("cannot connect to {tcp}"))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE))?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream =
                    UnixStream::connect(path).with_context(|| format!("cannot connect to {}", path.display()))?;
                stream.set_read_timeout(Some(SILENCE))?;
                Stream::Unix(stream)
            }
        };
        Ok(Self::new(stream))
    }

    /// Over the pipes of a program that is connected.
    pub fn over(input: ChildStdin, output: ChildStdout) -> Self {
        Self::new(Stream::Pipes(input, output))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Pipes(input, _) => input.write_all(bytes).and_then(|()| input.flush()),
        }
    }

    /// Ends the sending side.
    pub fn finish(&mut self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Pipes(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The local port, 0 for what is no TCP.
    pub fn port(&self) -> u16 {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().map_or(0, |address| address.port()),
            Stream::Unix(_) | Stream::Pipes(..) => 0,
        }
    }

    /// Reads the final answer to a request whose method is `method`.
    pub fn answer(&mut self, method: &str) -> Result<Answer> {
        let mut informational = None;
        loop {
            let head = self.head()?;
            if (100..200).contains(&head.status) && head.status != 101 {
                informational = Some(head.status);
                continue;
            }
            let bare = method == "HEAD" || matches!(head.status, 101 | 204 | 304);
            let body = match (bare, head.chunked, head.length) {
                (true, ..) => 0,
                (false, true, _) => self.chunks()?,
                (false, false, Some(length)) => {
                    self.skip(length)?;
                    length
                }
                (false, false, None) => self.skip_all()?,
            };
            let close = head.close || (!bare && !head.chunked && head.length.is_none());
            return Ok(Answer { status: head.status, body, chunked: head.chunked, close, informational });
        }
    }

    /// Reads one interim answer (1xx), nothing else.
    pub fn interim(&mut self) -> Result<u16> {
        Ok(self.head()?.status)
    }

    /// Reads and drops exactly so many bytes.
    pub fn skip(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            if self.start == self.end {
                self.fill()?;
            }
            let here = length.min((self.end - self.start) as u64);
            self.start += here as usize;
            length -= here;
        }
        Ok(())
    }

    /// Reads until the server ends its side; gives the number of bytes.
    pub fn skip_all(&mut self) -> Result<u64> {
        let mut total = (self.end - self.start) as u64;
        self.start = self.end;
        loop {
            match self.stream.read(&mut self.buffer).context("the answer broke off")? {
                0 => return Ok(total),
                read => total += read as u64,
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.buffer[self.end..]).context("no answer")? {
            0 => bail!("the server ended the connection before the answer was complete"),
            read => self.end += read,
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            let seen = &self.buffer[self.start..self.end];
            if let Some(at) = seen.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&seen[..at]).trim_end().to_owned();
                self.start += at + 1;
                return Ok(line);
            }
            if seen.len() > HEAD_MAX {
                bail!("a line of the answer is longer than {HEAD_MAX} bytes");
            }
            self.fill()?;
        }
    }

    fn head(&mut self) -> Result<Head> {
        let first = self.line()?;
        let mut words = first.split(' ');
        let (version, status) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let Ok(status) = status.parse() else { bail!("{first:?} is no status line") };
        let mut head = Head { status, length: None, chunked: false, close: version == "HTTP/1.0" };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = Some(value.parse().context("bad Content-Length")?),
                "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => head.close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(head)
    }

    fn chunks(&mut self) -> Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or("").trim();
            let Ok(size) = u64::from_str_radix(size, 16) else { bail!("{line:?} is no chunk head") };
            self.skip(size)?;
            total += size;
            // After a chunk an empty line; after the last one trailers and an empty line.
            while !self.line()?.is_empty() {}
            if size == 0 {
                return Ok(total);
            }
        }
    }
}

struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}
