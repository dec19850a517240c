//! A span as one line of JSON, and back. The schema is stable: every field is always there, `null` where nothing is
//! known; the order of fields and attributes is fixed. No I/O.
#![forbid(unsafe_code)]

mod read;
mod write;

pub use read::{ReadError, read};
pub(super) use write::kind_name;
pub use write::{write, write_attributes};

#[cfg(test)]
mod tests {
    use super::{ReadError, read, write};
    use crate::span::sample;

    fn line(span: &crate::span::Span) -> String {
        let mut out = Vec::new();
        write(&mut out, span);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn a_span_has_exactly_the_promised_fields_in_their_order() {
        assert_eq!(
            line(&sample::server()),
            concat!(
                r#"{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","#,
                r#""parent_span_id":"b7ad6b7169203331","kind":"SERVER","name":"GET","#,
                r#""start_ns":1735689600123456789,"end_ns":1735689600135856789,"status":"ERROR","service":"shop","#,
                r#""pid":4711,"tid":4712,"incomplete":"reset","link":{"method":"socket","confidence":1.0},"#,
                r#""links":[{"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","#,
                r#""attributes":{"netspan.link.method":"exclusive","netspan.link.confidence":0.83}}],"#,
                r#""attributes":{"http.request.method":"GET","http.response.status_code":503,"url.path":"/a\"b","#,
                r#""netspan.truth":true,"http.request.header.accept":["a","b"]}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_is_not_known_is_null_and_not_left_out() {
        let text = line(&sample::root());
        for field in [r#""parent_span_id":null"#, r#""incomplete":null"#, r#""link":null"#, r#""links":[]"#] {
            assert!(text.contains(field), "{field} in {text}");
        }
        assert!(text.contains(r#""status":"UNSET""#));
    }

    #[test]
    fn a_number_that_json_cannot_hold_becomes_text() {
        let mut span = sample::root();
        span.attributes = vec![("x".into(), crate::span::Value::Float(f64::NAN))];
        assert!(line(&span).contains(r#""attributes":{"x":"NaN"}"#));
    }

    #[test]
    fn a_span_read_back_writes_the_same_line() {
        for span in [sample::server(), sample::root()] {
            let text = line(&span);
            let back = read(text.as_bytes()).expect("own output is readable");
            assert_eq!(line(&back), text);
            assert_eq!(back.attributes, span.attributes);
            assert_eq!(back.links, span.links);
        }
    }

    #[test]
    fn the_buffer_is_appended_to_and_can_be_reused() {
        let mut out = Vec::new();
        write(&mut out, &sample::server());
        write(&mut out, &sample::root());
        assert_eq!(String::from_utf8(out).expect("text").lines().count(), 2);
    }

    #[test]
    fn a_line_that_is_no_span_says_why() {
        let good = line(&sample::server());
        let broken = |from: &str, to: &str| read(good.replacen(from, to, 1).as_bytes()).expect_err(from);
        assert!(matches!(broken(r#""kind":"SERVER","#, ""), ReadError::Json(_)));
        assert!(matches!(broken(r#""pid":4711"#, r#""pid":-1"#), ReadError::Json(_)));
        assert!(matches!(broken("4bf92f", "4bf92"), ReadError::Id { field: "trace_id", .. }));
        assert!(matches!(broken("00f067aa0ba902b7", "0000000000000000"), ReadError::Id { field: "span_id", .. }));
        assert!(matches!(broken("4bf92f", "4bf9é"), ReadError::Id { field: "trace_id", .. }));
        assert!(matches!(broken("SERVER", "SERVANT"), ReadError::Name { field: "kind", .. }));
        assert!(matches!(broken("\"ERROR\"", "\"BAD\""), ReadError::Name { field: "status", .. }));
        assert!(matches!(broken("\"reset\"", "\"bored\""), ReadError::Name { field: "incomplete", .. }));
        assert!(matches!(broken("\"socket\"", "\"guess\""), ReadError::Name { field: "link.method", .. }));
        assert_eq!(
            broken("SERVER", "SERVANT").to_string(),
            "`kind` is \"SERVANT\", which is none of SERVER, CLIENT: was this written by another version of netspan?"
        );
    }
}
