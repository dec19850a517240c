//! How exchanges end: answers, losses, resets, silence.

use crate::{
    dialogue::{OFFSET_NS, OK, Play, STEP_NS, get},
    golden::{attribute, forest, only},
};
use netspan::span::{Kind, Status};
use netspan_ebpf::close;

#[test]
fn a_request_whose_connection_is_closed_without_an_answer_ends_with_the_close() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    play.hear(front, 20, "/1");
    play.now += 5 * STEP_NS;
    let closed = play.now;
    play.close(front);
    let spans = play.spans();
    assert_eq!(forest(&spans), "SERVER app GET /1 (closed)\n");
    assert_eq!(spans[0].end_ns, OFFSET_NS + closed);
    assert_eq!((spans[0].status, attribute(&spans[0], "error.type").as_deref()), (Status::Error, Some("closed")));
}

#[test]
fn a_reset_in_the_middle_of_a_response_is_told() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let back = play.connect(app);
    play.ask(back, 20, "/1");
    play.receive(back, 20, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", 4);
    let reset = play.now;
    play.end(back, close::ERROR, 104);
    let spans = play.spans();
    let client = only(&spans, Kind::Client, "app");
    assert_eq!((client.incomplete, client.status), (Some("reset"), Status::Error));
    assert_eq!(client.end_ns, OFFSET_NS + reset);
    assert_eq!(attribute(client, "error.type").as_deref(), Some("reset"));
}

#[test]
fn a_process_that_ends_leaves_its_request_exited() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    play.hear(front, 20, "/1");
    play.end(front, close::EXITED, 0);
    assert_eq!(forest(&play.spans()), "SERVER app GET /1 (exited)\n");
}

#[test]
fn a_response_without_a_length_is_complete_when_the_server_closes() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    play.hear(front, 20, "/1");
    play.send(front, 20, "HTTP/1.0 200 OK\r\n\r\n", 7);
    let last = play.now - STEP_NS;
    play.close(front);
    let spans = play.spans();
    assert_eq!(forest(&spans), "SERVER app GET /1\n");
    assert_eq!(attribute(&spans[0], "http.response.body.size").as_deref(), Some("7"));
    assert_eq!(spans[0].end_ns, OFFSET_NS + last + crate::dialogue::CALL_NS);
}

#[test]
fn a_lost_response_leaves_its_exchange_and_the_one_that_shows_the_loss_incomplete() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    play.hear(front, 20, "/1");
    play.send_lost(front, 20, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    // That bytes were lost is known with the next answer only: until then nobody knows which one they were of.
    play.hear(front, 20, "/2");
    play.answer(front, 20);
    play.hear(front, 20, "/3");
    play.answer(front, 20);
    let text = forest(&play.spans());
    assert_eq!(text, "SERVER app GET /1 (lost)\nSERVER app GET /2 (lost)\nSERVER app GET /3\n");
}

#[test]
fn a_lost_request_gives_no_span_that_pairs_its_answer_with_another_request() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    play.receive_lost(front, 20, &get("/lost", ""));
    play.send(front, 20, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 0);
    play.hear(front, 20, "/2");
    play.send(front, 20, OK, 10);
    let spans = play.spans();
    for span in &spans {
        if attribute(span, "url.path").as_deref() == Some("/2") {
            assert_ne!(attribute(span, "http.response.status_code").as_deref(), Some("404"));
        }
    }
    assert!(forest(&spans).contains("GET /2"));
}

#[test]
fn an_error_status_is_an_error_of_a_server_from_500_and_of_a_client_from_400() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (out, front) = play.pair(client, server);
    for status in [404, 503] {
        let response = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        play.ask(out, 10, &format!("/{status}"));
        play.hear(front, 20, &format!("/{status}"));
        play.send(front, 20, &response, 0);
        play.receive(out, 10, &response, 0);
    }
    let spans = play.spans();
    let status = |kind, path: &str| {
        let found = spans.iter().find(|span| {
            span.kind == kind && span.attributes.iter().any(|(_, value)| format!("{value:?}").contains(path))
        });
        found.unwrap().status
    };
    assert_eq!(status(Kind::Client, "404"), Status::Error);
    assert_eq!(status(Kind::Server, "404"), Status::Unset);
    assert_eq!(status(Kind::Client, "503"), Status::Error);
    assert_eq!(status(Kind::Server, "503"), Status::Error);
}

#[test]
fn a_connection_of_another_protocol_gives_no_span() {
    let mut play = Play::new();
    let app = play.process(20, "redis");
    let front = play.accept(app);
    play.receive(front, 20, "*1\r\n$4\r\nPING\r\n", 0);
    play.send(front, 20, "+PONG\r\n", 0);
    play.receive(front, 20, "GET / HTTP/1.1\r\n\r\n", 0);
    play.close(front);
    assert_eq!(play.spans().len(), 0);
}

#[test]
fn a_silent_exchange_times_out() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    play.hear(front, 20, "/1");
    let mut pipeline = play.pipeline(0.95);
    play.records().iter().for_each(|record| pipeline.record(record).unwrap());
    pipeline.advance(play.now + netspan::conn::EXPIRE_NS - STEP_NS);
    assert!(pipeline.take().is_empty());
    let over = play.now + netspan::conn::EXPIRE_NS + 10_000_000_000;
    pipeline.advance(over);
    pipeline.advance(over + netspan::link::HOLD_NS);
    assert_eq!(forest(&pipeline.take()), "SERVER app GET /1 (timed_out)\n");
}
