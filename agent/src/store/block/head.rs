//! The head of a block: the lists that all other parts refer to.

use std::sync::Arc;

use super::{
    super::bytes::{Damaged, Input},
    COLUMNS, Form, ROWS_MAX, form,
};
use crate::span::Resource;

/// A head.
#[derive(Clone, Debug)]
pub struct Head {
    /// Spans of the block.
    pub rows: usize,
    /// Names of attributes.
    pub keys: Vec<String>,
    /// Processes: resource and process id.
    pub processes: Vec<(Arc<Resource>, u32)>,
    /// Forms.
    pub forms: Vec<Form>,
}

impl Head {
    /// Reads the part [`super::HEAD`].
    pub fn read(raw: &[u8]) -> Result<Self, Damaged> {
        let mut input = Input(raw);
        let rows = usize::try_from(input.varint()?).ok().filter(|rows| *rows <= ROWS_MAX).ok_or(Damaged)?;
        let count = input.count()?;
        let keys: Vec<_> = (0..count).map(|_| input.text().map(str::to_owned)).collect::<Result<_, _>>()?;
        let count = input.count()?;
        let resource = |input: &mut Input<'_>| {
            Ok(Arc::new(Resource { service: input.text()?.to_owned(), attributes: input.attributes()? }))
        };
        let resources: Vec<_> = (0..count).map(|_| resource(&mut input)).collect::<Result<_, Damaged>>()?;
        let count = input.count()?;
        let process = |input: &mut Input<'_>| {
            let resource = usize::try_from(input.varint()?).ok().and_then(|at| resources.get(at)).ok_or(Damaged)?;
            Ok((Arc::clone(resource), u32::try_from(input.varint()?).map_err(|_| Damaged)?))
        };
        let processes = (0..count).map(|_| process(&mut input)).collect::<Result<_, Damaged>>()?;
        let count = input.count()?;
        let forms = (0..count).map(|_| form::get(&mut input, keys.len())).collect::<Result<_, _>>()?;
        Ok(Self { rows, keys, processes, forms })
    }

    /// The place of an attribute's name.
    pub fn key(&self, name: &str) -> Option<u16> {
        self.keys.iter().position(|key| key == name).map(|at| at as u16)
    }

    /// The part of an attribute.
    pub const fn part(key: u16) -> u16 {
        COLUMNS + key
    }
}
