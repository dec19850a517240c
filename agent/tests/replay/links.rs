//! How spans find their parents, and when they must not.

use crate::{
    dialogue::{BEGIN_NS, CALL_NS, OFFSET_NS, OK, Play, STEP_NS, get},
    golden::{attribute, forest, only},
};
use netspan::span::{Kind, Method, Value};
use netspan_ebpf::{origin, role};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(span: &str) -> String {
    format!("traceparent: 00-{TRACE}-{span}-01\r\ntracestate: vendor=1\r\n")
}

#[test]
fn a_request_through_three_services_is_one_trace() {
    let mut play = Play::new();
    let (nginx, flask, node) = (play.process(10, "nginx"), play.process(20, "flask"), play.process(30, "node"));
    let front = play.accept(nginx);
    let (to_flask, at_flask) = play.pair(nginx, flask);
    let (to_node, at_node) = play.pair(flask, node);
    play.hear(front, 10, "/buy?item=7");
    play.ask(to_flask, 10, "/buy?item=7");
    play.hear(at_flask, 20, "/buy?item=7");
    play.ask(to_node, 20, "/price/7");
    play.hear(at_node, 30, "/price/7");
    play.answer(at_node, 30);
    play.learn(to_node, 20);
    play.answer(at_flask, 20);
    play.learn(to_flask, 10);
    play.answer(front, 10);
    let spans = play.spans();
    assert_eq!(
        forest(&spans),
        "\
SERVER nginx GET /buy
  CLIENT nginx GET http://shop.example:8000/buy?item=REDACTED [thread]
    SERVER flask GET /buy [socket]
      CLIENT flask GET http://shop.example:8000/price/7 [thread]
        SERVER node GET /price/7 [socket]
"
    );
}

#[test]
fn a_span_has_the_times_of_its_calls_and_the_names_of_the_conventions() {
    let mut play = Play::new();
    let nginx = play.process(10, "nginx");
    let front = play.accept(nginx);
    let back = play.connect(nginx);
    let asked = play.now;
    play.hear(front, 10, "/a?b=c");
    play.ask(back, 10, "/x");
    play.learn(back, 10);
    play.answer(front, 10);
    let spans = play.spans();
    let server = only(&spans, Kind::Server, "nginx");
    assert_eq!(server.start_ns, OFFSET_NS + asked + CALL_NS);
    assert_eq!(server.end_ns, OFFSET_NS + asked + 3 * STEP_NS + CALL_NS);
    let client = only(&spans, Kind::Client, "nginx");
    assert_eq!(client.start_ns, OFFSET_NS + asked + STEP_NS);
    assert_eq!(client.end_ns, OFFSET_NS + asked + 2 * STEP_NS + CALL_NS);
    for (span, name, value) in [
        (server, "http.request.method", "GET"),
        (server, "url.path", "/a"),
        (server, "url.query", "b=REDACTED"),
        (server, "url.scheme", "http"),
        (server, "server.address", "shop.example"),
        (server, "server.port", "80"),
        (server, "client.address", "192.0.2.7"),
        (server, "network.peer.address", "192.0.2.7"),
        (server, "network.local.address", "10.0.0.1"),
        (server, "network.transport", "tcp"),
        (server, "network.protocol.version", "1.1"),
        (server, "http.response.status_code", "200"),
        (server, "http.response.body.size", "10"),
        (server, "http.request.body.size", "0"),
        (server, "netspan.time.downstream", "1400"),
        (server, "netspan.time.accept_wait", "200"),
        (client, "url.full", "http://shop.example:8080/x"),
        (client, "server.port", "8080"),
        (client, "netspan.time.connect", "100"),
        (client, "netspan.time.wait", "1000"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    assert!(BEGIN_NS < asked);
}

#[test]
fn a_thread_that_holds_one_request_links_its_calls_to_it_whatever_other_threads_hold() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let ends: Vec<_> = (0..3).map(|_| (play.accept(app), play.connect(app))).collect();
    // Each round three threads hold a request at a time. The first rounds show that the process keeps them apart.
    for round in 0..4 {
        for (tid, (front, _)) in (21..).zip(&ends) {
            play.hear(*front, tid, &format!("/{round}/{tid}"));
        }
        for (tid, (_, back)) in (21..).zip(&ends) {
            play.ask(*back, tid, &format!("/down/{round}/{tid}"));
        }
        for (tid, (front, back)) in (21..).zip(&ends) {
            play.learn(*back, tid);
            play.answer(*front, tid);
        }
    }
    let text = forest(&play.spans());
    for tid in 21..24 {
        let pair =
            format!("SERVER app GET /3/{tid}\n  CLIENT app GET http://shop.example:8080/down/3/{tid} [thread]\n");
        assert!(text.contains(&pair), "{text}");
    }
    let orphans = text.lines().filter(|line| line.starts_with("CLIENT")).count();
    assert_eq!(orphans, netspan::link::STEADY_MIN as usize - 1, "only before the process has shown its habit:\n{text}");
}

#[test]
fn two_requests_in_one_event_loop_leave_their_calls_without_a_parent() {
    let mut play = Play::new();
    let app = play.process(20, "node");
    let (first, second) = (play.accept(app), play.accept(app));
    let back = play.connect(app);
    play.hear(first, 20, "/1");
    play.hear(second, 20, "/2");
    play.ask(back, 20, "/down");
    play.learn(back, 20);
    play.answer(first, 20);
    play.answer(second, 20);
    let text = forest(&play.spans());
    assert_eq!(text, "SERVER node GET /1\nSERVER node GET /2\nCLIENT node GET http://shop.example:8080/down\n");
}

#[test]
fn an_event_loop_that_was_caught_falls_back_to_exclusive() {
    let mut play = Play::new();
    let app = play.process(20, "node");
    let (first, second) = (play.accept(app), play.accept(app));
    let back = play.connect(app);
    play.hear(first, 20, "/1");
    play.hear(second, 20, "/2");
    play.answer(first, 20);
    play.answer(second, 20);
    play.hear(first, 20, "/3");
    play.ask(back, 20, "/down");
    play.learn(back, 20);
    play.answer(first, 20);
    let text = forest(&play.spans());
    assert!(
        text.ends_with("SERVER node GET /3\n  CLIENT node GET http://shop.example:8080/down [exclusive]\n"),
        "{text}"
    );
}

#[test]
fn a_runtime_that_moves_requests_between_threads_is_not_linked_by_thread() {
    let mut play = Play::new();
    let app = play.process(20, "go");
    let (first, second) = (play.accept(app), play.accept(app));
    let back = play.connect(app);
    // Read by one thread and answered by another.
    play.hear(first, 21, "/0");
    play.answer(first, 22);
    // The call is the second request's, sent by the thread that read the first one.
    play.hear(first, 21, "/1");
    play.hear(second, 22, "/2");
    play.ask(back, 21, "/down");
    play.learn(back, 21);
    play.answer(second, 21);
    play.answer(first, 22);
    let text = forest(&play.spans());
    assert!(text.ends_with("\nCLIENT go GET http://shop.example:8080/down\n"), "{text}");
}

#[test]
fn a_runtime_that_wakes_a_waiting_call_on_another_thread_is_not_linked_by_thread() {
    let mut play = Play::new();
    let app = play.process(20, "go");
    let (first, second) = (play.accept(app), play.accept(app));
    let (one, two) = (play.connect(app), play.connect(app));
    for _ in 0..20 {
        play.hear(first, 21, "/1");
        play.hear(second, 22, "/2");
        // Two tasks that happened to be where their requests were read, while they wait they change places.
        play.ask(one, 21, "/down");
        play.ask(two, 22, "/down");
        play.learn(two, 21);
        play.learn(one, 22);
        play.answer(first, 21);
        play.answer(second, 22);
    }
    let spans = play.spans();
    assert!(spans.iter().all(|span| span.parent.is_none()), "{}", forest(&spans));
}

#[test]
fn a_call_that_starts_after_the_answer_has_no_parent() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    play.hear(front, 20, "/1");
    play.answer(front, 20);
    play.ask(back, 20, "/later");
    play.learn(back, 20);
    assert_eq!(forest(&play.spans()), "SERVER app GET /1\nCLIENT app GET http://shop.example:8080/later\n");
}

#[test]
fn a_call_that_outlives_its_request_contradicts_thread_and_is_not_linked() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    play.hear(front, 20, "/1");
    play.ask(back, 20, "/slow");
    play.answer(front, 20);
    play.learn(back, 20);
    assert_eq!(forest(&play.spans()), "SERVER app GET /1\nCLIENT app GET http://shop.example:8080/slow\n");
    let mut pipeline = play.pipeline(0.95);
    play.records().iter().for_each(|record| pipeline.record(record).unwrap());
    pipeline.finish();
    let mut account = netspan::capture::count::Account::default();
    pipeline.account(&mut account);
    assert_eq!(account.get("link", "contradicted"), 1);
}

#[test]
fn a_context_header_is_the_parent_and_the_callers_own_span_lies_between() {
    let mut play = Play::new();
    let (curl, app) = (play.process(10, "curl"), play.process(20, "app"));
    let (out, front) = play.pair(curl, app);
    let request = get("/1", &traceparent(CALLER));
    play.send(out, 10, &request, 0);
    play.receive(front, 20, &request, 0);
    play.answer(front, 20);
    play.learn(out, 10);
    let spans = play.spans();
    let (client, server) = (only(&spans, Kind::Client, "curl"), only(&spans, Kind::Server, "app"));
    assert_eq!(hex(&client.trace_id.0), TRACE);
    assert_eq!(client.parent.map(|id| hex(&id.0)).as_deref(), Some(CALLER));
    assert_eq!((client.link.unwrap().method, client.parent_is_remote), (Method::Header, true));
    assert_eq!((server.link.unwrap().method, server.parent_is_remote), (Method::Socket, false));
    assert_eq!(server.parent, Some(client.span_id));
    assert_eq!(server.trace_id, client.trace_id);
    assert_eq!((client.trace_state.as_str(), server.trace_state.as_str()), ("vendor=1", "vendor=1"));
}

#[test]
fn a_context_that_a_proxy_hands_through_does_not_tear_its_call_from_its_request() {
    let mut play = Play::new();
    let proxy = play.process(10, "nginx");
    let (front, back) = (play.accept(proxy), play.connect(proxy));
    let request = get("/1", &traceparent(CALLER));
    play.receive(front, 10, &request, 0);
    play.send(back, 10, &request, 0);
    play.learn(back, 10);
    play.answer(front, 10);
    let spans = play.spans();
    assert_eq!(
        forest(&spans),
        "SERVER nginx GET /1 [header]\n  CLIENT nginx GET http://shop.example:8080/1 [thread]\n"
    );
    assert!(spans.iter().all(|span| hex(&span.trace_id.0) == TRACE));
}

#[test]
fn a_context_of_the_programs_own_tracer_is_the_parent_and_the_request_is_told_of() {
    let mut play = Play::new();
    let app = play.process(10, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    play.receive(front, 10, &get("/1", &traceparent(CALLER)), 0);
    play.send(back, 10, &get("/2", &traceparent("b7ad6b7169203331")), 0);
    play.learn(back, 10);
    play.answer(front, 10);
    let spans = play.spans();
    let (client, server) = (only(&spans, Kind::Client, "app"), only(&spans, Kind::Server, "app"));
    assert_eq!(client.parent.map(|id| hex(&id.0)).as_deref(), Some("b7ad6b7169203331"));
    assert_eq!(client.trace_id, server.trace_id);
    assert_eq!(client.links[0].span_id, server.span_id);
}

#[test]
fn below_the_asked_confidence_a_parent_becomes_a_span_link() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    play.hear(front, 20, "/1");
    play.ask(back, 21, "/down");
    play.learn(back, 21);
    play.answer(front, 20);
    let text = forest(&play.spans());
    assert_eq!(text, "SERVER app GET /1\n  CLIENT app GET http://shop.example:8080/down [exclusive]\n");
    let spans = play.run(0.99);
    let (client, server) = (only(&spans, Kind::Client, "app"), only(&spans, Kind::Server, "app"));
    assert_eq!((client.parent, client.link), (None, None));
    assert_ne!(client.trace_id, server.trace_id);
    let link = &client.links[0];
    assert_eq!((link.trace_id, link.span_id), (server.trace_id, server.span_id));
    assert_eq!(link.attributes[0], ("netspan.link.method".into(), Value::Text("exclusive".into())));
    assert_eq!(link.attributes[1], ("netspan.link.confidence".into(), Value::Float(0.96)));
}

#[test]
fn pipelined_requests_are_matched_by_their_place_on_the_connection() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (out, front) = play.pair(client, server);
    let three = format!("{}{}{}", get("/same", ""), get("/same", ""), get("/other", ""));
    play.send(out, 10, &three, 0);
    play.receive(front, 20, &three, 0);
    for _ in 0..3 {
        play.answer(front, 20);
    }
    for _ in 0..3 {
        play.learn(out, 10);
    }
    let text = forest(&play.spans());
    let pair =
        |path| format!("CLIENT client GET http://shop.example:8000{path}\n  SERVER server GET {path} [socket]\n");
    assert_eq!(text.matches(&pair("/same")).count(), 2, "{text}");
    assert_eq!(text.matches(&pair("/other")).count(), 1, "{text}");
}

#[test]
fn a_connection_older_than_the_agent_gets_its_role_from_its_bytes_and_its_link_from_time_and_request() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (out, front) = play.found_pair(client, server);
    for path in ["/1", "/2"] {
        play.ask(out, 10, path);
        play.hear(front, 20, path);
        play.answer(front, 20);
        play.learn(out, 10);
    }
    let text = forest(&play.spans());
    for path in ["/1", "/2"] {
        let pair = format!("CLIENT client GET http://shop.example:8000{path}\n  SERVER server GET {path} [socket]\n");
        assert!(text.contains(&pair), "{text}");
    }
}

#[test]
fn a_server_waits_for_its_clients_addresses() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (from, to) = (([127, 0, 0, 1], 50_000), ([127, 0, 0, 1], 8000));
    let out = play.open(client, role::CLIENT, origin::CONNECT, None);
    let front = play.open(server, role::SERVER, origin::ACCEPT, Some((to, from)));
    play.ask(out, 10, "/1");
    play.hear(front, 20, "/1");
    play.answer(front, 20);
    play.addresses(out, from, to);
    play.learn(out, 10);
    let text = forest(&play.spans());
    assert_eq!(text, "CLIENT client GET http://shop.example:8000/1\n  SERVER server GET /1 [socket]\n");
}

#[test]
fn a_port_that_is_used_again_belongs_to_the_connection_that_lives() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (from, to) = (([127, 0, 0, 1], 50_000), ([127, 0, 0, 1], 8000));
    for path in ["/1", "/2"] {
        let out = play.open(client, role::CLIENT, origin::CONNECT, Some((from, to)));
        let front = play.open(server, role::SERVER, origin::ACCEPT, Some((to, from)));
        play.ask(out, 10, path);
        play.hear(front, 20, path);
        play.answer(front, 20);
        play.learn(out, 10);
        play.close(out);
        play.close(front);
    }
    let text = forest(&play.spans());
    for path in ["/1", "/2"] {
        let pair = format!("CLIENT client GET http://shop.example:8000{path}\n  SERVER server GET {path} [socket]\n");
        assert!(text.contains(&pair), "{text}");
    }
}

#[test]
fn a_request_that_never_ends_does_not_hold_its_calls_for_ever() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    play.hear(front, 20, "/stream");
    play.ask(back, 20, "/down");
    play.learn(back, 20);
    let mut pipeline = play.pipeline(0.95);
    play.records().iter().for_each(|record| pipeline.record(record).unwrap());
    pipeline.advance(play.now + netspan::link::HOLD_NS - STEP_NS);
    assert_eq!(pipeline.take().len(), 0);
    pipeline.advance(play.now + netspan::link::HOLD_NS + STEP_NS);
    let mut spans = pipeline.take();
    assert_eq!(spans.len(), 1);
    assert_eq!(attribute(&spans[0], "netspan.link.given_up"), None, "its own decision was made in time");
    pipeline.finish();
    spans.extend(pipeline.take());
    assert_eq!(
        forest(&spans),
        "SERVER app GET /stream (unobserved)\n  CLIENT app GET http://shop.example:8080/down [thread]\n"
    );
}

#[test]
fn ids_repeat_in_a_replay_and_are_never_shared() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let front = play.accept(app);
    for n in 0..50 {
        play.hear(front, 20, &format!("/{n}"));
        play.send(front, 20, OK, 10);
    }
    let (first, second) = (play.spans(), play.spans());
    assert_eq!(first, second);
    let traces: std::collections::HashSet<_> = first.iter().map(|span| span.trace_id).collect();
    assert_eq!(traces.len(), 50);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn a_destination_that_is_also_called_without_a_request_is_not_explained_by_the_only_open_one() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    // A health check, then the same call while a request is open.
    play.ask(back, 21, "/health");
    play.learn(back, 21);
    play.hear(front, 20, "/1");
    play.ask(back, 21, "/health");
    play.learn(back, 21);
    play.answer(front, 20);
    let spans = play.spans();
    assert!(spans.iter().all(|span| span.parent.is_none()), "{}", forest(&spans));
    assert_eq!(spans.iter().map(|span| span.links.len()).sum::<usize>(), 1, "the candidate is told of");
}

#[test]
fn a_server_that_goes_on_long_after_its_caller_gave_up_is_still_the_callers_child() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (out, front) = play.pair(client, server);
    play.ask(out, 10, "/slow");
    play.hear(front, 20, "/slow");
    play.close(out);
    play.now += netspan::link::HOLD_NS * 4;
    play.answer(front, 20);
    let text = forest(&play.spans());
    assert_eq!(text, "CLIENT client GET http://shop.example:8000/slow (closed)\n  SERVER server GET /slow [socket]\n");
}

#[test]
fn a_call_of_a_request_that_takes_long_is_let_go_in_the_trace_of_its_distant_caller() {
    let mut play = Play::new();
    let (client, server) = (play.process(10, "client"), play.process(20, "server"));
    let (out, front) = play.pair(client, server);
    let back = play.connect(server);
    play.ask(out, 10, "/slow");
    play.hear(front, 20, "/slow");
    play.ask(back, 20, "/quick");
    play.learn(back, 20);
    play.now += netspan::link::HOLD_NS * 2;
    play.answer(front, 20);
    play.learn(out, 10);
    let text = forest(&play.run(0.95));
    assert_eq!(
        text,
        "\
CLIENT client GET http://shop.example:8000/slow
  SERVER server GET /slow [socket]
    CLIENT server GET http://shop.example:8080/quick [thread]
"
    );
}

#[test]
fn more_calls_than_may_wait_are_let_go_early_and_stay_in_their_trace() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    play.hear(front, 20, "/all");
    for _ in 0..netspan::link::HELD_MAX + 100 {
        play.ask(back, 20, "/one");
        play.learn(back, 20);
    }
    play.answer(front, 20);
    let mut pipeline = play.pipeline(0.95);
    for record in play.records() {
        let time_ns = netspan::capture::event::Event::decode(record).unwrap().head().time_ns;
        pipeline.advance(time_ns);
        pipeline.record(record).unwrap();
    }
    pipeline.finish();
    let mut account = netspan::capture::count::Account::default();
    pipeline.account(&mut account);
    let spans = pipeline.take();
    assert_eq!(spans.len(), netspan::link::HELD_MAX + 101);
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    assert!(spans.iter().filter(|span| span.parent.is_none()).count() == 1);
    assert!(account.get("link", "crowded") > 0);
}
