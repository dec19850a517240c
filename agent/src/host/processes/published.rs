//! What processes publish of themselves in their memory, joined to who they are: when it is looked for, and what becomes of it. See
//! [`crate::host::context`].

use std::{collections::VecDeque, io, sync::Arc};

use netspan_ebpf::ThreadSlot;

use super::{Processes, Version};
use crate::host::{
    Identity,
    context::{Answer, Question, Reader},
    naming, resource,
};

/// A program publishes its context after its start, perhaps after its first requests: how long after each look in vain the next one may
/// follow, in nanoseconds. After the last there is none. Nobody looks at a process that nobody asks for.
const CONTEXT_LOOKS_NS: [u64; 6] =
    [1_000_000_000, 2_000_000_000, 5_000_000_000, 15_000_000_000, 60_000_000_000, 300_000_000_000];
/// How often it is checked that a context which was read still holds, in nanoseconds: one short read of memory.
const CONTEXT_CHECK_NS: u64 = 10_000_000_000;
/// How long after a look that was put off the next one may follow, in nanoseconds.
const CONTEXT_RETRY_NS: u64 = 100_000_000;
impl Processes {
    /// From now on reads process contexts, by a thread of its own.
    ///
    /// # Errors
    /// The thread can't be begun.
    pub fn watch_contexts(&mut self) -> io::Result<()> {
        self.contexts = Some(Reader::start(self.root.clone())?);
        Ok(())
    }

    /// From now on reads process contexts, at once where a process is asked for. That takes its time.
    pub fn read_contexts(&mut self) {
        self.contexts = Some(Reader::Here);
    }

    /// Takes where threads of processes publish what they are at, as was found since the last call.
    pub fn take_slots(&mut self) -> Vec<(u32, ThreadSlot)> {
        self.take_contexts();
        std::mem::take(&mut self.slots)
    }

    /// Asks for a version's process context where a look is due.
    pub(super) fn look_for_context(&mut self, pid: u32, index: usize, at_ns: u64) {
        let Some(reader) = &self.contexts else { return };
        let of_process = self.versions.get_mut(&pid).expect("just found or made");
        let is_last = index + 1 == of_process.len();
        let version = &mut of_process[index];
        if !is_last || !version.is_read || version.ended_ns.is_some() || at_ns < version.look_ns {
            return;
        }
        let question = Question { pid, since_ns: version.identity.since_ns, known: version.context };
        let asked = reader.ask(&self.root, question);
        version.look_ns = at_ns.saturating_add(match (&asked, version.context) {
            (Err(()), _) => CONTEXT_RETRY_NS,
            (Ok(_), Some(_)) => CONTEXT_CHECK_NS,
            (Ok(_), None) => {
                version.looks += 1;
                CONTEXT_LOOKS_NS.get(version.looks - 1).copied().unwrap_or(u64::MAX)
            }
        });
        match asked {
            Ok(answer) => answer.into_iter().for_each(|answer| self.take_context(answer)),
            Err(()) => self.counts.contexts.put_off += 1,
        }
    }

    /// Takes the contexts that were read meanwhile.
    pub(super) fn take_contexts(&mut self) {
        while let Some(answer) = self.contexts.as_ref().and_then(Reader::answer) {
            self.take_context(answer);
        }
    }

    /// Completes a version by what its process publishes. What the process did not run any more when it was looked at is dropped.
    fn take_context(&mut self, Answer { question, found }: Answer) {
        let Some(context) = self.counts.contexts.count(found) else { return };
        let last = self.versions.get_mut(&question.pid).and_then(VecDeque::back_mut);
        let is_meant =
            |version: &&mut Version| version.identity.since_ns == question.since_ns && version.ended_ns.is_none();
        let Some(version) = last.filter(is_meant) else { return };
        // A library that its threads publish by may be loaded later: until then all of it is looked at again.
        if context.threads.is_none() || context.slot.is_some() {
            version.context = Some((context.address, context.published_ns));
            version.look_ns = version.look_ns.min(self.latest_ns.saturating_add(CONTEXT_CHECK_NS));
        }
        if let Some(slot) = context.slot {
            self.slots.push((question.pid, slot));
            self.counts.thread_contexts += 1;
        }
        let mut identity = Identity::clone(&version.identity);
        naming::of_context(&mut identity, &context);
        if identity == *version.identity {
            return;
        }
        version.resource = Arc::new(resource::of(&identity, &self.machine));
        version.identity = Arc::new(identity);
        if let Some(journal) = &mut self.journal {
            journal.push(Arc::clone(&version.identity));
        }
    }
}
