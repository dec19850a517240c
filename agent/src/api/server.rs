//! Connections: accepted, bounded in number and time, their requests checked and handed to the routes.

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{Method, Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{Shared, answer, guard::Guard, health, jaeger, links, live, metrics, shapes, ui, v1, zipkin};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for a request's head, and be silent between two requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take to come about.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may leave what was sent to it unread.
const UNREAD_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's head, its target included.
const HEAD_MAX: usize = 16 << 10;
/// Pause after an accept that failed: descriptors may be exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, guard: Guard, state: Shared) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            log::error!("the API can't be there: {error}");
            return std::future::pending().await;
        }
    };
    let routes = routes(state);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::debug!("API: accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A client that reads nothing any more is given up by the kernel.
        let unread = u32::try_from(UNREAD_PATIENCE.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, unread) {
            log::debug!("API: TCP_USER_TIMEOUT: {error}");
        }
        let (guard, routes) = (guard.clone(), TowerToHyperService::new(routes.clone()));
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(request, guard.clone(), routes.clone()));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .max_buf_size(HEAD_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                log::debug!("API: a connection: {error}");
            }
            drop(place);
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    guard: Guard,
    routes: TowerToHyperService<Router>,
) -> Result<Response<Body>, std::convert::Infallible> {
    use hyper::service::Service as _;
    let refused = guard.check(request.uri(), request.headers()).err().or_else(|| {
        let may_change = !matches!(*request.method(), Method::GET | Method::HEAD);
        may_change.then_some((StatusCode::METHOD_NOT_ALLOWED, "only GET is answered"))
    });
    let mut response = match refused {
        Some((status, why)) => answer::error(status, why),
        None => match timeout(ANSWER_PATIENCE, routes.call(request)).await {
            Ok(Ok(response)) => response,
            Err(_) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "the answer takes too long"),
        },
    };
    answer::harden(response.headers_mut());
    Ok(response)
}

fn routes(state: Shared) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics::page))
        .route("/v1/openapi.json", get(v1::openapi))
        .route("/v1/spans", get(v1::spans))
        .route("/v1/traces", get(v1::traces))
        .route("/v1/traces/{id}", get(v1::trace))
        .route("/v1/services", get(v1::services))
        .route("/v1/stat", get(v1::stat))
        .route("/v1/map", get(v1::map))
        .route("/v1/links", get(links::links))
        .route("/v1/heat", get(shapes::heat))
        .route("/v1/paths", get(shapes::paths))
        .route("/v1/health", get(health::health))
        .route("/v1/doctor", get(health::doctor))
        .route("/v1/live", get(live::stream))
        .route("/api/services", get(jaeger::services))
        .route("/api/services/{*rest}", get(jaeger::operations_of))
        .route("/api/operations", get(jaeger::operations))
        .route("/api/traces", get(jaeger::traces))
        .route("/api/traces/{id}", get(jaeger::trace))
        .route("/api/dependencies", get(jaeger::dependencies))
        .route("/api/v2/services", get(zipkin::services))
        .route("/api/v2/remoteServices", get(zipkin::remote_services))
        .route("/api/v2/spans", get(zipkin::names))
        .route("/api/v2/traces", get(zipkin::traces))
        .route("/api/v2/trace/{id}", get(zipkin::trace))
        .route("/api/v2/traceMany", get(zipkin::many))
        .route("/api/v2/dependencies", get(zipkin::dependencies))
        .route("/api/v2/autocompleteKeys", get(zipkin::keys))
        .route("/api/v2/autocompleteValues", get(zipkin::values))
        .fallback(ui::file)
        .with_state(state)
}
