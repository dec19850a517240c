//! Made-up traffic: services that call each other in some style, with delays as real ones have them.

use super::{
    corpus::{Corpus, Span, Truth},
    random::Random,
};

/// How a service makes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// One after the other
    Sequence,
    /// All at once, then one more
    Parallel,
    /// A call that a cache may save, then several alike, then two at once
    Mixed,
    /// One call each, five services deep, and work that goes on after the answer
    Deep,
}

/// What is made up.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// The style.
    pub style: Style,
    /// Traces.
    pub traces: usize,
    /// Traces per second.
    pub rate: f64,
    /// Standard deviation of the logarithm of delays.
    pub deviation: f64,
    /// Threads of each process; none if spans have no thread.
    pub threads: u64,
    /// Seed.
    pub seed: u64,
}

/// Calls that are made at once: the service called, and how often it is.
type Step = Vec<(usize, f64)>;

impl Style {
    /// The steps of each service; the first receives what comes from outside.
    fn services(self) -> Vec<Vec<Step>> {
        let one = |service: usize| vec![(service, 1.0)];
        match self {
            Self::Sequence => vec![vec![one(1), one(2), one(3)], vec![one(4)], vec![], vec![one(4), one(4)], vec![]],
            Self::Parallel => {
                vec![vec![vec![(1, 1.0), (2, 1.0), (3, 1.0)], one(4)], vec![one(4)], vec![], vec![], vec![]]
            }
            Self::Mixed => vec![
                vec![vec![(1, 0.4)], one(2), one(2), vec![(2, 0.5)], vec![(3, 1.0), (4, 1.0)]],
                vec![one(4)],
                vec![vec![(4, 0.3)]],
                vec![one(2)],
                vec![],
            ],
            Self::Deep => vec![vec![one(1)], vec![one(2)], vec![one(3)], vec![one(4)], vec![]],
        }
    }
}

struct Making {
    traffic: Traffic,
    services: Vec<Vec<Step>>,
    random: Random,
    corpus: Corpus,
    trace: usize,
}

impl Traffic {
    /// Makes it.
    pub fn make(self) -> Corpus {
        let mut making = Making {
            traffic: self,
            services: self.style.services(),
            random: Random::new(self.seed),
            corpus: Corpus::default(),
            trace: 0,
        };
        // 2026, and whole nanoseconds as the kernel has them.
        let mut now_ns = 1_767_225_600_000_000_000;
        for trace in 0..self.traces {
            now_ns += making.random.interval(self.rate);
            making.trace = trace;
            making.serve(0, now_ns, None);
        }
        let mut corpus = making.corpus;
        corpus.spans.sort_by_key(|span| span.start_ns);
        corpus
    }
}

impl Making {
    fn delay(&mut self, median_us: f64) -> u64 {
        let deviation = self.traffic.deviation;
        self.random.delay(median_us, deviation)
    }

    fn id(&mut self) -> String {
        format!("{:016x}", self.random.next())
    }

    fn thread(&mut self) -> Option<u64> {
        let draw = self.random.next();
        draw.checked_rem(self.traffic.threads)
    }

    /// A request to a service; says when it is answered.
    fn serve(&mut self, service: usize, start_ns: u64, client: Option<(&str, &str)>) -> u64 {
        let (id, own) = (client.map_or_else(|| self.id(), |(_, server)| server.to_owned()), self.thread());
        let mut now_ns = start_ns + self.delay(150.0 + 60.0 * service as f64);
        let steps = self.services.get(service).cloned().unwrap_or_default();
        for step in steps {
            let mut done_ns = now_ns;
            for (target, share) in step {
                if self.random.once_in(share) {
                    done_ns = done_ns.max(self.call(service, target, now_ns, &id, own));
                    now_ns += self.delay(20.0);
                }
            }
            now_ns = done_ns + self.delay(120.0);
        }
        let end_ns = now_ns + self.delay(if service == 4 { 900.0 } else { 80.0 });
        // In the deep style now and then something is answered before its calls are.
        let early = self.traffic.style == Style::Deep && self.random.once_in(0.01);
        let end_ns = if early { start_ns + (end_ns - start_ns) * 3 / 4 } else { end_ns };
        let kind = ("server", service, service, own);
        self.span(kind, id, (start_ns, end_ns), client.map(|(client, _)| client.to_owned()));
        end_ns
    }

    /// A call from one service to another; says when the answer is there.
    fn call(&mut self, from: usize, to: usize, start_ns: u64, parent: &str, own: Option<u64>) -> u64 {
        let (client, server) = (self.id(), self.id());
        let arrived_ns = start_ns + self.delay(60.0);
        let end_ns = self.serve(to, arrived_ns, Some((&client, &server))) + self.delay(60.0);
        // Work moves from thread to thread, but often stays.
        let thread = if self.random.once_in(0.5) { own } else { self.thread() };
        let truth =
            Truth { span_id: client.clone(), parent_span_id: Some(parent.to_owned()), trace: self.trace.to_string() };
        self.corpus.truth.push(truth);
        self.span(("client", from, to, thread), client, (start_ns, end_ns), Some(server));
        end_ns
    }

    fn span(
        &mut self,
        (kind, service, asked, thread): (&str, usize, usize, Option<u64>),
        span_id: String,
        (start_ns, end_ns): (u64, u64),
        peer_span_id: Option<String>,
    ) {
        let service = format!("service-{service}");
        let (process, name, kind) = (service.clone(), format!("GET /{asked}"), kind.to_owned());
        self.corpus.spans.push(Span { span_id, kind, service, process, name, start_ns, end_ns, peer_span_id, thread });
    }
}
