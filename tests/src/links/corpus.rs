//! Spans and truth, read from files and written to files.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A span as `netspan link` reads it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Span {
    /// Its id.
    pub span_id: String,
    /// `server` or `client`.
    pub kind: String,
    /// The service.
    pub service: String,
    /// The process within which calls are linked.
    pub process: String,
    /// What was asked for.
    pub name: String,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// The other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_span_id: Option<String>,
    /// The thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
}

/// The request that a call belongs to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Truth {
    /// The call.
    pub span_id: String,
    /// The request.
    pub parent_span_id: Option<String>,
    /// Its trace.
    pub trace: String,
}

/// Spans, and the truth about them.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    /// In the order of their starts.
    pub spans: Vec<Span>,
    /// About the calls among them.
    pub truth: Vec<Truth>,
}

impl Corpus {
    /// Reads both.
    pub fn read(spans: &Path, truth: &Path) -> Result<Self> {
        Ok(Self { spans: read(spans)?, truth: read(truth)? })
    }

    /// Writes both.
    pub fn write(&self, spans: &Path, truth: &Path) -> Result<()> {
        write(spans, &self.spans)?;
        write(truth, &self.truth)
    }
}

/// Reads JSON lines.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = |line: std::io::Result<String>| {
        serde_json::from_str(&line?).with_context(|| format!("{}: no such line is expected", path.display()))
    };
    BufReader::new(file).lines().map(line).collect()
}

fn write<T: Serialize>(path: &Path, lines: &[T]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    for line in lines {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    file.flush().context("cannot write")
}
