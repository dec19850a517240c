//! Makes the calls of a plan over tonic: a channel per connection, and on it as many calls at once as the plan wants.
#![forbid(unsafe_code)]

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use http::uri::PathAndQuery;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{iter, wrappers::ReceiverStream};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::Raw;
use crate::{
    certificate::NAME,
    connections,
    rpc::{Call, Outcome, Plan},
};

/// Makes the calls, and tells how each ended.
pub async fn call(plan: Plan) -> Result<Vec<Outcome>> {
    let plan = Arc::new(plan);
    let one = |ordinal| {
        let plan = Arc::clone(&plan);
        async move { connection(&plan, ordinal).await }
    };
    connections::all(plan.connections.len(), one).await
}

async fn connection(plan: &Plan, connection: usize) -> Result<Vec<Outcome>> {
    let scheme = if plan.authority.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", plan.address))?;
    if let Some(authority) = &plan.authority {
        let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(authority)?));
        endpoint = endpoint.tls_config(trust.domain_name(NAME))?;
    }
    let channel = endpoint.connect().await.context("cannot connect")?;
    let calls = plan.connections.get(connection).context("no such connection")?;
    let mut outcomes = Vec::with_capacity(calls.len());
    let mut flight = JoinSet::new();
    for (ordinal, call) in calls.iter().enumerate() {
        if flight.len() >= plan.in_flight.max(1) {
            outcomes.push(flight.join_next().await.context("nothing in flight")???);
        }
        let (channel, call) = (channel.clone(), call.clone());
        flight.spawn(async move {
            let mut done = Outcome { connection, ordinal, path: call.path(), status: 0, sent: 0, received: 0 };
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.context("the connection is gone")?;
            if let Err(status) = one(&mut grpc, &call, &mut done).await {
                done.status = i32::from(status.code()).cast_unsigned() as u16;
            }
            anyhow::Ok(done)
        });
    }
    while let Some(done) = flight.join_next().await {
        outcomes.push(done??);
    }
    Ok(outcomes)
}

async fn one(grpc: &mut Grpc<Channel>, call: &Call, done: &mut Outcome) -> Result<(), Status> {
    let path = PathAndQuery::try_from(call.path()).map_err(|_| Status::internal("no path"))?;
    let message = call.message.clone().into_bytes();
    match call.rpc.as_str() {
        "Count" => {
            done.sent = 1;
            let answer = grpc.server_streaming(limited(call, message), path, Raw).await?;
            let mut messages = answer.into_inner();
            while messages.message().await?.is_some() {
                done.received += 1;
            }
        }
        "Sum" => {
            done.sent = call.count;
            let messages = iter((0..call.count).map(move |_| message.clone()));
            grpc.client_streaming(limited(call, messages), path, Raw).await?;
            done.received = 1;
        }
        "Chat" => {
            let (sender, receiver) = mpsc::channel(1);
            // Some servers send not even their head before they have something to say.
            send(&sender, &message, done).await?;
            let answer = grpc.streaming(limited(call, ReceiverStream::new(receiver)), path, Raw).await?;
            chat(sender, answer.into_inner(), &message, call.count, done).await?;
        }
        _ => {
            done.sent = 1;
            grpc.unary(limited(call, message), path, Raw).await?;
            done.received = 1;
        }
    }
    Ok(())
}

async fn send(sender: &mpsc::Sender<Vec<u8>>, message: &[u8], done: &mut Outcome) -> Result<(), Status> {
    sender.send(message.to_vec()).await.map_err(|_| Status::aborted("nobody takes the message"))?;
    done.sent += 1;
    Ok(())
}

/// Sends a message when the one before has come back; the first is sent already.
async fn chat(
    sender: mpsc::Sender<Vec<u8>>,
    mut messages: Streaming<Vec<u8>>,
    message: &[u8],
    count: u32,
    done: &mut Outcome,
) -> Result<(), Status> {
    while done.received < done.sent {
        if messages.message().await?.is_none() {
            return Ok(());
        }
        done.received += 1;
        if done.sent < count {
            send(&sender, message, done).await?;
        }
    }
    drop(sender);
    while messages.message().await?.is_some() {
        done.received += 1;
    }
    Ok(())
}

fn limited<T>(call: &Call, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = call.deadline_ms {
        request.set_timeout(Duration::from_millis(deadline));
    }
    request
}
