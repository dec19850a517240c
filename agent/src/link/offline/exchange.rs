//! Which spans are the two ends of one exchange.

use super::{Counts, Link, Method, Spans};

const NONE: u32 = u32::MAX;

/// The other end of each span.
#[derive(Debug)]
pub struct Exchanges {
    other: Vec<u32>,
    is_server: Vec<bool>,
}

impl Exchanges {
    /// Pairs a client's span with a server's if either names the other, none names a third, and the server began later.
    pub fn new(spans: &Spans<'_>, counts: &mut Counts) -> Self {
        let mut by_id = vec![NONE; spans.ids()];
        for (number, span) in (0..).zip(&spans.all) {
            if let Some(place) = by_id.get_mut(span.id as usize).filter(|_| span.is_sound) {
                *place = number;
            }
        }
        let find = |id: u32| by_id.get(id as usize).copied().filter(|number| *number != NONE);
        let mut exchanges = Self {
            other: vec![NONE; spans.all.len()],
            is_server: spans.all.iter().map(|span| span.is_server).collect(),
        };
        for (number, span) in (0..).zip(&spans.all) {
            let Some(peer_id) = span.peer.filter(|_| span.is_sound) else { continue };
            let Some((peer_number, peer)) = find(peer_id).and_then(|peer| Some((peer, spans.all.get(peer as usize)?)))
            else {
                counts.peer_missing += 1;
                continue;
            };
            let (client, server) = if span.is_server { (peer, span) } else { (span, peer) };
            let names_another = peer.peer.is_some_and(|id| id != span.id);
            let fits = peer.is_server != span.is_server && client.start_ns <= server.start_ns && !names_another;
            if !fits || !exchanges.join(number, peer_number) {
                counts.peer_contradicted += 1;
            }
        }
        exchanges
    }

    fn join(&mut self, one: u32, two: u32) -> bool {
        let free = |end: u32, with: u32| self.of(end).is_none_or(|other| other == with);
        if !free(one, two) || !free(two, one) {
            return false;
        }
        for (end, with) in [(one, two), (two, one)] {
            if let Some(place) = self.other.get_mut(end as usize) {
                *place = with;
            }
        }
        true
    }

    /// The other end of a span's exchange.
    pub fn of(&self, span: u32) -> Option<u32> {
        self.other.get(span as usize).copied().filter(|other| *other != NONE)
    }

    /// Links servers' spans to their clients'.
    pub(super) fn link(&self, links: &mut [Link]) {
        for ((link, other), is_server) in links.iter_mut().zip(&self.other).zip(&self.is_server) {
            if *is_server && *other != NONE {
                link.candidate = Some((*other, Method::Socket, 1.0));
            }
        }
    }
}
