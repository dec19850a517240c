//! What is said after bytes were lost, or not given where they are needed: never a wrong pair.

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"; // 38 bytes

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n\r\n")
}

const SIDES: [fn() -> Dialogue; 2] = [Dialogue::client, Dialogue::server];

#[test]
fn loss_within_a_counted_body_is_told_and_disturbs_nothing() {
    for side in SIDES {
        side()
            .asks("POST /1 HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
            .chunk(Flow::Requests, Chunk::Lost(9))
            .answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            .chunk(Flow::Responses, Chunk::Cut(9))
            .asks(&get("/2"))
            .answers(OK)
            .gives(&["0 POST /1 -> 200 48/9 47/9 lost", "1 GET /2 -> 200 19/0 38/0"]);
    }
}

#[test]
fn a_lost_response_costs_its_exchange_only() {
    for side in SIDES {
        side()
            .asks(&get("/1"))
            .chunk(Flow::Responses, Chunk::Lost(38))
            .asks(&get("/2"))
            .answers(OK)
            .gives(&["0 GET /1 -> ? 19/0 - lost", "1 GET /2 -> 200 19/0 38/0"]);
    }
}

#[test]
fn a_lost_response_that_is_known_late_costs_no_wrong_pair() {
    // The next request's event may be under way or lost itself: nothing before the loss can be paired.
    for side in SIDES {
        side()
            .asks(&get("/1"))
            .asks(&get("/2"))
            .chunk(Flow::Responses, Chunk::Lost(38))
            .answers(OK)
            .asks(&get("/3"))
            .answers(OK)
            .gives(&["0 GET /1 -> ? 19/0 - lost", "1 GET /2 -> ? 19/0 - lost", "2 GET /3 -> 200 19/0 38/0"]);
    }
}

#[test]
fn a_lost_response_that_had_moved_before_the_next_request_costs_its_exchange_only() {
    let by = |end_ns| Stamp { start_ns: end_ns, end_ns, ..Stamp::default() };
    let mut dialogue = Dialogue::server().asks(&get("/1")).at(20, 30, Flow::Requests, &get("/2"));
    dialogue.connection.data(Flow::Responses, &by(29), Chunk::Lost(38), &mut dialogue.out);
    dialogue.at(40, 50, Flow::Responses, OK).gives(&["0 GET /1 -> ? 19/0 - lost", "1 GET /2 -> 200 19/0 38/0"]);
}

#[test]
fn loss_within_a_chunked_response_ends_its_exchange() {
    for side in SIDES {
        side()
            .asks(&get("/1"))
            .answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n")
            .chunk(Flow::Responses, Chunk::Lost(20))
            .answers("llo\r\n0\r\n\r\n")
            .asks(&get("/2"))
            .answers(OK)
            .gives(&["0 GET /1 -> 200 19/0 57/5 lost", "1 GET /2 -> 200 19/0 38/0"]);
    }
}

#[test]
fn a_lost_request_takes_its_response_with_it() {
    for side in SIDES {
        let dialogue = side()
            .asks(&get("/1"))
            .answers(OK)
            .chunk(Flow::Requests, Chunk::Lost(19))
            .answers(OK)
            .asks(&get("/3"))
            .answers(OK)
            .gives(&["0 GET /1 -> 200 19/0 38/0", "1 GET /3 -> 200 19/0 38/0"]);
        let Some(Notice::Finished(exchange)) = dialogue.out.last() else { panic!() };
        assert_eq!(exchange.offset, Some(38));
    }
}

#[test]
fn a_lost_request_that_is_known_late_takes_its_response_with_it() {
    for side in SIDES {
        side()
            .asks(&get("/1"))
            .answers(OK)
            .answers(OK)
            .chunk(Flow::Requests, Chunk::Lost(19))
            .asks(&get("/3"))
            .answers(OK)
            .gives(&["0 GET /1 -> 200 19/0 38/0", "1 GET /3 -> 200 19/0 38/0"]);
    }
}

#[test]
fn after_loss_of_an_unknown_number_there_is_no_offset() {
    let dialogue = Dialogue::server()
        .chunk(Flow::Requests, Chunk::Lost(0))
        .chunk(Flow::Responses, Chunk::Lost(0))
        .asks(&get("/1"))
        .answers(OK)
        .gives(&["0 GET /1 -> 200 19/0 38/0"]);
    let Some(Notice::Finished(exchange)) = dialogue.out.last() else { panic!() };
    assert_eq!(exchange.offset, None);
}

#[test]
fn a_damaged_request_head_is_told_and_still_answered() {
    for (chunk, reason) in [(Chunk::Lost(7), "lost"), (Chunk::Cut(7), "cut"), (Chunk::Skipped(7), "cut")] {
        for side in SIDES {
            side()
                .asks("GET /1 HTTP/1.1\r\nHost: h\r\nX:")
                .chunk(Flow::Requests, chunk)
                .answers(OK)
                .asks(&get("/2"))
                .answers(OK)
                .gives(&[&format!("0 GET /1 -> 200 28/0 38/0 {reason}"), "1 GET /2 -> 200 19/0 38/0"]);
        }
    }
}

#[test]
fn a_damaged_response_head_ends_its_exchange() {
    for (chunk, reason) in [(Chunk::Lost(7), "lost"), (Chunk::Cut(7), "cut"), (Chunk::Skipped(7), "cut")] {
        for side in SIDES {
            side()
                .asks(&get("/1"))
                .answers("HTTP/1.1 200 OK\r\nX: ")
                .chunk(Flow::Responses, chunk)
                .asks(&get("/2"))
                .answers(OK)
                .gives(&[&format!("0 GET /1 -> ? 19/0 - {reason}"), "1 GET /2 -> 200 19/0 38/0"]);
        }
    }
}

#[test]
fn a_kernel_that_skips_where_a_message_was_expected_costs_no_wrong_pair() {
    for side in SIDES {
        side()
            .chunk(Flow::Requests, Chunk::Skipped(19))
            .answers(OK)
            .asks(&get("/2"))
            .answers(OK)
            .asks(&get("/3"))
            .chunk(Flow::Responses, Chunk::Skipped(38))
            .asks(&get("/4"))
            .answers(OK)
            .gives(&["0 GET /2 -> 200 19/0 38/0", "1 GET /3 -> ? 19/0 - cut", "2 GET /4 -> 200 19/0 38/0"]);
    }
}

#[test]
fn a_connection_joined_late_is_understood_from_its_next_request() {
    for observer in [Observer::Client, Observer::Server] {
        let dialogue = Dialogue::joined_late(observer)
            .asks("rest of a body")
            .answers("HTTP/1.1 200 OK\r\n")
            .answers("Content-Length: 2\r\n\r\nhi")
            .asks("G")
            .asks("ET /1 HTTP/1.1\r\n\r\n")
            .answers("H")
            .answers(&OK[1..])
            .gives(&["0 GET /1 -> 200 19/0 38/0"]);
        assert_eq!(dialogue.connection.counts().unpaired, 2);
    }
}

#[test]
fn what_only_looks_like_a_request_where_one_is_sought_is_passed_over() {
    Dialogue::joined_late(Observer::Server)
        .asks("P")
        .asks(&get("/1"))
        .answers(OK)
        .asks("GET it while it is hot")
        .asks("\r\n\r\n")
        .asks(&get("/2"))
        .answers(OK)
        .gives(&["0 GET /1 -> 200 19/0 38/0", "1 ? -> ? 26/0 - malformed", "2 GET /2 -> 200 19/0 38/0"]);
}

#[test]
fn after_pipelining_no_response_is_paired_after_a_loss() {
    for side in SIDES {
        side()
            .asks(&format!("{}{}{}", get("/1"), get("/2"), get("/3")))
            .answers(OK)
            .chunk(Flow::Responses, Chunk::Lost(38))
            .answers(OK)
            .asks(&get("/4"))
            .answers(OK)
            .gives(&[
                "0 GET /1 -> 200 19/0 38/0",
                "1 GET /2 -> ? 19/0 - lost",
                "2 GET /3 -> ? 19/0 - lost",
                "3 GET /4 -> ? 19/0 - lost",
            ]);
    }
}

#[test]
fn a_response_that_was_under_way_at_the_loss_is_not_taken_for_the_next() {
    // The server's write of the first response returned late: its event comes after the next request's.
    Dialogue::server()
        .asks(&get("/1"))
        .chunk(Flow::Responses, Chunk::Lost(0))
        .at(40, 45, Flow::Requests, &get("/2"))
        .at(30, 50, Flow::Responses, OK)
        .at(60, 70, Flow::Responses, OK)
        .gives(&["0 GET /1 -> ? 19/0 - lost", "1 GET /2 -> 200 19/0 38/0"]);
}

#[test]
fn too_much_that_waits_for_a_request_is_given_up_and_counted() {
    let mut dialogue = Dialogue::client().answers("HTTP/1.1 200 OK\r\n\r\n");
    for _ in 0..super::super::HELD_CHUNKS_MAX {
        dialogue = dialogue.chunk(Flow::Responses, Chunk::Skipped(1));
    }
    assert_eq!(dialogue.connection.counts().held_full, 1);
    dialogue.asks(&get("/1")).answers(OK).gives(&["0 GET /1 -> 200 19/0 38/0"]);
}

#[test]
fn too_many_open_exchanges_are_given_up_and_counted() {
    let max = super::super::OPEN_MAX;
    let mut dialogue = Dialogue::server();
    for _ in 0..=max {
        dialogue = dialogue.asks(&get("/"));
    }
    assert_eq!((dialogue.connection.counts().open_full, dialogue.exchanges().len()), (1, max + 1));
    let dialogue = dialogue.answers(OK);
    assert_eq!(dialogue.connection.open(), 0);
    assert!(dialogue.exchanges().iter().all(|line| line.ends_with("-> ? 18/0 - unobserved")));
}
