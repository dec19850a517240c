//! HTTP/1.1 and HTTP/2, in the clear and over TLS, between servers and clients of many kinds: what the client did must be
//! the spans of both ends, no more and no less, each on its connection.

use anyhow::Result;
use netspan_tests::web::{Case, Client, Server, Version, Wire};

/// All that the two speak to each other, one request at a time and many.
fn is_seen(server: Server, client: Client) -> Result<()> {
    // Attaching to libraries waits for every other agent that does.
    let _machine = crate::alone();
    for wire in Wire::ALL.into_iter().filter(|wire| server.speaks(*wire) && client.speaks(*wire)) {
        // What is plain and old is the other tests'; rustls is not read yet, and `netspan doctor` says so.
        let is_rustls = server == Server::Hyper || client == Client::Hyper;
        if wire == (Wire { version: Version::H1, tls: false }) || wire.tls && is_rustls {
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
