//! One attempt to send a batch over gRPC. The body is framed here, as it is: tonic would copy it, and compress it again for
//! each attempt.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, combinators::MapErr};
use hyper::body::{Frame, Incoming, SizeHint};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tonic::{
    Status,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
};

use super::http::{ANSWER_MAX, Body, Connections, HttpTransport, causes};
use crate::export::delivery::{compress::Compression, outcome::Outcome};

/// Marks a status that stands for an answer that is none of the protocol's.
const GARBLED: &str = "netspan-garbled";

/// Sends an encoded request.
pub async fn send(transport: HttpTransport, compression: Compression, body: Bytes) -> Outcome {
    let mut request = tonic::Request::new(());
    *request.metadata_mut() = MetadataMap::from_headers(transport.headers);
    request.set_timeout(transport.timeout);
    let origin = origin(&transport.uri);
    let foreign = Arc::new(OnceLock::new());
    let channel = Channel { connections: transport.client, compression, body, foreign: Arc::clone(&foreign) };
    let mut grpc = Grpc::with_origin(channel, origin).max_decoding_message_size(ANSWER_MAX);
    let path = http::uri::PathAndQuery::from_static(transport.signal.method());
    let result = grpc.unary(request, path, Elsewhere).await;
    if let Some(outcome) = foreign.get() {
        return outcome.clone();
    }
    match result {
        Ok(response) => Outcome::of_grpc(Ok(response.into_inner())),
        Err(status) if status.metadata().contains_key(GARBLED) => Outcome::garbled(status.message()),
        Err(status) => Outcome::of_grpc(Err(&status)),
    }
}

/// The endpoint without its path, which gRPC has none of.
fn origin(endpoint: &Uri) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("a URI with another path is one")
}

/// A message in its frame: whether it is compressed, its length, itself.
struct Framed(VecDeque<Bytes>);

impl Framed {
    fn new(compression: Compression, body: Bytes) -> Self {
        let mut head = BytesMut::with_capacity(5);
        head.put_u8(u8::from(compression != Compression::None));
        // A batch is far below 4 GiB.
        head.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        Self([head.freeze(), body].into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

impl hyper::body::Body for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// The HTTP client as a gRPC channel: what fails before an answer is there as a whole is `UNAVAILABLE`, which is tried again.
struct Channel {
    connections: Connections,
    compression: Compression,
    body: Bytes,
    /// What an answer of HTTP alone means: a proxy's, say, that has no receiver behind it.
    foreign: Arc<OnceLock<Outcome>>,
}

/// An answer's body; that it breaks off is a status as well.
type Answer = MapErr<Incoming, fn(hyper::Error) -> Status>;

impl GrpcService<Body> for Channel {
    type ResponseBody = Answer;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(encoding) = self.compression.encoding() {
            request.headers_mut().insert("grpc-encoding", HeaderValue::from_static(encoding));
        }
        *request.body_mut() = Body::new(Framed::new(self.compression, std::mem::take(&mut self.body)));
        let answer = self.connections.request(request);
        let foreign = Arc::clone(&self.foreign);
        Box::pin(async move {
            let response = answer.await.map_err(|error| {
                let mut status = Status::unavailable(causes(&error));
                if !error.is_connect() {
                    status.metadata_mut().insert(GARBLED, MetadataValue::from_static("1"));
                }
                status
            })?;
            if let Some(outcome) = by_status(&response) {
                // It is asked for once per attempt.
                let _ = foreign.set(outcome);
                return Err(Status::unavailable("no answer of gRPC"));
            }
            let broken: fn(hyper::Error) -> Status = |error| Status::unavailable(causes(&error));
            Ok(response.map(|body| body.map_err(broken)))
        })
    }
}

/// What the status of HTTP says, where it is another one than 200 and there is none of gRPC: the answer is not decoded then.
fn by_status(response: &Response<Incoming>) -> Option<Outcome> {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_foreign = response.status() != StatusCode::OK
        && !headers.contains_key("grpc-status")
        && !kind.starts_with(b"application/grpc");
    // A success without a message of gRPC is none.
    (is_foreign && !response.status().is_success())
        .then(|| Outcome::of_http(response.status(), headers, &[], SystemTime::now()))
}

/// A codec for requests that are put in by the channel.
struct Elsewhere;

impl Codec for Elsewhere {
    type Encode = ();
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

impl Encoder for Elsewhere {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Elsewhere {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    /// The answers of all signals are alike on the wire. An answer that is none of the protocol's, in a response whose status is OK, is as good as an empty one.
    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<ExportTraceServiceResponse>, Status> {
        let message = message.copy_to_bytes(message.remaining());
        Ok(Some(prost::Message::decode(message).unwrap_or_default()))
    }
}
