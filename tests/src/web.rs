//! Servers and clients of HTTP/1.1 and HTTP/2, in the clear and over TLS. All servers have the same routes,
//! `/ROUTE/ARGUMENT/ANYTHING`; all clients do what one [`Plan`] says and tell each exchange with the local port that it
//! used, so that a span on the wrong connection shows.
#![forbid(unsafe_code)]

mod apache;
mod client;
mod compact;
mod go;
pub mod hyper;
mod ktls;
mod late;
mod nghttp;
mod nginx;
mod plan;
pub mod reqwest;
mod scenario;
mod server;
mod tools;

pub(crate) use client::run_program;
pub use client::{Client, Driven};
pub use compact::compact;
pub use ktls::ktls;
pub use late::{Known, Late};
pub use nghttp::{Totals, h2load};
pub use plan::{Exchange, Gate, Plan, Request, Version, Wire, requests};
pub use scenario::{Case, run_all};
pub use server::{Running, Server};

/// Makes what servers and clients need from the network, where it is not there yet.
pub fn prepare() -> anyhow::Result<()> {
    go::program().and(crate::python::programs()).map(|_| ())
}
