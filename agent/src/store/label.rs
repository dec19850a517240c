//! What a request is, in a few words: its span's name and, where that has no route, its path with `*` in the place of what is no
//! word. So requests for different items are one kind of request. Labels are stored with a block's cells.

use std::borrow::Cow;

use crate::{route::Variable, span::Value};

/// Segments of a path that are told; what is below them is not.
const SEGMENTS_MAX: usize = 6;

/// The label of spans with this name whose path has this [`template`].
pub fn of<'a>(name: &'a str, template: Option<&str>) -> Cow<'a, str> {
    match template.filter(|template| !template.is_empty() && !name.contains(' ')) {
        Some(template) => format!("{name} {template}").into(),
        None => starred(name),
    }
}

/// A value as text.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => text.as_ref().into(),
        Value::Int(number) => number.to_string().into(),
        Value::Float(number) => number.to_string().into(),
        Value::Bool(truth) => truth.to_string().into(),
        Value::List(texts) => texts.join(", ").into(),
    }
}

/// A span's name with `*` in the place of its route's variables: so both ends of a call are one kind, and it can be a filter.
fn starred(name: &str) -> Cow<'_, str> {
    if !name.contains("/{") {
        return name.into();
    }
    let shown = |segment| if str::starts_with(segment, '{') { "*" } else { segment };
    name.split('/').map(shown).collect::<Vec<_>>().join("/").into()
}

/// The path of a path or URL, without what differs from item to item.
pub fn template(url: &str) -> String {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let shown = |segment| if Variable::of(str::as_bytes(segment)).is_some() { "*" } else { segment };
    let mut segments: Vec<&str> = path.split('/').take(SEGMENTS_MAX + 2).map(shown).collect();
    if segments.len() > SEGMENTS_MAX + 1 {
        segments.truncate(SEGMENTS_MAX + 1);
        segments.push("...");
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_as_a_path_is() {
        for (name, expected) in [
            ("GET /items/{id}", "GET /items/*"),
            ("GET /{tenant}/{id}/a", "GET /*/*/a"),
            ("p.S/M", "p.S/M"),
            ("GET", "GET"),
        ] {
            assert_eq!(starred(name), expected);
        }
    }

    #[test]
    fn what_differs_from_item_to_item_is_left_out() {
        for (url, expected) in [
            ("/items/17", "/items/*"),
            ("/v1/items", "/v1/items"),
            ("/users/3f2a9c0de1b4/carts", "/users/*/carts"),
            ("/o/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "/o/*"),
            ("/t/aZ9_-bcD3fGhI7kL0", "/t/*"),
            ("/facade/deadbeef", "/facade/deadbeef"),
            ("http://shop:80/items/4?a=b", "/items/*"),
            ("http://shop", "/"),
            ("/a?b=/c/5", "/a"),
            ("/1/2/3/4/5/6/7/8", "/*/*/*/*/*/*/..."),
            ("", ""),
            ("*", "*"),
        ] {
            assert_eq!(template(url), expected, "{url}");
        }
    }
}
