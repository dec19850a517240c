//! A server behind a front end: it answers each request alike, after a delay of its own choice, and notes who asked.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, unix::pipe},
    runtime::Builder,
};

use super::rpc;
use crate::load::Dice;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nback";
/// Bounds of a delay, in shares of the mean.
const SHARES: (f64, f64) = (0.05, 4.0);

/// A request as a server behind sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The asking end's port.
    pub port: u16,
    /// Which request on that port, from 0; of gRPC, the stream.
    pub ordinal: u32,
    /// The serial number that came with it.
    pub serial: Option<u64>,
}

/// What was asked so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<Asked>>>);

impl Notes {
    pub(super) fn push(&self, asked: Asked) {
        if let Ok(mut all) = self.0.lock() {
            all.push(asked);
        }
    }
}

/// A running server; it ends with the program.
pub(super) struct Downstream {
    port: u16,
    notes: Notes,
}

impl Downstream {
    /// Starts one whose delays have this mean, for HTTP/1.1 or for gRPC.
    pub(super) fn start(is_rpc: bool, mean: Duration, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::ports::free()?))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let notes = Notes::default();
        let noting = notes.clone();
        thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).context("cannot listen")?;
                if is_rpc {
                    return rpc::serve(listener, mean, seed, noting).await;
                }
                let mut dice = Dice::new(seed);
                loop {
                    let (stream, peer) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(serve(stream, peer, mean, Dice::new(dice.roll()), noting.clone()));
                }
            })
        });
        Ok(Self { port, notes })
    }

    /// Where it listens, on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// All requests so far, in their order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.notes.0.lock().map_or_else(|_| Vec::new(), |asked| asked.clone())
    }
}

/// Exponential, as waiting in queues is.
pub(super) fn delay(mean: Duration, dice: &mut Dice) -> Duration {
    let uniform = (dice.below(1 << 30) as f64 + 1.0) / f64::from(1 << 30);
    mean.mul_f64((-uniform.ln()).clamp(SHARES.0, SHARES.1))
}

/// Sleeps as long, to the microsecond: the runtime's own timers go by the millisecond, and whoever waits for them would be
/// answered in batches.
pub(super) async fn nap(length: Duration) -> Result<()> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let it_value = Timespec::try_from(length.max(Duration::from_nanos(1))).context("too long")?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    // No pipe, but it becomes readable like one.
    pipe::Receiver::from_owned_fd_unchecked(timer)?.readable().await?;
    Ok(())
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, mean: Duration, mut dice: Dice, notes: Notes) {
    let mut head = Vec::new();
    let mut ordinal = 0;
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
        let serial = target.split_once("?s=").and_then(|(_, serial)| serial.parse().ok());
        notes.push(Asked { port: peer.port(), ordinal, serial });
        ordinal += 1;
        head.clear();
        if nap(delay(mean, &mut dice)).await.is_err() || stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
