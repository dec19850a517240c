//! Which services and operations there are: by the lists in the blocks' heads, without a look at most of the columns.

use super::{Place, Query, cells, columns, names::Names};
use crate::{
    control::Condition,
    span::Kind,
    store::{
        block::{self, Column, Form, Head},
        label::text,
        partition::PartitionError,
    },
};

/// Services under way.
#[derive(Default)]
pub(super) struct Services(Names);

impl Services {
    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        for (resource, _) in Head::read(&place.need(block::HEAD)?)?.processes {
            self.0.place(&resource.service);
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Vec<String> {
        sorted(self.0)
    }
}

/// Values of an attribute under way.
pub(super) struct Values<'a> {
    attribute: &'a str,
    names: Names,
}

impl<'a> Values<'a> {
    pub(super) fn new(attribute: &'a str) -> Self {
        Self { attribute, names: Names::default() }
    }

    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        if let Some(key) = Head::read(&place.need(block::HEAD)?)?.key(self.attribute) {
            Column::read(&place.need(Head::part(key))?)?.values(|value| self.names.place(&text(&value)))?;
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Vec<String> {
        sorted(self.names)
    }
}

/// Operations under way: the names of spans, by kind.
pub(super) struct Operations<'a> {
    query: &'a Query,
    conditions: Vec<Condition<'a>>,
    clients: Names,
    servers: Names,
}

impl<'a> Operations<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        let conditions = query.filter.conditions();
        Self { query, conditions, clients: Names::default(), servers: Names::default() }
    }

    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        if let Some(asked) = cells::asked(self.query, &self.conditions, place)? {
            for form in asked.cells.iter().map(|cell| asked.form(cell)) {
                self.name(form);
            }
            return Ok(true);
        }
        let Some(chosen) = columns::choose(self.query, &self.conditions, place)? else { return Ok(true) };
        let mut is_there = vec![false; chosen.head.forms.len()];
        for row in &chosen.rows {
            is_there[usize::from(chosen.form_of[usize::from(*row)])] = true;
        }
        for (form, _) in chosen.head.forms.iter().zip(is_there).filter(|(_, is_there)| *is_there) {
            self.name(form);
        }
        Ok(true)
    }

    fn name(&mut self, form: &Form) {
        let names = if form.kind == Kind::Client { &mut self.clients } else { &mut self.servers };
        names.place(&form.name);
    }

    /// The names of clients' spans, then those of servers'.
    pub(super) fn finish(self) -> Vec<(String, Kind)> {
        let of = |names, kind| sorted(names).into_iter().map(move |name| (name, kind));
        of(self.clients, Kind::Client).chain(of(self.servers, Kind::Server)).collect()
    }
}

fn sorted(names: Names) -> Vec<String> {
    let mut names = names.into_list();
    names.sort();
    names
}
