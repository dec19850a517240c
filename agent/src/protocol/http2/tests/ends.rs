//! How streams and connections end before their time.

use super::frames::*;
use super::*;

#[test]
fn a_reset_stream_says_by_which_code() {
    let table: [(Flow, u32); 4] =
        [(Flow::Requests, 8), (Flow::Responses, 7), (Flow::Requests, 0), (Flow::Requests, 0xffff_ffff)];
    for (flow, code) in table {
        let dialogue = Dialogue::server().asks(&request(1, 0, "POST", "/")).answers(&response(1, 0, "200"));
        dialogue
            .chunk(flow, Chunk::Copied(&reset(1, code)))
            .gives(&[&format!("1 POST / -> 200 62/0 32/0 reset {code} reset")]);
    }
}

#[test]
fn a_stream_may_be_reset_before_its_answer_and_frames_after_it_are_passed_over() {
    let dialogue = Dialogue::server()
        .asks(&get(1, "/"))
        .asks(&reset(1, 8))
        .answers(&[response(1, 0, "200"), data(1, END_STREAM, b"late")].concat())
        .gives(&["1 GET / -> ? 61/0 - reset 8 reset"]);
    assert_eq!(dialogue.connection.counts().unpaired, 1);
    dialogue
        .asks(&get(3, "/"))
        .answers(&response(3, END_STREAM, "200"))
        .end(None, End::Closed)
        .gives(&["1 GET / -> ? 61/0 - reset 8 reset", "3 GET / -> 200 61/0 32/0"]);
}

#[test]
fn a_reset_after_the_whole_response_only_ends_the_request() {
    Dialogue::server()
        .asks(&request(1, 0, "POST", "/"))
        .answers(&[response(1, END_STREAM, "413"), reset(1, 0)].concat())
        .asks(&data(1, END_STREAM, b"unread"))
        .gives(&["1 POST / -> 413 62/0 32/0 reset 0"]);
}

#[test]
fn a_server_may_end_a_response_by_a_reset_without_error() {
    let with_length = |length: &str| headers(1, 0, &[(":status", "200"), ("content-length", length)]);
    for (head, end) in [(response(1, 0, "200"), ""), (with_length("2"), ""), (with_length("3"), " reset")] {
        let whole = [head, data(1, 0, b"ab"), reset(1, 0)].concat();
        let dialogue = Dialogue::server().asks(&get(1, "/")).answers(&whole);
        let [told] = &dialogue.exchanges()[..] else { panic!("one exchange") };
        assert!(told.ends_with(&format!(" reset 0{end}")), "{told}");
    }
}

#[test]
fn a_body_that_was_counted_to_its_end_is_whole_though_the_connection_ends() {
    for (length, end) in [("2", "/2"), ("3", "/2 closed")] {
        let head = headers(1, 0, &[(":status", "200"), ("content-length", length)]);
        let dialogue = Dialogue::server().asks(&get(1, "/")).answers(&[head, data(1, 0, b"ab")].concat());
        let dialogue = dialogue.end(None, End::Closed);
        let [told] = &dialogue.exchanges()[..] else { panic!("one exchange") };
        assert!(told.ends_with(end), "{told}");
    }
}

#[test]
fn a_reset_seen_before_its_request_counts() {
    Dialogue::server()
        .answers(&[response(1, 0, "200"), reset(1, 2)].concat())
        .asks(&request(1, 0, "POST", "/"))
        .gives(&["1 POST / -> 200 62/0 32/0 reset 2 reset"]);
    Dialogue::server().answers(&reset(1, 7)).asks(&get(1, "/")).gives(&["1 GET / -> ? 61/0 - reset 7 reset"]);
}

#[test]
fn a_server_that_goes_away_refuses_later_streams() {
    Dialogue::server()
        .asks(&[get(1, "/1"), get(3, "/3")].concat())
        .answers(&go_away(0x7fff_ffff))
        .answers(&go_away(1))
        .gives(&["3 GET /3 -> ? 62/0 - refused"])
        .asks(&get(5, "/5"))
        .answers(&response(1, END_STREAM, "200"))
        .gives(&["3 GET /3 -> ? 62/0 - refused", "5 GET /5 -> ? 62/0 - refused", "1 GET /1 -> 200 62/0 32/0"]);
}

#[test]
fn the_end_of_a_connection_ends_its_streams() {
    for (end, why) in [
        (End::Finished, "closed"),
        (End::Closed, "closed"),
        (End::Error(104), "reset"),
        (End::Exited, "exited"),
        (End::Unobserved, "unobserved"),
    ] {
        let dialogue = Dialogue::server()
            .asks(&[get(1, "/1"), request(3, 0, "POST", "/3")].concat())
            .answers(&response(1, 0, "200"))
            .end(None, end)
            .gives(&[&format!("1 GET /1 -> 200 62/0 32/0 {why}"), &format!("3 POST /3 -> ? 63/0 - {why}")]);
        assert_eq!(dialogue.connection.open(), 0);
        dialogue.asks(&get(5, "/")).end(None, end).expire(u64::MAX);
    }
}

#[test]
fn the_end_of_one_flow_leaves_the_other() {
    Dialogue::server()
        .asks(&[get(1, "/1"), request(3, 0, "POST", "/3")].concat())
        .end(Some(Flow::Requests), End::Finished)
        .answers(&[response(1, END_STREAM, "200"), response(3, END_STREAM, "200")].concat())
        .gives(&["1 GET /1 -> 200 62/0 32/0", "3 POST /3 -> 200 63/0 32/0 closed"]);
    Dialogue::server()
        .asks(&get(1, "/1"))
        .answers(&response(3, END_STREAM, "200"))
        .end(Some(Flow::Responses), End::Finished)
        .asks(&[get(3, "/3"), get(5, "/5")].concat())
        .gives(&["1 GET /1 -> ? 62/0 - closed", "3 GET /3 -> 200 62/0 32/0", "5 GET /5 -> ? 62/0 - closed"]);
}

#[test]
fn a_connection_may_end_within_a_header_block() {
    let bytes = get(1, "/cut");
    Dialogue::server().asks(&bytes[..bytes.len() - 3]).end(None, End::Exited).gives(&["1 GET /cut -> ? 64/0 - exited"]);
}

#[test]
fn silent_streams_time_out_and_what_comes_for_them_later_is_passed_over() {
    let dialogue = Dialogue::server()
        .asks(&[get(1, "/1"), get(3, "/3")].concat())
        .answers(&response(3, 0, "200"))
        .expire(26)
        .gives(&["1 GET /1 -> ? 62/0 - timed_out"])
        .answers(&[response(1, END_STREAM, "200"), data(3, END_STREAM, b"x")].concat())
        .gives(&["1 GET /1 -> ? 62/0 - timed_out", "3 GET /3 -> 200 62/0 42/1"]);
    assert_eq!(dialogue.connection.counts().unpaired, 1);
}

#[test]
fn responses_that_wait_for_their_request_time_out() {
    let dialogue = Dialogue::server().answers(&response(9, 0, "200")).expire(1000).asks(&get(9, "/")).expire(1000);
    assert_eq!(dialogue.connection.counts().unpaired, 1);
    dialogue.gives(&["9 GET / -> ? 61/0 - timed_out"]);
}
