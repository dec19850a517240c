//! A receiver on a loopback port that answers by a script. It speaks HTTP/1.1 and HTTP/2, so both OTLP transports.

use std::{
    convert::Infallible,
    io::{self, Read as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message as _;
use tokio::{io::AsyncRead, io::AsyncWrite, sync::oneshot};
use tokio_rustls::TlsAcceptor;

/// Longest time that a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// How metrics come by gRPC.
pub const METRICS_METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// A request that came.
#[derive(Debug)]
pub struct Received {
    /// When it was complete.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// The message in it, if it is one of OTLP.
    pub message: ExportTraceServiceRequest,
}

impl Received {
    /// All spans of the request.
    pub fn spans(&self) -> Vec<&Span> {
        self.message.resource_spans.iter().flat_map(|group| &group.scope_spans).flat_map(|group| &group.spans).collect()
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An HTTP response.
    Http(u16, Vec<(&'static str, &'static str)>, Bytes),
    /// A gRPC response: code, message, `grpc-status-details-bin`, and the answer's message if the code is 0.
    Grpc(i32, &'static str, Option<String>, Vec<u8>),
    /// None, ever.
    Silence,
    /// A gRPC response that breaks off in its message.
    Broken,
}

impl Answer {
    /// The plain success of the protocol that the request came by.
    pub fn ok(grpc: bool) -> Self {
        if grpc { Self::Grpc(0, "", None, Vec::new()) } else { Self::Http(200, Vec::new(), Bytes::new()) }
    }
}

/// Versions of HTTP that a receiver speaks.
#[derive(Clone, Copy)]
enum Versions {
    One,
    Two,
    Both,
}

type Script = Arc<Mutex<dyn FnMut(u64) -> Answer + Send>>;
type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// The receiver; it ends when it is dropped.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    requests: mpsc::Receiver<Received>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Listens on a free port; `script` says the answer to the n-th request, from 0.
    pub fn start(script: impl FnMut(u64) -> Answer + Send + 'static) -> Self {
        Self::on("127.0.0.1:0".parse().expect("an address"), None, script)
    }

    /// The same, of HTTP/2 only, or of HTTP/1 only.
    pub fn of_one_version(http2: bool, script: impl FnMut(u64) -> Answer + Send + 'static) -> Self {
        let version = if http2 { Versions::Two } else { Versions::One };
        Self::with("127.0.0.1:0".parse().expect("an address"), None, version, script)
    }

    /// The same on an address of choice, and with TLS if there is an acceptor.
    pub fn on(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        script: impl FnMut(u64) -> Answer + Send + 'static,
    ) -> Self {
        Self::with(address, tls, Versions::Both, script)
    }

    fn with(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        versions: Versions,
        script: impl FnMut(u64) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("an address");
        let (told, requests) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let script: Script = Arc::new(Mutex::new(script));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, tls, versions, &script, &told) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// The next request.
    pub fn next(&self) -> Received {
        self.requests.recv_timeout(PATIENCE).expect("a request within the test's patience")
    }

    /// The requests that came and were not looked at yet.
    pub fn rest(&self) -> Vec<Received> {
        self.requests.try_iter().collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the receiver does not panic");
        }
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    versions: Versions,
    script: &Script,
    told: &mpsc::Sender<Received>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let count = Arc::new(Mutex::new(0));
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        let (script, told, count) = (Arc::clone(script), told.clone(), Arc::clone(&count));
        match tls.clone() {
            None => drop(tokio::spawn(connection(socket, versions, script, told, count))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(socket) = tls.accept(socket).await {
                    connection(socket, versions, script, told, count).await;
                }
            })),
        }
    }
}

async fn connection(
    socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
    versions: Versions,
    script: Script,
    told: mpsc::Sender<Received>,
    count: Arc<Mutex<u64>>,
) {
    let service = service_fn(|request| {
        let (script, told, count) = (Arc::clone(&script), told.clone(), Arc::clone(&count));
        async move {
            let received = received(request).await;
            // A test that has seen enough does not listen any more.
            let _ = told.send(received);
            let ordinal = {
                let mut count = count.lock().expect("not poisoned");
                *count += 1;
                *count - 1
            };
            let answer = (script.lock().expect("not poisoned"))(ordinal);
            response(answer).await
        }
    });
    // A client that goes away is none of the test's business.
    let server = match versions {
        Versions::Both => auto::Builder::new(TokioExecutor::new()),
        Versions::One => auto::Builder::new(TokioExecutor::new()).http1_only(),
        Versions::Two => auto::Builder::new(TokioExecutor::new()).http2_only(),
    };
    let _ = server.serve_connection(TokioIo::new(socket), service).await;
}

async fn received(request: Request<Incoming>) -> Received {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await.expect("a body").to_bytes();
    let is = |name: &str, value: &str| head.headers.get(name).is_some_and(|found| found == value);
    let mut encoding = head.headers.get("content-encoding").cloned();
    if is("content-type", "application/grpc") {
        encoding = (body[0] == 1).then(|| head.headers["grpc-encoding"].clone());
        assert_eq!(u32::from_be_bytes(body[1..5].try_into().expect("4 bytes")) as usize, body.len() - 5);
        body = body.slice(5..);
    }
    let mut plain = Vec::new();
    match encoding.as_ref().map(|encoding| encoding.to_str().expect("text")) {
        None => plain.extend_from_slice(&body),
        Some("gzip") => drop(flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip")),
        Some("zstd") => plain = zstd::decode_all(&*body).expect("zstd"),
        Some(other) => panic!("{other}"),
    }
    body = plain.into();
    let path = head.uri.path().to_owned();
    let message = match (path.as_str(), is("content-type", "application/json")) {
        // A test of metrics decodes them itself.
        ("/v1/metrics" | METRICS_METHOD, _) => ExportTraceServiceRequest::default(),
        ("/v1/traces", true) => serde_json::from_slice(&body).expect("a request of the protocol, in JSON"),
        (_, true) => ExportTraceServiceRequest::default(),
        (_, false) => ExportTraceServiceRequest::decode(body.clone()).expect("a request of the protocol"),
    };
    Received { at: Instant::now(), path, headers: head.headers, body, message }
}

async fn response(answer: Answer) -> Result<Response<AnswerBody>, Infallible> {
    Ok(match answer {
        Answer::Silence => std::future::pending().await,
        Answer::Http(status, headers, body) => {
            let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            for (name, value) in headers {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        }
        Answer::Grpc(code, message, details, body) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", code.into());
            trailers.insert("grpc-message", HeaderValue::from_static(message));
            if let Some(details) = details {
                trailers.insert("grpc-status-details-bin", details.parse().expect("base64"));
            }
            let mut framed = Vec::new();
            if code == 0 {
                framed.push(0);
                framed.extend_from_slice(&u32::try_from(body.len()).expect("small").to_be_bytes());
                framed.extend_from_slice(&body);
            }
            let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
            let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        }
        Answer::Broken => {
            let begun = Full::new(Bytes::from_static(&[0, 0])).map_err(|never| match never {});
            let broken = std::future::ready(Some(Err(io::Error::other("broken"))));
            let mut response = Response::new(begun.with_trailers(broken).boxed_unsync());
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        }
    })
}
