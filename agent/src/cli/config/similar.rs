//! What may have been meant: the nearest of a few known names.

/// Letters that a slip changes at most.
const SLIP_MAX: usize = 2;

/// The known name that `name` is most like, if it is like any: by edit distance, or because it is the end of one.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|candidate| {
        let is_end = candidate.rsplit('.').next() == Some(name);
        (if is_end { 1 } else { distance(name, candidate) }, candidate)
    });
    let (distance, nearest) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= SLIP_MAX).then_some(nearest)
}

/// Insertions, deletions and replacements that make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_an_unrelated_word_is_not() {
        let known = ["filter.port", "filter.pid", "otlp.url"];
        for (name, expected) in [
            ("filter.prot", Some("filter.port")),
            ("filtr.port", Some("filter.port")),
            ("filter.pids", Some("filter.pid")),
            ("port", Some("filter.port")),
            ("url", Some("otlp.url")),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
