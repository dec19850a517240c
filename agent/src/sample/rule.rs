//! A rule of the configuration: conditions, and what to do with what fulfils them. `service=shop route=/api/* status=2xx 0.1`

use std::str::FromStr;

use super::Threshold;
use crate::{
    control::{SpanFilter, ViewError, glob},
    span::{Span, Value},
};

/// Rules at most, of each kind.
pub const RULES_MAX: usize = 256;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep all.
    Keep,
    /// Keep nothing.
    Drop,
    /// Keep by this chance.
    Chance(Threshold),
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It does not end in an action.
    #[error(
        "it has to end in what to do: `keep`, `drop` or a probability from 0 to 1, such as service=shop status=2xx 0.1"
    )]
    Action,
    /// A word that is no condition.
    #[error("{0:?} is no condition: give WORD=VALUE, such as service=shop, route=/api/*, method=GET or status=5xx")]
    Word(String),
    /// A value that a condition can't have.
    #[error("{0}: {1}")]
    Value(String, ViewError),
}

/// A rule. The conditions are all to be fulfilled; alternatives are several values of one word.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    filter: SpanFilter,
    /// Routes, with wildcards.
    routes: Vec<String>,
    methods: Vec<String>,
    action: Action,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (conditions, action) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((conditions, action)) => (conditions, action),
            None => ("", text.trim()),
        };
        let action = match action {
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            ratio => Action::Chance(Threshold::of_ratio(super::ratio(ratio).ok_or(RuleError::Action)?)),
        };
        let mut rule = Self { filter: SpanFilter::default(), routes: Vec::new(), methods: Vec::new(), action };
        for condition in conditions.split_whitespace() {
            let (word, value) = condition.split_once('=').ok_or_else(|| RuleError::Word(condition.to_owned()))?;
            match word {
                "route" => rule.routes.push(value.to_owned()),
                "method" => rule.methods.push(value.to_owned()),
                word if SpanFilter::knows(word) => {
                    let set = rule.filter.set(word, value);
                    set.map_err(|error| RuleError::Value(condition.to_owned(), error))?;
                }
                _ => return Err(RuleError::Word(condition.to_owned())),
            }
        }
        Ok(rule)
    }
}

impl Rule {
    /// What to do with what fulfils it.
    pub const fn action(&self) -> Action {
        self.action
    }

    /// Whether the span fulfils all conditions.
    pub fn matches(&self, span: &Span) -> bool {
        let any = |wanted: &[String], names: &[&str], fits: fn(&str, &str) -> bool| {
            wanted.is_empty()
                || span.attributes.iter().any(|(name, value)| match value {
                    Value::Text(text) => {
                        names.contains(&name.as_ref()) && wanted.iter().any(|wanted| fits(wanted, text))
                    }
                    _ => false,
                })
        };
        any(&self.methods, &["http.request.method", "http.request.method_original"], str::eq_ignore_ascii_case)
            && any(&self.routes, &["http.route", "rpc.method"], glob::matches)
            && self.filter.shows(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::sample;

    #[test]
    fn a_rule_matches_what_fulfils_all_of_its_conditions() {
        let mut span = sample::server();
        span.attributes.push(("http.route".into(), Value::Text("/api/{id}".into())));
        for (rule, matches) in [
            ("keep", true),
            ("service=shop drop", true),
            ("service=shop service=cart 0.5", true),
            ("service=cart 0.5", false),
            ("route=/api/* keep", true),
            ("route=/api/{id} method=get keep", true),
            ("route=/api/{id} method=POST keep", false),
            ("route=/api keep", false),
            ("status=5xx keep", true),
            ("status=2xx status=503 keep", true),
            ("status=2xx keep", false),
            ("kind=server duration=10ms keep", true),
            ("attribute=netspan.truth=true keep", true),
        ] {
            assert_eq!(rule.parse::<Rule>().expect(rule).matches(&span), matches, "{rule}");
        }
        span.attributes.clear();
        assert!(!"route=* keep".parse::<Rule>().expect("a rule").matches(&span));
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (rule, error) in [
            ("", RuleError::Action),
            ("service=shop", RuleError::Action),
            ("service=shop 1.5", RuleError::Action),
            ("service=shop NaN", RuleError::Action),
            ("service keep", RuleError::Word("service".to_owned())),
            ("servce=shop keep", RuleError::Word("servce=shop".to_owned())),
            ("status=x keep", RuleError::Value("status=x".to_owned(), ViewError::Status)),
        ] {
            assert_eq!(rule.parse::<Rule>(), Err(error), "{rule}");
        }
    }
}
