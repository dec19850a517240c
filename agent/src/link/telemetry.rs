//! Calls by which a program's own instrumentation exports what it recorded. They are made beside requests, mostly by a thread of
//! their own and for many requests at once: no request is their parent, unless it carries such data itself (a gateway).

use crate::protocol::Request;

/// Where OTLP is posted, by the standard (opentelemetry.io, OTLP/HTTP request); a gateway may have a prefix before it.
const OTLP: [&[u8]; 4] = [b"/v1/traces", b"/v1/metrics", b"/v1/logs", b"/v1development/profiles"];
/// The services of OTLP/gRPC.
const OTLP_GRPC: &[u8] = b"/opentelemetry.proto.collector.";
/// Zipkin's collector and Jaeger's.
const OTHERS: [&[u8]; 3] = [b"/api/v2/spans", b"/api/v1/spans", b"/api/traces"];

/// Whether a request hands over telemetry.
pub(super) fn is_export(request: &Request) -> bool {
    if request.method.as_ref() != b"POST" {
        return false;
    }
    let target = request.target.as_ref();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or(target);
    path.starts_with(OTLP_GRPC) || OTLP.iter().any(|end| path.ends_with(end)) || OTHERS.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Version;
    use bytes::Bytes;

    #[test]
    fn exports_are_known_by_method_and_path() {
        for (method, target, expected) in [
            ("POST", "/v1/traces", true),
            ("POST", "/otlp/v1/metrics?a=b", true),
            ("POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", true),
            ("POST", "/api/v2/spans", true),
            ("GET", "/v1/traces", false),
            ("POST", "/v1/traces/7", false),
            ("POST", "/shop?next=/v1/traces", false),
            ("POST", "/app/api/traces", false),
        ] {
            let (method, target) = (Bytes::from_static(method.as_bytes()), Bytes::from_static(target.as_bytes()));
            let version = Version::Http11;
            let request = Request { method, scheme: None, target, version, headers: Vec::new() };
            assert_eq!(is_export(&request), expected, "{request:?}");
        }
    }
}
