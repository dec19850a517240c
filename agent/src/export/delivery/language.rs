//! Which protocol the receiver speaks: OTLP by gRPC or by HTTP. Where nobody has said it, the likely one is tried first and the other one when that
//! is not understood, until the first success. It sends nothing itself.

use super::{
    config::{Config, Protocol, Target},
    encode::Format,
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
        let guessed = matches!(&config.target, Target::Endpoint(endpoint) if endpoint.guessed);
        let state = if guessed { State::Likely } else { State::Sure };
        Ok(Self { transport: Transport::new(config)?, config: config.clone(), state })
    }

    /// Sends in this protocol.
    pub fn transport(&self) -> Transport {
        self.transport.clone()
    }

    /// How requests are encoded.
    pub fn format(&self) -> Format {
        self.config.format()
    }

    /// Whether it will not change any more.
    pub fn is_sure(&self) -> bool {
        self.state == State::Sure
    }

    /// The receiver, for people.
    pub fn target(&self) -> String {
        match &self.config.target {
            Target::Endpoint(endpoint) => format!("{} ({})", self.config.shown(), endpoint.protocol),
            Target::File(_) => self.config.shown(),
        }
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
                let other = self.protocol().map_or_else(String::new, |protocol| protocol.to_string());
                self.turn();
                *reason = format!("{first}; and as {other}: {reason}");
            }
        }
        false
    }

    fn protocol(&self) -> Option<Protocol> {
        match &self.config.target {
            Target::Endpoint(endpoint) => Some(endpoint.protocol),
            Target::File(_) => None,
        }
    }

    /// Changes the protocol, if the other one can be set up.
    fn turn(&mut self) -> bool {
        let Target::Endpoint(endpoint) = &mut self.config.target else { return false };
        let before = endpoint.protocol;
        endpoint.protocol = match before {
            Protocol::Grpc => Protocol::Http,
            Protocol::Http => Protocol::Grpc,
            Protocol::Json | Protocol::Zipkin => return false,
        };
        match Transport::to(endpoint) {
            Ok(transport) => self.transport = transport,
            Err(_) => endpoint.protocol = before,
        }
        endpoint.protocol != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn garbled(reason: &str) -> Outcome {
        Outcome::Refused { reason: reason.to_owned(), garbled: true }
    }

    fn language(guessed: bool) -> Language {
        let mut config = Config::to("http://h:9").expect("valid");
        config.endpoint_mut().expect("an endpoint").guessed = guessed;
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
