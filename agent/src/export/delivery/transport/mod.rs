//! One attempt to deliver a batch: to an endpoint or to a file.
#![forbid(unsafe_code)]

mod file;
mod grpc;
mod http;

use bytes::Bytes;

pub use self::{file::FileTransport, http::HttpTransport};
use super::{
    compress::Compression,
    config::{Config, Endpoint, Target},
    encode::{Batch, Format},
    outcome::Outcome,
    tls::TlsError,
};

/// Delivers batches to one target. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub enum Transport {
    /// To an endpoint.
    Http(Box<HttpTransport>),
    /// To a file.
    File(FileTransport),
}

impl Transport {
    /// Prepares; nothing is connected or opened yet.
    ///
    /// # Errors
    /// The endpoint is `https`, and TLS can't be set up.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        match &config.target {
            Target::Endpoint(endpoint) => Self::to(endpoint),
            Target::File(file) => Ok(Self::File(FileTransport::new(file))),
        }
    }

    /// Prepares for an endpoint.
    pub fn to(endpoint: &Endpoint) -> Result<Self, TlsError> {
        Ok(Self::Http(Box::new(HttpTransport::new(endpoint)?)))
    }

    /// Delivers one batch, and waits for the answer or the time-out.
    pub async fn send(self, batch: Batch) -> Outcome {
        let Batch { format, compression, body, .. } = batch;
        self.send_encoded(format, compression, body).await
    }

    /// Delivers one encoded request, and waits for the answer or the time-out.
    pub async fn send_encoded(self, format: Format, compression: Compression, body: Bytes) -> Outcome {
        match self {
            Self::Http(http) => http.send(format, compression, body).await,
            Self::File(file) => file.append(&body),
        }
    }

    /// Sends a request without spans.
    pub async fn greet(self) -> Outcome {
        match self {
            Self::Http(http) => {
                let format = http.protocol().format();
                http.send(format, Compression::None, Bytes::from_static(format.empty())).await
            }
            Self::File(file) => file.append(b""),
        }
    }
}
