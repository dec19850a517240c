//! Routes as inference sees them: which requests are for the same. Judged segment by segment, without what [`crate::route`]
//! learns: a number that changed while it is learned would cost more than a route too many.

use crate::route::Variable;
use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher as _};

/// Parts of a path that tell routes apart.
const PARTS_MAX: usize = 8;

/// A number for what is asked for: the method and the path, values in it being alike; `to` tells calls to
/// several servers apart.
pub(in crate::link) fn route(method: &[u8], target: &[u8], to: &impl Hash) -> u32 {
    let mut hasher = FxHasher::default();
    (method, to).hash(&mut hasher);
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    for part in path.split(|byte| *byte == b'/').take(PARTS_MAX) {
        let part = if Variable::of(part).is_some() { b"*" } else { part };
        part.hash(&mut hasher);
    }
    // The upper half: the lower bits of this hash are the worse ones.
    u32::try_from(hasher.finish() >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_differ_in_numbers_are_one_route() {
        let of = |target: &str, to: u16| route(b"GET", target.as_bytes(), &to);
        assert_eq!(of("/item/17?x=1", 80), of("/item/4711", 80));
        assert_ne!(of("/item/17", 80), of("/item/17", 81));
        assert_ne!(of("/item/17", 80), of("/basket/17", 80));
    }
}
