//! No span is its own ancestor. A child starts no earlier than its parent, so only spans that start in the same instant
//! could be; still each chain of parents is walked once.

use super::{Counts, Link, Method};

/// Takes a link out of each cycle: an inferred one, for the exact ones can't make one by themselves.
pub(super) fn cut(links: &mut [Link], counts: &mut Counts) {
    const NEW: u32 = 0;
    const SAFE: u32 = u32::MAX;
    // In which walk a span was met.
    let mut met = vec![NEW; links.len()];
    for (walk, start) in (1..SAFE).zip(0..links.len()) {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(span) = at {
            match met.get_mut(span) {
                Some(mark) if *mark == NEW => *mark = walk,
                Some(mark) if *mark == walk => {
                    let from = path.iter().position(|own| *own == span).unwrap_or(0);
                    let is_inferred = |own: &usize| {
                        links.get(*own).and_then(|link| link.candidate).is_some_and(|c| c.1 != Method::Socket)
                    };
                    let cycle = path.get(from..).unwrap_or(&[]);
                    let weakest = cycle.iter().copied().find(is_inferred).unwrap_or(span);
                    if let Some(link) = links.get_mut(weakest) {
                        link.candidate = None;
                        counts.cycles += 1;
                    }
                    break;
                }
                _ => break,
            }
            path.push(span);
            at = links.get(span).and_then(|link| link.candidate).map(|(parent, ..)| parent as usize);
        }
        for span in path {
            if let Some(mark) = met.get_mut(span) {
                *mark = SAFE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(parent: u32, method: Method) -> Link {
        Link { candidate: Some((parent, method, 1.0)), ..Link::default() }
    }

    #[test]
    fn a_circle_loses_an_inferred_link_and_a_chain_none() {
        let mut links =
            [link(1, Method::Socket), link(2, Method::Inferred), link(0, Method::Socket), link(0, Method::Inferred)];
        let mut counts = Counts::default();
        cut(&mut links, &mut counts);
        assert_eq!(counts.cycles, 1);
        assert_eq!(links.map(|link| link.candidate.map(|(parent, ..)| parent)), [Some(1), None, Some(0), Some(0)]);
        let mut own = [link(0, Method::Inferred)];
        cut(&mut own, &mut counts);
        assert_eq!((own[0].candidate, counts.cycles), (None, 2));
    }
}
