//! A form: what spans share that differ only in time, process and values.

use super::super::bytes::{Damaged, Input, put_bytes, put_varint};
use crate::{
    protocol::Incomplete,
    span::{Kind, Link, Method, Span, Status},
};

const SERVER: u8 = 1;
const ERROR: u8 = 2;
const CHILD: u8 = 4;
const REMOTE: u8 = 8;

/// A form.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The spans' name.
    pub name: String,
    /// Their kind.
    pub kind: Kind,
    /// Their status.
    pub status: Status,
    /// They have a parent.
    pub is_child: bool,
    /// Their parent is elsewhere.
    pub parent_is_remote: bool,
    /// Why they are not the whole truth.
    pub incomplete: Option<&'static str>,
    /// How their parent was found.
    pub link: Option<Link>,
    /// Their attributes, as places in the head's list of names.
    pub keys: Vec<u16>,
}

impl Form {
    /// How often a span of this form has an attribute: once or not at all, as a rule.
    pub fn count(&self, key: u16) -> usize {
        self.keys.iter().filter(|own| **own == key).count()
    }
}

/// Appends the form of a span.
pub(super) fn put(out: &mut Vec<u8>, span: &Span, keys: &[u16]) {
    put_bytes(out, span.name.as_bytes());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(span.kind == Kind::Server, SERVER)
            | flag(span.status == Status::Error, ERROR)
            | flag(span.parent.is_some(), CHILD)
            | flag(span.parent_is_remote, REMOTE),
    );
    let reason = span.incomplete.and_then(|name| Incomplete::ALL.iter().position(|reason| reason.name() == name));
    out.push(reason.map_or(0, |at| at as u8 + 1));
    match span.link {
        None => out.push(0),
        Some(Link { method, confidence }) => {
            out.push(Method::ALL.iter().position(|known| *known == method).map_or(0, |at| at as u8 + 1));
            out.extend_from_slice(&confidence.to_bits().to_le_bytes());
        }
    }
    put_varint(out, keys.len() as u64);
    for key in keys {
        put_varint(out, u64::from(*key));
    }
}

/// Reads a form; `names` names of attributes are known.
pub(super) fn get(input: &mut Input<'_>, names: usize) -> Result<Form, Damaged> {
    let name = input.text()?.to_owned();
    let flags = input.byte()?;
    let incomplete = match usize::from(input.byte()?) {
        0 => None,
        at => Some(Incomplete::ALL.get(at - 1).ok_or(Damaged)?.name()),
    };
    let link = match usize::from(input.byte()?) {
        0 => None,
        at => {
            let method = *Method::ALL.get(at - 1).ok_or(Damaged)?;
            Some(Link { method, confidence: f64::from_bits(u64::from_le_bytes(input.array()?)) })
        }
    };
    let count = input.count()?;
    let key = |input: &mut Input<'_>| {
        u16::try_from(input.varint()?).ok().filter(|key| usize::from(*key) < names).ok_or(Damaged)
    };
    Ok(Form {
        name,
        kind: if flags & SERVER == 0 { Kind::Client } else { Kind::Server },
        status: if flags & ERROR == 0 { Status::Unset } else { Status::Error },
        is_child: flags & CHILD != 0,
        parent_is_remote: flags & REMOTE != 0,
        incomplete,
        link,
        keys: (0..count).map(|_| key(input)).collect::<Result<_, _>>()?,
    })
}
