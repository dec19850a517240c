//! The queue on the disk, opened again and again, as after a kill: nothing is told to it before.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use super::*;
use crate::export::delivery::{compress::Compression, encode::Format, stats::Stats};

/// Spans of each batch.
const SPANS: u64 = 10;

fn config(dir: &Path, bytes: u64, segment: u64) -> Config {
    Config { dir: dir.join("queue"), bytes, segment }
}

/// A queue, and what its worker would count.
struct Run {
    disk: Disk,
    stats: Stats,
    at: Instant,
}

impl Run {
    fn open(config: &Config) -> Self {
        let disk = Disk::open(config.clone()).expect("opens");
        let stats = Stats { recovered: disk.spans(), ..Stats::default() };
        Self { disk, stats, at: Instant::now() }
    }

    fn note(&mut self) {
        self.stats.dropped.corrupt += self.disk.take_corrupt();
        let totals = self.disk.earlier().plus(&self.stats);
        self.disk.note(totals);
    }

    /// Pushes a batch of this time and this many bytes.
    fn push(&mut self, time_ms: u64, bytes: usize) {
        self.stats.produced += SPANS;
        self.note();
        let (dropped, result) = self.disk.push(batch(time_ms, bytes), self.at);
        self.stats.dropped.full += dropped;
        result.expect("written");
        self.note();
    }

    fn pop(&mut self) -> Option<Batch> {
        self.disk.pop()
    }

    fn sent(&mut self, batch: &Batch) {
        self.stats.sent += batch.spans;
        self.disk.settle(batch);
        self.note();
    }

    /// Takes and settles all; gives the times.
    fn drain(&mut self) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(batch) = self.pop() {
            assert!(batch.body.iter().all(|byte| u64::from(*byte) == batch.time_ms % 251), "{}", batch.time_ms);
            times.push(batch.time_ms);
            self.sent(&batch);
        }
        times
    }

    fn assert_balanced(&mut self) {
        self.note();
        let totals = self.disk.earlier().plus(&self.stats);
        assert_eq!(totals.produced, totals.settled() + self.disk.spans(), "{totals:?}");
    }
}

fn batch(time_ms: u64, bytes: usize) -> Batch {
    Batch {
        serial: 0,
        ordinal: None,
        time_ms,
        spans: SPANS,
        format: Format::Otlp,
        compression: Compression::None,
        body: vec![(time_ms % 251) as u8; bytes].into(),
    }
}

fn files(config: &Config) -> Vec<String> {
    let names = fs::read_dir(&config.dir).expect("readable").map(|file| file.expect("a file").file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

fn segments(config: &Config) -> usize {
    files(config).iter().filter(|name| name.ends_with(".segment")).count()
}

#[test]
fn batches_come_out_in_their_order_and_their_segments_go_with_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 5000);
    let mut run = Run::open(&config);
    (0..50).for_each(|time| run.push(time, 1000));
    assert_eq!((segments(&config), run.disk.spans()), (13, 500));
    assert_eq!(run.drain(), (0..50).collect::<Vec<_>>());
    assert_eq!((segments(&config), run.disk.spans(), run.disk.is_settled()), (1, 0, true));
    run.push(50, 1000);
    assert_eq!(run.drain(), [50]);
    run.assert_balanced();
}

#[test]
fn what_was_not_settled_is_there_after_a_kill_and_what_was_settled_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 5000);
    let mut run = Run::open(&config);
    (0..20).for_each(|time| run.push(time, 1000));
    let taken: Vec<_> = (0..6).map(|_| run.pop().expect("a batch")).collect();
    // Two are still under way; one came back.
    for n in [0, 1, 3, 5] {
        run.sent(&taken[n]);
    }
    assert_eq!(run.disk.put_back(taken[2].clone()), 0);
    run.note();
    drop(run);
    let mut run = Run::open(&config);
    assert_eq!(run.stats.recovered, 16 * SPANS);
    run.push(20, 1000);
    let expected: Vec<u64> = [2, 4].into_iter().chain(6..=20).collect();
    assert_eq!(run.drain(), expected);
    run.assert_balanced();
    drop(run);
    let mut run = Run::open(&config);
    assert_eq!((run.drain(), run.disk.earlier().sent), (Vec::new(), 21 * SPANS));
    assert_eq!(run.disk.earlier().dropped.total(), 0);
}

#[test]
fn a_batch_that_came_back_is_the_next_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = Run::open(&config(dir.path(), 1 << 20, 5000));
    (0..3).for_each(|time| run.push(time, 10));
    let first = run.pop().expect("a batch");
    assert_eq!(run.disk.put_back(first), 0);
    assert_eq!(run.drain(), [0, 1, 2]);
}

#[test]
fn one_batch_that_hangs_does_not_let_the_ledger_forget_what_came_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 5000);
    let mut run = Run::open(&config);
    (0..200).for_each(|time| run.push(time, 100));
    let hanging = run.pop().expect("a batch");
    let after = run.drain();
    assert_eq!(after.len() as u64, WINDOW - 1, "no more than the ledger can tell of");
    drop(run);
    let mut run = Run::open(&config);
    assert_eq!(run.stats.recovered, (200 - WINDOW + 1) * SPANS);
    assert_eq!(run.drain()[..2], [hanging.time_ms, WINDOW]);
}

#[test]
fn the_oldest_segment_goes_when_there_are_too_many_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 20_000, 5000);
    let mut run = Run::open(&config);
    (0..10).for_each(|time| run.push(time, 1000));
    let under_way = run.pop().expect("a batch");
    (10..40).for_each(|time| run.push(time, 1000));
    assert!(run.disk.bytes() <= 20_000);
    let on_disk: u64 = fs::read_dir(&config.dir)
        .expect("readable")
        .map(|file| file.expect("a file").metadata().expect("data").len())
        .sum();
    assert!(on_disk <= 20_000 + 8192, "{on_disk}");
    run.assert_balanced();
    // Its segment is gone.
    assert_eq!(run.disk.put_back(under_way), SPANS);
    run.stats.dropped.full += SPANS;
    run.assert_balanced();
    let kept = run.drain();
    assert_eq!(kept.last(), Some(&39));
    assert_eq!(run.stats.dropped.full, (40 - kept.len() as u64) * SPANS);
    run.assert_balanced();
}

#[test]
fn what_is_too_old_goes_whether_it_waits_or_came_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = Run::open(&config(dir.path(), 1 << 20, 5000));
    (0..30).for_each(|time| run.push(time, 1000));
    let first = run.pop().expect("a batch");
    run.disk.put_back(first);
    assert_eq!(run.disk.expire(12), 12 * SPANS);
    run.stats.dropped.age += 12 * SPANS;
    run.assert_balanced();
    assert_eq!(run.drain(), (12..30).collect::<Vec<_>>());
}

#[test]
fn a_torn_tail_costs_one_record_which_counts_as_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 1 << 20);
    let mut run = Run::open(&config);
    (0..5).for_each(|time| run.push(time, 1000));
    // Killed in the middle of the sixth: noted as produced, half written.
    run.stats.produced += SPANS;
    run.note();
    let path = run.disk.segments[0].path.clone();
    drop(run);
    let file = fs::OpenOptions::new().append(true).open(&path).expect("there");
    let whole = file.metadata().expect("data").len();
    let head = Head {
        ordinal: 6,
        time_ms: 5,
        spans: 10,
        length: 1000,
        format: Format::Otlp,
        compression: Compression::None,
        checksum: 1,
    };
    file.write_all_at(&[&head.bytes()[..], &[5; 400]].concat(), whole).expect("written");
    let mut run = Run::open(&config);
    assert_eq!(fs::metadata(&path).expect("there").len(), whole, "it was cut off");
    let dropped = run.disk.earlier().dropped;
    assert_eq!((run.stats.recovered, dropped.killed, dropped.corrupt), (50, 10, 0));
    assert_eq!(run.drain(), [0, 1, 2, 3, 4]);
    run.assert_balanced();
}

#[test]
fn damage_is_counted_and_the_segment_put_aside_once_the_rest_of_it_is_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 10_000);
    let mut run = Run::open(&config);
    (0..30).for_each(|time| run.push(time, 1000));
    let (first, second) = (run.disk.segments[0].path.clone(), run.disk.segments[1].path.clone());
    drop(run);
    let write = |path: &Path, at: u64| {
        let file = fs::OpenOptions::new().write(true).open(path).expect("there");
        file.write_all_at(b"!!!!", at).expect("written");
    };
    // One head, found at once; one body, found when it is read.
    write(&first, 1040 * 3 + 8);
    write(&second, 1040 * 2 + 500);
    let mut run = Run::open(&config);
    assert_eq!((run.stats.recovered, run.disk.earlier().dropped.corrupt), (290, 10));
    let sent = run.drain();
    assert_eq!(sent.len(), 28);
    assert!(!sent.contains(&3) && !sent.contains(&11), "{sent:?}");
    run.assert_balanced();
    assert_eq!(run.stats.dropped.corrupt, 10);
    let aside = files(&config).iter().filter(|name| name.ends_with(".damaged")).count();
    assert_eq!(aside, 2, "{:?}", files(&config));
}

#[test]
fn whatever_lies_in_the_directory_the_queue_opens() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 5000);
    let mut run = Run::open(&config);
    (0..10).for_each(|time| run.push(time, 1000));
    drop(run);
    fs::write(config.dir.join("00000000000000000000.segment"), "no segment".repeat(1000)).expect("written");
    fs::write(config.dir.join("00000000000000000099.segment"), b"").expect("written");
    fs::write(config.dir.join("ledger"), vec![7; 9000]).expect("written");
    let mut run = Run::open(&config);
    assert_eq!((run.stats.recovered, run.disk.earlier().produced), (100, 100), "what is there was produced");
    assert_eq!(run.drain(), (0..10).collect::<Vec<_>>());
    run.push(10, 1000);
    assert_eq!(run.drain(), [10]);
    run.assert_balanced();
}

#[test]
fn a_queue_belongs_to_one_agent() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 5000);
    let _run = Run::open(&config);
    let error = Disk::open(config).expect_err("taken").to_string();
    assert!(error.starts_with("another agent uses it"), "{error}");
}

#[test]
fn a_directory_that_goes_away_is_no_reason_to_stop() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 2000);
    let mut run = Run::open(&config);
    run.push(0, 1500);
    fs::remove_dir_all(&config.dir).expect("removed");
    // The next one needs a new segment.
    let (dropped, result) = run.disk.push(batch(1, 1500), run.at);
    let failed = result.expect_err("nowhere to write it");
    assert!(dropped == 0 && failed.error.is_some());
    // For a while the disk is left alone, and that is no news.
    let (_, result) = run.disk.push(failed.batch, run.at);
    assert!(result.expect_err("at rest").error.is_none());
    fs::create_dir(&config.dir).expect("made");
    let (_, result) = run.disk.push(batch(2, 1500), run.at + REST);
    result.expect("written again");
}

/// Random doings and kills, against a plain list of what has to come out.
#[test]
fn nothing_is_lost_or_told_twice_over_a_thousand_kills() {
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = move |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 30, 4000);
    let (mut waiting, mut time) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..1000 {
        let mut run = Run::open(&config);
        assert_eq!(run.disk.spans(), waiting.len() as u64 * SPANS);
        assert_eq!(run.disk.earlier().dropped.total(), 0);
        let mut held = Vec::new();
        for _ in 0..roll(30) {
            match roll(4) {
                0 | 1 => {
                    run.push(time, roll(1500) as usize);
                    waiting.insert(time);
                    time += 1;
                }
                2 if held.len() < 4 => held.extend(run.pop()),
                _ if held.is_empty() => {}
                _ => {
                    let batch = held.swap_remove(roll(held.len() as u64) as usize);
                    if roll(3) == 0 {
                        assert_eq!(run.disk.put_back(batch), 0);
                    } else {
                        run.sent(&batch);
                        assert!(waiting.remove(&batch.time_ms), "{} was sent twice", batch.time_ms);
                    }
                }
            }
        }
        run.assert_balanced();
    }
    let mut run = Run::open(&config);
    assert_eq!(run.drain(), waiting.into_iter().collect::<Vec<_>>());
    assert_eq!(run.disk.earlier().plus(&run.stats).sent, time * SPANS);
}

#[test]
fn a_disk_without_room_costs_the_oldest_and_then_takes_nothing_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path(), 1 << 20, 3000);
    let mut run = Run::open(&config);
    (0..10).for_each(|time| run.push(time, 1000));
    // Somebody else has filled the disk.
    run.disk.room = 500;
    run.push(10, 1000);
    assert_eq!(run.stats.dropped.full, 2 * SPANS, "one segment");
    run.disk.room = 0;
    while run.disk.segments.len() > 1 {
        run.stats.dropped.full += run.disk.drop_oldest();
    }
    run.assert_balanced();
    run.stats.produced += SPANS;
    let (dropped, result) = run.disk.push(batch(11, 1000), run.at);
    let error = result.expect_err("no room").error.expect("news");
    assert_eq!((dropped, error.kind()), (0, io::ErrorKind::StorageFull));
    // What is there is sent all the same, and its file goes, so that there may be room again.
    run.stats.dropped.full += SPANS;
    assert_eq!(run.drain().last(), Some(&10));
    assert_eq!((segments(&config), run.disk.bytes()), (0, 0));
    run.assert_balanced();
    run.at += LOOK;
    run.push(12, 1000);
    assert_eq!(run.drain(), [12]);
}
