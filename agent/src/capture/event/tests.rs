use super::*;

fn samples() -> Vec<Event<'static>> {
    let head = |kind| EventHead { time_ns: 1, conn: 2, seq: 3, tgid: 4, tid: 5, kind, _pad: 0 };
    vec![
        Event::Conn(ConnEvent {
            head: head(kind::CONN),
            cookie: 6,
            local: [7; 16],
            local_port: 80,
            fd: -1,
            role: 2,
            known: 15,
            ..ConnEvent::default()
        }),
        Event::Data(
            DataEvent { head: head(kind::DATA), len: 9, off: 2, copied: 3, flags: 1, ..DataEvent::default() },
            b"GET",
        ),
        Event::Close(CloseEvent { head: head(kind::CLOSE), error: 104, how: 4, ..CloseEvent::default() }),
        Event::Process(ProcessEvent {
            head: head(kind::EXIT),
            cgroup: 8,
            comm: [b'x'; COMM_LEN],
            path: [b'y'; PATH_LEN],
            _pad: [0; 4],
        }),
        Event::Goroutine(GoroutineEvent { head: head(kind::GOROUTINE), goroutine: 6, parent: 7, site: 8, role: 2 }),
        Event::Context(ContextEvent { head: head(kind::CONTEXT), ordinal: 6, trace: [7; 16], span: [8; 8] }),
        Event::ThreadContext(ContextEvent {
            head: head(kind::THREAD_CONTEXT),
            ordinal: 0,
            trace: [9; 16],
            span: [1; 8],
        }),
        Event::Task(TaskEvent {
            head: head(kind::TASK),
            start_ns: 6,
            tasks: [7, 8, 9, 10].map(|address| TaskId { address, made_ns: address + 1 }),
        }),
        Event::Thread(ThreadEvent { head: head(kind::THREAD), made: 6, pad: 0 }),
    ]
}

#[test]
fn every_kind_survives_encoding_and_decoding_with_the_size_of_its_struct() {
    let sizes = [
        size_of::<ConnEvent>(),
        size_of::<DataEvent>() + 3,
        size_of::<CloseEvent>(),
        size_of::<ProcessEvent>(),
        size_of::<GoroutineEvent>(),
        size_of::<ContextEvent>(),
        size_of::<ContextEvent>(),
        size_of::<TaskEvent>(),
        size_of::<ThreadEvent>(),
    ];
    assert_eq!(samples().len(), sizes.len());
    for (event, size) in samples().into_iter().zip(sizes) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        assert_eq!(bytes.len(), size);
        assert_eq!(Event::decode(&bytes), Ok(event));
        bytes.extend([0xff; 64]);
        assert_eq!(Event::decode(&bytes), Ok(event), "bytes after the event are ignored");
    }
}

#[test]
fn every_prefix_of_an_event_is_an_error_and_no_panic() {
    for event in samples() {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        for end in 0..bytes.len() {
            assert!(Event::decode(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn an_unknown_kind_is_named() {
    let mut bytes = Vec::new();
    samples()[2].encode(&mut bytes);
    bytes[28] = 99;
    assert_eq!(Event::decode(&bytes), Err(DecodeError::Kind(99)));
}

#[test]
fn a_payload_outside_of_its_call_is_refused() {
    let head = EventHead { kind: kind::DATA, ..EventHead::default() };
    let event = DataEvent { head, len: 4, off: u32::MAX, copied: 4, ..DataEvent::default() };
    let mut bytes = Vec::new();
    Event::Data(event, b"abcd").encode(&mut bytes);
    assert_eq!(Event::decode(&bytes), Err(DecodeError::Range));
}
