//! Does what a plan says, over reqwest with rustls: one client with one connection for each of the plan's
//! (`netspan-lab send --reqwest`). It knows no gate.
#![forbid(unsafe_code)]

use std::{fs, sync::Arc};

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, Method, redirect};
use tokio::task::JoinSet;

use super::{Exchange, Plan, Request, Version};
use crate::{certificate::NAME, connections};

/// Does it, and tells each exchange in the order of the answers; the port is 0.
pub async fn send(plan: Plan) -> Result<Vec<Exchange>> {
    let plan = Arc::new(plan);
    let one = |ordinal| {
        let plan = Arc::clone(&plan);
        async move { connection(&plan, ordinal).await }
    };
    connections::all(plan.connections.len(), one).await
}

async fn connection(plan: &Plan, connection: usize) -> Result<Vec<Exchange>> {
    let requests = plan.connections.get(connection).context("no such connection")?;
    let client = client(plan)?;
    let base = format!("{}://{NAME}:{}", plan.authority.as_ref().map_or("http", |_| "https"), plan.address.port());
    let mut exchanges = Vec::with_capacity(requests.len());
    let mut flight = JoinSet::new();
    for (ordinal, request) in requests.iter().enumerate() {
        // The first one makes the connection that the others are to use.
        let one = plan.version == Version::H1 || ordinal == 1;
        while flight.len() >= if one { 1 } else { plan.in_flight.max(1) } {
            exchanges.push(flight.join_next().await.context("nothing in flight")???);
        }
        flight.spawn(exchange(client.clone(), base.clone() + &request.path, request.clone(), connection));
    }
    while let Some(done) = flight.join_next().await {
        exchanges.push(done??);
    }
    Ok(exchanges)
}

fn client(plan: &Plan) -> Result<Client> {
    let mut builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).resolve(NAME, plan.address);
    builder = match (plan.version, &plan.authority) {
        (Version::H1, _) => builder.http1_only(),
        (Version::H2, None) => builder.http2_prior_knowledge(),
        (Version::H2, Some(_)) => builder,
    };
    if let Some(authority) = &plan.authority {
        builder = builder.use_rustls_tls().add_root_certificate(Certificate::from_pem(&fs::read(authority)?)?);
    }
    builder.build().context("no client")
}

async fn exchange(client: Client, url: String, request: Request, connection: usize) -> Result<Exchange> {
    let method = Method::from_bytes(request.method.as_bytes())?;
    let mut builder = client.request(method, url);
    if request.body > 0 {
        builder = builder.body(vec![b'b'; request.body]);
    }
    let response = builder.send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?.len() as u64;
    Ok(Exchange { connection, port: 0, method: request.method, path: request.path, status, body })
}
