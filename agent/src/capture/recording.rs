//! Recordings: the raw events as they came, with what else the pipeline was told, so that a replay does what the first
//! run did. Nothing is written that a span may not show: payload is scrubbed before it gets here ([`Scrub`]).
//!
//! # Format
//! Either plain or compressed as a whole by gzip (RFC 1952). Integers are little-endian.
//! ```text
//! file    = "netspanR" version:u32 length:u32 header:JSON record*
//! record  = tag:u8 length:u32 body
//! ```
//! A complete file ends with an `END` record. Events are the bytes of the ABI, in the byte order of the machine that
//! recorded them.
#![forbid(unsafe_code)]

mod reader;
mod scrub;
mod writer;

pub use reader::{ReadError, Reader, Record};
pub use scrub::Scrub;
pub use writer::{WriteError, Writer};

use netspan_ebpf::ABI_VERSION;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How every recording begins.
pub const MAGIC: [u8; 8] = *b"netspanR";
/// Version of the format; raised with every change that an older reader would not understand.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of one record, or of the header, at most: a longer one is damage, not data.
pub const RECORD_MAX: usize = 1 << 20;

/// Tags of records.
mod tag {
    /// An event, as [`Event`](super::super::event::Event) decodes it.
    pub const EVENT: u8 = 1;
    /// All events before a time (u64) have been seen.
    pub const ADVANCE: u8 = 2;
    /// Who a process is, as JSON.
    pub const IDENTITY: u8 = 3;
    /// A `ConnEvent` that user space made by looking at a descriptor.
    pub const UPDATE: u8 = 4;
    /// The account at the end, as JSON; the last record.
    pub const END: u8 = 5;
}

/// What holds for a whole recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`ABI_VERSION`] of the events.
    pub abi: u32,
    /// Whether the events are little-endian.
    pub little_endian: bool,
    /// Seed of the ids.
    pub seed: [u64; 2],
    /// To be added to boot-time nanoseconds to get nanoseconds since the Unix epoch.
    pub clock_offset_ns: u64,
    /// When the recording began, in boot-time nanoseconds.
    pub begin_ns: u64,
    /// Version of netspan that recorded.
    pub netspan: String,
    /// The machine that was recorded, as the module `host` tells it.
    pub machine: serde_json::Value,
    /// Options that the recording was made with, for its reader's information.
    pub options: BTreeMap<String, String>,
}

impl Header {
    /// A header of this machine and this version.
    pub fn new(seed: [u64; 2], clock_offset_ns: u64, begin_ns: u64) -> Self {
        Self {
            abi: ABI_VERSION,
            little_endian: cfg!(target_endian = "little"),
            seed,
            clock_offset_ns,
            begin_ns,
            netspan: env!("CARGO_PKG_VERSION").to_owned(),
            machine: serde_json::Value::Null,
            options: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::count::Account;
    use std::io;

    fn sample(gzip: bool) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &Header::new([1, 2], 3, 4), gzip).unwrap();
        writer.event(b"first").unwrap();
        writer.advance(7).unwrap();
        writer.identity(br#"{"pid":7}"#).unwrap();
        writer.update(b"second").unwrap();
        writer.finish(&Account::default()).unwrap();
        file
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, (Vec<String>, ReadError)> {
        let mut reader = Reader::new(io::Cursor::new(bytes.to_vec())).map_err(|error| (Vec::new(), error))?;
        let mut records = Vec::new();
        loop {
            match reader.record() {
                Ok(Some(Record::Event(event))) => records.push(format!("event {}", String::from_utf8_lossy(event))),
                Ok(Some(Record::Update(event))) => records.push(format!("update {}", String::from_utf8_lossy(event))),
                Ok(Some(Record::Advance(ns))) => records.push(format!("advance {ns}")),
                Ok(Some(Record::Identity(json))) => {
                    records.push(format!("identity {}", String::from_utf8_lossy(json)));
                }
                Ok(Some(Record::End(account))) => {
                    assert_eq!(account, Account::default());
                    records.push("end".to_owned());
                }
                Ok(None) => return Ok(records),
                Err(error) => return Err((records, error)),
            }
        }
    }

    const ALL: [&str; 5] = ["event first", "advance 7", r#"identity {"pid":7}"#, "update second", "end"];

    #[test]
    fn what_was_written_is_read_plain_and_compressed() {
        for gzip in [false, true] {
            assert_eq!(read(&sample(gzip)).unwrap(), ALL);
        }
        assert_ne!(sample(true)[..8], MAGIC);
    }

    #[test]
    fn a_truncated_recording_gives_its_whole_records_and_says_so() {
        for gzip in [false, true] {
            let file = sample(gzip);
            for end in 0..file.len() {
                let (records, error) = match read(&file[..end]) {
                    Err(told) => told,
                    // Only gzip's own end is missing: the end of its last block, and its checksum.
                    Ok(_) if gzip && end + 16 >= file.len() => continue,
                    Ok(records) => panic!("at {end}: {records:?}"),
                };
                assert_eq!(records, ALL[..records.len()]);
                let whole = records.len() as u64;
                match error {
                    ReadError::Truncated { records } => assert_eq!(records, whole),
                    ReadError::NotARecording => assert!(end < MAGIC.len(), "at {end}"),
                    other => panic!("at {end}: {other}"),
                }
            }
        }
        let file = sample(false);
        assert_eq!(read(&file[..file.len() - 1]).unwrap_err().0.len(), ALL.len() - 1);
    }

    #[test]
    fn other_files_and_other_versions_are_refused_in_one_line() {
        let refused = |bytes: &[u8]| {
            let text = read(bytes).unwrap_err().1.to_string();
            assert!(!text.contains('\n'));
            text
        };
        assert!(refused(b"#!/bin/sh\nexit 0\n").contains("not a netspan recording"));
        let mut file = sample(false);
        file[8] = 9;
        assert!(refused(&file).contains("format version 9"), "{}", refused(&file));
        let mut other = Header::new([0; 2], 0, 0);
        other.abi = 77;
        let mut file = Vec::new();
        Writer::new(&mut file, &other, false).unwrap().finish(&Account::default()).unwrap();
        assert!(refused(&file).contains("ABI version 77"), "{}", refused(&file));
    }

    #[test]
    fn damage_is_told_and_never_panics() {
        let file = sample(false);
        let records = read(&file).unwrap().len();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x80;
            if let Ok(read) = read(&damaged) {
                assert_eq!(read.len(), records, "at {at}");
            }
        }
    }
}
