//! The account of what was seen and what was lost, by reason: the kernel side's counters, then each stage's own. It only
//! adds up and shows; the counting is done where things are lost.
#![forbid(unsafe_code)]

use netspan_ebpf::counter;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Sums of the kernel side's counters, by the indexes of [`counter`].
pub type KernelCounts = [u64; counter::COUNT as usize];

/// Name and meaning of each of the kernel side's counters.
const KERNEL: [(u32, &str, &str); 29] = [
    (counter::EVENT_ATTEMPTED, "events_attempted", "events that a hook wanted to send"),
    (counter::EVENT_SUBMITTED, "events_submitted", "events put into a ring"),
    (counter::RING_FULL, "ring_full", "events lost because a ring was full"),
    (counter::CONN_FULL, "connections_full", "connections that were let go while in use: the kernel's table was full"),
    (counter::FD_FULL, "descriptors_full", "descriptors lost because the descriptor table was full"),
    (counter::CALL_FULL, "calls_full", "calls lost because the table of running calls was full"),
    (counter::PROCESS_FULL, "processes_full", "processes decided anew at each call because their table was full"),
    (counter::SOCK_FULL, "sockets_full", "socket addresses that could not be remembered"),
    (counter::READ_FAULT, "read_faults", "reads of user memory that failed"),
    (counter::CALL_CUT, "calls_cut", "calls with more segments, steps or messages than are looked at"),
    (counter::HEAD_CUT, "heads_cut", "message heads longer than are copied"),
    (counter::OPAQUE, "connections_opaque", "connections given up as no protocol of ours"),
    (counter::BYTES_SEEN, "bytes_seen", "bytes moved on connections that passed the filters"),
    (counter::BYTES_COPIED, "bytes_copied", "bytes copied to user space"),
    (counter::UNTIED, "calls_untied", "calls that could not be tied to a connection"),
    (counter::SCRATCH_FULL, "scratch_full", "runs of a program that found no free cell to work in"),
    (counter::RETURN_MISSED, "returns_missed", "calls whose return the kernel did not tell (kretprobes)"),
    (counter::KERNEL_FAULT, "kernel_faults", "reads of kernel memory that failed"),
    (counter::RUN_MISSED, "runs_missed", "runs of a program that the kernel skipped: it was running on that CPU"),
    (counter::SESSION_FULL, "sessions_full", "sessions of TLS that could not be remembered"),
    (counter::RECORD_UNTIED, "records_untied", "records of rustls whose socket was not found"),
    (counter::RECORD_UNREAD, "records_unread", "records of rustls that are not laid out as netspan knows it"),
    (counter::OPTION_SENT, "options_sent", "requests that were sent with their trace in a TCP option"),
    (counter::OPTION_RECEIVED, "options_received", "requests that came with their trace in a TCP option"),
    (counter::OPTION_NO_ROOM, "options_no_room", "segments that had no room for the TCP option"),
    (counter::OPTION_NO_PEER, "options_no_peer", "connections whose peer did not answer the offer of the TCP option"),
    (counter::OPTION_UNSURE, "options_unsure", "requests sent without the TCP option: several could have caused them"),
    (counter::BYTES_UNSEEN, "calls_unseen", "times that TCP had moved more bytes than the calls that were seen"),
    (counter::THREAD_FAULT, "thread_contexts_unread", "contexts of threads that could not be read"),
];

/// Where a hook gave up before it had an event: each time, one is lost that was never attempted otherwise.
const GIVEN_UP: [u32; 5] =
    [counter::CONN_FULL, counter::FD_FULL, counter::CALL_FULL, counter::SCRATCH_FULL, counter::RETURN_MISSED];

/// The events' way from the hooks to the pipeline, as numbers that must add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Events that a hook wanted to send, or would have, had a table not been full.
    pub attempted: u64,
    /// Events that reached the pipeline.
    pub delivered: u64,
    /// Events lost, whatever the reason.
    pub lost: u64,
    /// Events that are still in a ring.
    pub waiting: u64,
}

impl Balance {
    /// `received` records were drained, of which `undecodable` were no events.
    pub fn new(kernel: &KernelCounts, received: u64, undecodable: u64) -> Self {
        let at = |which: u32| kernel[which as usize];
        let submitted = at(counter::EVENT_SUBMITTED);
        let given_up: u64 = GIVEN_UP.into_iter().map(at).sum();
        Self {
            attempted: at(counter::EVENT_ATTEMPTED) + given_up,
            delivered: received - undecodable.min(received),
            lost: at(counter::RING_FULL) + given_up + undecodable,
            waiting: submitted.saturating_sub(received),
        }
    }

    /// Whether `attempted = delivered + lost`, once nothing waits.
    pub const fn holds(&self) -> bool {
        self.attempted == self.delivered + self.lost + self.waiting
    }
}

/// The whole account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The events' balance.
    pub events: Balance,
    /// All counters: stage, then name.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Account {
    /// An account that begins with the kernel side's counters, under `kernel`.
    pub fn new(kernel: &KernelCounts, received: u64, undecodable: u64) -> Self {
        let mut account = Self { events: Balance::new(kernel, received, undecodable), counters: BTreeMap::new() };
        account.add("kernel", KERNEL.map(|(which, name, _)| (name, kernel[which as usize])));
        account.add("capture", [("records", received), ("undecodable", undecodable)]);
        account
    }

    /// Adds the counters of a stage.
    pub fn add(&mut self, stage: &str, counters: impl IntoIterator<Item = (&'static str, u64)>) {
        let stage = self.counters.entry(stage.to_owned()).or_default();
        stage.extend(counters.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }

    /// A counter, or 0.
    pub fn get(&self, stage: &str, name: &str) -> u64 {
        self.counters.get(stage).and_then(|counters| counters.get(name)).copied().unwrap_or(0)
    }

    /// As JSON, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "events": {
                "attempted": self.events.attempted,
                "delivered": self.events.delivered,
                "lost": self.events.lost,
                "waiting": self.events.waiting,
                "adds_up": self.events.holds(),
            },
            "counters": self.counters,
        })
    }
}

/// A line for the balance, then one for each counter that is not 0, the kernel side's with their meaning.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance { attempted, delivered, lost, waiting } = self.events;
        write!(f, "events: attempted {attempted} = delivered {delivered} + lost {lost}")?;
        if waiting > 0 {
            write!(f, " + waiting {waiting}")?;
        }
        if !self.events.holds() {
            write!(f, " (does not add up: a defect of netspan)")?;
        }
        for (stage, counters) in &self.counters {
            for (name, value) in counters.iter().filter(|(_, value)| **value > 0) {
                write!(f, "\n  {stage}.{name}: {value}")?;
                if let Some((_, _, meaning)) = KERNEL.iter().find(|(_, known, _)| stage == "kernel" && known == name) {
                    write!(f, " ({meaning})")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(attempted: u64, submitted: u64, full: u64) -> KernelCounts {
        let mut counts = [0; counter::COUNT as usize];
        counts[counter::EVENT_ATTEMPTED as usize] = attempted;
        counts[counter::EVENT_SUBMITTED as usize] = submitted;
        counts[counter::RING_FULL as usize] = full;
        counts
    }

    #[test]
    fn attempted_is_delivered_and_lost() {
        let balance = Balance::new(&kernel(100, 90, 10), 90, 2);
        assert_eq!((balance.delivered, balance.lost, balance.waiting), (88, 12, 0));
        assert!(balance.holds());
        assert!(!Balance::new(&kernel(100, 80, 10), 80, 0).holds(), "ten events vanished");
        assert_eq!(Balance::new(&kernel(100, 90, 10), 60, 0).waiting, 30);
    }

    #[test]
    fn what_a_full_table_kept_from_being_an_event_is_attempted_and_lost() {
        let mut counts = kernel(100, 100, 0);
        counts[counter::CONN_FULL as usize] = 3;
        counts[counter::CALL_FULL as usize] = 1;
        let balance = Balance::new(&counts, 100, 0);
        assert_eq!((balance.attempted, balance.delivered, balance.lost), (104, 100, 4));
        assert!(balance.holds());
    }

    #[test]
    fn every_counter_of_the_kernel_side_has_a_name_of_its_own() {
        let mut indexes: Vec<u32> = KERNEL.iter().map(|(index, ..)| *index).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, (0..counter::COUNT).collect::<Vec<u32>>());
        let account = Account::new(&kernel(3, 2, 1), 2, 0);
        assert_eq!(account.counters["kernel"].len(), KERNEL.len());
        assert_eq!(account.get("kernel", "ring_full"), 1);
    }

    #[test]
    fn the_summary_shows_the_balance_and_what_is_not_zero() {
        let mut account = Account::new(&kernel(3, 2, 1), 2, 0);
        account.add("link", [("roots", 0), ("given_up", 4)]);
        let text = account.to_string();
        assert!(text.starts_with("events: attempted 3 = delivered 2 + lost 1\n"), "{text}");
        assert!(text.contains("kernel.ring_full: 1 (events lost because a ring was full)"), "{text}");
        assert!(text.contains("link.given_up: 4") && !text.contains("roots"), "{text}");
    }
}
