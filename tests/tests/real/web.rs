//! Servers and clients of HTTP/2 and of TLS agree with each other, before any agent looks at them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    scope::Scope,
    truth::same,
    web::{Client, Driven, Exchange, Plan, Request, Running, Server, Version, Wire, h2load, requests},
};

const PLAIN_H1: Wire = Wire { version: Version::H1, tls: false };
const PLAIN_H2: Wire = Wire { version: Version::H2, tls: false };
const TLS_H1: Wire = Wire { version: Version::H1, tls: true };
const TLS_H2: Wire = Wire { version: Version::H2, tls: true };

/// Every request of the plan was answered once, each connection of it is one connection, and the answers are right.
fn agrees(server: &Running, plan: &Plan, driven: &Driven) -> Result<()> {
    same(
        plan.requests().map(|request| (request.method.clone(), request.path.clone())),
        driven.exchanges.iter().map(|exchange| (exchange.method.clone(), exchange.path.clone())),
    )
    .context("requests")?;
    if server.answers_as_expected() {
        same(plan.requests().map(Request::expected), driven.exchanges.iter().map(Exchange::seen))?;
    }
    let mut ports: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
    for exchange in driven.exchanges.iter().filter(|exchange| exchange.port != 0) {
        ports.entry(exchange.connection).or_default().insert(exchange.port);
    }
    let all: BTreeSet<u16> = ports.values().flatten().copied().collect();
    let used: usize = ports.values().map(BTreeSet::len).sum();
    ensure!(all.len() == used, "one port was used for two connections of the plan: {ports:?}");
    ensure!(plan.version == Version::H1 || ports.values().all(|ports| ports.len() == 1), "more connections: {ports:?}");
    Ok(())
}

fn sends(
    client: Client,
    to: &Running,
    scope: &Scope,
    connections: usize,
    each: usize,
    in_flight: usize,
) -> Result<Driven> {
    let plan = to.plan(client.requests(connections, each), in_flight)?;
    let driven = client.send(scope, &plan)?;
    agrees(to, &plan, &driven)?;
    Ok(driven)
}

/// Starts the server in each way that it speaks, and lets the Rust client speak to it.
fn is_right(server: Server) -> Result<()> {
    let _machine = crate::together();
    for wire in Wire::ALL.into_iter().filter(|wire| server.speaks(*wire)) {
        let scope = Scope::new()?;
        let running = server.start(&scope, wire)?;
        for in_flight in [1, 100] {
            sends(Client::Hyper, &running, &scope, 4, 60, in_flight).with_context(|| {
                format!("{wire:?}, {in_flight} in flight; it printed: {}", running.process.printed())
            })?;
        }
    }
    Ok(())
}

/// Lets the client speak to the Rust server in each way that it speaks.
fn gets_answers(client: Client) -> Result<()> {
    let _machine = crate::together();
    for wire in Wire::ALL.into_iter().filter(|wire| client.speaks(*wire)) {
        let scope = Scope::new()?;
        let running = Server::Hyper.start(&scope, wire)?;
        for in_flight in [1, 30] {
            sends(client, &running, &scope, 3, 60, in_flight)
                .with_context(|| format!("{wire:?}, {in_flight} in flight"))?;
        }
    }
    Ok(())
}

macro_rules! check {
    ($check:ident: $($name:ident($kind:expr),)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $check($kind)
        })*
    };
}

check! { is_right:
    hyper_answers_the_rust_client(Server::Hyper),
    nginx_answers_the_rust_client(Server::Nginx),
    apache_answers_the_rust_client(Server::Apache),
    nghttpd_answers_the_rust_client(Server::Nghttpd),
    node_answers_the_rust_client(Server::Node),
    go_answers_the_rust_client(Server::Go),
    gunicorn_answers_the_rust_client(Server::Gunicorn),
    uvicorn_answers_the_rust_client(Server::Uvicorn),
    uvicorn_on_uvloop_answers_the_rust_client(Server::UvicornUvloop),
}

#[test]
fn the_upgrade_to_http2_in_the_clear_is_answered() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let apache = Server::Apache.start(&scope, PLAIN_H2)?;
    for _ in 0..5 {
        let driven = sends(Client::NghttpUpgrade, &apache, &scope, 4, 1, 1)?;
        ensure!(driven.exchanges.iter().all(|exchange| exchange.status == 200), "{driven:?}");
    }
    Ok(())
}

check! { gets_answers:
    reqwest_is_answered(Client::Reqwest),
    node_is_answered(Client::Node),
    go_is_answered(Client::Go),
    requests_is_answered(Client::Requests),
    httpx_is_answered(Client::Httpx),
    aiohttp_is_answered(Client::Aiohttp),
    aiohttp_on_uvloop_is_answered(Client::AiohttpUvloop),
    curl_is_answered(Client::Curl),
    wget_is_answered(Client::Wget),
    gnutls_cli_is_answered(Client::GnutlsCli),
    nghttp_is_answered(Client::Nghttp),
}

#[test]
fn sixty_four_connections_in_one_event_loop_stay_apart() -> Result<()> {
    let _machine = crate::together();
    for (client, wire) in
        [(Client::Node, TLS_H1), (Client::Node, TLS_H2), (Client::Aiohttp, TLS_H1), (Client::AiohttpUvloop, TLS_H1)]
    {
        let scope = Scope::new()?;
        let running = Server::Hyper.start(&scope, wire)?;
        let driven = sends(client, &running, &scope, 64, 12, 4)?;
        let ports: BTreeSet<u16> = driven.exchanges.iter().map(|exchange| exchange.port).collect();
        ensure!(ports.len() >= 64, "{client:?} used {} connections", ports.len());
    }
    Ok(())
}

#[test]
fn the_access_log_of_nginx_and_the_clients_say_the_same() -> Result<()> {
    let _machine = crate::together();
    for (client, wire) in
        [(Client::Hyper, PLAIN_H2), (Client::Hyper, TLS_H2), (Client::Curl, TLS_H2), (Client::Node, TLS_H2)]
    {
        let scope = Scope::new()?;
        let nginx = Server::Nginx.start(&scope, wire)?;
        let driven = sends(client, &nginx, &scope, 4, 120, 10)?;
        let log = nginx.access_log(driven.exchanges.len())?;
        let log = log.iter().map(|line| (line.method.clone(), line.uri.clone(), line.status, line.port.clone()));
        let told = driven.exchanges.iter();
        same(told.map(|e| (e.method.clone(), e.path.clone(), e.status, e.port.to_string())), log)
            .with_context(|| format!("{client:?}, {wire:?}"))?;
    }
    Ok(())
}

#[test]
fn the_totals_of_h2load_are_those_of_the_access_log() -> Result<()> {
    let _machine = crate::together();
    for wire in [PLAIN_H2, TLS_H2, PLAIN_H1] {
        let scope = Scope::new()?;
        let nginx = Server::Nginx.start(&scope, wire)?;
        let plan = nginx.plan(Client::Nghttp.requests(8, 12), 100)?;
        let totals = h2load(&scope, &plan, 5000)?;
        let log = nginx.access_log(5000)?;
        ensure!(totals.done == 5000, "{totals:?}");
        let logged = |digit| log.iter().filter(|line| line.status / 100 == digit).count() as u64;
        // h2load now and then counts a status twice (seen: 5,001 of 5,000).
        let twice = |(told, logged): (&u64, u64)| told.checked_sub(logged);
        let more: Option<u64> = totals.statuses.iter().zip([2, 3, 4, 5].map(logged)).map(twice).sum();
        ensure!(more.is_some_and(|more| more <= 2), "{totals:?} and the log differ");
    }
    Ok(())
}

#[test]
fn the_paths_of_a_plan_are_of_one_connection_each() {
    let plan = requests(3, 12);
    assert!(
        plan.iter().enumerate().all(|(ordinal, all)| all.iter().all(|r| r.path.contains(&format!("/c{ordinal}-"))))
    );
}
