//! Routes as small numbers.

use std::collections::BTreeMap;

/// Routes that are told apart in one direction; all later ones are one.
pub const ROUTES_MAX: usize = 64;

/// Numbers given to routes in the order of their coming.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    ids: BTreeMap<u32, u16>,
}

impl Routes {
    /// The number of a route.
    pub(super) fn id(&mut self, route: u32) -> u16 {
        let next = self.ids.len() as u16;
        if usize::from(next) + 1 >= ROUTES_MAX {
            return self.ids.get(&route).copied().unwrap_or(ROUTES_MAX as u16 - 1);
        }
        *self.ids.entry(route).or_insert(next)
    }

    /// How many numbers are in use, at most.
    pub(super) fn len(&self) -> usize {
        if self.ids.len() + 1 >= ROUTES_MAX { ROUTES_MAX } else { self.ids.len() }
    }
}
