//! Routes that are given instead of learned: `[SERVICE] /api/{version}/users/{id}`.

use std::{str::FromStr, sync::Arc};

use crate::control::glob;

/// Templates at most.
pub const TEMPLATES_MAX: usize = 1024;
/// Bytes of a template at most.
const TEMPLATE_BYTES: usize = 512;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It has no path.
    #[error("not a route: give a path such as /users/{{id}}, after a service and a space if it is one service's")]
    Path,
    /// A placeholder that is not a whole segment, or has no name.
    #[error("{0:?} can't be part of a route: a placeholder is a whole segment with a name, such as {{id}}")]
    Placeholder(String),
    /// Something follows a placeholder for the rest.
    #[error("{0:?} stands for all that is left of a path: nothing can follow it")]
    Rest(String),
    /// It is too long.
    #[error("too long for a route: give at most {TEMPLATE_BYTES} bytes")]
    Long,
}

/// A route that is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The services that it holds for, with wildcards; all where none is named.
    service: Option<String>,
    segments: Vec<Segment>,
    /// The last segment stands for all that is left (`{path*}`).
    has_rest: bool,
    text: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Word(Box<str>),
    Any,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let (service, path) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((service, path)) => (Some(service.trim().to_owned()), path),
            None => (None, text.trim()),
        };
        if path.len() > TEMPLATE_BYTES {
            return Err(TemplateError::Long);
        }
        let Some(inner) = path.strip_prefix('/').filter(|inner| !inner.contains(['?', '#'])) else {
            return Err(TemplateError::Path);
        };
        let (mut segments, mut has_rest) = (Vec::new(), false);
        for part in inner.split('/') {
            if has_rest {
                return Err(TemplateError::Rest(path.to_owned()));
            }
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            match name {
                Some(name) => {
                    let plain = name.strip_suffix('*').unwrap_or(name);
                    if plain.is_empty() || plain.contains(['{', '}', '*']) {
                        return Err(TemplateError::Placeholder(part.to_owned()));
                    }
                    has_rest = plain.len() < name.len();
                    segments.push(Segment::Any);
                }
                None if part.contains(['{', '}', '*']) => return Err(TemplateError::Placeholder(part.to_owned())),
                None => segments.push(Segment::Word(part.into())),
            }
        }
        Ok(Self { service, segments, has_rest, text: path.into() })
    }
}

impl Template {
    /// The route, if the request is one of its.
    pub(super) fn matches(&self, service: &str, path: &str) -> Option<&Arc<str>> {
        let mut parts = path.strip_prefix('/')?.split('/');
        for (at, segment) in self.segments.iter().enumerate() {
            let part = parts.next()?;
            let fits = match segment {
                Segment::Word(word) => **word == *part,
                Segment::Any => !part.is_empty(),
            };
            if !fits {
                return None;
            }
            if self.has_rest && at + 1 == self.segments.len() {
                parts = "".split('/');
                parts.next();
            }
        }
        let fits = parts.next().is_none() && self.service.as_ref().is_none_or(|wanted| glob::matches(wanted, service));
        fits.then_some(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_matches_whole_paths_of_its_service() {
        for (template, service, path, matches) in [
            ("/users/{id}", "shop", "/users/alice", true),
            ("/users/{id}", "shop", "/users/", false),
            ("/users/{id}", "shop", "/users", false),
            ("/users/{id}", "shop", "/users/a/b", false),
            ("shop /users/{id}", "shop", "/users/1", true),
            ("shop* /users/{id}", "shop-eu", "/users/1", true),
            ("cart /users/{id}", "shop", "/users/1", false),
            ("/api/{version}/users/{id}", "x", "/api/v1/users/7", true),
            ("/static/{file*}", "x", "/static/a/b/c.js", true),
            ("/static/{file*}", "x", "/static", false),
            ("/", "x", "/", true),
            ("/a/", "x", "/a", false),
            ("/a", "x", "*", false),
        ] {
            let parsed: Template = template.parse().expect(template);
            assert_eq!(parsed.matches(service, path).is_some(), matches, "{template} {service} {path}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        let error = |text: &str| text.parse::<Template>().expect_err(text);
        assert_eq!(error("users/{id}"), TemplateError::Path);
        assert_eq!(error("/a?b=c"), TemplateError::Path);
        assert_eq!(error(""), TemplateError::Path);
        assert_eq!(error("/a/{id}.json"), TemplateError::Placeholder("{id}.json".to_owned()));
        assert_eq!(error("/a/{}"), TemplateError::Placeholder("{}".to_owned()));
        assert_eq!(error("/a/*"), TemplateError::Placeholder("*".to_owned()));
        assert_eq!(error("/a/{rest*}/b"), TemplateError::Rest("/a/{rest*}/b".to_owned()));
        assert_eq!(error(&format!("/{}", "a".repeat(TEMPLATE_BYTES))), TemplateError::Long);
    }
}
