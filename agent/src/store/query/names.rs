//! The names that an answer tells apart, and their places.

use rustc_hash::FxHashMap;

/// Names that are told apart; further ones are [`OTHER`].
pub const NAMES_MAX: usize = 1000;
/// The name of what found no place.
pub const OTHER: &str = "(other)";

/// Names, each once, in the order in which they came.
#[derive(Default)]
pub(super) struct Names {
    list: Vec<String>,
    places: FxHashMap<String, u32>,
}

impl Names {
    /// The place of a name; with too many, that of [`OTHER`].
    pub(super) fn place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let name = if self.list.len() < NAMES_MAX { name } else { OTHER };
        let list = &mut self.list;
        *self.places.entry(name.to_owned()).or_insert_with(|| {
            list.push(name.to_owned());
            list.len() as u32 - 1
        })
    }

    /// The names by their places.
    pub(super) fn list(&self) -> &[String] {
        &self.list
    }

    /// The same, taken.
    pub(super) fn into_list(self) -> Vec<String> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_place_and_those_past_the_bound_share_one() {
        let mut names = Names::default();
        assert_eq!(["a", "b", "a"].map(|name| names.place(name)), [0, 1, 0]);
        let places: Vec<u32> = (2..NAMES_MAX + 5).map(|n| names.place(&n.to_string())).collect();
        assert_eq!(places[NAMES_MAX - 3..], [NAMES_MAX as u32 - 1, 1000, 1000, 1000, 1000, 1000]);
        assert_eq!((names.place("b"), names.list().len()), (1, NAMES_MAX + 1));
        assert_eq!(names.into_list().last().map(String::as_str), Some(OTHER));
    }
}
