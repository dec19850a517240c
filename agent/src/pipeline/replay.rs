//! A recording through the pipeline. It does what the first run did: same events, same watermarks, same ids.

use super::{Identities, Pipeline};
use crate::{
    capture::{
        count::Account,
        event::Event,
        recording::{ReadError, Reader, Record},
    },
    span::Span,
};
use std::sync::Arc;

/// Replays what is left of a recording, and hands over each span that is let go. Identities must have been loaded by then
/// ([`identities`]). Returns the account of the first run.
///
/// # Errors
/// A truncated or damaged recording. What could be read of it was replayed, and its spans were handed over.
pub fn replay<I: Identities>(
    recording: &mut Reader,
    pipeline: &mut Pipeline<I>,
    mut span: impl FnMut(Arc<Span>),
) -> Result<Account, ReadError> {
    let mut step = |pipeline: &mut Pipeline<I>| -> Result<Option<Account>, ReadError> {
        match recording.record()? {
            // An undecodable event was counted by the first run, and is counted again.
            Some(Record::Event(event)) => drop(pipeline.record(event)),
            Some(Record::Update(event)) => {
                if let Ok(Event::Conn(event)) = Event::decode(event) {
                    pipeline.update(&event);
                }
            }
            Some(Record::Advance(now_ns)) => pipeline.advance(now_ns),
            Some(Record::Identity(_)) => {}
            Some(Record::End(account)) => return Ok(Some(account)),
            None => return Ok(Some(Account::default())),
        }
        Ok(None)
    };
    let end = loop {
        match step(pipeline).transpose() {
            Some(end) => break end,
            None => pipeline.take().into_iter().for_each(&mut span),
        }
    };
    pipeline.finish();
    pipeline.take().into_iter().for_each(span);
    end
}

/// Reads a recording for its identities alone (each as JSON): a replay has to know them before its first event, because
/// a process is often known better later. Damage is told by the replay itself.
pub fn identities(recording: &mut Reader, mut identity: impl FnMut(&[u8])) {
    while let Ok(Some(record)) = recording.record() {
        if let Record::Identity(json) = record {
            identity(json);
        }
    }
}
