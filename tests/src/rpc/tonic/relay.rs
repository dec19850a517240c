//! A service on tonic, `lab.Links`, whose methods call other servers before they answer.
#![forbid(unsafe_code)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc as Client,
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService},
    transport::{Channel, Endpoint, Server},
};
use tower::service_fn;

use super::Raw;
use crate::load::Dice;

/// Serves at a port of 127.0.0.1 until it is killed; what it calls listens at the other ports.
pub async fn relay(port: u16, behind: &[u16]) -> Result<()> {
    let mut channels = Vec::new();
    for behind in behind {
        channels.push(Endpoint::from_shared(format!("http://127.0.0.1:{behind}"))?.connect_lazy());
    }
    let links = Links { channels: channels.into(), dice: Arc::new(Mutex::new(Dice::new(7))) };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Server::builder().add_service(links).serve(address).await.context("the server ended")
}

#[derive(Clone, Debug)]
struct Links {
    channels: Arc<[Channel]>,
    dice: Arc<Mutex<Dice>>,
}

impl NamedService for Links {
    const NAME: &'static str = "lab.Links";
}

impl Service<http::Request<Body>> for Links {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let links = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or("").to_owned();
            let work = service_fn(move |request: Request<Vec<u8>>| {
                let (links, method) = (links.clone(), method.clone());
                async move {
                    links.work(&method, request.get_ref()).await?;
                    Ok::<_, Status>(Response::new(b"done".to_vec()))
                }
            });
            Ok(Grpc::new(Raw).unary(work, request).await)
        })
    }
}

impl Links {
    fn below(&self, bound: u64) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(bound)
    }

    async fn call(&self, which: usize, method: &'static str, message: &[u8]) -> Result<(), Status> {
        let channel = self.channels.get(which).ok_or_else(|| Status::internal("nobody is behind"))?;
        let mut client = Client::new(channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        client.unary(Request::new(message.to_vec()), PathAndQuery::from_static(method), Raw).await.map(|_| ())
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_micros(2000 + self.below(6000))).await;
    }

    async fn work(&self, method: &str, message: &[u8]) -> Result<(), Status> {
        match method {
            "one" => self.call(0, "/lab.Back/A", message).await?,
            "sequence" => {
                self.call(0, "/lab.Back/A", message).await?;
                self.call(1, "/lab.Back/B", message).await?;
            }
            "parallel" => {
                tokio::try_join!(self.call(0, "/lab.Back/A", message), self.call(1, "/lab.Back/B", message))?;
                self.call(0, "/lab.Back/C", message).await?;
            }
            "cached" => {
                self.call(0, "/lab.Back/A", message).await?;
                if self.below(2) == 0 {
                    self.call(1, "/lab.Back/B", message).await?;
                }
            }
            "timer" => {
                self.pause().await;
                self.call(0, "/lab.Back/A", message).await?;
                self.pause().await;
                self.call(1, "/lab.Back/B", message).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
