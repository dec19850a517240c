//! A server behind a front end: it answers each request alike, after a delay of its own choice, and notes who asked.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
};

use crate::load::Dice;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nback";
/// Bounds of a delay, in shares of the mean.
const SHARES: (f64, f64) = (0.05, 4.0);

/// A request as a server behind sees it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The asking end's port.
    pub port: u16,
    /// The query, which may hold a serial number.
    pub query: String,
}

/// A running server; it ends with the program.
pub(super) struct Downstream {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Downstream {
    /// Starts one whose delays have this mean.
    pub(super) fn start(mean: Duration, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::ports::free()?))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let notes = Arc::clone(&asked);
        thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).context("cannot listen")?;
                let mut dice = Dice::new(seed);
                loop {
                    let (stream, peer) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(serve(stream, peer, mean, Dice::new(dice.roll()), Arc::clone(&notes)));
                }
                #[expect(unreachable_code, reason = "it says of which type the errors are")]
                anyhow::Ok(())
            })
        });
        Ok(Self { port, asked })
    }

    /// Where it listens, on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// All requests so far, in their order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().map_or_else(|_| Vec::new(), |asked| asked.clone())
    }
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, mean: Duration, mut dice: Dice, notes: Arc<Mutex<Vec<Asked>>>) {
    let mut head = Vec::new();
    loop {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let line = String::from_utf8_lossy(&head);
        let target = line.split(' ').nth(1).unwrap_or("");
        let query = target.split_once('?').map_or("", |(_, query)| query).to_owned();
        if let Ok(mut asked) = notes.lock() {
            asked.push(Asked { port: peer.port(), query });
        }
        head.clear();
        // Exponential, as waiting in queues is.
        let uniform = (dice.below(1 << 30) as f64 + 1.0) / f64::from(1 << 30);
        tokio::time::sleep(mean.mul_f64((-uniform.ln()).clamp(SHARES.0, SHARES.1))).await;
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
