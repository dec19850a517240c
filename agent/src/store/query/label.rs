//! What a request is, in a few words: its span's name and, where that has no route, its path with `*` in the place of what is no
//! word. So requests for different items are one kind of request.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::{Place, columns::Chosen, groups::text};
use crate::{
    route::Variable,
    store::{
        block::{Column, Head},
        partition::PartitionError,
    },
};

/// Segments of a path that are told; what is below them is not.
const SEGMENTS_MAX: usize = 6;

/// For each row what `intern` makes of its label. Each pair of a form and a path is judged once.
pub(super) fn labels<T: Copy>(
    chosen: &Chosen,
    place: Place<'_>,
    mut intern: impl FnMut(&str) -> T,
) -> Result<Vec<T>, PartitionError> {
    let Chosen { head, form_of, .. } = chosen;
    let mut paths: Vec<Option<(u16, u16)>> = vec![None; head.rows];
    let mut templates = FxHashMap::<u16, Vec<String>>::default();
    for key in ["url.path", "url.full"].into_iter().filter_map(|name| head.key(name)) {
        let raw = place.need(Head::part(key))?;
        let column = Column::read(&raw)?;
        templates.insert(key, column.values(|value| template(&text(&value)))?);
        let spread = column.spread(key, &head.forms, form_of, |at| (key, at))?;
        for (path, own) in paths.iter_mut().zip(spread) {
            *path = path.or(own);
        }
    }
    let mut known = FxHashMap::<(u16, Option<(u16, u16)>), T>::default();
    let label = |(form, path): (&u16, &Option<(u16, u16)>)| {
        *known.entry((*form, *path)).or_insert_with(|| {
            let name = head.forms[usize::from(*form)].name.as_str();
            let path = path.and_then(|(key, at)| templates.get(&key)?.get(usize::from(at)));
            match path.filter(|path| !path.is_empty() && !name.contains(' ')) {
                Some(path) => intern(&format!("{name} {path}")),
                None => intern(&starred(name)),
            }
        })
    };
    Ok(form_of.iter().zip(&paths).map(label).collect())
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
fn template(url: &str) -> String {
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
