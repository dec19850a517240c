//! Spans without parents, from elsewhere: which span is whose child, by what [`super::infer`] makes of them. Bytes in,
//! lines out; reading and writing files is others' work.
//!
//! Two kinds of links are made. Both ends of one exchange name each other (`peer_span_id`): the server's span is the
//! client's child, by the method `socket`. Calls and requests of one process are matched by inference: `exclusive` where
//! one request only was open when the call began, else `inferred`; how sure it is counts, not how it is called.
#![forbid(unsafe_code)]
#![expect(
    clippy::cast_precision_loss,
    reason = "counts and gaps become likelihoods, which are no more exact than a float"
)]
#![expect(clippy::similar_names, reason = "a call and its caller, a score and its scorer are what this is about")]

mod cycle;
mod exchange;
mod follow;
mod group;
mod learn;
mod line;
mod process;
mod read;
#[cfg(test)]
mod tests;
mod window;

use super::infer;
pub use exchange::Exchanges;
pub use learn::LEARNED_MAX;
pub use read::{LINE_MAX, Spans};
pub use window::{OVERLAP_MAX, WINDOW_MAX};

/// What was counted while spans were read and linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines with a span.
    pub spans: u64,
    /// Lines that are no span; they are put out as they are.
    pub unreadable: u64,
    /// Spans whose id an earlier line has: they are not linked, and nothing is linked to them.
    pub duplicate: u64,
    /// Spans that end before they start: a clock was set back. They are not linked either.
    pub backwards: u64,
    /// Other ends that are named but not there.
    pub peer_missing: u64,
    /// Other ends that can't be: of the same kind, claimed twice, or begun later than what they are to have caused.
    pub peer_contradicted: u64,
    /// Calls and requests linked by `socket`, `exclusive`, `inferred`.
    pub linked: [u64; 3],
    /// Calls whose best candidate is below the asked confidence.
    pub unsure: u64,
    /// Calls that began while no request was open.
    pub alone: u64,
    /// Of those, calls that shortly follow one that was answered.
    pub follows: u64,
    /// Links that would have closed a cycle.
    pub cycles: u64,
    /// Linked calls that ended after their request was answered.
    pub outlived: u64,
    /// What inference counted.
    pub inference: infer::Counts,
}

impl Counts {
    /// Each counter with its name.
    pub fn named(&self) -> [(&'static str, u64); 17] {
        let Self { spans, unreadable, duplicate, backwards, peer_missing, peer_contradicted, .. } = *self;
        let Self { linked: [socket, exclusive, inferred], unsure, alone, follows, cycles, outlived, .. } = *self;
        let infer::Counts { windows, crowded, cut_short } = self.inference;
        [
            ("spans", spans),
            ("unreadable", unreadable),
            ("duplicate", duplicate),
            ("backwards", backwards),
            ("peer_missing", peer_missing),
            ("peer_contradicted", peer_contradicted),
            ("socket", socket),
            ("exclusive", exclusive),
            ("inferred", inferred),
            ("unsure", unsure),
            ("alone", alone),
            ("follows", follows),
            ("cycles", cycles),
            ("outlived", outlived),
            ("windows", windows),
            ("crowded", crowded),
            ("cut_short", cut_short),
        ]
    }
}

/// How a span was linked to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Both are ends of one exchange.
    Socket,
    /// No other request was open.
    Exclusive,
    /// By statistics.
    Inferred,
}

impl Method {
    /// As it is put out.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Exclusive => "exclusive",
            Self::Inferred => "inferred",
        }
    }
}

/// What is known of a span's parent; spans are numbered in the order of their lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// The most probable parent.
    pub candidate: Option<(u32, Method, f64)>,
    /// The next probable one.
    pub runner_up: Option<(u32, f64)>,
    /// A request that had been answered when this call began, and may have caused it.
    pub follows: Option<(u32, f64)>,
}

/// Spans and what was found out of them.
#[derive(Debug)]
pub struct Linked<'a> {
    spans: Spans<'a>,
    links: Vec<Link>,
    /// What was counted.
    pub counts: Counts,
    min_confidence: f64,
}

impl<'a> Linked<'a> {
    /// Links spans, which are JSON objects, one to a line. A candidate becomes a parent from `min_confidence` on.
    pub fn new(text: &'a [u8], min_confidence: f64, seed: u64) -> Self {
        let mut counts = Counts::default();
        let spans = Spans::read(text, &mut counts);
        let exchanges = Exchanges::new(&spans, &mut counts);
        let mut links = vec![Link::default(); spans.all.len()];
        exchanges.link(&mut links);
        for group in group::groups(&spans, &exchanges) {
            process::link(&spans, &exchanges, &group, seed, &mut links, &mut counts);
        }
        cycle::cut(&mut links, &mut counts);
        let mut linked = Self { spans, links, counts, min_confidence };
        linked.count();
        linked
    }

    /// The link of each span.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Writes all lines, in their order, with what was found out.
    pub fn write(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut line = Vec::new();
        for (text, span) in self.spans.lines() {
            line.clear();
            match span.and_then(|span| Some((span, self.links.get(span as usize)?))) {
                Some((_, link)) => line::put(&mut line, text, link, &self.spans, self.min_confidence),
                None => line.extend_from_slice(text),
            }
            line.push(b'\n');
            out.write_all(&line)?;
        }
        Ok(())
    }

    fn count(&mut self) {
        let Self { spans, links, counts, min_confidence } = self;
        for (span, link) in spans.all.iter().zip(links) {
            match link.candidate {
                Some((parent, method, confidence)) if confidence >= *min_confidence => {
                    let [socket, exclusive, inferred] = &mut counts.linked;
                    *match method {
                        Method::Socket => socket,
                        Method::Exclusive => exclusive,
                        Method::Inferred => inferred,
                    } += 1;
                    let outlived = spans.all.get(parent as usize).is_some_and(|parent| parent.end_ns < span.end_ns);
                    counts.outlived += u64::from(outlived && method != Method::Socket);
                }
                Some(_) => counts.unsure += 1,
                None => {}
            }
        }
    }
}
