//! HTTP/1.1 and HTTP/2, in the clear and over TLS, between servers and clients of many kinds: what the client did must be
//! the spans of both ends, no more and no less, each on its connection.

use anyhow::{Context as _, Result, ensure};
use netspan_tests::{
    agent::Agent,
    scenario::{LAST_SPAN, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    truth::{path_of, same},
    web::{self, Case, Client, Server, Version, Wire, h2load},
};

/// Requests that h2load sends.
const LOAD: usize = 10_000;

/// All that the two speak to each other, one request at a time and many.
fn is_seen(server: Server, client: Client) -> Result<()> {
    // Attaching to libraries waits for every other agent that does.
    let _machine = crate::alone();
    for wire in Wire::ALL.into_iter().filter(|wire| server.speaks(*wire) && client.speaks(*wire)) {
        // What is plain and old is the other tests'.
        if wire == (Wire { version: Version::H1, tls: false }) {
            continue;
        }
        for in_flight in [1, 100] {
            Case { server, client, wire, connections: 3, each: 60, in_flight }.run(&[])?;
        }
    }
    Ok(())
}

macro_rules! seen {
    ($($name:ident: $server:ident, $client:ident;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            is_seen(Server::$server, Client::$client)
        })*
    };
}

seen! {
    nginx_and_curl_are_seen: Nginx, Curl;
    nginx_and_wget_are_seen: Nginx, Wget;
    nginx_and_gnutls_cli_are_seen: Nginx, GnutlsCli;
    nghttpd_and_nghttp_are_seen: Nghttpd, Nghttp;
    go_and_go_are_seen: Go, Go;
    go_and_curl_are_seen: Go, Curl;
    nginx_and_node_are_seen: Nginx, Node;
    node_and_node_are_seen: Node, Node;
    node_and_curl_are_seen: Node, Curl;
    gunicorn_and_requests_are_seen: Gunicorn, Requests;
    uvicorn_and_aiohttp_are_seen: Uvicorn, Aiohttp;
    uvicorn_and_httpx_are_seen: Uvicorn, Httpx;
    nginx_and_httpx_are_seen: Nginx, Httpx;
    hyper_at_both_ends_is_seen: Hyper, Hyper;
    hyper_and_curl_are_seen: Hyper, Curl;
    hyper_and_aiohttp_are_seen: Hyper, Aiohttp;
    hyper_and_reqwest_are_seen: Hyper, Reqwest;
}

/// Each library ends the handshake in its own way, with tickets or without.
#[test]
fn hyper_is_seen_as_the_client_of_others() -> Result<()> {
    let _machine = crate::alone();
    // The first one's program is the client's, too: it is hooked before a client begins.
    let servers = [Server::Hyper, Server::Nginx, Server::Go, Server::Uvicorn];
    let wires = Wire::ALL.into_iter().filter(|wire| wire.tls);
    let cases = servers.into_iter().flat_map(|server| {
        let spoken = wires.clone().filter(move |wire| server.speaks(*wire));
        spoken.map(move |wire| Case { server, client: Client::Hyper, wire, connections: 3, each: 60, in_flight: 20 })
    });
    web::run_all(&cases.collect::<Vec<_>>(), &[])?;
    Ok(())
}

/// All sockets of a side are one thread's, and plaintext and ciphertext meet only in memory: each exchange must be on its
/// own connection.
#[test]
fn sixty_four_connections_of_one_event_loop_stay_apart() -> Result<()> {
    let _machine = crate::alone();
    for (server, client, version) in [
        (Server::Node, Client::Node, Version::H1),
        (Server::Node, Client::Node, Version::H2),
        (Server::UvicornUvloop, Client::AiohttpUvloop, Version::H1),
        (Server::Uvicorn, Client::Aiohttp, Version::H1),
    ] {
        let wire = Wire { version, tls: true };
        Case { server, client, wire, connections: 64, each: 10, in_flight: 1 }.run(&[])?;
    }
    Ok(())
}

/// The log of nginx is the truth: h2load tells totals only.
#[test]
fn nginx_and_h2load_are_seen() -> Result<()> {
    let _machine = crate::alone();
    for (wire, in_flight) in [
        (Wire { version: Version::H2, tls: false }, 1),
        (Wire { version: Version::H2, tls: false }, 100),
        (Wire { version: Version::H2, tls: true }, 1),
        (Wire { version: Version::H2, tls: true }, 100),
    ] {
        let scope = Scope::new()?;
        let nginx = Server::Nginx.start(&scope, wire)?;
        let plan = nginx.plan(Client::Nghttp.requests(4, 12), in_flight)?;
        let agent = Agent::watch(&scope)?;
        let totals = h2load(&scope, &plan, LOAD)?;
        ensure!(totals.done == LOAD as u64, "{totals:?}");
        agent.await_spans(2 * LOAD, LAST_SPAN);
        let report = agent.stop()?;
        nothing_lost(&report)?;
        let log = nginx.access_log(LOAD)?;
        let told = || log.iter().map(|line| (line.method.clone(), path_of(&line.uri).to_owned(), line.status));
        let seen = |span: &JsonSpan| (span.method().to_owned(), span.path().to_owned(), span.status().unwrap_or(0));
        same(told(), report.servers().map(seen)).with_context(|| format!("SERVER, {wire:?}, {in_flight}"))?;
        same(told(), report.clients().map(seen)).with_context(|| format!("CLIENT, {wire:?}, {in_flight}"))?;
        let orphans = report.servers().filter(|span| span.parent().is_none()).count();
        ensure!(orphans == 0, "{orphans} SERVER spans without parent, {wire:?}, {in_flight}");
    }
    Ok(())
}
