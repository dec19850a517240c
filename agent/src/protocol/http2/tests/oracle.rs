//! hyper and its `h2` as the judge: what they say to each other over a socket pair is read as they meant it, whether the
//! bodies are copied or left out as the kernel side does.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::*;

const REQUESTS: usize = 60;

type Log = Arc<Mutex<Vec<(Flow, Vec<u8>)>>>;

/// One end of the socket pair, which logs what is written to it.
struct Tee {
    io: TokioIo<UnixStream>,
    flow: Flow,
    log: Log,
}

impl Read for Tee {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Tee {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = written {
            self.log.lock().unwrap().push((self.flow, bytes[..n].to_vec()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Body sizes of request and response number `n`.
fn sizes(n: usize) -> (usize, usize) {
    ([0, 0, 1, 300, 20_000][n % 5], [5, 0, 70_000, 1][n % 4])
}

async fn serve(request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    let n: usize = request.uri().path()[1..].parse().unwrap();
    request.into_body().collect().await?;
    let response = hyper::Response::builder().status(200 + n as u16 % 3).header("x-request-id", n.to_string());
    Ok(response.header("set-cookie", "SECRET").body(Full::new(vec![b'r'; sizes(n).1].into())).unwrap())
}

/// What a client and a server write, call by call.
async fn conversation() -> Vec<(Flow, Vec<u8>)> {
    let log = Log::default();
    let (client, server) = UnixStream::pair().unwrap();
    let tee = |io, flow| Tee { io: TokioIo::new(io), flow, log: Arc::clone(&log) };
    let (client, server) = (tee(client, Flow::Requests), tee(server, Flow::Responses));
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let server = tokio::spawn(builder.serve_connection(server, service_fn(serve)));
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), client).await.unwrap();
    let connection = tokio::spawn(connection);
    let calls: Vec<_> = (0..REQUESTS)
        .map(|n| {
            let mut sender = sender.clone();
            let request = hyper::Request::post(format!("http://shop.example/{n}?key=SECRET"))
                .header("traceparent", format!("00-{n:032x}-{n:016x}-01"))
                .header("authorization", "SECRET")
                .body(Full::new(vec![b'q'; sizes(n).0].into()))
                .unwrap();
            tokio::spawn(
                async move { sender.send_request(request).await.unwrap().into_body().collect().await.unwrap() },
            )
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    drop(sender);
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
    Arc::into_inner(log).unwrap().into_inner().unwrap()
}

/// Follows the frames of a flow and leaves out the payloads of DATA.
#[derive(Default)]
struct Walk {
    passed: usize,
    head: Vec<u8>,
    left: usize,
}

impl Walk {
    /// For each byte of a call, whether it is copied.
    fn copies(&mut self, flow: Flow, bytes: &[u8]) -> Vec<bool> {
        let preface = if flow == Flow::Requests { crate::protocol::detect::HTTP2_PREFACE.len() } else { 0 };
        let step = |byte: &u8| {
            self.passed += 1;
            if self.passed <= preface {
                return true;
            }
            if self.left > 0 {
                self.left -= 1;
                return self.head[3] != 0;
            }
            if self.head.len() == 9 {
                self.head.clear();
            }
            self.head.push(*byte);
            if let [a, b, c, _, _, _, _, _, _] = self.head[..] {
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            true
        };
        bytes.iter().map(step).collect()
    }
}

/// The exchanges, in the order of their streams.
fn read(conversation: &[(Flow, Vec<u8>)], is_copied: bool) -> Vec<Exchange> {
    let mut dialogue = Dialogue::fresh();
    let mut walks = [Walk::default(), Walk::default()];
    for (flow, bytes) in conversation {
        let copies = walks[usize::from(*flow == Flow::Responses)].copies(*flow, bytes);
        let mut chunks = Vec::new();
        let mut rest = &bytes[..];
        for run in copies.chunk_by(|a, b| is_copied || a == b) {
            let (part, after) = rest.split_at(run.len());
            rest = after;
            chunks.push(if is_copied || run[0] { Chunk::Copied(part) } else { Chunk::Skipped(part.len() as u64) });
        }
        dialogue = dialogue.call(*flow, &chunks);
    }
    assert_eq!(dialogue.connection.open(), 0);
    assert_eq!(dialogue.connection.counts(), crate::protocol::http2::Counts::default());
    let mut exchanges: Vec<Exchange> = dialogue.finished().into_iter().cloned().collect();
    exchanges.sort_by_key(|exchange| exchange.ordinal);
    exchanges
}

#[tokio::test]
async fn what_hyper_says_is_read_as_it_was_meant() {
    let conversation = conversation().await;
    let exchanges = read(&conversation, true);
    assert_eq!(exchanges, read(&conversation, false), "payload is not needed");
    let mut seen = vec![false; REQUESTS];
    for exchange in &exchanges {
        let (request, response) = (exchange.request.as_ref().unwrap(), exchange.response.as_ref().unwrap());
        let n: usize = text(&request.target[1..]).strip_suffix("?key=REDACTED").unwrap().parse().unwrap();
        seen[n] = true;
        let (sent, answered) = (exchange.sent.unwrap().size, exchange.answered.unwrap().size);
        assert_eq!((sent.body, answered.body), (sizes(n).0 as u64, sizes(n).1 as u64), "{n}");
        assert!(sent.wire > sent.body && answered.wire > answered.body);
        assert_eq!((&request.method[..], response.status), (&b"POST"[..], 200 + n as u16 % 3));
        let has = |headers: &[(Bytes, Bytes)], name: &str, value: &str| {
            headers.iter().any(|(key, got)| key == name && got == value)
        };
        assert!(has(&request.headers, "host", "shop.example"));
        assert!(has(&request.headers, "traceparent", &format!("00-{n:032x}-{n:016x}-01")));
        assert!(has(&response.headers, "x-request-id", &n.to_string()));
        assert_eq!(exchange.incomplete, None);
        assert!(!format!("{exchange:?}").contains("SECRET"));
    }
    assert_eq!(seen, [true; REQUESTS]);
}
