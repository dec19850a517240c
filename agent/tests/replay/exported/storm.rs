//! An outage with many kills, by hand: `cargo test --release -p netspan --test replay -- --ignored --nocapture storm`.
//!
//! An exporter in a process of its own is given spans at a rate and killed again and again while the receiver is down;
//! then the receiver comes up. `NETSPAN_STORM` is `SECONDS,KILLS,RATE` (120,50,5000 without).

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use netspan::{
    export::delivery::{Config, queue::disk, start},
    span::{Kind, Resource, Span, SpanId, Status, TraceId, Value},
};

use super::receiver::Receiver;

/// What the process is told: directory, URL, rate.
const CHILD: &str = "NETSPAN_STORM_CHILD";
/// The test that is the process.
const NAME: &str = "exported::storm::a_storm_of_spans_for_another_test";
/// Spans are given in bursts so far apart.
const BURST: Duration = Duration::from_millis(10);

fn span(id: u64, resource: &Arc<Resource>) -> Span {
    let text = |text: &str| Value::Text(text.to_owned().into());
    Span {
        trace_id: TraceId(u128::from(id | 1 << 63).to_be_bytes()),
        span_id: SpanId(id.to_be_bytes()),
        parent: None,
        parent_is_remote: false,
        trace_state: String::new(),
        kind: Kind::Server,
        name: "GET".to_owned(),
        start_ns: 1,
        end_ns: 2,
        status: Status::Unset,
        resource: Arc::clone(resource),
        pid: 1,
        tid: 2,
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: vec![
            ("http.request.method".into(), text("GET")),
            ("url.path".into(), text(&format!("/orders/{id}"))),
            ("url.scheme".into(), text("http")),
            ("server.address".into(), text("shop.internal")),
            ("http.response.status_code".into(), Value::Int(200)),
            ("user_agent.original".into(), text("Mozilla/5.0 (X11; Linux x86_64)")),
        ],
    }
}

/// The file in which the process tells how many spans it gave.
fn given_file(dir: &Path) -> PathBuf {
    dir.join("given")
}

fn given(dir: &Path) -> u64 {
    let mut bytes = [0; 8];
    File::open(given_file(dir))
        .and_then(|file| file.read_exact_at(&mut bytes, 0))
        .map_or(0, |()| u64::from_le_bytes(bytes))
}

/// Gives spans until standard input ends, then ends in order and prints what became of all.
#[test]
#[ignore = "a process of another test"]
fn a_storm_of_spans_for_another_test() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [dir, url, rate] = told.splitn(3, ',').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let (dir, rate) = (Path::new(dir), rate.parse::<u64>().unwrap());
    let variable = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| "http/protobuf".to_owned());
    let mut config = Config::resolve(Some(url), variable).unwrap().unwrap();
    config.queue = Some(disk::Config { dir: dir.join("queue"), bytes: 4 << 30, segment: disk::SEGMENT_BYTES });
    config.limits.retry_age = Duration::from_hours(24);
    let handle = start(&config).unwrap();
    let (sink, totals) = (handle.sink(), handle.totals());
    let file = File::options().create(true).truncate(false).write(true).open(given_file(dir)).unwrap();
    let stop = thread::spawn(|| std::io::stdin().read(&mut [0]));
    let resource = Arc::new(Resource { service: "storm".to_owned(), attributes: Vec::new() });
    let (first, begun) = (given(dir), Instant::now());
    let mut next = first;
    while !stop.is_finished() {
        let due = first + rate * begun.elapsed().as_millis() as u64 / 1000;
        for id in next..due {
            // Told before it is given: what is given was told.
            if id % 10 == 0 || id == next {
                file.write_all_at(&(id + 10).min(due).to_le_bytes(), 0).unwrap();
            }
            sink.offer(Arc::new(span(id, &resource)));
        }
        next = due;
        thread::sleep(BURST);
    }
    file.write_all_at(&next.to_le_bytes(), 0).unwrap();
    handle.flush(Duration::from_mins(10));
    let stats = handle.shutdown(Duration::from_secs(5));
    let totals = totals(&stats).unwrap();
    println!("storm: {stats}");
    let dropped = totals.dropped;
    println!(
        "storm-totals {} {} {} {} {} {} {}",
        totals.produced,
        totals.sent,
        totals.rejected,
        dropped.total(),
        stats.queued,
        dropped.killed,
        dropped.full
    );
}

fn begin(dir: &Path, receiver: &Receiver, rate: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--ignored", "--nocapture"]);
    command.env(CHILD, format!("{},http://{},{rate}", dir.display(), receiver.address));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "takes minutes: by hand"]
fn storm() {
    let told = std::env::var("NETSPAN_STORM").unwrap_or_default();
    let numbers: Vec<u64> = told.split(',').filter_map(|number| number.parse().ok()).collect();
    let [seconds, kills, rate] = numbers[..] else { return run(120, 50, 5000) };
    run(seconds, kills, rate);
}

fn run(seconds: u64, kills: u64, rate: u64) {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let mut most_kib = 0;
    for kill in 0..kills {
        let mut child = begin(dir.path(), &receiver, rate);
        // Lives of different lengths, of the same sum.
        let mean_ms = seconds * 1000 / kills;
        thread::sleep(Duration::from_millis(mean_ms / 2 + mean_ms * (kill * 7 % kills) / kills));
        most_kib = most_kib.max(memory_kib(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let at_kills = given(dir.path());
    let mut child = begin(dir.path(), &receiver, rate);
    thread::sleep(Duration::from_secs(2));
    let (begun, waiting) = (Instant::now(), receiver.count());
    assert_eq!(waiting, 0, "it was down");
    receiver.up(true);
    thread::sleep(Duration::from_secs(5));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.wait().unwrap();
    let line = output.lines().find_map(|line| Some(line.split_once("storm-totals ")?.1)).expect("totals");
    let numbers: Vec<u64> = line.split(' ').map(|number| number.trim().parse().unwrap()).collect();
    let [produced, sent, rejected, dropped, queued, killed, full] = numbers[..] else { panic!("{line}") };
    let (got, given) = (receiver.got(), given(dir.path()));
    println!(
        "{kills} kills in {seconds} s at {rate} spans/s: given {given} ({at_kills} in the outage), noted {produced} = sent {sent} + \
         rejected {rejected} + dropped {dropped} (killed {killed}, full {full}) + queued {queued}; arrived {} and {} twice; never \
         noted {}; memory at most {most_kib} KiB; drained in {:.1?}",
        got.ids.len(),
        got.twice,
        given.saturating_sub(produced),
        begun.elapsed(),
    );
    assert_eq!(produced, sent + rejected + dropped + queued);
    assert_eq!((queued, got.ids.len() as u64), (0, sent));
    assert_eq!(dropped, killed + full);
    // Not noted is at most what came since the worker's last turn before each kill.
    assert!(given - produced <= kills * rate / 10, "{}", given - produced);
}
