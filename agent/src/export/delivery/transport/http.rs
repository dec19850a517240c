//! One attempt to send a batch to an endpoint: over HTTP here, over gRPC in [`grpc`]. It does not decide about a second one.

use std::{
    error::Error,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::grpc;
use crate::export::delivery::{
    compress::Compression,
    config::{Endpoint, Protocol, Signal},
    encode::Format,
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
pub(super) const ANSWER_MAX: usize = 64 * 1024;
pub(super) type Body = tonic::body::Body;
pub(super) type Connections = Client<HttpsConnector<HttpConnector>, Body>;

/// Sends batches to one endpoint. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    pub(super) client: Connections,
    pub(super) uri: Uri,
    pub(super) signal: Signal,
    protocol: Protocol,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
}

impl HttpTransport {
    /// Prepares for the endpoint; nothing is connected yet.
    ///
    /// # Errors
    /// The endpoint is `https`, and TLS can't be set up.
    pub fn new(config: &Endpoint) -> Result<Self, TlsError> {
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
        let Endpoint { uri, signal, protocol, timeout, .. } = config;
        Ok(Self { client, uri: uri.clone(), signal: *signal, protocol: *protocol, headers, timeout: *timeout })
    }

    /// How requests travel.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sends one encoded request, and waits for the answer or the time-out.
    pub async fn send(self, format: Format, compression: Compression, body: Bytes) -> Outcome {
        let timeout = self.timeout;
        let attempt = async {
            match self.protocol {
                Protocol::Grpc => grpc::send(self, compression, body).await,
                Protocol::Http | Protocol::Json | Protocol::Zipkin => self.send_http(format, compression, body).await,
            }
        };
        tokio::time::timeout(timeout, attempt)
            .await
            .unwrap_or_else(|_| Outcome::unanswered(format!("no answer within {timeout:?}")))
    }

    async fn send_http(self, format: Format, compression: Compression, body: Bytes) -> Outcome {
        let mut request = Request::new(Body::new(Full::new(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        if let Some(encoding) = compression.encoding() {
            request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
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

fn connector(config: &Endpoint) -> Result<HttpsConnector<HttpConnector>, TlsError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_MAX));
    let tls = if config.uri.scheme_str() == Some("https") { tls::client_config(&config.tls)? } else { tls::unused() };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match config.protocol {
        Protocol::Grpc => builder.enable_http2().wrap_connector(tcp),
        Protocol::Http | Protocol::Json | Protocol::Zipkin => builder.enable_http1().wrap_connector(tcp),
    })
}

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn Error) -> String {
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
