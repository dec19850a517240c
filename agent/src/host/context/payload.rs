//! The payload of a process context, and what of it is used: names of a short list, texts of a bounded length. Everything else that a
//! process publishes stays where it is.

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value},
    resource::v1::Resource,
};
use prost::Message as _;

use super::{super::environ::fits, ProcessContext};

/// Attributes that are used, besides `service.name`.
const USED: [&str; 4] = ["service.namespace", "service.version", "service.instance.id", "deployment.environment.name"];
/// Bytes of a value at most.
const VALUE_MAX: usize = 256;

/// `opentelemetry.proto.processcontext.v1development.ProcessContext`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Wire {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) attributes: Vec<KeyValue>,
}

/// Decodes it; nothing where it is no such message. Of equal names the last wins, as in the environment.
pub(super) fn decode(payload: &[u8]) -> Option<ProcessContext> {
    let Wire { resource, attributes } = Wire::decode(payload).ok()?;
    let mut context = ProcessContext::default();
    for pair in resource.into_iter().flat_map(|resource| resource.attributes) {
        let Some((name, value)) = text(pair) else { continue };
        if name == "service.name" {
            context.service = Some(value);
        } else if USED.contains(&name.as_str()) {
            context.attributes.retain(|(present, _)| *present != name);
            context.attributes.push((name, value));
        }
    }
    context.threads = attributes
        .into_iter()
        .filter_map(text)
        .find_map(|(name, value)| (name == "threadlocal.schema_version").then_some(value));
    Some(context)
}

/// An attribute that is a text of a sensible length.
fn text(pair: KeyValue) -> Option<(String, String)> {
    match pair.value?.value? {
        any_value::Value::StringValue(value) if fits(&value, VALUE_MAX) => Some((pair.key, value)),
        _ => None,
    }
}
