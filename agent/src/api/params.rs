//! The words of a query string as a question to the store. The words of filters are those of every view
//! ([`SpanFilter::set`](crate::control::SpanFilter::set)).

use super::answer::Failure;
use crate::{
    control::{nanoseconds, parse_duration},
    span::TraceId,
    store::{Query, unix_ns},
};

/// Pairs of a query string.
pub type Pairs = Vec<(String, String)>;

/// Rules of one query at most.
const RULES_MAX: usize = 64;

/// What a query string asks for.
#[derive(Debug, Default)]
pub struct Params {
    /// Which spans.
    pub query: Query,
    /// How many at most.
    pub limit: Option<usize>,
    rest: Pairs,
}

impl Params {
    /// Reads a query string; words that are not known are left for [`Self::take`].
    pub fn read(pairs: Pairs) -> Result<Self, Failure> {
        if pairs.len() > RULES_MAX {
            return Err(Failure::bad(format!("at most {RULES_MAX} words are taken")));
        }
        let mut params = Self::default();
        for (word, text) in pairs {
            match word.as_str() {
                "from" => params.query.from_ns = Some(number(&word, &text)?),
                "to" => params.query.to_ns = Some(number(&word, &text)?),
                "last" => {
                    let last = parse_duration(&text).map_err(|error| Failure::bad(format!("last: {error}")))?;
                    params.query.from_ns = Some(unix_ns().saturating_sub(nanoseconds(last)));
                }
                "limit" => params.limit = Some(number(&word, &text)?),
                "group-by" | "metric" | "format" | "columns" => params.rest.push((word, text)),
                _ => {
                    let set = params.query.filter.set(&word, &text);
                    set.map_err(|error| Failure::bad(format!("{word}={text}: {error}")))?;
                }
            }
        }
        Ok(params)
    }

    /// A word that is no filter, if it was given.
    pub fn take(&self, word: &str) -> Option<&str> {
        get(&self.rest, word)
    }
}

/// The value of a word, if it was given and is not empty.
pub fn get<'a>(pairs: &'a Pairs, word: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, text)| name == word && !text.is_empty()).map(|(_, text)| text.as_str())
}

/// A number.
pub fn number<T: std::str::FromStr>(word: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::bad(format!("{word}={text}: not a number in its range")))
}

/// A number, if the word was given.
pub fn number_of<T: std::str::FromStr>(pairs: &Pairs, word: &str) -> Result<Option<T>, Failure> {
    get(pairs, word).map(|text| number(word, text)).transpose()
}

/// A trace id of up to 32 hexadecimal digits: those that are missing in front are zeros.
pub fn trace_id(text: &str) -> Result<TraceId, Failure> {
    let bad = || Failure::bad("not a trace id: give up to 32 hexadecimal digits");
    if text.len() > 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
    Ok(TraceId(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Params, Failure> {
        Params::read(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn words_become_a_question() {
        let params = read(&[
            ("service", "shop"),
            ("service", "cart*"),
            ("status", "5xx"),
            ("duration", "10ms"),
            ("from", "5"),
            ("to", "9"),
            ("limit", "3"),
            ("group-by", "route"),
        ])
        .expect("a question");
        assert_eq!(params.query.filter.services, ["shop", "cart*"]);
        assert_eq!((params.query.from_ns, params.query.to_ns, params.limit), (Some(5), Some(9), Some(3)));
        assert_eq!((params.take("group-by"), params.take("metric")), (Some("route"), None));
        let recent = read(&[("last", "1m")]).expect("a question").query.from_ns.expect("given");
        assert!(unix_ns() - recent >= 60_000_000_000 && unix_ns() - recent < 70_000_000_000);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (word, text, expected) in [
            ("colour", "red", "no such filter"),
            ("status", "bad", "not a status"),
            ("limit", "-1", "not a number"),
            ("last", "1", "not a duration"),
            ("pid", "x", "not a process id"),
            ("port", "99999", "not a port"),
            ("attribute", "=x", "not an attribute"),
        ] {
            let failure = read(&[(word, text)]).expect_err(word);
            assert!(failure.status == 400 && failure.why.contains(expected), "{word}: {}", failure.why);
        }
        assert!(Params::read(vec![(String::from("service"), String::new()); 65]).is_err());
    }

    #[test]
    fn trace_ids_may_lack_leading_zeros() {
        assert_eq!(trace_id("1f").expect("an id"), TraceId(0x1f_u128.to_be_bytes()));
        for text in ["", "x", "+1", &"1".repeat(33), "../etc"] {
            assert!(trace_id(text).is_err(), "{text}");
        }
    }
}
