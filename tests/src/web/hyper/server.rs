//! The routes of the test programs on hyper. It takes either version, as the client wants it.
#![forbid(unsafe_code)]

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// Streams per connection that a client may have open at once.
const STREAMS: u32 = 1000;

/// Serves at a port of 127.0.0.1 until it is killed; with certificate and key over TLS.
pub async fn serve(port: u16, certificate: Option<(&Path, &Path)>) -> Result<Infallible> {
    let acceptor = match certificate {
        Some((chain, key)) => Some(TlsAcceptor::from(Arc::new(super::presenting(chain, key)?))),
        None => None,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else { return connection(stream).await };
            // A client that only looks whether somebody listens does not shake hands.
            if let Ok(stream) = acceptor.accept(stream).await {
                connection(stream).await;
            }
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(STREAMS);
    // How a connection ends is the client's to tell.
    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let head = request.method() == Method::HEAD;
    let mut parts = request.uri().path().split('/').skip(1);
    let (route, argument) = (parts.next().unwrap_or("").to_owned(), parts.next().unwrap_or("").to_owned());
    let number: usize = argument.parse().unwrap_or(0);
    let (status, body) = match route.as_str() {
        "hello" => (200, Bytes::from_static(b"hello\n")),
        "echo" => (200, Bytes::from(drain(request.into_body()).await?.to_string())),
        "bytes" => (200, Bytes::from(vec![b'b'; number])),
        "status" if matches!(number, 204 | 304) => (number, Bytes::new()),
        "status" => (number, Bytes::from_static(b"status\n")),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number as u64)).await;
            (200, Bytes::from_static(b"slow\n"))
        }
        _ => (404, Bytes::from_static(b"none\n")),
    };
    // hyper leaves the body of an answer to HEAD away with HTTP/1 only.
    let mut response = Response::new(Full::new(if head { Bytes::new() } else { body.clone() }));
    if head {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    *response.status_mut() = StatusCode::from_u16(status as u16).unwrap_or(StatusCode::BAD_REQUEST);
    Ok(response)
}

async fn drain(mut body: Incoming) -> Result<usize, hyper::Error> {
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        total += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(total)
}
