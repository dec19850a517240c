//! gRPC between three implementations: each call that a client made must be a span of each end, with its method, its
//! status and its messages.

use anyhow::Result;
use netspan_tests::rpc::{Case, Peer};

/// One call at a time and many.
fn is_seen(server: Peer, client: Peer, tls: bool) -> Result<()> {
    let _machine = crate::together();
    for in_flight in [1, 40] {
        Case { server, client, tls, connections: 3, each: 48, in_flight }.run(&[])?;
    }
    Ok(())
}

macro_rules! seen {
    ($tls:expr; $($name:ident: $server:ident, $client:ident;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            is_seen(Peer::$server, Peer::$client, $tls)
        })*
    };
}

seen! { false;
    tonic_and_tonic_are_seen: Tonic, Tonic;
    tonic_and_grpcio_are_seen: Tonic, Grpcio;
    tonic_and_grpc_js_are_seen: Tonic, GrpcJs;
    grpcio_and_tonic_are_seen: Grpcio, Tonic;
    grpcio_and_grpcio_are_seen: Grpcio, Grpcio;
    grpcio_and_grpc_js_are_seen: Grpcio, GrpcJs;
    grpc_js_and_tonic_are_seen: GrpcJs, Tonic;
    grpc_js_and_grpcio_are_seen: GrpcJs, Grpcio;
    grpc_js_and_grpc_js_are_seen: GrpcJs, GrpcJs;
}

seen! { true;
    grpc_js_and_grpc_js_are_seen_over_tls: GrpcJs, GrpcJs;
    tonic_and_tonic_are_seen_over_tls: Tonic, Tonic;
    tonic_and_grpc_js_are_seen_over_tls: Tonic, GrpcJs;
    grpc_js_and_tonic_are_seen_over_tls: GrpcJs, Tonic;
    of_grpcio_over_tls_only_the_other_end_is_seen: Tonic, Grpcio;
    without_an_end_that_is_seen_there_are_no_spans: Grpcio, Grpcio;
}
