//! Recording a play and replaying it.

use crate::{
    dialogue::{Play, get},
    golden::forest,
};
use netspan::{
    capture::{
        count::Account,
        event::Event,
        recording::{Header, ReadError, Reader, Scrub, Writer},
    },
    pipeline::replay,
    span::Span,
};
use std::{io::Cursor, sync::Arc};

/// The play as a compressed recording.
pub fn recorded(play: &Play) -> Vec<u8> {
    recorded_with(play, [1, 2])
}

/// The same with another seed of the ids.
pub fn recorded_with(play: &Play, seed: [u64; 2]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &Header::new(seed, 0, 0), true).unwrap();
    let mut scrub = Scrub::new(100, Arc::default());
    for record in play.records() {
        writer.advance(Event::decode(record).unwrap().head().time_ns).unwrap();
        let mut clean = Vec::new();
        scrub.record(record, &mut clean);
        writer.event(&clean).unwrap();
    }
    writer.finish(&Account::default()).unwrap();
    file
}

/// The spans of a recording.
pub fn replayed(play: &Play, file: &[u8]) -> (Vec<Arc<Span>>, Result<Account, ReadError>) {
    let mut spans = Vec::new();
    let mut reader = Reader::new(Cursor::new(file.to_vec())).unwrap();
    let end = replay(&mut reader, &mut play.pipeline(0.95), |span| spans.push(span));
    (spans, end)
}

fn play() -> Play {
    let mut play = Play::new();
    let (nginx, app) = (play.process(10, "nginx"), play.process(20, "app"));
    let front = play.accept(nginx);
    let (back, at_app) = play.pair(nginx, app);
    for n in 0..5 {
        let request = get(&format!("/{n}?token=secret"), "Cookie: secret\r\nAuthorization: Basic secret\r\n");
        play.receive(front, 10, &request, 0);
        play.send(back, 10, &request, 0);
        play.receive(at_app, 20, &request, 0);
        play.answer(at_app, 20);
        play.learn(back, 10);
        play.answer(front, 10);
    }
    play
}

#[test]
fn a_replay_gives_the_spans_of_the_first_run() {
    let play = play();
    let live = play.run(0.95);
    let (spans, end) = replayed(&play, &recorded(&play));
    assert_eq!(end.unwrap(), Account::default());
    assert_eq!(spans, live);
    assert_eq!(spans.len(), 15);
}

#[test]
fn a_recording_holds_no_secret() {
    let mut file = Vec::new();
    let plain = recorded(&play());
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&plain[..]), &mut file).unwrap();
    assert!(file.windows(6).any(|window| window == b"/3?tok"));
    assert!(!file.windows(6).any(|window| window == b"secret"));
}

#[test]
fn a_truncated_recording_is_replayed_up_to_there() {
    let play = play();
    let file = recorded(&play);
    let (spans, end) = replayed(&play, &file[..file.len() * 3 / 4]);
    assert!(matches!(end, Err(ReadError::Truncated { .. })));
    assert!((1..15).contains(&spans.len()), "{}", forest(&spans));
}
