//! Load of gRPC and servers of it: many calls at once on few connections. A call's message is a serial number, which the agent does not read;
//! its place is its stream.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task::JoinSet,
};

use super::{
    downstream::{Asked, Notes, delay, nap},
    load::{PAUSE, Sent},
};
use crate::{load::Dice, process::Address};

/// Calls at once on one connection.
const STREAMS: u32 = 32;
/// Calls that a server takes at once on one connection.
const STREAMS_MAX: u32 = 1024;

/// Calls by routes chosen by weight, for as long.
pub(super) fn run(
    address: &Address,
    routes: &'static [(u64, &'static str)],
    concurrency: u32,
    length: Duration,
    seed: u64,
) -> Result<Vec<Sent>> {
    let end = Instant::now() + length;
    let address = address.to_string();
    Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let mut workers = JoinSet::new();
        let serials = Arc::new(AtomicU64::new(0));
        let mut left = concurrency;
        while left > 0 {
            let stream = TcpStream::connect(&address).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            let port = stream.local_addr()?.port();
            let (sender, connection) = client::handshake(stream).await?;
            tokio::spawn(connection);
            let here = left.min(STREAMS);
            for worker in (left - here)..left {
                let dice = Dice::new(seed.wrapping_mul(1009).wrapping_add(u64::from(worker)));
                workers.spawn(one(sender.clone(), (port, address.clone()), routes, (end, dice), Arc::clone(&serials)));
            }
            left -= here;
        }
        let mut sent = Vec::new();
        while let Some(own) = workers.join_next().await {
            sent.extend(own.context("a caller panicked")??);
        }
        Ok(sent)
    })
}

async fn one(
    mut sender: client::SendRequest<Bytes>,
    (port, address): (u16, String),
    routes: &'static [(u64, &'static str)],
    (end, mut dice): (Instant, Dice),
    serials: Arc<AtomicU64>,
) -> Result<Vec<Sent>> {
    let mut sent = Vec::new();
    while Instant::now() < end {
        let serial = serials.fetch_add(1, Ordering::Relaxed);
        let request = Request::post(format!("http://{address}/lab.Links/{}", dice.pick(routes)))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .body(())?;
        sender = sender.ready().await?;
        let (answer, mut body) = sender.send_request(request, false)?;
        let ordinal = body.stream_id().as_u32();
        body.send_data(framed(format!("{serial:020}").as_bytes()), true)?;
        let mut body = answer.await.context("no answer")?.into_body();
        read(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = trailers.get("grpc-status").context("no status")?;
        ensure!(status == "0", "status {status:?}: {:?}", trailers.get("grpc-message"));
        sent.push(Sent { port, ordinal, serial });
        nap(PAUSE.mul_f64(dice.below(1000) as f64 / 1000.0)).await?;
    }
    Ok(sent)
}

/// Accepts connections, and answers each call after a delay.
pub(super) async fn serve(listener: TcpListener, mean: Duration, seed: u64, notes: Notes) -> Result<()> {
    let mut dice = Dice::new(seed);
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream, peer, mean, Dice::new(dice.roll()), notes.clone()));
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, mean: Duration, mut dice: Dice, notes: Notes) -> Result<()> {
    let mut connection = server::Builder::new().max_concurrent_streams(STREAMS_MAX).handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, answer) = call?;
        tokio::spawn(answered(request.into_body(), answer, peer.port(), delay(mean, &mut dice), notes.clone()));
    }
    Ok(())
}

async fn answered(
    mut body: RecvStream,
    mut answer: server::SendResponse<Bytes>,
    port: u16,
    delay: Duration,
    notes: Notes,
) -> Result<()> {
    let message = read(&mut body).await?;
    let serial: u64 = String::from_utf8_lossy(message.get(5..).unwrap_or(&[])).parse()?;
    notes.push(Asked { port, ordinal: answer.stream_id().as_u32(), serial: Some(serial) });
    nap(delay).await?;
    let response = Response::builder().header(CONTENT_TYPE, "application/grpc").body(())?;
    let mut body = answer.send_response(response, false)?;
    body.send_data(framed(b"back"), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)?;
    Ok(())
}

/// A message with its length before it.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

async fn read(body: &mut RecvStream) -> Result<BytesMut> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}
