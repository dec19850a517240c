//! Spans as they come, as server-sent events: `event: span` with a span as JSON, `event: lost` with the number of spans
//! that a slow client could not be given.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Query as Pairs, State},
};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::channel::Channel;
use tokio::sync::broadcast::error::RecvError;

use super::{Shared, answer::Answer, params::Params, v1};

/// Events that wait for a client to read them.
const WAITING: usize = 64;
/// A comment is sent so often where nothing else is: who went away is noticed by it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// `GET /v1/live`
pub(super) async fn stream(State(state): State<Shared>, Pairs(pairs): Pairs<super::params::Pairs>) -> Answer {
    let filter = Params::read(pairs)?.query.filter;
    let mut spans = state.live.subscribe();
    let (mut events, body) = Channel::<Bytes>::new(WAITING);
    tokio::spawn(async move {
        let mut sent = events.send_data(Bytes::from_static(b": netspan\n\n")).await;
        while sent.is_ok() {
            let event = match tokio::time::timeout(SIGN_OF_LIFE, spans.recv()).await {
                Ok(Ok(span)) if filter.shows(&span) => {
                    let mut event = b"event: span\ndata: ".to_vec();
                    v1::put_span(&mut event, &span);
                    event.extend_from_slice(b"\n\n");
                    event
                }
                Ok(Ok(_)) => continue,
                Ok(Err(RecvError::Lagged(lost))) => format!("event: lost\ndata: {lost}\n\n").into_bytes(),
                Ok(Err(RecvError::Closed)) => return,
                Err(_) => b": still here\n\n".to_vec(),
            };
            sent = events.send_data(event.into()).await;
        }
    });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}
