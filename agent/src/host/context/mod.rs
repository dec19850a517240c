//! What a process publishes of itself in its memory: OpenTelemetry's *process context* (OTEP 4719), a mapping named
//! `OTEL_CTX` with a header and a `ProcessContext` message. It is the process's own word on its name, as its SDK resolved it.
//!
//! Only attributes of an allow-list leave this module ([`payload`]); the rest of what was read is dropped. Memory is read
//! through `/proc/PID/mem`: nothing is written, and the process is not stopped.
//!
//! Where it says that its threads publish which span they are at (*thread context*, OTEP 4947), [`slot`] finds out where.

mod mapping;
mod payload;
mod reader;
mod slot;

pub use self::reader::ContextCounts;
pub(super) use self::reader::{Answer, Question, Reader};
use std::{fs::File, os::unix::fs::FileExt as _};

use netspan_ebpf::ThreadSlot;

use super::{ProcRoot, root::MAPS_MAX};

/// Bytes of a payload at most.
const PAYLOAD_MAX: u32 = 16 * 1024;
/// How often one that is being updated is read anew.
const ATTEMPTS: usize = 4;
/// The forms of thread contexts that are known: all of them the same record behind a thread-local pointer.
const SCHEMAS: [&str; 4] = ["tlsdesc_v1_dev", "tlsdesc_v1", "tls_v1_dev", "tls_v1"];
/// The version of the header that is known.
const VERSION: u32 = 2;
const SIGNATURE: &[u8; 8] = b"OTEL_CTX";

/// What a process published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessContext {
    /// Where its header is.
    pub(super) address: u64,
    /// When it was published, by the process's own account; it changes with each update.
    pub(super) published_ns: u64,
    /// `service.name`.
    pub(super) service: Option<String>,
    /// What else of it is used, by name.
    pub(super) attributes: Vec<(String, String)>,
    /// How its threads publish what they are at (`threadlocal.schema_version`), if they do.
    pub(super) threads: Option<String>,
    /// Where they do, if that was found.
    pub(super) slot: Option<ThreadSlot>,
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The process publishes nothing.
    Nothing,
    /// What was known holds still.
    Unchanged,
    /// This.
    Published(Box<ProcessContext>),
    /// Something that is not to be believed, or can't be read.
    Refused(Refusal),
}

/// Why a process context is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its memory may not be read, or is gone.
    Unreadable,
    /// The header is none, or of a version that is not known.
    Header,
    /// The payload is empty or longer than [`PAYLOAD_MAX`].
    Size,
    /// It was being updated each time.
    Torn,
    /// The payload is no `ProcessContext`.
    Payload,
}

/// The memory of a process, or a test's.
trait Memory {
    /// Fills `into` from `address` on; whether all of it could be read.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;
}

impl Memory for File {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.read_exact_at(into, address).is_ok()
    }
}

/// A word of memory.
fn word(memory: &impl Memory, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(address, &mut bytes).then(|| u64::from_ne_bytes(bytes))
}

/// The header of a process context: 32 bytes in the machine's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    size: u32,
    published_ns: u64,
    payload: u64,
}

impl Header {
    const LEN: usize = 32;

    /// Reads it. One without signature is being written, or is none.
    fn read(memory: &impl Memory, address: u64) -> Result<Self, Refusal> {
        let mut bytes = [0; Self::LEN];
        if !memory.read(address, &mut bytes) {
            return Err(Refusal::Unreadable);
        }
        let number = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(word)
        };
        if bytes[..8] != SIGNATURE[..] || number(8) != VERSION {
            return Err(Refusal::Header);
        }
        Ok(Self { size: number(12), published_ns: long(16), payload: long(24) })
    }
}

/// Looks at a process. `known` is what was found before: where it holds still, its mapping is not searched for again.
fn look(root: &ProcRoot, pid: u32, known: Option<(u64, u64)>) -> Found {
    let Ok(process) = root.process(pid) else { return Found::Refused(Refusal::Unreadable) };
    let memory = || process.open("mem").map_err(|_| Refusal::Unreadable);
    if let Some((address, published_ns)) = known
        && let Ok(memory) = memory()
        && Header::read(&memory, address).is_ok_and(|header| header.published_ns == published_ns)
    {
        return Found::Unchanged;
    }
    let Ok(maps) = process.read("maps", MAPS_MAX) else { return Found::Refused(Refusal::Unreadable) };
    let Some(address) = mapping::find(&maps) else { return Found::Nothing };
    let found = memory().and_then(|memory| {
        let mut context = read(&memory, address)?;
        if context.threads.as_ref().is_some_and(|schema| SCHEMAS.contains(&schema.as_str())) {
            context.slot = slot::find(&process, pid, &maps, &memory);
        }
        Ok(context)
    });
    match found {
        Ok(context) => Found::Published(Box::new(context)),
        Err(why) => Found::Refused(why),
    }
}

/// Reads header and payload such that both are of one moment: the time of publishing is zero during an update, and another one
/// after it.
fn read(memory: &impl Memory, address: u64) -> Result<ProcessContext, Refusal> {
    for _ in 0..ATTEMPTS {
        let before = Header::read(memory, address)?;
        let payload = payload_of(memory, before);
        if before.published_ns == 0 || Header::read(memory, address)? != before {
            continue;
        }
        let context = payload?;
        return payload::decode(&context)
            .map(|context| ProcessContext { address, published_ns: before.published_ns, ..context })
            .ok_or(Refusal::Payload);
    }
    Err(Refusal::Torn)
}

fn payload_of(memory: &impl Memory, header: Header) -> Result<Vec<u8>, Refusal> {
    if header.size == 0 || header.size > PAYLOAD_MAX {
        return Err(Refusal::Size);
    }
    let mut bytes = vec![0; header.size as usize];
    if memory.read(header.payload, &mut bytes) { Ok(bytes) } else { Err(Refusal::Unreadable) }
}

#[cfg(test)]
mod tests;
