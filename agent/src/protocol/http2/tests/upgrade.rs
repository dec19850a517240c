//! HTTP/1 that was upgraded (RFC 7540, section 3.2).

use super::frames::*;
use super::*;
use crate::protocol::{Request, Size, Transfer, Version};

fn upgraded() -> Dialogue {
    let request = Request {
        method: "GET".into(),
        scheme: None,
        target: "/".into(),
        version: Version::Http11,
        headers: vec![("host".into(), "h".into())],
    };
    let sent = Transfer { size: Size { wire: 80, body: 0 }, ..Transfer::default() };
    let config = Config::new(Observer::Client);
    let connection = Connection::upgraded(config, request, Some(sent));
    Dialogue { connection, out: Vec::new(), now: 0 }
}

#[test]
fn the_request_before_the_upgrade_is_answered_on_stream_1() {
    let dialogue = upgraded()
        .answers(&[settings(&[]), response(1, 0, "200")].concat())
        .asks(&[preface(), get(3, "/3")].concat())
        .answers(&[response(3, END_STREAM, "200"), data(1, END_STREAM, b"hello")].concat())
        .gives(&["3 GET /3 -> 200 62/0 32/0", "0 GET / -> 200 80/0 46/5"]);
    assert!(matches!(dialogue.out[..], [Notice::Started { ordinal: 3, .. }, _, _]), "stream 1 was told before");
    assert_eq!(dialogue.finished()[1].stream(), Some(0));
}

#[test]
fn an_upgraded_connection_may_end_before_the_answer() {
    assert_eq!(upgraded().connection.open(), 1);
    upgraded().end(None, End::Closed).gives(&["0 GET / -> ? 80/0 - closed"]);
}
