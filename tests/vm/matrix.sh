#!/bin/bash
# HTTP/2, gRPC and TLS between all kinds of servers and clients, in the family `socket`: what `tests/tests/real/seen.rs` and
# `rpc_seen.rs` do natively in the family `syscall`. `cargo xtask vm --kernel 6.12 --job tests/vm/matrix.sh`; it takes its time.
set -euo pipefail
# shellcheck source=tests/vm/try.sh
. "${0%/*}/try.sh"

try web --all -- --family socket
for pair in "nghttpd nghttp" "go curl" "nginx node" "node curl" "hyper hyper" "hyper reqwest"; do
    read -r server client <<<"$pair"
    try web --server "$server" --client "$client" --version h2 --tls --in-flight 100 -- --family socket
done
for pair in "gunicorn requests" "uvicorn httpx" "nginx gnutls-cli" "hyper aiohttp"; do
    read -r server client <<<"$pair"
    try web --server "$server" --client "$client" --version h1 --tls --in-flight 1 -- --family socket
done
for pair in "grpcio tonic" "tonic grpcio" "grpc-js grpcio"; do
    read -r server client <<<"$pair"
    try rpc --server "$server" --client "$client" -- --family socket
done
for pair in "tonic tonic" "grpc-js grpc-js" "tonic grpc-js" "grpc-js tonic"; do
    read -r server client <<<"$pair"
    try rpc --server "$server" --client "$client" --tls -- --family socket
done
verdict
