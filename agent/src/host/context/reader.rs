//! Who looks at processes: a thread of its own, because a process with many mappings takes its time to list them, and the drain waits
//! for nobody. Commands that only look around ask in place.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use super::{Found, ProcessContext, Refusal, look};
use crate::{
    host::ProcRoot,
    privilege::{self, Role},
};

/// Processes that wait to be looked at, at most.
const QUEUE_MAX: usize = 256;

/// A process that is to be looked at.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Question {
    /// Process.
    pub(in crate::host) pid: u32,
    /// Which version of it is meant.
    pub(in crate::host) since_ns: u64,
    /// Address and time of what is known.
    pub(in crate::host) known: Option<(u64, u64)>,
}

/// What was found.
#[derive(Debug)]
pub(in crate::host) struct Answer {
    pub(in crate::host) question: Question,
    pub(in crate::host) found: Found,
}

/// Who looks.
#[derive(Debug)]
pub(in crate::host) enum Reader {
    /// Who asks.
    Here,
    /// A thread, until this is dropped.
    Thread { questions: SyncSender<Question>, answers: Receiver<Answer> },
}

impl Reader {
    /// Begins a thread that looks.
    pub(in crate::host) fn start(root: ProcRoot) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<Question>(QUEUE_MAX);
        // As many answers wait as questions may: a thread that can't hand one over looks at nobody meanwhile.
        let (told, answers) = sync_channel(QUEUE_MAX);
        thread::Builder::new().name("process-context".to_owned()).spawn(move || {
            privilege::settle(Role::Question);
            for question in asked {
                let found = look(&root, question.pid, question.known);
                if told.send(Answer { question, found }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Thread { questions, answers })
    }

    /// Asks. Gives the answer if it is known at once; `Err` where too many wait already.
    pub(in crate::host) fn ask(&self, root: &ProcRoot, question: Question) -> Result<Option<Answer>, ()> {
        match self {
            Self::Here => Ok(Some(Answer { question, found: look(root, question.pid, question.known) })),
            Self::Thread { questions, .. } => match questions.try_send(question) {
                Ok(()) => Ok(None),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(()),
            },
        }
    }

    /// The next answer, if there is one.
    pub(in crate::host) fn answer(&self) -> Option<Answer> {
        match self {
            Self::Here => None,
            Self::Thread { answers, .. } => answers.try_recv().ok(),
        }
    }
}

/// What became of looks, for the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextCounts {
    /// Looks at processes.
    pub looks: u64,
    /// Contexts read, updates of them included.
    pub read: u64,
    /// Looks put off, because too many waited.
    pub put_off: u64,
    /// Left alone: memory that can't be read, no header, a wrong size, updated meanwhile, no message.
    pub unreadable: u64,
    /// See `unreadable`.
    pub bad_header: u64,
    /// See `unreadable`.
    pub bad_size: u64,
    /// See `unreadable`.
    pub torn: u64,
    /// See `unreadable`.
    pub bad_payload: u64,
}

impl ContextCounts {
    /// Counts what was found. Gives what is new.
    pub(in crate::host) fn count(&mut self, found: Found) -> Option<ProcessContext> {
        self.looks += 1;
        match found {
            Found::Nothing | Found::Unchanged => return None,
            Found::Published(context) => {
                self.read += 1;
                return Some(*context);
            }
            Found::Refused(why) => {
                *match why {
                    Refusal::Unreadable => &mut self.unreadable,
                    Refusal::Header => &mut self.bad_header,
                    Refusal::Size => &mut self.bad_size,
                    Refusal::Torn => &mut self.torn,
                    Refusal::Payload => &mut self.bad_payload,
                } += 1;
            }
        }
        None
    }

    /// By name.
    pub fn named(self) -> [(&'static str, u64); 8] {
        let Self { looks, read, put_off, unreadable, bad_header, bad_size, torn, bad_payload } = self;
        [
            ("context_looks", looks),
            ("context_read", read),
            ("context_put_off", put_off),
            ("context_unreadable", unreadable),
            ("context_bad_header", bad_header),
            ("context_bad_size", bad_size),
            ("context_torn", torn),
            ("context_bad_payload", bad_payload),
        ]
    }
}
