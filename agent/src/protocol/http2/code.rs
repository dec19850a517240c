//! Codes and their names: errors of HTTP/2 and status codes of gRPC.

use crate::protocol::Exchange;

/// Names of HTTP/2's error codes in lower case, by their numbers (RFC 9113, section 7).
const ERRORS: [&str; 14] = [
    "no_error",
    "protocol_error",
    "internal_error",
    "flow_control_error",
    "settings_timeout",
    "stream_closed",
    "frame_size_error",
    "refused_stream",
    "cancel",
    "compression_error",
    "connect_error",
    "enhance_your_calm",
    "inadequate_security",
    "http_1_1_required",
];

/// Names of gRPC's status codes, by their numbers.
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const CANCELLED: u32 = 1;
const UNKNOWN: u32 = 2;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
const UNAUTHENTICATED: u32 = 16;

/// Name of the error code by which a stream was reset, in lower case; none if it has none.
pub fn reset_name(code: u32) -> Option<&'static str> {
    ERRORS.get(code as usize).copied()
}

/// Name of a status code of gRPC; none if it has none.
pub fn grpc_code_name(code: u32) -> Option<&'static str> {
    STATUSES.get(code as usize).copied()
}

/// The status code with which a call of gRPC ended, as a client of it sees it: the one that the server sent, else the
/// one that stands for the reset or for the HTTP status ("gRPC over HTTP2", section "Errors", and "HTTP to gRPC Status
/// Code Mapping"). None for other exchanges, and where the end was not seen.
pub fn grpc_code(exchange: &Exchange) -> Option<u32> {
    use crate::protocol::Incomplete::Reset;
    let rpc = exchange.rpc.as_ref()?;
    if rpc.status.is_some() {
        return rpc.status;
    }
    let http = exchange.response.as_ref().map(|response| response.status);
    match (exchange.incomplete, exchange.reset, http) {
        (Some(Reset), Some(code), _) => Some(of_reset(code)),
        (None, _, Some(status)) => Some(of_http(status)),
        _ => None,
    }
}

const fn of_reset(code: u32) -> u32 {
    match code {
        0x0..=0x4 | 0x6 | 0x9 | 0xa => INTERNAL,
        0x7 => UNAVAILABLE,
        0x8 => CANCELLED,
        0xb => RESOURCE_EXHAUSTED,
        0xc => PERMISSION_DENIED,
        _ => UNKNOWN,
    }
}

const fn of_http(status: u16) -> u32 {
    match status {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_numbers_of_their_specifications() {
        let errors = [
            (0x0, "no_error"),
            (0x5, "stream_closed"),
            (0x7, "refused_stream"),
            (0x8, "cancel"),
            (0xd, "http_1_1_required"),
        ];
        for (code, name) in errors {
            assert_eq!(reset_name(code), Some(name));
        }
        assert_eq!(reset_name(0xe), None);
        for (code, name) in [
            (0, "OK"),
            (CANCELLED, "CANCELLED"),
            (UNKNOWN, "UNKNOWN"),
            (4, "DEADLINE_EXCEEDED"),
            (PERMISSION_DENIED, "PERMISSION_DENIED"),
            (RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
            (UNIMPLEMENTED, "UNIMPLEMENTED"),
            (INTERNAL, "INTERNAL"),
            (UNAVAILABLE, "UNAVAILABLE"),
            (15, "DATA_LOSS"),
            (UNAUTHENTICATED, "UNAUTHENTICATED"),
        ] {
            assert_eq!(grpc_code_name(code), Some(name));
        }
        assert_eq!(grpc_code_name(17), None);
    }
}
