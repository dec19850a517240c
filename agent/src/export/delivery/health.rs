//! Says when the export's state changes, once per change and not per batch. It changes nothing itself.

use std::time::Instant;

use super::outcome::Outcome;

/// What the log said last.
#[derive(Debug)]
pub struct Health {
    target: String,
    /// Where spans wait meanwhile.
    waiting: &'static str,
    state: State,
    /// The receiver's words that were repeated last.
    told: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Untried,
    Up,
    Down { since: Instant },
    Refused { reason: String },
}

impl Health {
    /// Nothing tried yet; `target` is the endpoint for people.
    pub const fn new(target: String, is_on_disk: bool) -> Self {
        let waiting = if is_on_disk { "on the disk" } else { "in memory" };
        Self { target, waiting, state: State::Untried, told: String::new() }
    }

    /// Looks at the outcome of an attempt to reach `target`, and says what is new in it.
    pub fn observe(&mut self, target: String, outcome: &Outcome, now: Instant) {
        self.target = target;
        match self.change(outcome, now) {
            Some(Line { bad: true, text }) => log::warn!("{text}"),
            Some(Line { bad: false, text }) => log::info!("{text}"),
            None => {}
        }
    }

    fn change(&mut self, outcome: &Outcome, now: Instant) -> Option<Line> {
        match outcome {
            Outcome::Taken { rejected, message } => {
                let line = self.up(now);
                self.words(*rejected, message).or(line)
            }
            Outcome::Retry { reason, .. } => self.down(reason, now),
            Outcome::Refused { reason, .. } => self.refused(reason),
        }
    }

    fn up(&mut self, now: Instant) -> Option<Line> {
        let target = &self.target;
        let text = match std::mem::replace(&mut self.state, State::Up) {
            State::Up => return None,
            State::Untried => format!("exporting to {target}"),
            State::Down { since } => {
                format!("{target} takes spans again, after {:.0?}", now.saturating_duration_since(since))
            }
            State::Refused { .. } => format!("{target} takes spans again"),
        };
        Some(Line { bad: false, text })
    }

    fn down(&mut self, reason: &str, now: Instant) -> Option<Line> {
        if matches!(self.state, State::Down { .. }) {
            return None;
        }
        self.state = State::Down { since: now };
        let (target, waiting) = (&self.target, self.waiting);
        let text = format!(
            "{target} does not take spans now ({reason}); they wait {waiting}, and the oldest are dropped when it is full"
        );
        Some(Line { bad: true, text })
    }

    fn refused(&mut self, reason: &str) -> Option<Line> {
        if matches!(&self.state, State::Refused { reason: known } if known == reason) {
            return None;
        }
        self.state = State::Refused { reason: reason.to_owned() };
        let target = &self.target;
        let text = format!(
            "{target} refuses spans for good ({reason}); they are dropped: check endpoint, protocol and headers"
        );
        Some(Line { bad: true, text })
    }

    fn words(&mut self, rejected: u64, message: &str) -> Option<Line> {
        if message.is_empty() && rejected == 0 || message == self.told {
            return None;
        }
        message.clone_into(&mut self.told);
        let target = &self.target;
        let text = match rejected {
            0 => format!("{target} warns: {message}"),
            _ => format!("{target} rejected {rejected} spans of a batch ({message}); they are dropped"),
        };
        Some(Line { bad: true, text })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    bad: bool,
    text: String,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(rejected: u64, message: &str) -> Outcome {
        Outcome::Taken { rejected, message: message.to_owned() }
    }

    #[test]
    fn a_change_is_said_once() {
        let (mut health, now) = (Health::new("http://c:4317".to_owned(), false), Instant::now());
        let mut said =
            |outcome: &Outcome, after| health.change(outcome, now + Duration::from_secs(after)).map(|line| line.text);
        let down = Outcome::unanswered("connection refused");
        let refused = Outcome::Refused { reason: "HTTP 401".to_owned(), garbled: false };
        assert_eq!(
            said(&down, 0).as_deref(),
            Some(
                "http://c:4317 does not take spans now (connection refused); they wait in memory, and the oldest are dropped when it is full"
            )
        );
        assert_eq!(said(&Outcome::unanswered("time-out"), 1), None);
        assert_eq!(said(&taken(0, ""), 42).as_deref(), Some("http://c:4317 takes spans again, after 42s"));
        assert_eq!(said(&taken(0, ""), 43), None);
        assert!(said(&refused, 44).is_some_and(|line| line.contains("HTTP 401")));
        assert_eq!(said(&refused, 45), None);
        assert!(said(&taken(0, ""), 46).is_some());
    }

    #[test]
    fn the_receivers_words_are_repeated_once() {
        let (mut health, now) = (Health::new("c".to_owned(), true), Instant::now());
        let mut said = |outcome: &Outcome| health.change(outcome, now).map(|line| line.text);
        assert_eq!(
            said(&taken(3, "bad ids")).as_deref(),
            Some("c rejected 3 spans of a batch (bad ids); they are dropped")
        );
        assert_eq!(said(&taken(5, "bad ids")), None);
        assert_eq!(said(&taken(0, "")), None);
        assert_eq!(said(&taken(0, "old schema")).as_deref(), Some("c warns: old schema"));
    }
}
