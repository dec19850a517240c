//! Servers and clients of gRPC agree with each other, before any agent looks at them.

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    rpc::{Outcome, Peer, calls},
    scope::Scope,
    truth::same,
};

/// Each client calls the server, in the clear and over TLS, one call at a time and many.
fn answers_all(server: Peer) -> Result<()> {
    let _machine = crate::together();
    for tls in [false, true] {
        let scope = Scope::new()?;
        let running = server.start(&scope, tls)?;
        for (client, in_flight) in Peer::ALL.into_iter().flat_map(|client| [(client, 1), (client, 40)]) {
            let plan = running.plan(calls(3, 48), in_flight)?;
            let called = client.call(&scope, &plan)?;
            let expected = plan.calls().map(|(connection, ordinal, call)| {
                let (status, sent, received) = call.expected();
                Outcome { connection, ordinal, path: call.path(), status, sent, received }
            });
            ensure!(called.pid != running.process.pid(), "the client is the server");
            let told = called.outcomes.into_iter().map(|outcome| {
                let call = &plan.connections[outcome.connection][outcome.ordinal];
                outcome.settled(call)
            });
            same(expected, told).with_context(|| {
                format!("{client:?}, TLS {tls}, {in_flight} in flight; it printed: {}", running.process.printed())
            })?;
        }
    }
    Ok(())
}

#[test]
fn tonic_answers_all_clients() -> Result<()> {
    answers_all(Peer::Tonic)
}

#[test]
fn grpcio_answers_all_clients() -> Result<()> {
    answers_all(Peer::Grpcio)
}

#[test]
fn grpc_js_answers_all_clients() -> Result<()> {
    answers_all(Peer::GrpcJs)
}
