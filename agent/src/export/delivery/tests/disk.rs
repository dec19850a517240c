//! Outages with a queue on the disk, over several runs of the exporter.

use std::{path::Path, time::Duration};

use bytes::Bytes;

use super::{
    super::{Config, Protocol, Stats, Totals, queue::disk, start},
    PATIENCE, assert_balanced, config, ids, offer,
    receiver::{Answer, Receiver},
};

fn queued(mut config: Config, dir: &Path) -> Config {
    config.queue = Some(disk::Config { dir: dir.join("queue"), bytes: 32 << 20, segment: 64 << 10 });
    config.limits.batch.spans = 20;
    config.limits.batch_age = Duration::from_millis(20);
    config
}

/// Ends an exporter, and gives what it counted, in this run and in all.
fn end(handle: super::Handle, patience: Duration) -> (Stats, Totals) {
    let totals = handle.totals();
    let stats = handle.shutdown(patience);
    assert_balanced(&stats);
    let totals = totals(&stats).expect("a queue on the disk");
    assert_eq!(totals.produced, totals.settled() + stats.queued, "{totals:?}");
    (stats, totals)
}

#[test]
fn what_an_outage_left_is_sent_by_the_next_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(|_| Answer::Http(503, Vec::new(), Bytes::new()));
    let address = receiver.address;
    let config = queued(config(&receiver, Protocol::Http), dir.path());
    for run in 0..3 {
        let handle = start(&config).expect("starts");
        offer(&handle, run * 100 + 1..=run * 100 + 100);
        let (stats, totals) = end(handle, PATIENCE);
        assert_eq!((stats.recovered, stats.queued, stats.dropped.total()), (run * 100, run * 100 + 100, 0), "{stats}");
        assert_eq!(totals.produced, run * 100 + 100);
    }
    drop(receiver);
    let receiver = Receiver::on(address, None, |_| Answer::ok(false));
    let handle = start(&config).expect("starts");
    assert!(handle.flush(PATIENCE));
    let (stats, totals) = end(handle, PATIENCE);
    assert_eq!((stats.sent, totals.produced, totals.sent), (300, 300, 300), "{stats}");
    let mut all: Vec<_> = receiver.rest().iter().flat_map(|request| ids(request.spans())).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=300).collect::<Vec<_>>());
}

#[test]
fn a_directory_that_cannot_be_used_is_done_without() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("queue"), "a file").expect("written");
    let receiver = Receiver::start(|_| Answer::ok(false));
    let handle = start(&queued(config(&receiver, Protocol::Http), dir.path())).expect("starts");
    offer(&handle, 1..=50);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.dropped.total()), (50, 0), "{stats}");
}

#[test]
fn a_disk_that_fails_meanwhile_costs_nothing_while_the_receiver_takes_spans() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(|_| Answer::ok(false));
    let handle = start(&queued(config(&receiver, Protocol::Http), dir.path())).expect("starts");
    offer(&handle, 1..=50);
    assert!(handle.flush(PATIENCE));
    std::fs::remove_dir_all(dir.path().join("queue")).expect("removed");
    // Enough for several segments: a new one can't be begun.
    for run in 1..=20 {
        offer(&handle, run * 100 + 1..=run * 100 + 100);
        assert!(handle.flush(PATIENCE));
    }
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.dropped.total()), (2050, 0), "{stats}");
    assert!(stats.disk_failures > 0, "{stats:?}");
}

#[test]
fn spans_too_old_for_another_attempt_are_counted_by_the_run_that_finds_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(|_| Answer::Http(503, Vec::new(), Bytes::new()));
    let mut config = queued(config(&receiver, Protocol::Http), dir.path());
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=100);
    assert_eq!(end(handle, PATIENCE).0.queued, 100);
    std::thread::sleep(Duration::from_millis(20));
    config.limits.retry_age = Duration::from_millis(10);
    let handle = start(&config).expect("starts");
    assert!(handle.flush(PATIENCE));
    let (stats, totals) = end(handle, PATIENCE);
    assert_eq!((stats.recovered, stats.dropped.age, totals.dropped.age, stats.queued), (100, 100, 100, 0), "{stats}");
}
