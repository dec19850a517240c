//! What a span says of a call of gRPC, by the semantic conventions (schema 1.44), beyond its HTTP.

use super::attributes::List;
use crate::{
    protocol::{Exchange, http2},
    span::{Kind, Text, Value},
};

/// Status codes that are a server's fault: UNKNOWN, `DEADLINE_EXCEEDED`, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
/// `DATA_LOSS`.
const SERVER_ERRORS: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// The span's name, if it is a call of gRPC: its method.
pub(super) fn name(exchange: &Exchange) -> Option<String> {
    exchange.rpc.as_ref()?;
    Some(method(exchange).unwrap_or_else(|| "grpc".to_owned()))
}

/// Whether a status code makes the span's status an error.
pub(super) fn is_error(kind: Kind, code: u32) -> bool {
    match kind {
        Kind::Client => code != 0,
        Kind::Server => SERVER_ERRORS.contains(&code),
    }
}

/// Name of a status code, or its number where it has none.
pub(super) fn code_name(code: u32) -> Text {
    http2::grpc_code_name(code).map_or_else(|| code.to_string().into(), Into::into)
}

/// What is known of the call. Times are nanoseconds.
pub(super) fn attributes(list: &mut List, exchange: &Exchange) {
    let Some(rpc) = &exchange.rpc else { return };
    list.text("rpc.system.name", "grpc");
    if let Some(method) = method(exchange) {
        list.text("rpc.method", method);
    }
    if let Some(code) = http2::grpc_code(exchange) {
        list.text("rpc.response.status_code", code_name(code));
    }
    let mut number = |name, number: Option<u64>| {
        if let Some(number) = number {
            list.int(name, i64::try_from(number).unwrap_or(i64::MAX));
        }
    };
    number("netspan.rpc.sent_messages", rpc.sent_messages);
    number("netspan.rpc.received_messages", rpc.received_messages);
    number("netspan.rpc.deadline", rpc.timeout_ns);
    if rpc.cancelled {
        list.0.push(("netspan.rpc.cancelled".into(), Value::Bool(true)));
    }
    if let Some(message) = &rpc.message {
        list.text("netspan.rpc.message", String::from_utf8_lossy(message).into_owned());
    }
}

/// `package.Service/Method`: the path without its slash.
fn method(exchange: &Exchange) -> Option<String> {
    let target = &exchange.request.as_ref()?.target;
    // gRPC's paths have no query; what a client adds all the same is no part of the method.
    let path = target.split(|byte| *byte == b'?').next()?;
    let method = path.strip_prefix(b"/").filter(|method| !method.is_empty())?;
    Some(String::from_utf8_lossy(method).into_owned())
}
