//! The labels ([`crate::store::label`]) of a block's rows.

use rustc_hash::FxHashMap;

use super::{Place, columns::Chosen};
use crate::{
    control::PATHS,
    store::{
        block::{Column, Head},
        label,
        partition::PartitionError,
    },
};

/// For each row what `intern` makes of its label. Each path is taken apart once, and each pair of a form and what it has in common
/// with others is judged once.
pub(super) fn labels<T: Copy>(
    chosen: &Chosen,
    place: Place<'_>,
    mut intern: impl FnMut(&str) -> T,
) -> Result<Vec<T>, PartitionError> {
    let Chosen { head, form_of, .. } = chosen;
    let mut paths: Vec<Option<u32>> = vec![None; head.rows];
    let mut templates = Vec::<String>::new();
    let mut places = FxHashMap::<String, u32>::default();
    for key in PATHS.into_iter().filter_map(|name| head.key(name)) {
        let raw = place.need(Head::part(key))?;
        let column = Column::read(&raw)?;
        let own = column.values(|value| {
            let template = label::template(&label::text(&value));
            *places.entry(template).or_insert_with_key(|template| {
                templates.push(template.clone());
                templates.len() as u32 - 1
            })
        })?;
        let spread = column.spread(key, &head.forms, form_of, |at| own[usize::from(at)])?;
        for (path, own) in paths.iter_mut().zip(spread) {
            *path = path.or(own);
        }
    }
    let mut known = FxHashMap::<(u16, Option<u32>), T>::default();
    let label = |(form, path): (&u16, &Option<u32>)| {
        *known.entry((*form, *path)).or_insert_with(|| {
            let template = path.and_then(|path| templates.get(path as usize)).map(String::as_str);
            intern(&label::of(&head.forms[usize::from(*form)].name, template))
        })
    };
    Ok(form_of.iter().zip(&paths).map(label).collect())
}
