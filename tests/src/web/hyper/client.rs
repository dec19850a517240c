//! Does what a plan says, over hyper: one task per connection, and on it as many requests at once as the plan wants.
#![forbid(unsafe_code)]

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{
    certificate::NAME,
    connections,
    web::{Exchange, Gate, Plan, Request, Version},
};

/// Does it, and tells each exchange in the order of the answers.
pub async fn send(plan: Plan) -> Result<Vec<Exchange>> {
    let plan = Arc::new(plan);
    let one = |ordinal| {
        let plan = Arc::clone(&plan);
        async move { connection(&plan, ordinal).await }
    };
    connections::all(plan.connections.len(), one).await
}

async fn connection(plan: &Plan, connection: usize) -> Result<Vec<Exchange>> {
    let mut left = plan.connections.get(connection).context("no such connection")?.as_slice();
    let mut exchanges = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let stream = TcpStream::connect(plan.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let here = Here { connection, port: stream.local_addr()?.port(), tls: plan.authority.is_some() };
        let done = match &plan.authority {
            None => over(stream, plan, left, here).await?,
            Some(authority) => {
                let connector = TlsConnector::from(Arc::new(super::trusting(authority, plan.version)?));
                over(connector.connect(ServerName::try_from(NAME)?, stream).await?, plan, left, here).await?
            }
        };
        ensure!(!done.is_empty(), "the server ended the connection before any answer");
        // With HTTP/1.1 a server may end the connection with an answer: the rest goes over a new one.
        left = left.get(done.len()..).unwrap_or_default();
        exchanges.extend(done);
    }
    Ok(exchanges)
}

/// Which connection it is.
#[derive(Clone, Copy)]
struct Here {
    connection: usize,
    port: u16,
    tls: bool,
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    plan: &Plan,
    requests: &[Request],
    here: Here,
) -> Result<Vec<Exchange>> {
    let stream = TokioIo::new(stream);
    let mut exchanges = Vec::with_capacity(requests.len());
    match plan.version {
        Version::H1 => {
            let (mut sender, driver) = http1::handshake(stream).await?;
            let driver = tokio::spawn(driver);
            for request in requests {
                if sender.ready().await.is_err() {
                    break;
                }
                exchanges
                    .push(read(sender.send_request(message(request, here, Version::H1)?).await?, request, here).await?);
            }
            drop(sender);
            driver.await??;
        }
        Version::H2 => {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
            let driver = tokio::spawn(driver);
            let mut flight = JoinSet::new();
            for (ordinal, request) in requests.iter().enumerate() {
                let gate = plan.gate.as_ref().filter(|gate| gate.after == ordinal);
                while flight.len() >= if gate.is_some() { 1 } else { plan.in_flight.max(1) } {
                    exchanges.push(flight.join_next().await.context("nothing in flight")???);
                }
                if let Some(gate) = gate {
                    wait_at(gate, here).await?;
                }
                let mut asked = message(request, here, Version::H2)?;
                if plan.gate.is_some() {
                    asked.headers_mut().insert("x-serial", format!("serial-of-the-request-{ordinal:06}").parse()?);
                }
                let (mut sender, request) = (sender.clone(), request.clone());
                flight.spawn(async move {
                    sender.ready().await?;
                    read(sender.send_request(asked).await?, &request, here).await
                });
            }
            while let Some(done) = flight.join_next().await {
                exchanges.push(done??);
            }
            drop(sender);
            driver.await??;
        }
    }
    Ok(exchanges)
}

async fn wait_at(gate: &Gate, here: Here) -> Result<()> {
    /// Pause between two looks.
    const PAUSE: Duration = Duration::from_millis(5);
    fs::write(gate.reached(here.connection), "")?;
    while !gate.open().exists() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn message(request: &Request, here: Here, version: Version) -> Result<http::Request<Full<Bytes>>> {
    let body = Full::new(Bytes::from(vec![b'b'; request.body]));
    let mut builder = http::Request::builder().method(request.method.as_str());
    builder = match version {
        Version::H1 => builder.uri(&request.path).header("host", NAME),
        Version::H2 => builder.uri(format!("{}://{NAME}{}", if here.tls { "https" } else { "http" }, request.path)),
    };
    builder.body(body).with_context(|| format!("{request:?} is no request"))
}

async fn read(response: http::Response<hyper::body::Incoming>, request: &Request, here: Here) -> Result<Exchange> {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = 0;
    while let Some(frame) = incoming.frame().await {
        body += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    let (method, path) = (request.method.clone(), request.path.clone());
    Ok(Exchange { connection: here.connection, port: here.port, method, path, status, body })
}
