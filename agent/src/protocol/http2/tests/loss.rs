//! Bytes that were not seen, and connections that were joined late.

use super::frames::*;
use super::*;

/// Streams 1 and 3 asked and 3 answered before, 5 after.
fn around(lost: &[Chunk<'_>]) -> Dialogue {
    Dialogue::server()
        .asks(&[get(1, "/1"), get(3, "/3"), get(5, "/5")].concat())
        .answers(&response(3, END_STREAM, "200"))
        .answers(&[response(1, 0, "200"), frame(0, END_STREAM, 1, &[0; 20])].concat()[..32 + 9 + 5])
        .call(Flow::Responses, lost)
        .answers(&response(5, END_STREAM, "200"))
}

#[test]
fn a_loss_within_a_body_keeps_the_framing() {
    around(&[Chunk::Lost(15)]).gives(&[
        "3 GET /3 -> 200 62/0 32/0",
        "1 GET /1 -> 200 62/0 61/20 lost",
        "5 GET /5 -> 200 62/0 32/0",
    ]);
}

#[test]
fn a_loss_that_goes_beyond_a_body_ends_it_and_marks_what_was_open() {
    let dialogue = around(&[Chunk::Lost(100)]).gives(&[
        "3 GET /3 -> 200 62/0 32/0",
        "1 GET /1 -> 200 62/0 61/20 lost",
        "5 GET /5 -> 200 62/0 32/0 lost",
    ]);
    assert_eq!(dialogue.connection.counts().response_gaps, 1);
}

#[test]
fn after_a_loss_of_unknown_size_frames_are_found_at_the_beginning_of_a_call() {
    let dialogue = around(&[Chunk::Lost(0)]).gives(&["3 GET /3 -> 200 62/0 32/0", "5 GET /5 -> 200 62/0 32/0 lost"]);
    dialogue.end(None, End::Closed).gives(&[
        "3 GET /3 -> 200 62/0 32/0",
        "5 GET /5 -> 200 62/0 32/0 lost",
        "1 GET /1 -> 200 62/0 46/5 lost",
    ]);
}

#[test]
fn frames_are_not_looked_for_within_the_call_that_lost_bytes() {
    let dialogue = Dialogue::server()
        .asks(&[get(1, "/1"), get(3, "/3")].concat())
        .call(Flow::Responses, &[Chunk::Lost(10), Chunk::Copied(&response(1, END_STREAM, "500"))])
        .gives(&[])
        .answers(b"nothing like a frame")
        .answers(&response(3, END_STREAM, "200"))
        .gives(&["3 GET /3 -> 200 62/0 32/0 lost"]);
    assert_eq!(dialogue.connection.open(), 1);
}

#[test]
fn a_stream_whose_end_may_be_lost_does_not_stay_open() {
    let mut dialogue = around(&[Chunk::Lost(0)]);
    dialogue.now += super::super::DOUBT_NS + 100;
    let dialogue = dialogue.asks(&get(7, "/7")).expire(0);
    assert_eq!(dialogue.exchanges()[2], "1 GET /1 -> 200 62/0 46/5 lost");
    assert_eq!(dialogue.connection.open(), 1);
}

#[test]
fn a_stream_that_goes_on_after_a_loss_is_not_in_doubt() {
    let mut dialogue = around(&[Chunk::Lost(0)]).answers(&data(1, 0, b"more"));
    dialogue.now += super::super::DOUBT_NS + 100;
    let dialogue = dialogue.asks(&get(7, "/7")).expire(0).answers(&data(1, END_STREAM, b""));
    assert_eq!(dialogue.exchanges()[2], "1 GET /1 -> 200 62/0 68/9 lost");
}

#[test]
fn the_lost_end_of_a_request_does_not_hold_up_its_answered_exchange() {
    Dialogue::server()
        .asks(&request(1, 0, "POST", "/1"))
        .chunk(Flow::Requests, Chunk::Lost(0))
        .answers(&response(1, END_STREAM, "200"))
        .gives(&["1 POST /1 -> 200 63/0 32/0 lost"]);
}

#[test]
fn a_request_that_was_lost_leaves_its_response_unpaired() {
    let dialogue = Dialogue::server()
        .chunk(Flow::Requests, Chunk::Lost(61))
        .answers(&response(1, END_STREAM, "200"))
        .asks(&get(3, "/3"))
        .answers(&response(3, END_STREAM, "200"))
        .gives(&["3 GET /3 -> 200 62/0 32/0"]);
    let counts = dialogue.connection.counts();
    assert_eq!((counts.request_gaps, counts.unpaired), (1, 1));
}

#[test]
fn part_of_a_header_block_is_used_as_far_as_it_was_seen() {
    let bytes = get(1, "/1");
    let (before, after) = (&bytes[..bytes.len() - 16], &bytes[bytes.len() - 6..]);
    for missing in [Chunk::Lost(10), Chunk::Cut(10), Chunk::Skipped(10)] {
        let why = if missing == Chunk::Lost(10) { "lost" } else { "cut" };
        Dialogue::server()
            .call(Flow::Requests, &[Chunk::Copied(before), missing, Chunk::Copied(after), Chunk::Copied(&get(3, "/3"))])
            .answers(&[response(1, END_STREAM, "200"), response(3, END_STREAM, "200")].concat())
            .gives(&[&format!("1 GET /1 -> 200 62/0 32/0 {why}"), "3 GET /3 -> 200 62/0 32/0"]);
    }
}

#[test]
fn a_lost_header_block_makes_what_refers_to_it_unknown() {
    let first = frame(1, END_HEADERS | END_STREAM, 1, &[indexed(":path", "/a"), block(&[(":method", "GET")])].concat());
    let again = [vec![NEWEST], block(&[(":method", "GET"), (":scheme", "http")])].concat();
    let seen = Dialogue::server().asks(&[first.clone(), frame(1, END_HEADERS | END_STREAM, 3, &again)].concat());
    seen.answers(&response(3, END_STREAM, "200")).gives(&["3 GET /a -> 200 37/0 32/0"]);

    let dialogue = Dialogue::server()
        .chunk(Flow::Requests, Chunk::Lost(first.len() as u64))
        .asks(&frame(1, END_HEADERS | END_STREAM, 3, &again))
        .answers(&response(3, END_STREAM, "200"))
        .gives(&["3 GET  -> 200 37/0 32/0 headers_unknown"]);
    assert_eq!(dialogue.connection.counts().headers_unknown, 1);
}

#[test]
fn an_unknown_status_is_no_status() {
    Dialogue::joined_late()
        .asks(&get(7, "/"))
        .answers(&frame(1, END_HEADERS | END_STREAM, 7, &[NEWEST + 8]))
        .gives(&["7 GET / -> 0 61/0 10/0 headers_unknown"]);
}

#[test]
fn streams_that_begin_after_what_was_missed_are_not_in_doubt() {
    Dialogue::joined_late()
        .answers(b"the rest of a frame")
        .chunk(Flow::Responses, Chunk::Skipped(100))
        .asks(&get(101, "/"))
        .answers(&response(101, END_STREAM, "200"))
        .gives(&["101 GET / -> 200 61/0 32/0"]);
    Dialogue::joined_late()
        .asks(&get(101, "/"))
        .answers(b"the rest of a frame")
        .answers(&response(101, END_STREAM, "200"))
        .gives(&["101 GET / -> 200 61/0 32/0 lost"]);
}

/// Both flows of a conversation, as frames.
fn conversation() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let asked = vec![
        settings(&[(3, 7)]),
        get(1, "/1"),
        request(3, 0, "POST", "/3"),
        data(3, 0, b"abc"),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        data(3, END_STREAM, b"d"),
        get(5, "/5"),
    ];
    let answered = vec![
        settings(&[]),
        response(1, 0, "200"),
        response(3, 0, "201"),
        data(1, END_STREAM, b"xyz"),
        frame(6, 0, 0, &[0; 8]),
        data(3, END_STREAM, b"w"),
        response(5, END_STREAM, "205"),
    ];
    (asked, answered)
}

#[test]
fn a_connection_may_be_joined_at_any_frame() {
    let (asked, answered) = conversation();
    let whole = ["1 GET /1 -> 200 62/0 44/3", "3 POST /3 -> 201 85/4 42/1", "5 GET /5 -> 205 62/0 32/0"];
    // The frame of either flow with which each exchange begins.
    for from in 0..=6 {
        for to in 0..=6 {
            let dialogue = Dialogue::joined_late().asks(&asked[from..].concat()).answers(&answered[to..].concat());
            let got = dialogue.end(None, End::Closed).exchanges();
            for (line, (asked_at, answered_at)) in whole.iter().zip([(1, 1), (2, 2), (6, 6)]) {
                let seen = got.iter().find(|got| got[..3] == line[..3]);
                assert_eq!(seen.is_some(), from <= asked_at, "{line} from {from}, {to}: {got:?}");
                if let Some(seen) = seen {
                    assert_eq!(seen == line, to <= answered_at, "{line} from {from}, {to}: {got:?}");
                }
            }
        }
    }
}

#[test]
fn any_event_may_be_lost() {
    let (asked, answered) = conversation();
    let events = |frames: Vec<Vec<u8>>, flow| frames.into_iter().map(move |bytes| (flow, bytes));
    let mut asked: Vec<_> = events(asked, Flow::Requests).collect();
    asked[0].1 = preface();
    let all: Vec<(Flow, Vec<u8>)> = asked.into_iter().chain(events(answered, Flow::Responses)).collect();
    for lost in 0..all.len() {
        for unknown in [false, true] {
            let mut dialogue = Dialogue::fresh();
            for (at, (flow, bytes)) in all.iter().enumerate() {
                let n = if unknown { 0 } else { bytes.len() as u64 };
                let chunk = if at == lost { Chunk::Lost(n) } else { Chunk::Copied(bytes) };
                dialogue = dialogue.chunk(*flow, chunk);
            }
            dialogue.now += 2 * super::super::DOUBT_NS;
            let dialogue = dialogue.asks(&frame(6, 0, 0, &[0; 8])).expire(0);
            assert_eq!(dialogue.connection.open(), 0, "event {lost}: {:?}", dialogue.exchanges());
            let got = dialogue.exchanges();
            for line in ["1 GET /1 -> 200 62/0 44/3", "3 POST /3 -> 201 85/4 42/1", "5 GET /5 -> 205 62/0 32/0"] {
                let seen = got.iter().find(|got| got[..3] == line[..3]);
                let honest = seen.is_none_or(|seen| seen == line || seen.ends_with(" lost"));
                assert!(honest, "event {lost}: {got:?}");
                assert!(seen.is_some() || lost < 7, "event {lost}: {got:?}");
            }
            assert!(got.len() >= 2, "event {lost}: {got:?}");
        }
    }
}
