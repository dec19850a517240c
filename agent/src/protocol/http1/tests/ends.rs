//! How exchanges end when their connection does, and when nobody answers.

use super::*;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_response_until_close_is_complete_when_its_sender_ends_it() {
    let response = "HTTP/1.0 200 OK\r\n\r\nhello";
    Dialogue::client()
        .asks(GET)
        .answers(response)
        .end(Some(Flow::Responses), End::Finished)
        .gives(&["0 GET /a -> 200 28/0 24/5"]);
    Dialogue::server().asks(GET).answers(response).end(None, End::Closed).gives(&["0 GET /a -> 200 28/0 24/5"]);
    Dialogue::client().asks(GET).answers(response).end(None, End::Closed).gives(&["0 GET /a -> 200 28/0 24/5 closed"]);
    for (end, reason) in [(End::Error(104), "reset"), (End::Exited, "exited"), (End::Unobserved, "unobserved")] {
        Dialogue::server()
            .asks(GET)
            .answers(response)
            .end(None, end)
            .gives(&[&format!("0 GET /a -> 200 28/0 24/5 {reason}")]);
    }
}

#[test]
fn a_response_that_is_cut_short_says_why() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    for (end, reason) in [(End::Finished, "closed"), (End::Closed, "closed"), (End::Error(104), "reset")] {
        for flow in [None, Some(Flow::Responses)] {
            Dialogue::client()
                .asks(GET)
                .answers(response)
                .end(flow, end)
                .gives(&[&format!("0 GET /a -> 200 28/0 43/5 {reason}")]);
        }
    }
}

#[test]
fn requests_without_an_answer_end_with_the_connection() {
    Dialogue::server()
        .asks("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nPOST /3 HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        .end(None, End::Error(104))
        .gives(&["0 GET /1 -> ? 19/0 - reset", "1 GET /2 -> ? 19/0 - reset", "2 POST /3 -> ? 41/2 - reset"]);
}

#[test]
fn a_request_after_the_end_of_responses_is_not_waited_for() {
    Dialogue::client()
        .end(Some(Flow::Responses), End::Finished)
        .asks(GET)
        .gives(&["0 GET /a -> ? 28/0 - closed"])
        .end(None, End::Closed)
        .gives(&["0 GET /a -> ? 28/0 - closed"]);
}

#[test]
fn a_half_closed_client_is_still_answered() {
    Dialogue::server()
        .asks(GET)
        .end(Some(Flow::Requests), End::Finished)
        .answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .end(None, End::Closed)
        .gives(&["0 GET /a -> 200 28/0 38/0"]);
}

#[test]
fn an_unfinished_head_is_an_exchange_once_its_method_was_there() {
    Dialogue::server().asks("GE").end(None, End::Finished).gives(&[]);
    Dialogue::server().asks("GET /a HT").end(None, End::Finished).gives(&["0 ? -> ? 9/0 - closed"]);
    Dialogue::server()
        .asks("GET /a HTTP/1.1\r\nHo")
        .answers("HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n")
        .end(None, End::Closed)
        .gives(&["0 GET /a -> 408 19/0 40/0 closed"]);
}

#[test]
fn a_truncated_request_says_so_even_if_it_is_answered() {
    Dialogue::server()
        .asks("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        .end(Some(Flow::Requests), End::Finished)
        .answers("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
        .gives(&["0 POST / -> 400 40/2 39/0 closed"]);
}

#[test]
fn an_early_response_is_the_whole_truth_though_the_request_was_not_finished() {
    Dialogue::server()
        .asks("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
        .answers("HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n")
        .end(None, End::Closed)
        .gives(&["0 POST / -> 413 40/2 39/0"]);
}

#[test]
fn exchanges_that_do_not_move_time_out_once_and_keep_their_place() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let dialogue = Dialogue::client().asks(GET).expire(5).gives(&[]).expire(6);
    assert_eq!(dialogue.connection.open(), 0);
    dialogue
        .expire(100)
        .answers(ok)
        .asks("GET /b HTTP/1.1\r\n\r\n")
        .answers(ok)
        .gives(&["0 GET /a -> ? 28/0 - timed_out", "1 GET /b -> 200 19/0 38/0"]);
}

#[test]
fn a_response_that_keeps_moving_does_not_time_out() {
    Dialogue::client()
        .asks(GET)
        .answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        .answers("data")
        .expire(25)
        .gives(&[]);
}

#[test]
fn what_is_kept_of_an_idle_connection_is_given_up() {
    let dialogue = Dialogue::server().asks("GET /a HTTP/1.1\r\nHost: h\r\nX: ");
    assert!(dialogue.connection.kept_bytes() >= 29);
    let dialogue = dialogue.expire(5).gives(&[]).expire(6).gives(&["0 GET /a -> ? 29/0 - timed_out"]);
    assert_eq!(dialogue.connection.kept_bytes(), 0);
    dialogue
        .answers("HTTP/1.1 408 X\r\nContent-Length: 0\r\n\r\n")
        .asks(GET)
        .end(None, End::Closed)
        .gives(&["0 GET /a -> ? 29/0 - timed_out", "1 GET /a -> ? 28/0 - closed"]);

    let dialogue = Dialogue::client().answers("HTTP/1.1 200 OK\r\n").expire(5);
    assert_eq!(dialogue.connection.kept_bytes(), 17);
    let dialogue = dialogue.expire(6);
    assert_eq!((dialogue.connection.kept_bytes(), dialogue.connection.counts().unpaired), (0, 1));
}

#[test]
fn nothing_is_said_after_the_end() {
    let dialogue = Dialogue::client().end(None, End::Closed).asks(GET).answers("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(dialogue.end(None, End::Closed).out, []);
}
