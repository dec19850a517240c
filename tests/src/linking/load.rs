//! Requests to a front end: some connections, each with one request at a time and a pause after each answer.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{drive::Ask, http::Connection, load::Dice, process::Address};

/// The longest pause.
pub(super) const PAUSE: Duration = Duration::from_millis(4);

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The asking end's port.
    pub port: u16,
    /// Which request on that port, from 0; of gRPC, the stream.
    pub ordinal: u32,
    /// The serial number in its query, or its message.
    pub serial: u64,
}

/// Request ids that requests carry (`X-Request-ID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// None.
    None,
    /// One for each.
    Own,
    /// The same one for all.
    Same,
}

/// Sends requests by routes chosen by weight.
pub(super) fn run(
    address: &Address,
    (routes, ids): (&[(u64, &'static str)], Ids),
    concurrency: u32,
    length: Duration,
    seed: u64,
) -> Result<Vec<Sent>> {
    let end = Instant::now() + length;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..concurrency)
            .map(|worker| scope.spawn(move || one(address, (routes, ids), end, u64::from(worker), seed)))
            .collect();
        let mut sent = Vec::new();
        for worker in workers {
            sent.extend(worker.join().ok().context("a thread of the load panicked")??);
        }
        Ok(sent)
    })
}

fn one(
    address: &Address,
    (routes, ids): (&[(u64, &'static str)], Ids),
    end: Instant,
    worker: u64,
    seed: u64,
) -> Result<Vec<Sent>> {
    let mut dice = Dice::new(seed.wrapping_mul(1009).wrapping_add(worker));
    let mut connection = Connection::open(address)?;
    let mut sent = Vec::new();
    let mut ordinal = 0;
    for number in 0_u32.. {
        if Instant::now() >= end {
            break;
        }
        let serial = worker << 32 | u64::from(number);
        let headers = match ids {
            Ids::None => String::new(),
            Ids::Own => format!("X-Request-ID: {:016x}{:016x}\r\n", dice.roll(), dice.roll()),
            Ids::Same => "X-Request-ID: 3f2504e04f8941d39a0c0305e82c3301\r\n".to_owned(),
        };
        let ask = Ask { headers, ..Ask::get(&format!("/{}?s={serial}", dice.pick(routes))) };
        connection.write(&ask.bytes())?;
        let answer = connection.answer("GET").with_context(|| format!("no answer to {}", ask.target))?;
        sent.push(Sent { port: connection.port(), ordinal, serial });
        ordinal += 1;
        if answer.close {
            (connection, ordinal) = (Connection::open(address)?, 0);
        }
        thread::sleep(PAUSE.mul_f64(dice.below(1000) as f64 / 1000.0));
    }
    Ok(sent)
}
