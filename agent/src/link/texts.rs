//! Texts that the spans of one connection have in common: made once, and shared.

use crate::{
    conn::{Sequences, Socket},
    span::Text,
};
use std::{net::SocketAddr, sync::Arc};

/// An address as text, and a port.
pub(super) type Place = (Arc<str>, u16);

/// What the spans of a connection say alike.
#[derive(Debug, Default)]
pub(super) struct Texts {
    ends: (Option<SocketAddr>, Option<SocketAddr>),
    sequences: Option<Sequences>,
    /// What the connection's other end calls it as well, on whatever host that is.
    pub(super) connection: Option<Arc<str>>,
    /// Own address.
    pub(super) local: Option<Place>,
    /// The other end's.
    pub(super) peer: Option<Place>,
    /// The host that the last request named, and the program that sent it.
    pub(super) host: Last,
    pub(super) agent: Last,
}

impl Texts {
    /// Takes over what is known of the connection now.
    pub(super) fn learn(&mut self, socket: &Socket) {
        let is_loopback = socket.peer.is_some_and(|peer| peer.ip().is_loopback());
        // No other host has an end of a loopback connection.
        let sequences = socket.sequences().filter(|_| !is_loopback);
        if self.sequences != sequences {
            (self.sequences, self.connection) = (sequences, sequences.map(|sequences| sequences.to_string().into()));
        }
        let ends = (socket.local, socket.peer);
        if self.ends == ends {
            return;
        }
        let place = |end: Option<SocketAddr>| end.map(|end| (end.ip().to_string().into(), end.port()));
        (self.ends, self.local, self.peer) = (ends, place(ends.0), place(ends.1));
    }
}

/// A text that mostly is the same as before.
#[derive(Debug, Default)]
pub(super) struct Last(Option<Arc<str>>);

impl Last {
    /// The text, shared with the one before if that is the same.
    pub(super) fn shared(&mut self, text: &str) -> Text {
        let last = match self.0.take() {
            Some(last) if *last == *text => last,
            _ => text.into(),
        };
        Text::Shared(Arc::clone(self.0.insert(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Role;

    #[test]
    fn a_text_is_shared_with_the_one_before_only_if_it_is_the_same() {
        let mut last = Last::default();
        let texts = ["a", "a", "b", "a"].map(|text| last.shared(text));
        assert_eq!(texts, ["a", "a", "b", "a"].map(Text::from));
        let is_shared = |a: &Text, b: &Text| std::ptr::eq(a.as_ptr(), b.as_ptr());
        assert!(is_shared(&texts[0], &texts[1]) && !is_shared(&texts[0], &texts[3]));
    }

    #[test]
    fn a_connection_has_one_name_at_both_ends_unless_no_other_host_can_have_one() {
        let name = |role, counted_from, peer: &str| {
            let mut texts = Texts::default();
            let peer = Some(peer.parse().unwrap());
            texts.learn(&Socket { role, counted_from: Some(counted_from), peer, ..Socket::default() });
            texts.connection
        };
        let client = name(Role::Client, [0x0a0b_0c0d, 0x1122_3344], "192.0.2.1:80");
        assert_eq!(client.as_deref(), Some("0a0b0c0d-11223344"));
        assert_eq!(client, name(Role::Server, [0x1122_3345, 0x0a0b_0c0d], "192.0.2.2:4000"));
        assert_eq!(name(Role::Client, [1, 2], "127.0.0.1:80"), None);
    }

    #[test]
    fn addresses_that_become_known_later_are_taken_over() {
        let mut texts = Texts::default();
        texts.learn(&Socket::default());
        assert_eq!(texts.local, None);
        texts.learn(&Socket { local: Some("[::1]:80".parse().unwrap()), ..Socket::default() });
        assert_eq!((texts.local, texts.peer), (Some(("::1".into(), 80)), None));
    }
}
