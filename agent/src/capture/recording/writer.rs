//! Writes a recording. It buffers, so nothing is safely in the file before [`Writer::finish`].

use super::{FORMAT_VERSION, Header, MAGIC, RECORD_MAX, tag};
use crate::capture::count::Account;
use flate2::{Compression, write::GzEncoder};
use std::io::{self, BufWriter, Write};

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be written.
    #[error("the recording can't be written: {0}")]
    Io(#[from] io::Error),
    /// More than [`RECORD_MAX`] bytes.
    #[error("a record of {0} bytes is longer than a recording takes ({RECORD_MAX})")]
    TooLong(usize),
    /// No JSON could be made.
    #[error("a part of the recording has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes a recording.
pub struct Writer<W: Write> {
    out: Out<W>,
}

enum Out<W: Write> {
    Plain(BufWriter<W>),
    Gzip(Box<BufWriter<GzEncoder<W>>>),
}

impl<W: Write> Writer<W> {
    /// Begins a recording; `gzip` compresses it as a whole.
    pub fn new(file: W, header: &Header, gzip: bool) -> Result<Self, WriteError> {
        let out = if gzip {
            Out::Gzip(Box::new(BufWriter::new(GzEncoder::new(file, Compression::fast()))))
        } else {
            Out::Plain(BufWriter::new(file))
        };
        let mut writer = Self { out };
        let json = serde_json::to_vec(header)?;
        let length = length(&json)?;
        for part in [&MAGIC[..], &FORMAT_VERSION.to_le_bytes(), &length, &json] {
            writer.put(part)?;
        }
        Ok(writer)
    }

    /// An event, scrubbed.
    pub fn event(&mut self, event: &[u8]) -> Result<(), WriteError> {
        self.record(tag::EVENT, event)
    }

    /// What user space found out about a connection, as an encoded `ConnEvent`.
    pub fn update(&mut self, event: &[u8]) -> Result<(), WriteError> {
        self.record(tag::UPDATE, event)
    }

    /// All events before that time (boot-time nanoseconds) have been recorded.
    pub fn advance(&mut self, now_ns: u64) -> Result<(), WriteError> {
        self.record(tag::ADVANCE, &now_ns.to_le_bytes())
    }

    /// Who a process is, as JSON.
    pub fn identity(&mut self, json: &[u8]) -> Result<(), WriteError> {
        self.record(tag::IDENTITY, json)
    }

    /// Ends the recording with the account, and writes everything out.
    pub fn finish(mut self, account: &Account) -> Result<(), WriteError> {
        let json = serde_json::to_vec(account)?;
        self.record(tag::END, &json)?;
        match self.out {
            Out::Plain(mut out) => out.flush()?,
            Out::Gzip(out) => out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?.flush()?,
        }
        Ok(())
    }

    fn record(&mut self, tag: u8, body: &[u8]) -> Result<(), WriteError> {
        let length = length(body)?;
        for part in [&[tag][..], &length, body] {
            self.put(part)?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.write_all(bytes),
            Out::Gzip(out) => out.write_all(bytes),
        }
    }
}

fn length(body: &[u8]) -> Result<[u8; 4], WriteError> {
    match u32::try_from(body.len()) {
        Ok(length) if body.len() <= RECORD_MAX => Ok(length.to_le_bytes()),
        _ => Err(WriteError::TooLong(body.len())),
    }
}
