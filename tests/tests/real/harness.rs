//! The harness itself: servers, clients and the load agree with each other before any agent looks at them.

use std::{net::TcpStream, sync::atomic::AtomicBool, time::Duration};

use anyhow::{Result, ensure};
use netspan_tests::{
    apps::{Kind, talks},
    drive,
    load::{self, Plan},
    nginx::{Nginx, mixed},
    process::Process,
    scenario::log_agrees,
    scope::Scope,
    shop::{Shop, customer},
    truth::{LogLine, Seen},
};

fn serves_all_talks(kind: Kind) -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let app = kind.start(&scope)?;
    let talks = talks(app.abilities);
    let seen = drive::run(&app.address, &talks)?;
    let bad: Vec<&Seen> = seen.iter().filter(|seen| !is_right(seen)).collect();
    ensure!(bad.is_empty(), "wrong answers: {bad:#?}; it printed: {}", app.process.printed());
    Ok(())
}

/// Whether an answer is what its route promises.
fn is_right(seen: &Seen) -> bool {
    let argument: u64 = seen.path.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (status, body) = (seen.status.unwrap_or(0), seen.body);
    match seen.path.split('/').nth(1).unwrap_or("") {
        _ if seen.method == "HEAD" => status == 200 && body == 0,
        "hello" => status == 200 && body == 6,
        "echo" => status == 200 && (1..7).contains(&body),
        "bytes" | "chunked" => status == 200 && body == argument,
        "status" => u64::from(status) == argument && (body == 0) == matches!(status, 204 | 304),
        "slow" => status == 200 && body == 5,
        "upgrade" => status == 101,
        _ => false,
    }
}

macro_rules! servers {
    ($($name:ident: $kind:ident,)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            serves_all_talks(Kind::$kind)
        })*
    };
}

servers! {
    apache_with_threads_answers_every_talk: ApacheEvent,
    apache_with_processes_answers_every_talk: ApachePrefork,
    gunicorn_sync_answers_every_talk: GunicornSync,
    gunicorn_with_threads_answers_every_talk: GunicornThreads,
    gunicorn_on_a_unix_socket_answers_every_talk: GunicornUnix,
    uvicorn_with_h11_answers_every_talk: UvicornH11,
    uvicorn_with_httptools_answers_every_talk: UvicornTools,
    node_answers_every_talk: Node,
    go_answers_every_talk: Go,
    java_answers_every_talk: Java,
    axum_answers_every_talk: Axum,
}

#[test]
fn the_access_log_of_nginx_and_the_load_say_the_same() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let mut nginx = Nginx::start(&scope, 2)?;
    let plan = Plan { seed: 1, concurrency: 8, requests: 2000, rate: None };
    let seen = load::run(&nginx.address, plan, &AtomicBool::new(false), mixed)?;
    let log = nginx.log(seen.len())?;
    nginx.stop()?;
    ensure!(log.iter().any(LogLine::chunked), "nothing was chunked");
    for status in [200, 204, 304, 404, 405, 500] {
        ensure!(log.iter().any(|line| line.status == status), "no answer had status {status}");
    }
    log_agrees(&log, &seen)
}

#[test]
fn the_shop_serves_its_customers() -> Result<()> {
    let _machine = crate::together();
    let shop = Shop::open(|_| {})?;
    let plan = Plan { seed: 1, concurrency: 4, requests: 200, rate: None };
    let seen = load::run(shop.address(), plan, &AtomicBool::new(false), customer)?;
    for seen in &seen {
        let argument: u64 = seen.path.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let expected = match seen.path.as_str() {
            "/fail" => 500,
            "/checkout" => 201,
            _ if argument >= 1000 => 404,
            _ => 200,
        };
        ensure!(seen.status == Some(expected), "{seen:?} instead of {expected}");
    }
    Ok(())
}

#[test]
fn a_scope_takes_its_programs_and_their_children_with_it() -> Result<()> {
    let scope = Scope::new()?;
    let path = scope.path().to_owned();
    let directory = tempfile::tempdir()?;
    let process = Process::start(&scope, directory.path(), "parent", "sh", |command| {
        command.args(["-c", "sleep 1000 & sleep 1000 & wait"])
    })?;
    netspan_tests::wait::until("the start of both children", Duration::from_secs(5), || {
        Ok((scope.processes().len() == 3).then_some(()))
    })?;
    let pids = scope.processes();
    drop(process);
    drop(scope);
    ensure!(!path.exists(), "{} is still there", path.display());
    for pid in pids {
        // A child whose parent was killed may wait for whoever reaps it: it does not run any more.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        ensure!(stat.is_empty() || stat.contains(") Z "), "process {pid} still runs: {stat}");
    }
    Ok(())
}

#[test]
fn a_program_that_ends_instead_of_listening_is_an_error_that_quotes_it() -> Result<()> {
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let port = netspan_tests::ports::free()?;
    ensure!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is in use");
    let process = Process::start(&scope, directory.path(), "broken", "sh", |command| {
        command.args(["-c", "echo the reason; exit 3"])
    })?;
    let error = process.listening(&netspan_tests::process::Address::local(port)).unwrap_err();
    ensure!(format!("{error:#}").contains("the reason"), "{error:#}");
    Ok(())
}
