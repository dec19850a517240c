//! The routes of the test programs on axum.
#![forbid(unsafe_code)]

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).unwrap_or_default().parse()?;
    let routes = Router::new()
        .route("/hello", any(async || "hello\n"))
        .route("/echo", any(async |body: Bytes| body.len().to_string()))
        .route("/bytes/{n}", get(async |Path(n): Path<usize>| vec![b'b'; n]))
        .route("/chunked/{n}", get(chunked))
        .route("/status/{n}", any(status))
        .route("/slow/{n}", get(slow))
        .route("/upgrade", get(upgrade))
        // Axum refuses bodies above 2 MB; nothing here sends more.
        .fallback(async || (StatusCode::NOT_FOUND, "none\n"));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn chunked(Path(n): Path<usize>) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        let mut left = n;
        while left > 0 {
            let size = left.min(1000);
            if sender.send(Bytes::from(vec![b'c'; size])).await.is_err() {
                return;
            }
            left -= size;
        }
    });
    Body::from_stream(Pieces(receiver))
}

/// The receiving end of a channel as a stream of pieces.
struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

async fn status(Path(code): Path<u16>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    match code {
        204 | 304 => status.into_response(),
        _ => (status, "status\n").into_response(),
    }
}

async fn slow(Path(milliseconds): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "slow\n"
}

async fn upgrade(request: Request) -> impl IntoResponse {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut stream = hyper_util::rt::TokioIo::new(upgraded);
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let headers = HeaderMap::from_iter([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("echo")),
    ]);
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}
