//! How likely it is that a request made just these calls at these times: the sum of the logarithms over its calls, its
//! end, and the combination. What the solver maximises is the sum over all requests.

use super::{
    model::Model,
    pattern::signature,
    problem::{Kid, OPEN, Problem},
};

/// Routes of one request's calls whose numbers are counted one by one.
const ROUTES_COUNTED: usize = 16;

/// Scores requests of one window by one model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scorer<'a> {
    pub model: &'a Model,
    pub problem: &'a Problem,
}

impl Scorer<'_> {
    /// By times and threads alone.
    pub(super) fn timing(&self, req_id: u32, kids: &[Kid]) -> f64 {
        let Some(req) = self.problem.req(req_id) else { return f64::NEG_INFINITY };
        let Some(route) = self.model.route(req.route) else { return 0.0 };
        let mut sum = 0.0;
        let mut last: Option<&Kid> = None;
        for (at, kid) in kids.iter().enumerate() {
            let before = kids.get(..at).unwrap_or(&[]);
            sum += self.model.log_start(route.pair(kid.route), req.start, before, kid);
            sum += self.model.log_signals(self.problem, req_id, kid.id);
            if last.is_none_or(|last| kid.end >= last.end) {
                last = Some(kid);
            }
        }
        if req.end != OPEN {
            let gap = req.end - last.map_or(req.start, |kid| kid.end);
            sum += self.model.log_end(route, last.map(|kid| kid.route), gap);
        }
        sum
    }

    /// By which calls there are, and how many.
    pub(super) fn pattern(&self, req_id: u32, kids: &[Kid]) -> f64 {
        let Some(route) = self.problem.req(req_id).and_then(|req| self.model.route(req.route)) else { return 0.0 };
        let independent = || {
            let mut counted: [(u16, usize); ROUTES_COUNTED] = [(u16::MAX, 0); ROUTES_COUNTED];
            for kid in kids {
                let place = counted.iter_mut().find(|(route, calls)| *calls == 0 || *route == kid.route);
                if let Some((route, calls)) = place {
                    *route = kid.route;
                    *calls += 1;
                }
            }
            let mut independent = route.log_none();
            for (outbound, calls) in counted.iter().take_while(|(_, calls)| *calls > 0) {
                independent += match route.pair(*outbound) {
                    Some(pair) => pair.log_number(*calls) - pair.log_number(0),
                    None => -8.0 * *calls as f64,
                };
            }
            independent
        };
        route.patterns.log(signature(kids), independent)
    }

    /// By everything.
    pub(super) fn whole(&self, req_id: u32, kids: &[Kid]) -> f64 {
        let pattern = match self.problem.req(req_id) {
            Some(req) if req.end != OPEN => self.pattern(req_id, kids),
            _ => 0.0,
        };
        self.timing(req_id, kids) + pattern
    }

    /// The price of one more call by a route, beyond so many: how likely it is that a request makes it, against not.
    pub(super) fn presence(&self, req_id: u32, outbound: u16, calls: usize) -> f64 {
        let route = self.problem.req(req_id).and_then(|req| self.model.route(req.route));
        let Some(pair) = route.and_then(|route| route.pair(outbound)) else { return -6.0 };
        let share = pair.numbers.at_least(calls + 1) / pair.numbers.at_least(calls).max(1e-9);
        let share = share.clamp(0.001, 0.999);
        (share / (1.0 - share)).ln()
    }
}
