//! An HTTP server whose every byte moves through `io_uring`: no `read`, `write` or `accept` of its own.
//!
//! `app-uring PORT`
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use anyhow::Context;
use tokio_uring::net::{TcpListener, TcpStream};

/// Bytes that a request without body may have here.
const REQUEST_MAX: usize = 8192;

fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).context("usage: uring PORT")?.parse()?;
    tokio_uring::start(async move {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio_uring::spawn(serve(stream));
        }
    })
}

/// Until the client ends, or says something too long.
async fn serve(stream: TcpStream) -> Option<()> {
    let mut waiting = Vec::new();
    loop {
        while !waiting.windows(4).any(|end| end == b"\r\n\r\n") {
            let (read, buffer) = stream.read(vec![0; REQUEST_MAX]).await;
            let read = read.ok().filter(|read| *read > 0 && waiting.len() < REQUEST_MAX)?;
            waiting.extend_from_slice(&buffer[..read]);
        }
        let end = waiting.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&waiting[..end]).into_owned();
        waiting.drain(..end);
        let (written, _) = stream.write_all(answer(&head)).await;
        written.ok()?;
    }
}

/// `/hello` and `/bytes/N`.
fn answer(head: &str) -> Vec<u8> {
    let path = head.split(' ').nth(1).unwrap_or("");
    let (status, body) = match path.split('/').collect::<Vec<_>>()[..] {
        ["", "hello"] => ("200 OK", b"hello\n".to_vec()),
        ["", "bytes", length] => ("200 OK", vec![b'b'; length.parse().unwrap_or(0)]),
        _ => ("404 Not Found", b"none\n".to_vec()),
    };
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    if !head.starts_with("HEAD ") {
        answer.extend_from_slice(&body);
    }
    answer
}
