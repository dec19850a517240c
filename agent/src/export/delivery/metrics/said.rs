//! Says when something about the export of metrics changes, once per change. It changes nothing itself.

use std::time::Instant;

use super::{super::outcome::Outcome, REFUSED_PAUSE};

/// What the log said last.
#[derive(Debug)]
pub struct Said {
    target: String,
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

impl Said {
    /// Nothing tried yet; `target` is the endpoint for people.
    pub const fn new(target: String) -> Self {
        Self { target, state: State::Untried, told: String::new() }
    }

    /// Looks at the outcome of an attempt to reach `target`, and says what is new in it.
    pub fn observe(&mut self, target: String, outcome: &Outcome, now: Instant) {
        self.target = target;
        match self.change(outcome, now) {
            Some((true, text)) => log::warn!("{text}"),
            Some((false, text)) => log::info!("{text}"),
            None => {}
        }
    }

    /// What is new, and whether it is bad.
    fn change(&mut self, outcome: &Outcome, now: Instant) -> Option<(bool, String)> {
        let target = &self.target;
        match outcome {
            Outcome::Taken { rejected, message } => {
                let before = std::mem::replace(&mut self.state, State::Up);
                if (*rejected > 0 || !message.is_empty()) && *message != self.told {
                    message.clone_into(&mut self.told);
                    let text = format!("{target} rejected {rejected} data points of metrics ({message})");
                    return Some((true, text));
                }
                match before {
                    State::Up => None,
                    State::Untried => Some((false, format!("metrics go to {target}"))),
                    State::Down { since } => {
                        let after = now.saturating_duration_since(since);
                        Some((false, format!("{target} takes metrics again, after {after:.0?}")))
                    }
                    State::Refused { .. } => Some((false, format!("{target} takes metrics now"))),
                }
            }
            Outcome::Retry { .. } if matches!(self.state, State::Down { .. }) => None,
            Outcome::Retry { reason, .. } => {
                self.state = State::Down { since: now };
                let text =
                    format!("{target} does not take metrics now ({reason}); what comes later carries the same sums");
                Some((true, text))
            }
            Outcome::Refused { reason, .. } => {
                if matches!(&self.state, State::Refused { reason: known } if known == reason) {
                    return None;
                }
                self.state = State::Refused { reason: reason.clone() };
                let minutes = REFUSED_PAUSE.as_secs() / 60;
                // Nothing is wrong where a receiver is one for spans.
                let text = format!(
                    "{target} refuses metrics ({reason}); it is asked again after {minutes} minutes. If it takes spans only, give \
                     --no-otlp-metrics, or metrics = false in its [[export]]"
                );
                Some((false, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_is_said_once() {
        let (mut said, now) = (Said::new("c".to_owned()), Instant::now());
        let mut next = |outcome: Outcome, after| said.change(&outcome, now + Duration::from_secs(after));
        let taken = || Outcome::Taken { rejected: 0, message: String::new() };
        let refused = || Outcome::Refused { reason: "HTTP 404".to_owned(), garbled: true };
        assert_eq!(next(taken(), 0), Some((false, "metrics go to c".to_owned())));
        assert_eq!(next(taken(), 1), None);
        assert!(next(Outcome::unanswered("time-out"), 2).is_some_and(|(bad, text)| bad && text.contains("time-out")));
        assert_eq!(next(Outcome::unanswered("reset"), 3), None);
        assert_eq!(next(taken(), 44), Some((false, "c takes metrics again, after 42s".to_owned())));
        assert!(next(refused(), 45).is_some_and(|(bad, text)| !bad && text.contains("--no-otlp-metrics")));
        assert_eq!(next(refused(), 46), None);
        let partial = || Outcome::Taken { rejected: 3, message: "old".to_owned() };
        assert_eq!(next(partial(), 47), Some((true, "c rejected 3 data points of metrics (old)".to_owned())));
        assert_eq!(next(partial(), 48), None);
    }
}
