//! The service on tonic.
#![forbid(unsafe_code)]

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio_stream::{StreamExt, iter};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService},
    transport::{Identity, Server, ServerTlsConfig},
};
use tower::service_fn;

use super::Raw;

/// Serves at a port of 127.0.0.1 until it is killed; with certificate and key over TLS.
pub async fn serve(port: u16, certificate: Option<(&Path, &Path)>) -> Result<()> {
    let mut server = Server::builder();
    if let Some((chain, key)) = certificate {
        let identity = Identity::from_pem(fs::read(chain)?, fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    server.add_service(Lab).serve(address).await.context("the server ended")
}

#[derive(Clone, Debug)]
struct Lab;

impl NamedService for Lab {
    const NAME: &'static str = crate::rpc::SERVICE;
}

impl Service<http::Request<Body>> for Lab {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(Raw);
            Ok(match request.uri().path().rsplit('/').next().unwrap_or("") {
                "Echo" => grpc.unary(service_fn(echo), request).await,
                "Count" => grpc.server_streaming(service_fn(count), request).await,
                "Sum" => grpc.client_streaming(service_fn(sum), request).await,
                "Chat" => grpc.streaming(service_fn(chat), request).await,
                "Fail" => grpc.unary(service_fn(fail), request).await,
                "Slow" => grpc.unary(service_fn(slow), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

type Message = Vec<u8>;
type Answer<T> = Result<Response<T>, Status>;

/// A message as text and as the number it begins with.
fn read(message: &[u8]) -> (String, u64) {
    let text = String::from_utf8_lossy(message).into_owned();
    let number = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    (text, number)
}

async fn echo(request: Request<Message>) -> Answer<Message> {
    Ok(Response::new(request.into_inner()))
}

async fn count(request: Request<Message>) -> Answer<impl tokio_stream::Stream<Item = Result<Message, Status>>> {
    let (text, number) = read(request.get_ref());
    let code = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let end = (code != 0).then(|| Err(Status::new(Code::from_i32(code), "counted")));
    Ok(Response::new(iter((0..number).map(|number| Ok(number.to_string().into_bytes())).chain(end))))
}

async fn sum(request: Request<Streaming<Message>>) -> Answer<Message> {
    let mut messages = request.into_inner();
    let mut total = 0;
    while let Some(message) = messages.message().await? {
        total += read(&message).1;
    }
    Ok(Response::new(total.to_string().into_bytes()))
}

async fn chat(
    request: Request<Streaming<Message>>,
) -> Answer<impl tokio_stream::Stream<Item = Result<Message, Status>>> {
    Ok(Response::new(request.into_inner().map(|message| message)))
}

async fn fail(request: Request<Message>) -> Answer<Message> {
    let (text, code) = read(request.get_ref());
    Err(Status::new(Code::from_i32(code as i32), text.split_once(' ').map_or("", |(_, text)| text)))
}

async fn slow(request: Request<Message>) -> Answer<Message> {
    tokio::time::sleep(Duration::from_millis(read(request.get_ref()).1)).await;
    Ok(Response::new(b"slow".to_vec()))
}
