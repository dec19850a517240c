//! What an attempt's answer means, by the OTLP specification: taken, try again, or never again. Pure.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use tonic::Code;

use super::retry;

/// Longest piece of a receiver's own words that is repeated.
const MESSAGE_MAX: usize = 200;

/// HTTP statuses by which a server may say that it knows nothing of such requests.
const MISUNDERSTOOD: [u16; 8] = [400, 404, 405, 406, 415, 426, 501, 505];

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took the batch, but for `rejected` spans (of metrics: points).
    Taken {
        /// What it refused; it is not sent again.
        rejected: u64,
        /// Its words about that, or a warning; empty for none.
        message: String,
    },
    /// It may go well later.
    Retry {
        /// Why it did not now.
        reason: String,
        /// The delay that the receiver asked for.
        after: Option<Duration>,
        /// Perhaps another protocol is spoken there.
        garbled: bool,
    },
    /// It will never go well.
    Refused {
        /// Why.
        reason: String,
        /// Perhaps another protocol is spoken there.
        garbled: bool,
    },
}

impl Outcome {
    /// An attempt that did not get an answer.
    pub fn unanswered(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, garbled: false }
    }

    /// An answer that is none of the protocol's.
    pub fn garbled(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, garbled: true }
    }

    /// What a gRPC response says.
    pub fn of_grpc(result: Result<ExportTraceServiceResponse, &tonic::Status>) -> Self {
        let status = match result {
            Ok(response) => return Self::taken(response.partial_success),
            Err(status) => status,
        };
        let reason = match printable(status.message()) {
            message if message.is_empty() => format!("{:?}", status.code()),
            message => format!("{:?}: {message}", status.code()),
        };
        let after = retry::retry_info(status.details());
        match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Self::Retry { reason, after, garbled: false },
            Code::ResourceExhausted if after.is_some() => Self::Retry { reason, after, garbled: false },
            // What becomes of the answers of servers that do not speak gRPC, or not this service.
            Code::Unimplemented | Code::Unknown | Code::Internal => Self::Refused { reason, garbled: true },
            _ => Self::Refused { reason, garbled: false },
        }
    }

    /// What an HTTP response says.
    pub fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Self {
        if content_type(headers).starts_with("application/grpc") {
            return Self::Refused { reason: "it answers in gRPC".to_owned(), garbled: true };
        }
        if status.is_success() {
            return Self::taken(partial_success(headers, body));
        }
        let reason = match (printable(&String::from_utf8_lossy(body)), headers.get(header::LOCATION)) {
            (_, Some(_)) if status.is_redirection() => {
                format!("HTTP {status}: the endpoint redirects, and redirects are not followed")
            }
            (message, _) if message.is_empty() || !is_text(headers) => format!("HTTP {status}"),
            (message, _) => format!("HTTP {status}: {message}"),
        };
        match status.as_u16() {
            429 | 502 | 503 | 504 => {
                let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                Self::Retry { reason, after: after.and_then(|value| retry::retry_after(value, now)), garbled: false }
            }
            code => Self::Refused { reason, garbled: MISUNDERSTOOD.contains(&code) },
        }
    }

    fn taken(partial: Option<ExportTracePartialSuccess>) -> Self {
        let partial = partial.unwrap_or_default();
        Self::Taken {
            rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
            message: printable(&partial.error_message),
        }
    }
}

/// The partial success in the body of a 2xx response. A body that is none of the protocol's is as good as an empty one:
/// the status has said that the batch was taken.
fn partial_success(headers: &HeaderMap, body: &[u8]) -> Option<ExportTracePartialSuccess> {
    match content_type(headers) {
        "application/json" => {
            let body: serde_json::Value = serde_json::from_slice(body).ok()?;
            let partial = body.get("partialSuccess")?;
            let rejected = partial.get("rejectedSpans").or_else(|| partial.get("rejectedDataPoints"));
            let rejected = rejected.and_then(|number| number.as_i64().or_else(|| number.as_str()?.parse().ok()));
            let message = partial.get("errorMessage").and_then(|text| text.as_str()).unwrap_or_default();
            let rejected_spans = rejected.unwrap_or(0);
            Some(ExportTracePartialSuccess { rejected_spans, error_message: message.to_owned() })
        }
        "application/x-protobuf" | "application/protobuf" => {
            ExportTraceServiceResponse::decode(body).ok()?.partial_success
        }
        _ => None,
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = content_type(headers);
    kind.starts_with("text/plain") || kind == "application/json"
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The beginning of a receiver's words, in one line.
fn printable(message: &str) -> String {
    let line = message.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use retry::{Any, ProtoDuration, RetryInfo, RpcStatus};

    fn http(status: u16, headers: &[(&'static str, &'static str)], body: &[u8]) -> Outcome {
        let headers = headers.iter().map(|&(k, v)| (k.parse().expect("name"), HeaderValue::from_static(v))).collect();
        Outcome::of_http(StatusCode::from_u16(status).expect("a status"), &headers, body, SystemTime::UNIX_EPOCH)
    }

    fn taken(rejected: u64, message: &str) -> Outcome {
        Outcome::Taken { rejected, message: message.to_owned() }
    }

    fn partial(rejected_spans: i64, message: &str) -> ExportTraceServiceResponse {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: message.to_owned() };
        ExportTraceServiceResponse { partial_success: Some(partial) }
    }

    #[test]
    fn only_the_listed_http_statuses_are_tried_again() {
        for status in 300..600 {
            let retried = matches!(http(status, &[], b""), Outcome::Retry { .. });
            assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn retry_after_is_heard() {
        let Outcome::Retry { after, .. } = http(503, &[("retry-after", "3")], b"") else { panic!("not retried") };
        assert_eq!(after, Some(Duration::from_secs(3)));
        let Outcome::Retry { after, .. } = http(429, &[("retry-after", "whenever")], b"") else {
            panic!("not retried")
        };
        assert_eq!(after, None);
    }

    #[test]
    fn only_the_listed_grpc_codes_are_tried_again() {
        for code in (0..=16).map(Code::from_i32).filter(|&code| code != Code::Ok) {
            let retried = matches!(Outcome::of_grpc(Err(&tonic::Status::new(code, ""))), Outcome::Retry { .. });
            let listed = [1, 4, 10, 11, 14, 15].contains(&(code as i32));
            assert_eq!(retried, listed, "{code:?}");
        }
    }

    #[test]
    fn exhausted_resources_are_tried_again_only_with_retry_info() {
        let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds: 2, nanos: 0 }) };
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let details = RpcStatus { details: vec![any] }.encode_to_vec();
        let status = tonic::Status::with_details(Code::ResourceExhausted, "slow down", details.into());
        let expected = Outcome::Retry {
            reason: "ResourceExhausted: slow down".to_owned(),
            after: Some(Duration::from_secs(2)),
            garbled: false,
        };
        assert_eq!(Outcome::of_grpc(Err(&status)), expected);
    }

    #[test]
    fn an_answer_of_another_protocol_is_known_as_such() {
        let garbled = |outcome| matches!(outcome, Outcome::Refused { garbled: true, .. });
        assert!(garbled(http(200, &[("content-type", "application/grpc+proto")], b"")));
        assert!(garbled(http(404, &[], b"")) && garbled(http(415, &[], b"")));
        assert!(!garbled(http(401, &[], b"")) && !garbled(http(413, &[], b"")));
        let grpc = |code| garbled(Outcome::of_grpc(Err(&tonic::Status::new(code, ""))));
        assert!(grpc(Code::Unimplemented) && !grpc(Code::Unauthenticated) && !grpc(Code::InvalidArgument));
    }

    #[test]
    fn partial_success_counts_and_is_not_tried_again() {
        assert_eq!(Outcome::of_grpc(Ok(partial(3, "bad\nids"))), taken(3, "bad ids"));
        assert_eq!(Outcome::of_grpc(Ok(partial(0, "old schema"))), taken(0, "old schema"));
        assert_eq!(Outcome::of_grpc(Ok(partial(-3, ""))), taken(0, ""));
        let body = partial(2, "no").encode_to_vec();
        assert_eq!(http(200, &[("content-type", "application/x-protobuf")], &body), taken(2, "no"));
        for json in [
            r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":2,"errorMessage":"no"}}"#,
        ] {
            assert_eq!(
                http(200, &[("content-type", "application/json; charset=utf-8")], json.as_bytes()),
                taken(2, "no")
            );
        }
    }

    #[test]
    fn an_odd_body_of_a_success_is_a_success() {
        let odd: [(&'static str, &[u8]); 6] = [
            ("application/x-protobuf", b""),
            ("application/x-protobuf", b"\xff\xff\xff"),
            ("application/json", b"{\"partialSuccess\":[]}"),
            ("application/json", b"ok"),
            ("text/html", b"<html>"),
            ("", b"ok"),
        ];
        for (kind, body) in odd {
            for status in [200, 202, 204] {
                assert_eq!(http(status, &[("content-type", kind)], body), taken(0, ""), "{kind}");
            }
        }
    }

    #[test]
    fn a_reason_is_one_line_of_the_receivers_words_if_they_are_text() {
        let reason = |outcome| match outcome {
            Outcome::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(http(401, &[("content-type", "text/plain")], b"who\nare you?\n")),
            "HTTP 401 Unauthorized: who are you?"
        );
        assert_eq!(reason(http(404, &[("content-type", "text/html")], b"<html>")), "HTTP 404 Not Found");
        assert!(reason(http(301, &[("location", "/x")], b"")).contains("redirects are not followed"));
        assert!(reason(http(400, &[("content-type", "text/plain")], &[b'x'; 5000])).len() < 300);
    }
}
