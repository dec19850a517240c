//! One attempt to send a batch, over gRPC or HTTP. It does not decide about a second one.

use std::{
    error::Error,
    fmt::Write as _,
    io::Write as _,
    time::{Duration, SystemTime},
};

use bytes::{Buf, BufMut as _, Bytes};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tonic::{
    Status,
    client::{Grpc, GrpcService},
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    config::{Config, Protocol},
    outcome::Outcome,
    tls::{self, TlsError},
};

/// Longest time for a connection to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// An idle connection is kept this long.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// A connection that is in use is tested this often, so that a dead one is noticed.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Most of an answer's body that is read.
const ANSWER_MAX: usize = 64 * 1024;
/// The service's method.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Marks a status that stands for an answer that is none of the protocol's.
const GARBLED: &str = "netspan-garbled";

type Body = tonic::body::Body;

/// Sends batches to one endpoint. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    endpoint: Uri,
    protocol: Protocol,
    headers: HeaderMap,
    gzip: bool,
    timeout: Duration,
}

impl Transport {
    /// Prepares for the endpoint; nothing is connected yet.
    ///
    /// # Errors
    /// The endpoint is `https`, and TLS can't be set up.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let mut headers = config.headers.clone();
        let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(agent));
        let grpc = config.protocol == Protocol::Grpc;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .http2_only(grpc)
            .http2_keep_alive_interval(grpc.then_some(PING_EVERY))
            .build(connector(config)?);
        Ok(Self {
            client,
            endpoint: config.endpoint.clone(),
            protocol: config.protocol,
            headers,
            gzip: config.gzip,
            timeout: config.timeout,
        })
    }

    /// Sends one encoded request, and waits for the answer or the time-out.
    pub async fn send(self, body: Bytes) -> Outcome {
        let timeout = self.timeout;
        let attempt = async {
            match self.protocol {
                Protocol::Grpc => self.send_grpc(body).await,
                Protocol::Http => self.send_http(body).await,
            }
        };
        tokio::time::timeout(timeout, attempt)
            .await
            .unwrap_or_else(|_| Outcome::unanswered(format!("no answer within {timeout:?}")))
    }

    async fn send_grpc(self, body: Bytes) -> Outcome {
        let mut request = tonic::Request::new(body);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers);
        request.set_timeout(self.timeout);
        let mut grpc =
            Grpc::with_origin(Channel(self.client), origin(&self.endpoint)).max_decoding_message_size(ANSWER_MAX);
        if self.gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        let path = http::uri::PathAndQuery::from_static(EXPORT);
        match grpc.unary(request, path, Encoded).await {
            Ok(response) => Outcome::of_grpc(Ok(response.into_inner())),
            Err(status) if status.metadata().contains_key(GARBLED) => Outcome::garbled(status.message()),
            Err(status) => Outcome::of_grpc(Err(&status)),
        }
    }

    async fn send_http(self, body: Bytes) -> Outcome {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let body = if self.gzip {
            request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            compressed(&body)
        } else {
            body
        };
        *request.body_mut() = Body::new(Full::new(body));
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Outcome::unanswered(causes(&error)),
            Err(error) => return Outcome::garbled(causes(&error)),
        };
        let (head, body) = response.into_parts();
        // The status alone decides whether the batch was taken; a body that breaks off, or is too long, tells nothing.
        let body = Limited::new(body, ANSWER_MAX).collect().await.map(http_body_util::Collected::to_bytes);
        Outcome::of_http(head.status, &head.headers, &body.unwrap_or_default(), SystemTime::now())
    }
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, TlsError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_MAX));
    let tls =
        if config.endpoint.scheme_str() == Some("https") { tls::client_config(&config.tls)? } else { tls::unused() };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match config.protocol {
        Protocol::Grpc => builder.enable_http2().wrap_connector(tcp),
        Protocol::Http => builder.enable_http1().wrap_connector(tcp),
    })
}

/// The endpoint without its path, which gRPC has none of.
fn origin(endpoint: &Uri) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("a URI with another path is one")
}

fn compressed(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes all writes").into()
}

/// An error with its causes, in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !text.contains(&said) {
            let before = if text.is_empty() { "" } else { ": " };
            write!(text, "{before}{said}").expect("text takes all writes");
        }
        next = error.source();
    }
    text
}

/// The HTTP client as a gRPC channel: what fails before an answer is `UNAVAILABLE`, which is tried again.
struct Channel(Client<HttpsConnector<HttpConnector>, Body>);

impl GrpcService<Body> for Channel {
    type ResponseBody = Incoming;
    type Error = Status;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Incoming>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.request(request);
        Box::pin(async move {
            answer.await.map_err(|error| {
                let mut status = Status::unavailable(causes(&error));
                if !error.is_connect() {
                    status.metadata_mut().insert(GARBLED, MetadataValue::from_static("1"));
                }
                status
            })
        })
    }
}

/// A codec for requests that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    /// An answer that is none of the protocol's, in a response whose status is OK, is as good as an empty one.
    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<ExportTraceServiceResponse>, Status> {
        let message = message.copy_to_bytes(message.remaining());
        Ok(Some(prost::Message::decode(message).unwrap_or_default()))
    }
}
