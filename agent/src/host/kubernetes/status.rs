//! What became of the watch: its state in a word, and counters.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// What the watch is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It makes the first list.
    #[default]
    Starting,
    /// All that the API server tells is known.
    Watching,
    /// What is known gets old.
    Failing(String),
    /// What is known gets old, until somebody grants the right.
    Refused(String),
}

impl State {
    /// In a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Watching => "watching",
            Self::Failing(_) => "failing",
            Self::Refused(_) => "refused",
        }
    }

    /// Why it does not watch.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Failing(why) | Self::Refused(why) => Some(why),
            Self::Starting | Self::Watching => None,
        }
    }
}

/// The state, and since when.
#[derive(Clone, Debug)]
pub(super) struct Now {
    pub(super) state: State,
    /// When the API server was last heard of.
    pub(super) heard: Option<Instant>,
    /// Whether the first list was tried, with or without success.
    pub(super) is_tried: bool,
    /// Whether the log says that it does not watch.
    pub(super) is_told: bool,
}

impl Default for Now {
    fn default() -> Self {
        Self { state: State::Starting, heard: None, is_tried: false, is_told: false }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened so far.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $($(#[$doc])* pub(super) $name: AtomicU64,)* }

        impl Counters {
            /// All of them, by name.
            pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Lists that were made whole.
    lists,
    /// Pages of lists.
    pages,
    /// Watches that began; all but the first are restarts.
    watches,
    /// Changes of pods that were told.
    events,
    /// Bookmarks.
    bookmarks,
    /// Requests that failed, whatever the reason.
    failed,
    /// Of these: 401 and 403.
    refused,
    /// Of these: 410, after which the list is made anew.
    gone,
    /// Pods and events that could not be read.
    garbled,
    /// Events that were longer than the bound.
    oversized,
    /// Pods that found no place.
    pods_cut,
    /// Containers that found no place.
    containers_cut,
    /// Names and labels that were too long.
    texts_cut,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
