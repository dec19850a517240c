//! A front end on Tokio's threads, axum and reqwest: `app-links PORT LOG DOWNSTREAM...`, each DOWNSTREAM a port of 127.0.0.1. What
//! belongs together is written to LOG at the end: `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`.
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    extract::{ConnectInfo, Path, State},
    routing::get,
};
use hyper_util::client::legacy::connect::HttpInfo;
use netspan_tests::load::Dice;
use tokio::signal::unix::{SignalKind, signal};

/// What is noted.
#[derive(Debug, Default)]
struct Book {
    /// Exchanges so far, by both ports.
    seen: HashMap<(u16, u16), u32>,
    truth: Vec<String>,
}

impl Book {
    fn count(&mut self, ports: (u16, u16)) -> u32 {
        let next = self.seen.entry(ports).or_default();
        *next += 1;
        *next - 1
    }
}

struct Front {
    own: u16,
    behind: Vec<u16>,
    client: reqwest::Client,
    book: Mutex<Book>,
    dice: Mutex<Dice>,
}

impl Front {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn below(&self, bound: u64) -> u64 {
        self.dice.lock().unwrap_or_else(std::sync::PoisonError::into_inner).below(bound)
    }

    async fn call(&self, request: (u16, u32), which: usize, path: &str) -> Result<()> {
        let to = self.behind[which];
        let answer = self.client.get(format!("http://127.0.0.1:{to}{path}")).send().await?;
        // Before the connection goes back to the pool.
        let port = answer.extensions().get::<HttpInfo>().context("no address")?.local_addr().port();
        {
            let mut book = self.book();
            let ordinal = book.count((port, to));
            book.truth.push(format!("{} {} {port} {to} {ordinal}", request.0, request.1));
        }
        answer.bytes().await?;
        Ok(())
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_micros(2000 + self.below(6000))).await;
    }

    async fn work(&self, route: &str, request: (u16, u32)) -> Result<()> {
        match route {
            "one" => self.call(request, 0, "/a").await?,
            "sequence" => {
                self.call(request, 0, "/a").await?;
                self.call(request, 1, "/b").await?;
            }
            "parallel" => {
                tokio::try_join!(self.call(request, 0, "/a"), self.call(request, 1, "/b"))?;
                self.call(request, 0, "/c").await?;
            }
            "cached" => {
                self.call(request, 0, "/a").await?;
                if self.below(2) == 0 {
                    self.call(request, 1, "/b").await?;
                }
            }
            "timer" => {
                self.pause().await;
                self.call(request, 0, "/a").await?;
                self.pause().await;
                self.call(request, 1, "/b").await?;
            }
            _ => {}
        }
        Ok(())
    }
}

async fn serve(
    State(front): State<Arc<Front>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(route): Path<String>,
) -> Result<&'static str, String> {
    let ordinal = front.book().count((peer.port(), front.own));
    front.work(&route, (peer.port(), ordinal)).await.map_err(|error| format!("{error:#}"))?;
    Ok("done\n")
}

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, log, behind @ ..] = &words[..] else { bail!("usage: app-links PORT LOG DOWNSTREAM...") };
    let front = Arc::new(Front {
        own: port.parse()?,
        behind: behind.iter().map(|port| port.parse()).collect::<Result<_, _>>()?,
        client: reqwest::Client::builder().pool_max_idle_per_host(256).build()?,
        book: Mutex::default(),
        dice: Mutex::new(Dice::new(7)),
    });
    let routes = Router::new().route("/{route}", get(serve)).with_state(Arc::clone(&front));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", front.own)).await?;
    let mut ended = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()) => served?,
        _ = ended.recv() => {}
    }
    std::fs::write(log, front.book().truth.join("\n") + "\n").context("cannot write the truth")
}
