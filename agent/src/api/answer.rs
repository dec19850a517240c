//! Answers and errors as HTTP responses, and questions to the store off the event loop.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value as Json;

use super::State;
use crate::store::{QueryError, Reader};

/// How long a question may wait for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// Why a request is not answered: a status and a line for people.
#[derive(Debug)]
pub struct Failure {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

impl Failure {
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, why: why.into() }
    }

    pub(super) fn missing(why: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, why: why.into() }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let status = match error {
            QueryError::TooLong => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Directory(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, why: error.to_string() }
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        error(self.status, &self.why)
    }
}

/// An answer, or why there is none.
pub type Answer = Result<Response<Body>, Failure>;

/// A response of JSON.
pub fn json(value: &Json) -> Response<Body> {
    body("application/json", value.to_string())
}

/// A response.
pub fn body(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An error, as all of our own API's are.
pub fn error(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = json(&serde_json::json!({ "error": why }));
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What every response says to browsers: it is what it says it is, is shown in no frame, and is not kept.
pub fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        // What an answer says for itself stays.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Asks the store, on a thread for that.
pub async fn ask<T: Send + 'static>(
    state: &State,
    question: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Failure> {
    let Some(store) = &state.store else {
        return Err(Failure::missing("there is no store: the agent was started with --no-store"));
    };
    let busy = || Failure { status: StatusCode::SERVICE_UNAVAILABLE, why: "too many questions at a time".to_owned() };
    let turn = tokio::time::timeout(TURN_PATIENCE, state.questions.acquire()).await;
    let Ok(Ok(turn)) = turn else { return Err(busy()) };
    let reader = store.reader.clone();
    let answered = tokio::task::spawn_blocking(move || question(&reader)).await;
    drop(turn);
    match answered {
        Ok(answer) => Ok(answer?),
        Err(error) => {
            log::error!("API: a question to the store panicked: {error}; please report this");
            Err(Failure { status: StatusCode::INTERNAL_SERVER_ERROR, why: "the question failed".to_owned() })
        }
    }
}
