//! Which call belongs to which request, for now.

use super::problem::{Kid, Problem};

const NONE: u32 = u32::MAX;

/// An assignment: at most one request to each call; a request's calls are in the order of their starts.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    owner: Vec<u32>,
    kids: Vec<Vec<Kid>>,
}

impl State {
    /// Only what is known.
    pub(super) fn new(problem: &Problem) -> Self {
        let mut state = Self { owner: vec![NONE; problem.kids.len()], kids: vec![Vec::new(); problem.reqs.len()] };
        for (kid, known) in problem.kids.iter().zip(&problem.known) {
            if let super::Owner::Request(req) = known {
                state.give(*req, *kid);
            }
        }
        state
    }

    /// The request that a call belongs to.
    pub(super) fn owner(&self, call: u32) -> Option<u32> {
        self.owner.get(call as usize).copied().filter(|owner| *owner != NONE)
    }

    /// The calls of a request.
    pub(super) fn kids(&self, req: u32) -> &[Kid] {
        self.kids.get(req as usize).map_or(&[], Vec::as_slice)
    }

    /// Gives a call that belongs to none to a request.
    pub(super) fn give(&mut self, req: u32, kid: Kid) {
        let (Some(owner), Some(kids)) = (self.owner.get_mut(kid.id as usize), self.kids.get_mut(req as usize)) else {
            return;
        };
        *owner = req;
        insert(kids, kid);
    }

    /// Takes a call away from its request.
    pub(super) fn take(&mut self, kid: &Kid) {
        let Some(owner) = self.owner.get_mut(kid.id as usize) else { return };
        if let Some(kids) = self.kids.get_mut(*owner as usize) {
            kids.retain(|other| other.id != kid.id);
        }
        *owner = NONE;
    }

    /// Makes these the calls of a request.
    pub(super) fn set(&mut self, req: u32, kids: &[Kid]) {
        for kid in kids {
            if let Some(owner) = self.owner.get_mut(kid.id as usize) {
                *owner = req;
            }
        }
        if let Some(own) = self.kids.get_mut(req as usize) {
            own.clear();
            own.extend_from_slice(kids);
        }
    }
}

/// Puts a call where it belongs by its start.
pub(super) fn insert(kids: &mut Vec<Kid>, kid: Kid) {
    let at = kids.iter().rposition(|other| (other.start, other.id) < (kid.start, kid.id)).map_or(0, |at| at + 1);
    kids.insert(at, kid);
}
