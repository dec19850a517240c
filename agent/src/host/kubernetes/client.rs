//! Asks the API server: one request at a time, each with the token as it is now. It decides about nothing, and keeps nothing of an answer.

use std::{
    fs::File,
    io::Read as _,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;

use super::cluster::Cluster;
use crate::export::delivery::{config::TlsFiles, retry::retry_after, tls};

/// Longest time for a connection to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest time for an answer to begin.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// Longest time for a page of a list to be there.
const PAGE_TIME_MAX: Duration = Duration::from_mins(1);
/// A silent connection is tested after this time, so that a watch on one that is dead does not wait for nothing.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often it is tested again until it counts as dead.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// So often.
const KEEPALIVE_TIMES: u32 = 3;
/// Bytes of a page of a list at most.
pub(super) const PAGE_MAX: usize = 16 << 20;
/// Bytes of a token at most.
const TOKEN_MAX: u64 = 64 << 10;
/// Bytes of an answer that says what is wrong, at most.
const REASON_MAX: usize = 16 << 10;
/// Characters of the API server's own words that are repeated.
const WORDS_MAX: usize = 300;

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The token can't be read, or TLS can't be set up.
    #[error("{0}")]
    Setup(String),
    /// 401
    #[error("it does not know the service account's token (HTTP 401: {0}); is it the token of this cluster?")]
    Unknown(String),
    /// 403
    #[error(
        "the service account may not list and watch pods (HTTP 403: {0}); bind it to a ClusterRole with list and watch on pods"
    )]
    Forbidden(String),
    /// 410: the list has to be made anew.
    #[error("what was known is too old (HTTP 410)")]
    Gone,
    /// Another status than 200.
    #[error("HTTP {0}: {1}")]
    Status(u16, String, Option<Duration>),
    /// No answer, or half of one.
    #[error("{0}")]
    Broken(String),
    /// An answer longer than the bound.
    #[error("an answer is longer than {PAGE_MAX} bytes")]
    TooLong,
    /// An answer that is not what was asked for.
    #[error("an answer can't be read: {0}")]
    Garbled(String),
}

impl Fault {
    /// Which fault a status is.
    pub(super) fn of(code: u16, words: &str, after: Option<Duration>) -> Self {
        let words = said(words);
        match code {
            401 => Self::Unknown(words),
            403 => Self::Forbidden(words),
            410 => Self::Gone,
            _ => Self::Status(code, words, after),
        }
    }

    /// How long the API server wants to be left alone.
    pub(super) const fn after(&self) -> Option<Duration> {
        match self {
            Self::Status(_, _, after) => *after,
            _ => None,
        }
    }

    /// Whether it is a matter of rights, which waiting alone does not cure.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Forbidden(_))
    }
}

/// Words of another program, in one line that is not too long.
fn said(words: &str) -> String {
    words.chars().map(|one| if one.is_control() { ' ' } else { one }).take(WORDS_MAX).collect()
}

/// Connections to the API server.
#[derive(Debug)]
pub(super) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    cluster: Cluster,
}

impl Client {
    /// Reads the authority; nothing is connected yet.
    pub(super) fn new(cluster: &Cluster) -> Result<Self, Fault> {
        let files = TlsFiles { authorities: Some(cluster.authority.clone()), identity: None };
        let tls = tls::client_config(&files).map_err(|error| Fault::Setup(error.to_string()))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
        tcp.set_keepalive_retries(Some(KEEPALIVE_TIMES));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(tcp);
        let http =
            Http::builder(TokioExecutor::new()).timer(TokioTimer::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self { http, cluster: cluster.clone() })
    }

    /// A page of a list, whole.
    pub(super) async fn page(&self, path: &str) -> Result<Bytes, Fault> {
        let page = async {
            let body = Limited::new(self.get(path).await?.into_body(), PAGE_MAX);
            body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| {
                let is_long = error.downcast_ref::<http_body_util::LengthLimitError>().is_some();
                if is_long { Fault::TooLong } else { Fault::Broken(causes(error.as_ref())) }
            })
        };
        tokio::time::timeout(PAGE_TIME_MAX, page).await.unwrap_or_else(|_| Err(late(PAGE_TIME_MAX)))
    }

    /// An answer that has begun, and is OK.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, Fault> {
        let mut request = Request::new(Empty::new());
        let uri = format!("{}{path}", self.cluster.url).parse();
        *request.uri_mut() = uri.map_err(|error: http::uri::InvalidUri| Fault::Setup(error.to_string()))?;
        let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::AUTHORIZATION, self.token()?);
        let asked = tokio::time::timeout(HEAD_MAX, self.http.request(request)).await;
        let answer = asked.map_err(|_| late(HEAD_MAX))?.map_err(|error| Fault::Broken(causes(&error)))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let (code, after) = (answer.status().as_u16(), answer.headers().get(header::RETRY_AFTER));
        let after = after.and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
        let words = Limited::new(answer.into_body(), REASON_MAX).collect();
        let words = tokio::time::timeout(HEAD_MAX, words).await.ok().and_then(Result::ok);
        let words = words.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let words = serde_json::from_slice::<Status>(&words).map(|status| status.message).unwrap_or_default();
        Err(Fault::of(code, &words, after))
    }

    /// The token as it is now. Its value is in no message.
    fn token(&self) -> Result<HeaderValue, Fault> {
        let path = &self.cluster.token;
        let unusable = |why: &str| Fault::Setup(format!("{}: {why}", path.display()));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text));
        read.map_err(|error| unusable(&error.to_string()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_| unusable("it is no token: it has characters that no header may have"))?;
        if text.trim().is_empty() {
            return Err(unusable("it is empty"));
        }
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The API server's `Status`, where it says what is wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// As HTTP's.
    pub(super) code: u16,
    /// In words.
    pub(super) message: String,
}

pub(super) fn late(after: Duration) -> Fault {
    Fault::Broken(format!("no answer within {after:?}"))
}

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = error.source();
    }
    said(&text)
}
