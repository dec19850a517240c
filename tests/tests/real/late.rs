//! The agent started in the middle of long-lived connections of HTTP/2: nothing that it says is wrong, and once the header
//! compression's table has turned over it knows what it could not know before.

use anyhow::{Result, ensure};
use netspan_tests::web::{Client, Late, Server};

/// Requests after the agent's start after which it must know, and those that are judged.
const SETTLED: usize = 200;
const JUDGED: usize = 200;
/// Share of them whose `:path`, method and status are known.
const KNOWN: f64 = 0.9;

fn is_known_in_time(server: Server, client: Client, tls: bool) -> Result<()> {
    let _machine = crate::alone();
    let late = Late { server, client, tls, before: 100, after: SETTLED + JUDGED };
    let [servers, clients] = late.run(&[])?;
    println!("{late:?}\nserver {servers:?}\nclient {clients:?}");
    for (side, known) in [("server", &servers), ("client", &clients)] {
        for (name, parts) in [
            ("seen", &known.seen),
            ("method", &known.method),
            ("path", &known.path),
            ("status", &known.status),
            ("port", &known.port),
        ] {
            let judged = parts.get(parts.len() / 2..).unwrap_or_default();
            let is_known = judged.iter().all(|share| *share > KNOWN);
            ensure!(is_known && !judged.is_empty(), "{late:?}: of the {side}'s spans {name} is not known: {parts:?}");
        }
    }
    Ok(())
}

macro_rules! late {
    ($($name:ident: $server:ident, $client:ident, $tls:literal;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            is_known_in_time(Server::$server, Client::$client, $tls)
        })*
    };
}

late! {
    nginx_and_hyper_are_known_in_time: Nginx, Hyper, false;
    hyper_and_go_are_known_in_time: Hyper, Go, false;
    nginx_and_httpx_are_known_in_time: Nginx, Httpx, false;
    nginx_and_go_are_known_in_time_under_tls: Nginx, Go, true;
    go_and_httpx_are_known_in_time_under_tls: Go, Httpx, true;
}
