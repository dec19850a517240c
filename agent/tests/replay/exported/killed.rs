//! `netspan replay` killed in an outage, and with a disk that takes nothing.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::receiver::Receiver;
use crate::{
    dialogue::{Play, get},
    recorded::recorded_with,
};

/// Requests of each recording, each of which is three spans.
const REQUESTS: u64 = 4000;
const SPANS: u64 = 3 * REQUESTS;
/// Longest time that the last run may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn play(requests: u64) -> Play {
    let mut play = Play::new();
    let (nginx, app) = (play.process(10, "nginx"), play.process(20, "app"));
    let front = play.accept(nginx);
    let (back, at_app) = play.pair(nginx, app);
    for n in 0..requests {
        let request = get(&format!("/{n}"), "");
        play.receive(front, 10, &request, 0);
        play.send(back, 10, &request, 0);
        play.receive(at_app, 20, &request, 0);
        play.answer(at_app, 20);
        play.learn(back, 10);
        play.answer(front, 10);
    }
    play
}

/// The program on a recording, without what would configure it.
fn replay(shell: &str, recording: &Path, receiver: &Receiver, queue: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} exec \"$@\""), "sh", env!("CARGO_BIN_EXE_netspan"), "replay"]);
    command.arg(recording).args(["--otlp-protocol", "http/protobuf", "--otlp"]);
    command.arg(format!("http://{}", receiver.address)).arg("--queue").arg(queue);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("OTEL_") || name.starts_with("NETSPAN_") {
            command.env_remove(&*name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A figure of a line of the summary, by the word before it.
fn figure(output: &Output, line: &str, name: &str) -> u64 {
    let errors = String::from_utf8_lossy(&output.stderr);
    let found = errors.lines().rev().find(|text| text.trim_start().starts_with(line));
    let mut words = found.unwrap_or_else(|| panic!("no {line} in {errors}")).split_whitespace();
    let value =
        words.by_ref().skip_while(|word| *word != name).nth(1).unwrap_or_else(|| panic!("no {name} in {errors}"));
    value.trim_end_matches([',', ';']).parse().expect("a number")
}

/// Bytes of the segments of the queue.
fn queued_bytes(queue: &Path) -> u64 {
    let files = std::fs::read_dir(queue.join("otlp.otlp")).into_iter().flatten().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "segment"));
    segments.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[test]
fn what_a_killed_agent_had_queued_is_sent_and_what_it_lost_is_counted() {
    const KILLS: u64 = 8;
    let (dir, play, receiver) = (tempfile::tempdir().unwrap(), play(REQUESTS), Receiver::start());
    let queue = dir.path().join("queue");
    let recording = |seed| {
        let path = dir.path().join(format!("{seed}.gz"));
        std::fs::write(&path, recorded_with(&play, [(seed + 1) << 32, 77])).unwrap();
        path
    };
    for kill in 0..KILLS {
        let before = queued_bytes(&queue);
        let mut child = replay("", &recording(kill), &receiver, &queue).spawn().unwrap();
        // Some before anything is queued, others later and later after that.
        if kill % 4 > 0 {
            let begun = Instant::now();
            while queued_bytes(&queue) <= before && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(2));
            }
        }
        thread::sleep(Duration::from_millis(10 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    receiver.up(true);
    let last = replay("", &recording(KILLS), &receiver, &queue).output().unwrap();
    let errors = String::from_utf8_lossy(&last.stderr);
    let all = |name| figure(&last, "queue.otlp:", name);
    let [produced, sent, rejected, dropped, queued] = ["spans", "sent", "rejected", "dropped", "queued"].map(all);
    assert_eq!(produced, sent + rejected + dropped + queued, "{errors}");
    assert_eq!((queued, rejected), (0, 0), "{errors}");
    // Only what was in memory is lost, and all of that was noted before.
    assert_eq!(dropped, all("killed"), "{errors}");
    let got = receiver.got();
    assert_eq!((got.ids.len() as u64, got.twice), (sent, 0), "{errors}");
    assert!(sent > SPANS && produced <= (KILLS + 1) * SPANS, "{errors}");
}

#[test]
fn a_disk_that_takes_nothing_more_stops_neither_the_program_nor_its_export() {
    let (dir, play, receiver) = (tempfile::tempdir().unwrap(), play(REQUESTS), Receiver::start());
    let path = dir.path().join("recording.gz");
    std::fs::write(&path, recorded_with(&play, [1, 77])).unwrap();
    let queue = dir.path().join("queue");
    // Files of 64 KiB at most: no batch fits.
    let limited = "ulimit -f 128;";
    receiver.up(true);
    let run = replay(limited, &path, &receiver, &queue).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    assert_eq!(figure(&run, "sink.otlp:", "sent"), SPANS, "{run:?}");
    assert!(figure(&run, "sink.otlp:", "disk_failures") > 0, "{run:?}");
    assert_eq!((receiver.count() as u64, receiver.got().twice), (SPANS, 0));
}

#[test]
fn a_damaged_queue_is_no_reason_not_to_start() {
    let (dir, play, receiver) = (tempfile::tempdir().unwrap(), play(REQUESTS), Receiver::start());
    let path = dir.path().join("recording.gz");
    std::fs::write(&path, recorded_with(&play, [1, 77])).unwrap();
    let queue = dir.path().join("queue");
    let run = replay("", &path, &receiver, &queue).output().unwrap();
    assert_eq!((figure(&run, "sink.otlp:", "queued"), figure(&run, "sink.otlp:", "dropped")), (SPANS, 0), "{run:?}");
    let files = std::fs::read_dir(queue.join("otlp.otlp")).unwrap().map(|file| file.unwrap().path());
    let segment = files.filter(|path| path.extension().is_some_and(|end| end == "segment")).min().expect("a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 1000].fill(0);
    std::fs::write(&segment, bytes).unwrap();
    receiver.up(true);
    std::fs::write(&path, recorded_with(&play, [2 << 32, 77])).unwrap();
    let run = replay("", &path, &receiver, &queue).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let all = |name| figure(&run, "queue.otlp:", name);
    let [produced, sent, corrupt] = ["spans", "sent", "corrupt"].map(all);
    assert_eq!((produced, sent + corrupt, all("queued")), (2 * SPANS, 2 * SPANS, 0), "{run:?}");
    assert!((1..SPANS / 2).contains(&corrupt), "{run:?}");
    assert!(receiver.await_spans(usize::try_from(sent).unwrap(), PATIENCE));
    assert_eq!(receiver.count() as u64, sent);
}
