//! Which protocol the receiver speaks. Where nobody has said it, the likely one is tried first and the other one when that
//! is not understood, until the first success. It sends nothing itself.

use super::{
    config::{Config, Protocol},
    outcome::Outcome,
    tls::TlsError,
    transport::Transport,
};

/// The protocol, and how sure it is.
#[derive(Debug)]
pub struct Language {
    config: Config,
    transport: Transport,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Somebody said it, or a request was taken.
    Sure,
    /// The likely one is being tried.
    Likely,
    /// The other one is being tried, because the likely one was not understood for this reason.
    Other(String),
}

impl Language {
    /// The protocol as configured.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let state = if config.guessed { State::Likely } else { State::Sure };
        Ok(Self { transport: Transport::new(config)?, config: config.clone(), state })
    }

    /// Sends in this protocol.
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// Whether it will not change any more.
    pub fn is_sure(&self) -> bool {
        self.state == State::Sure
    }

    /// The receiver, for people.
    pub fn target(&self) -> String {
        format!("{} ({})", self.config.shown_endpoint(), self.config.protocol)
    }

    /// Learns from the outcome of an attempt. Returns whether the same is to be tried at once in the other protocol; else
    /// the outcome stands, and tells of both protocols if neither was understood.
    pub fn learn(&mut self, outcome: &mut Outcome) -> bool {
        if matches!(outcome, Outcome::Taken { .. }) {
            self.state = State::Sure;
        }
        let (Outcome::Retry { reason, garbled: true, .. } | Outcome::Refused { reason, garbled: true }) = outcome
        else {
            return false;
        };
        match std::mem::replace(&mut self.state, State::Likely) {
            State::Sure => self.state = State::Sure,
            State::Likely => {
                if self.turn() {
                    self.state = State::Other(reason.clone());
                    return true;
                }
            }
            State::Other(first) => {
                let other = self.config.protocol;
                self.turn();
                *reason = format!("{first}; and as {other}: {reason}");
            }
        }
        false
    }

    /// Changes the protocol, if the other one can be set up.
    fn turn(&mut self) -> bool {
        let protocol = match self.config.protocol {
            Protocol::Grpc => Protocol::Http,
            Protocol::Http => Protocol::Grpc,
        };
        let config = Config { protocol, ..self.config.clone() };
        let Ok(transport) = Transport::new(&config) else { return false };
        (self.config, self.transport) = (config, transport);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn garbled(reason: &str) -> Outcome {
        Outcome::Refused { reason: reason.to_owned(), garbled: true }
    }

    fn language(guessed: bool) -> Language {
        let config = Config { guessed, ..Config::to("http://h:9").expect("valid") };
        Language::new(&config).expect("no TLS")
    }

    #[test]
    fn the_other_protocol_is_tried_once_and_both_reasons_are_told() {
        let mut language = language(true);
        assert_eq!(language.target(), "http://h:9/v1/traces (HTTP)");
        assert!(language.learn(&mut garbled("HTTP 404")));
        assert_eq!(language.target(), "http://h:9 (gRPC)");
        let mut outcome = garbled("Unimplemented");
        assert!(!language.learn(&mut outcome));
        assert_eq!(outcome, garbled("HTTP 404; and as gRPC: Unimplemented"));
        assert_eq!((language.target().as_str(), language.is_sure()), ("http://h:9/v1/traces (HTTP)", false));
    }

    #[test]
    fn a_success_settles_it() {
        let mut language = language(true);
        assert!(language.learn(&mut garbled("HTTP 404")));
        language.learn(&mut Outcome::Taken { rejected: 0, message: String::new() });
        assert!(language.is_sure());
        assert!(!language.learn(&mut garbled("Unimplemented")));
        assert_eq!(language.target(), "http://h:9 (gRPC)");
    }

    #[test]
    fn what_was_said_is_not_doubted_and_a_receiver_that_is_down_says_nothing() {
        assert!(!language(false).learn(&mut garbled("HTTP 404")));
        assert!(!language(true).learn(&mut Outcome::unanswered("connection refused")));
    }
}
