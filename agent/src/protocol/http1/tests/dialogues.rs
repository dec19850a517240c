//! Connections on which nothing is lost: what RFC 9112 allows, and what end-points do besides.

use super::*;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"; // 28 bytes
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"; // 40 bytes
const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"; // 38 bytes

#[test]
fn a_request_and_its_response_are_an_exchange() {
    for dialogue in [Dialogue::client(), Dialogue::server()] {
        let dialogue = dialogue.asks(GET).answers(OK).gives(&["0 GET /a -> 200 28/0 40/2"]);
        let [Notice::Started { ordinal: 0, first, .. }, Notice::Finished(exchange)] = &dialogue.out[..] else {
            panic!("{:?}", dialogue.out)
        };
        assert_eq!(first.start_ns, 0);
        assert_eq!(exchange.request.as_ref().unwrap().headers, [("host".into(), "h".into())]);
        assert_eq!(exchange.response.as_ref().unwrap().headers, [("content-length".into(), "2".into())]);
        assert_eq!((exchange.offset, dialogue.connection.open()), (Some(0), 0));
    }
}

#[test]
fn stamps_are_those_of_the_calls_that_moved_first_and_last_bytes() {
    let dialogue = Dialogue::server()
        .asks("P")
        .asks("OST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
        .asks("abc")
        .answers("HTTP/1.1 200 OK\r\n")
        .answers("Content-Length: 2\r\n\r\n")
        .chunk(Flow::Responses, Chunk::Skipped(1))
        .chunk(Flow::Responses, Chunk::Skipped(1))
        .gives(&["0 POST / -> 200 41/3 40/2"]);
    let Some(Notice::Finished(exchange)) = dialogue.out.last() else { panic!() };
    let (sent, answered) = (exchange.sent.unwrap(), exchange.answered.unwrap());
    assert_eq!((sent.first.start_ns, sent.last.start_ns), (0, 20));
    assert_eq!((answered.first.start_ns, answered.last.start_ns), (30, 60));
}

#[test]
fn keep_alive_counts_ordinals_and_offsets() {
    let dialogue = Dialogue::client().asks(GET).answers(OK).asks("\r\n").asks(GET).answers(OK).asks(GET).answers(OK);
    let dialogue =
        dialogue.gives(&["0 GET /a -> 200 28/0 40/2", "1 GET /a -> 200 28/0 40/2", "2 GET /a -> 200 28/0 40/2"]);
    let offsets: Vec<_> = dialogue
        .out
        .iter()
        .filter_map(|notice| if let Notice::Finished(exchange) = notice { exchange.offset } else { None })
        .collect();
    assert_eq!(offsets, [0, 30, 58]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    Dialogue::server()
        .asks("GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n")
        .answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 404 N\r\n")
        .answers("Content-Length: 0\r\n\r\n")
        .gives(&["0 GET /1 -> 200 19/0 40/2", "1 HEAD /2 -> 200 20/0 38/0", "2 GET /3 -> 404 19/0 37/0"]);
}

#[test]
fn a_response_that_is_seen_before_its_request_waits_for_it() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    Dialogue::client()
        .at(20, 30, Flow::Responses, head)
        .gives(&[])
        .at(10, 40, Flow::Requests, "HEAD /a HTTP/1.1\r\n\r\n")
        .gives(&["0 HEAD /a -> 200 20/0 38/0"])
        .at(60, 70, Flow::Responses, OK)
        .at(50, 80, Flow::Requests, GET)
        .gives(&["0 HEAD /a -> 200 20/0 38/0", "1 GET /a -> 200 28/0 40/2"]);
}

#[test]
fn an_end_that_is_seen_before_the_request_waits_for_it_too() {
    Dialogue::client()
        .at(20, 30, Flow::Responses, "HTTP/1.0 200 OK\r\n\r\nhello")
        .end(Some(Flow::Responses), End::Finished)
        .at(10, 40, Flow::Requests, GET)
        .gives(&["0 GET /a -> 200 28/0 24/5"]);
}

#[test]
fn a_response_that_precedes_its_request_is_not_its_response() {
    let dialogue = Dialogue::client()
        .answers("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        .asks(GET)
        .gives(&[])
        .answers(OK)
        .gives(&["0 GET /a -> 200 28/0 40/2"]);
    assert_eq!(dialogue.connection.counts().unpaired, 1);
}

#[test]
fn bodies_end_where_their_framing_says() {
    let table = [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 18/0 43/5"),
        ("GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "200 18/0 40/5"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello", "200 18/0 65/5"),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200 18/0 62/5"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip,\r\n chunked\r\nContent-Length: 1\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nA: b\r\n\r\n",
            "200 18/0 101/5",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 18/0 46/0"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 18/0 48/0"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 19/0 47/0"),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", "200 19/0 19/0"),
        ("CONNECT", "HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nno", "407 22/0 42/2"),
        ("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 18/0 35/0"),
        ("GET", "\r\nHTTP/1.0 200 \r\nCONTENT-LENGTH :  0  \r\n\r\n", "200 18/0 40/0"),
    ];
    for (method, response, expected) in table {
        let ask = format!("{method} / HTTP/1.1\r\n\r\n");
        Dialogue::client()
            .asks(&ask)
            .answers(response)
            .gives(&[&format!("0 {method} / -> {expected}")])
            .asks(&ask)
            .answers("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            .gives(&[&format!("0 {method} / -> {expected}"), &format!("1 {method} / -> 500 {}/0 37/0", ask.len())]);
    }
}

#[test]
fn request_bodies_end_where_their_framing_says() {
    let table = [
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "POST / -> 200 41/3"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", "POST / -> 200 66/3"),
        ("DELETE / HTTP/1.0\r\n\r\n", "DELETE / -> 200 21/0"),
        ("frob / HTTP/1.1\r\n\r\n", "frob / -> 200 19/0"),
        ("PROPFIND http://u:p@h/a?b=c HTTP/1.1\r\n\r\n", "PROPFIND http://h/a?b=REDACTED -> 200 40/0"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * -> 200 22/0"),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / -> 200 18/0"),
        ("GET / HTTP/1.1\nHost: h\n\n", "GET / -> 200 24/0"),
    ];
    for (request, expected) in table {
        Dialogue::server()
            .asks(request)
            .answers(EMPTY)
            .asks(GET)
            .answers(EMPTY)
            .gives(&[&format!("0 {expected} 38/0"), "1 GET /a -> 200 28/0 38/0"]);
    }
}

#[test]
fn interim_responses_are_passed_over_and_the_last_is_told() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    Dialogue::client()
        .asks(GET)
        .answers(hints)
        .answers(&format!("{hints}HTTP/1.1 102 Processing\r\n\r\n{OK}"))
        .gives(&["0 GET /a -> 200 28/0 40/2 after 102"]);
}

const EXPECT: &str = "POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn a_client_may_wait_for_100_continue_or_not() {
    let expected = ["0 POST / -> 200 63/3 38/0 after 100"];
    Dialogue::client()
        .asks(EXPECT)
        .answers("HTTP/1.1 100 Continue\r\n\r\n")
        .asks("abc")
        .answers(EMPTY)
        .gives(&expected);
    Dialogue::server()
        .asks(&format!("{EXPECT}abc"))
        .answers(&format!("HTTP/1.1 100 Continue\r\n\r\n{EMPTY}"))
        .gives(&expected);
}

#[test]
fn a_body_that_was_refused_need_not_be_sent() {
    Dialogue::client()
        .asks(EXPECT)
        .answers("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .gives(&[])
        .asks(GET)
        .answers(OK)
        .gives(&["0 POST / -> 417 60/0 38/0", "1 GET /a -> 200 28/0 40/2"]);
    Dialogue::client()
        .asks(EXPECT)
        .answers("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .asks("abc")
        .asks(GET)
        .answers(OK)
        .gives(&["0 POST / -> 417 63/3 38/0", "1 GET /a -> 200 28/0 40/2"]);
}

#[test]
fn an_early_response_ends_with_the_request() {
    Dialogue::server()
        .asks("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc")
        .answers(EMPTY)
        .gives(&[])
        .asks("def")
        .gives(&["0 POST / -> 200 44/6 38/0"]);
}

#[test]
fn switching_protocols_makes_the_connection_opaque() {
    let dialogue = Dialogue::client()
        .asks("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02")
        .asks("\x03GET / HTTP/1.1\r\n\r\n")
        .end(None, End::Closed)
        .gives(&["0 GET /ws -> 101 61/0 56/0 switched", "opaque"]);
    assert_eq!(dialogue.connection.open(), 0);
}

#[test]
fn a_tunnel_makes_the_connection_opaque() {
    Dialogue::server()
        .asks("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        .answers("HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x01")
        .gives(&["0 CONNECT h:443 -> 200 39/0 39/0 switched", "opaque"]);
}

#[test]
fn an_http2_preface_makes_the_connection_opaque() {
    Dialogue::server().asks("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").gives(&["opaque"]);
}

#[test]
fn heads_come_over_any_number_of_chunks() {
    let mut dialogue = Dialogue::server();
    for byte in GET.chars() {
        dialogue = dialogue.asks(&byte.to_string());
    }
    for byte in OK.chars() {
        dialogue = dialogue.answers(&byte.to_string());
    }
    dialogue.gives(&["0 GET /a -> 200 28/0 40/2"]);
}

#[test]
fn a_head_of_64_kib_is_parsed_and_a_longer_one_is_told() {
    for (length, incomplete) in [(super::super::HEAD_MAX, ""), (super::super::HEAD_MAX + 1, " head_too_long")] {
        let frame = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        let ask = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length - frame));
        for pieces in [1, 7] {
            let mut dialogue = Dialogue::server();
            for piece in ask.as_bytes().chunks(ask.len().div_ceil(pieces)) {
                dialogue = dialogue.chunk(Flow::Requests, Chunk::Copied(piece));
            }
            dialogue
                .answers(EMPTY)
                .asks(GET)
                .answers(OK)
                .gives(&[&format!("0 GET / -> 200 65536/0 38/0{incomplete}"), "1 GET /a -> 200 28/0 40/2"]);
        }
    }
}

#[test]
fn a_request_that_is_malformed_is_an_exchange_that_says_so() {
    let table = [
        ("GET / a HTTP/1.1\r\n\r\n", "? -> 400 20/0"),
        ("GET /\r\n\r\n", "? -> 400 9/0"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / -> 400 28/0"),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "GET / -> 400 28/0"),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", "GET / -> 400 28/0"),
        ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "POST / -> 400 38/0"),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "POST / -> 400 57/0"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "POST / -> 400 44/0"),
    ];
    for (request, expected) in table {
        Dialogue::server()
            .asks(request)
            .answers("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
            .asks(GET)
            .answers(OK)
            .gives(&[&format!("0 {expected} 39/0 malformed"), "1 GET /a -> 200 28/0 40/2"]);
    }
}
