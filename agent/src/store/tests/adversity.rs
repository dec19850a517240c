//! What happens to a store's directory from outside: damage, other agents, clocks, readers at the wrong moment.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::*;

/// A number that looks random, from the one before.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *random >> 33
}

/// Damages a file somewhere: some bytes, a stretch of zeros, or its end.
fn damage(bytes: &mut Vec<u8>, random: &mut u64) {
    let at = next(random) as usize % bytes.len();
    match next(random) % 4 {
        0 => bytes.truncate(at),
        1 => {
            let length = next(random) as usize % 20_000;
            bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = 0);
        }
        _ => {
            for _ in 0..=next(random) % 8 {
                let at = next(random) as usize % bytes.len();
                bytes[at] ^= 1 << (next(random) % 8);
            }
        }
    }
}

fn ask_everything(reader: &Reader, trace: TraceId) -> Vec<Span> {
    let all = Query::default();
    for by in [GroupBy::Service, GroupBy::Path, GroupBy::Status] {
        reader.groups(&all, by).expect("an answer");
    }
    reader.heat(&all, 50).expect("an answer");
    reader.edges(&all).expect("an answer");
    reader.paths(&all).expect("an answer");
    reader.services().expect("an answer");
    reader.search(&query(&[("path", "/items/7"), ("status", "2xx")]), 10).expect("an answer");
    let mut found = reader.search(&all, SEARCH_MAX).expect("an answer").spans;
    found.extend(reader.trace(trace).expect("an answer").into_iter().flat_map(|trace| trace.spans));
    found
}

#[test]
fn damage_anywhere_is_never_shown_as_a_span_and_stops_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    let spans: Vec<Span> = (0..3).flat_map(|round| fill(&store, round * 700..round * 700 + 700)).collect();
    let trace = spans[0].trace_id;
    store.shutdown();
    let file = directory::entries(dir.path()).expect("readable")[0].path.clone();
    let whole = fs::read(&file).expect("readable");
    let fresh: Vec<Span> = (9000..9010).flat_map(call).collect();
    let stored: HashMap<SpanId, &Span> = spans.iter().chain(&fresh).map(|span| (span.span_id, span)).collect();
    let known = |span: &Span| stored.get(&span.span_id) == Some(&span);
    let (mut random, mut quarantined) = (17, 0);
    for round in 0..60 {
        for entry in dir.path().read_dir().expect("readable") {
            fs::remove_file(entry.expect("an entry").path()).expect("removable");
        }
        let mut broken = whole.clone();
        damage(&mut broken, &mut random);
        fs::write(&file, &broken).expect("writable");
        let store = start(config(dir.path())).expect("a thread");
        assert!(store.flush(PATIENCE));
        let found = ask_everything(&store.reader(), trace);
        let wrong = found.iter().find(|span| !known(span));
        assert!(wrong.is_none(), "round {round}: {wrong:?} was never stored");
        // Where the damage is met only now, what was written into the same file is put aside with it; what comes later is kept.
        let is_kept = (0..4).any(|_| {
            for span in &fresh {
                store.sink().give(Arc::new(span.clone()));
            }
            assert!(store.flush(PATIENCE));
            let found = ask_everything(&store.reader(), fresh[0].trace_id);
            assert!(store.flush(PATIENCE));
            fresh.iter().all(|span| found.contains(span))
        });
        assert!(is_kept, "round {round}: what came since is not there: {}", store.stats());
        let stats = store.shutdown();
        assert!(stats.partitions_damaged <= 2 && stats.waiting == 0, "round {round}: {stats}");
        quarantined += u32::from(stats.partitions_damaged > 0);
    }
    assert!(quarantined > 20, "damage was met in {quarantined} of 60 rounds");
}

#[test]
fn who_asks_while_partitions_are_ended_misses_no_span() {
    let dir = tempfile::tempdir().expect("a directory");
    // Partitions are small, and none has to go.
    let store = start(Config { bytes: 8 << 20, ..config(dir.path()) }).expect("a thread");
    let (reader, is_over) = (store.reader(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut before, mut answers) = (0, 0);
            while !is_over.load(Relaxed) {
                let groups = reader.groups(&Query::default(), GroupBy::Service).expect("an answer");
                let count: u64 = groups.iter().map(|group| group.totals.count).sum();
                assert!(count >= before, "{count} spans, {before} before");
                (before, answers) = (count, answers + 1);
            }
            answers
        });
        for round in 0..14 {
            fill(&store, round * 5000..round * 5000 + 5000);
        }
        is_over.store(true, Relaxed);
        let answers = asking.join().expect("no panic");
        assert!(answers > 5, "{answers} answers");
    });
    let stats = store.shutdown();
    assert!(stats.partitions > 2 && stats.partitions_expired == 0 && stats.partitions_damaged == 0, "{stats}");
}

#[test]
fn who_asks_while_partitions_expire_gets_whole_spans_and_no_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(Config { bytes: 4 << 20, ..config(dir.path()) }).expect("a thread");
    let (reader, is_over) = (store.reader(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_over.load(Relaxed) {
                for span in reader.search(&Query::default(), 500).expect("an answer").spans {
                    let n = u128::from_be_bytes(span.trace_id.0) as u64 - 1;
                    let [client, server] = call(n);
                    let own = if span.kind == Kind::Client { client } else { server };
                    assert_eq!(
                        (span.span_id, span.resource, span.attributes),
                        (own.span_id, own.resource, own.attributes)
                    );
                }
                reader.groups(&Query::default(), GroupBy::Path).expect("an answer");
            }
        });
        for round in 0..12 {
            fill(&store, round * 5000..round * 5000 + 5000);
        }
        is_over.store(true, Relaxed);
        asking.join().expect("no panic");
    });
    let stats = store.shutdown();
    assert!(stats.partitions_expired > 0 && stats.partitions_damaged == 0, "{stats}");
}

#[test]
fn a_clock_that_steps_back_puts_nothing_in_the_wrong_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    fill(&store, 0..5);
    store.shutdown();
    // The partition was begun when the clock was a day ahead, and is full.
    let old = directory::entries(dir.path()).expect("readable").remove(0);
    let ahead_ns = unix_ns() + 86_400_000_000_000;
    let ahead = dir.path().join(format!("{ahead_ns:020}.spans"));
    partition::rename(&old.path, &ahead).expect("renamable");
    let small = Config { bytes: 16 * partition::bytes(&ahead), ..config(dir.path()) };
    let store = start(small).expect("a thread");
    fill(&store, 5..10);
    let found = store.reader().search(&Query::default(), 100).expect("an answer").spans;
    assert_eq!(found.len(), 20);
    store.shutdown();
    let entries = directory::entries(dir.path()).expect("readable");
    assert_eq!((entries.len(), entries[0].begun_ns), (2, ahead_ns), "the newest would be the first to go: {entries:?}");
}

#[test]
fn a_second_agent_keeps_its_hands_off_and_says_so_until_the_first_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = start(config(dir.path())).expect("a thread");
    fill(&first, 0..5);
    let second = start(config(dir.path())).expect("a thread");
    fill(&second, 5..10);
    let stats = second.stats();
    assert_eq!((stats.stored, stats.dropped_failed, stats.waiting), (0, 10, 0), "{stats}");
    let ids: HashSet<_> = first
        .reader()
        .search(&Query::default(), 100)
        .expect("an answer")
        .spans
        .iter()
        .map(|span| span.span_id)
        .collect();
    assert_eq!(ids.len(), 10);
    first.shutdown();
    let deadline = std::time::Instant::now() + PATIENCE;
    while second.stats().stored == 0 {
        assert!(std::time::Instant::now() < deadline, "it never takes the directory: {}", second.stats());
        fill(&second, 10..11);
    }
}

#[test]
fn a_directory_that_can_only_be_read_is_read() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
    let dir = tempfile::tempdir().expect("a directory");
    if let Err(error) = mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), c"size=16m") {
        eprintln!("skipped: no file system can be mounted here: {error}");
        return;
    }
    let store = start(config(&dir.path().join("store"))).expect("a thread");
    fill(&store, 0..5);
    store.shutdown();
    mount_remount(dir.path(), MountFlags::RDONLY, c"").expect("read-only");
    let store = start(config(&dir.path().join("store"))).expect("a thread");
    fill(&store, 5..10);
    let found = store.reader().search(&Query::default(), 100).expect("an answer").spans.len();
    let stats = store.shutdown();
    unmount(dir.path(), UnmountFlags::DETACH).expect("unmountable");
    assert_eq!((found, stats.stored, stats.dropped_failed, stats.partitions_damaged), (10, 0, 10, 0), "{stats}");
}
