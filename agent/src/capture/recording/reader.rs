//! Reads a recording. It gives every whole record before it says that a file is truncated or damaged.

use super::{FORMAT_VERSION, Header, MAGIC, RECORD_MAX, tag};
use crate::capture::count::Account;
use flate2::bufread::GzDecoder;
use netspan_ebpf::ABI_VERSION;
use std::io::{self, BufRead, BufReader, Read};

/// Why a recording can't be read (any further).
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is some other file.
    #[error("this is not a netspan recording; make one with `netspan record FILE`")]
    NotARecording,
    /// Another version of the format.
    #[error(
        "this recording has format version {0}, and this netspan reads version {FORMAT_VERSION}; replay it with the netspan that made it"
    )]
    Format(u32),
    /// Another version of the events.
    #[error(
        "this recording has events of ABI version {0}, and this netspan reads version {ABI_VERSION}; replay it with the netspan that made it"
    )]
    Abi(u32),
    /// Another byte order.
    #[error("this recording was made on a machine of another byte order; replay it on one like that")]
    ByteOrder,
    /// It ends too early: the recorder was killed, or the file is still being written.
    #[error("this recording is truncated: it ends after {records} whole records, which were replayed")]
    Truncated {
        /// Whole records before that.
        records: u64,
    },
    /// It makes no sense.
    #[error("this recording is damaged after {records} records, which were replayed: {what}")]
    Damaged {
        /// Whole records before that.
        records: u64,
        /// What makes no sense.
        what: String,
    },
    /// The file could not be read.
    #[error("this recording can't be read: {0}")]
    Io(io::Error),
}

/// One record.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    /// An event, undecoded.
    Event(&'a [u8]),
    /// An encoded `ConnEvent` of user space.
    Update(&'a [u8]),
    /// All events before that time (boot-time nanoseconds) were seen.
    Advance(u64),
    /// Who a process is, as JSON.
    Identity(&'a [u8]),
    /// The account at the end.
    End(Account),
}

/// Reads a recording.
pub struct Reader {
    input: Box<dyn BufRead>,
    header: Header,
    body: Vec<u8>,
    records: u64,
    ended: bool,
}

impl Reader {
    /// Reads the header. Whether the file is compressed is told by its first bytes.
    pub fn new(file: impl Read + 'static) -> Result<Self, ReadError> {
        let mut file = BufReader::new(file);
        let gzip = file.fill_buf().map_err(ReadError::Io)?.starts_with(&[0x1f, 0x8b]);
        let mut input: Box<dyn BufRead> =
            if gzip { Box::new(BufReader::new(GzDecoder::new(file))) } else { Box::new(file) };
        let header = header(&mut input, gzip)?;
        Ok(Self { input, header, body: Vec::new(), records: 0, ended: false })
    }

    /// What holds for the whole recording.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// [`ReadError::Truncated`] where the file ends without its last record. After an error there are no more records.
    pub fn record(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        let failed = |error| failure(error, self.records);
        let mut head = [0; 5];
        self.input.read_exact(&mut head).map_err(failed)?;
        let [tag, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if length > RECORD_MAX {
            return Err(self.damaged(format!("a record claims {length} bytes")));
        }
        self.body.resize(length, 0);
        self.input.read_exact(&mut self.body).map_err(failed)?;
        let record = match tag {
            tag::EVENT => Record::Event(&self.body),
            tag::UPDATE => Record::Update(&self.body),
            tag::IDENTITY => Record::Identity(&self.body),
            tag::ADVANCE => match self.body[..].try_into() {
                Ok(ns) => Record::Advance(u64::from_le_bytes(ns)),
                Err(_) => return Err(self.damaged(format!("a time of {length} bytes"))),
            },
            tag::END => match serde_json::from_slice(&self.body) {
                Ok(account) => {
                    self.records += 1;
                    return Ok(Some(Record::End(account)));
                }
                Err(error) => return Err(self.damaged(error.to_string())),
            },
            other => return Err(self.damaged(format!("a record of unknown kind {other}"))),
        };
        self.records += 1;
        self.ended = false;
        Ok(Some(record))
    }

    fn damaged(&self, what: String) -> ReadError {
        ReadError::Damaged { records: self.records, what }
    }
}

fn header(input: &mut impl Read, gzip: bool) -> Result<Header, ReadError> {
    let mut magic = [0; MAGIC.len()];
    match input.read_exact(&mut magic) {
        Ok(()) if magic == MAGIC => {}
        // A compressed file tells nothing before its first block is there.
        Err(error) if gzip && error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(ReadError::Truncated { records: 0 });
        }
        Err(error) if !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput) => {
            return Err(ReadError::Io(error));
        }
        _ => return Err(ReadError::NotARecording),
    }
    let mut number = || -> Result<u32, ReadError> {
        let mut bytes = [0; 4];
        input.read_exact(&mut bytes).map_err(|error| failure(error, 0))?;
        Ok(u32::from_le_bytes(bytes))
    };
    let version = number()?;
    if version != FORMAT_VERSION {
        return Err(ReadError::Format(version));
    }
    let length = number()? as usize;
    if length > RECORD_MAX {
        return Err(ReadError::Damaged { records: 0, what: format!("a header of {length} bytes") });
    }
    let mut json = vec![0; length];
    input.read_exact(&mut json).map_err(|error| failure(error, 0))?;
    let header: Header = serde_json::from_slice(&json)
        .map_err(|error| ReadError::Damaged { records: 0, what: format!("its header: {error}") })?;
    match &header {
        Header { abi, .. } if *abi != ABI_VERSION => Err(ReadError::Abi(*abi)),
        Header { little_endian, .. } if *little_endian != cfg!(target_endian = "little") => Err(ReadError::ByteOrder),
        _ => Ok(header),
    }
}

fn failure(error: io::Error, records: u64) -> ReadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Truncated { records },
        // What a decompressor says of bytes that make no sense.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            ReadError::Damaged { records, what: error.to_string() }
        }
        _ => ReadError::Io(error),
    }
}
