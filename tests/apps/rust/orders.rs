//! The shop's order service: axum, with Redis behind it. An ordinary program: it knows nothing of tracing.
//!
//! `shop-orders PORT REDIS_PORT`
#![forbid(unsafe_code)]

use std::{fmt::Write, sync::Arc};

use anyhow::{Context, bail};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Mutex,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut ports = std::env::args().skip(1).map(|text| text.parse::<u16>());
    let (Some(own), Some(redis)) = (ports.next(), ports.next()) else { bail!("usage: orders PORT REDIS_PORT") };
    let redis = Redis::connect(redis?).await.context("Redis does not answer")?;
    let routes = Router::new()
        .route("/orders", post(place))
        .route("/orders/{id}", get(look))
        .with_state(Arc::new(Mutex::new(redis)));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", own?)).await?;
    axum::serve(listener, routes).await?;
    Ok(())
}

type Shared = State<Arc<Mutex<Redis>>>;

#[derive(Deserialize)]
struct Wish {
    product: u32,
    amount: u32,
}

#[derive(Serialize)]
struct Order {
    id: i64,
    text: String,
}

async fn place(State(redis): Shared, Json(wish): Json<Wish>) -> Result<(StatusCode, Json<Order>), StatusCode> {
    let mut redis = redis.lock().await;
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let Reply::Number(id) = redis.call(&["INCR", "orders"]).await.map_err(failed)? else {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let text = format!("{} of product {}", wish.amount, wish.product);
    redis.call(&["SET", &format!("order:{id}"), &text]).await.map_err(failed)?;
    Ok((StatusCode::CREATED, Json(Order { id, text })))
}

async fn look(State(redis): Shared, Path(id): Path<i64>) -> Result<Json<Order>, StatusCode> {
    match redis.lock().await.call(&["GET", &format!("order:{id}")]).await {
        Ok(Reply::Text(Some(text))) => Ok(Json(Order { id, text })),
        Ok(_) => Err(StatusCode::NOT_FOUND),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// As much of Redis's protocol as the shop needs.
struct Redis(BufReader<TcpStream>);

enum Reply {
    Number(i64),
    Text(Option<String>),
}

impl Redis {
    async fn connect(port: u16) -> anyhow::Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?)))
    }

    async fn call(&mut self, words: &[&str]) -> anyhow::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            write!(request, "${}\r\n{word}\r\n", word.len())?;
        }
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let (kind, rest) = line.trim_end().split_at_checked(1).context("empty reply")?;
        match kind {
            ":" => Ok(Reply::Number(rest.parse()?)),
            "+" => Ok(Reply::Text(Some(rest.to_owned()))),
            "$" => match usize::try_from(rest.parse::<i64>()?) {
                Err(_) => Ok(Reply::Text(None)),
                Ok(length) => {
                    let mut text = vec![0; length + 2];
                    self.0.read_exact(&mut text).await?;
                    text.truncate(length);
                    Ok(Reply::Text(Some(String::from_utf8(text)?)))
                }
            },
            _ => bail!("Redis says {}", line.trim_end()),
        }
    }
}
