//! Texts that the spans of one connection have in common: made once, and shared.

use crate::{conn::Socket, span::Text};
use std::{net::SocketAddr, sync::Arc};

/// An address as text, and a port.
pub(super) type Place = (Arc<str>, u16);

/// What the spans of a connection say alike.
#[derive(Debug, Default)]
pub(super) struct Texts {
    ends: (Option<SocketAddr>, Option<SocketAddr>),
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

    #[test]
    fn a_text_is_shared_with_the_one_before_only_if_it_is_the_same() {
        let mut last = Last::default();
        let texts = ["a", "a", "b", "a"].map(|text| last.shared(text));
        assert_eq!(texts, ["a", "a", "b", "a"].map(Text::from));
        let is_shared = |a: &Text, b: &Text| std::ptr::eq(a.as_ptr(), b.as_ptr());
        assert!(is_shared(&texts[0], &texts[1]) && !is_shared(&texts[0], &texts[3]));
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
