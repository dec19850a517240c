//! A front end on Tokio's threads that speaks gRPC on both sides: `app-links-rpc PORT LOG DOWNSTREAM...`, each DOWNSTREAM a port of
//! 127.0.0.1. Nothing is written to LOG: a call's message says which request it belongs to.
#![forbid(unsafe_code)]

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, _, behind @ ..] = &words[..] else { bail!("usage: app-links-rpc PORT LOG DOWNSTREAM...") };
    let behind: Vec<u16> = behind.iter().map(|port| port.parse()).collect::<Result<_, _>>()?;
    netspan_tests::rpc::tonic::relay(port.parse()?, &behind).await
}
