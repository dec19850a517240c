#!/bin/bash
# A job: the small scenario, under the guest's kernel, with each family and each kind of hook.
set -euo pipefail
# shellcheck source=tests/vm/try.sh
. "${0%/*}/try.sh"
kernel=$(</proc/sys/kernel/osrelease)

for hooks in "--family syscall" "--family socket --hook fentry" "--family socket --hook kprobe"; do
    # shellcheck disable=SC2086  # the flags are words
    try verified -- $hooks
    mixed=(mixed --requests 300 --concurrency 8 --anytime)
    # From 7.0 on kernels preempt lazily, and skip trampolines (Skipped programs in ARCHITECTURE.md): next to nothing may be missing
    # there, and nothing wrong. On all other kernels it has to be exact.
    # shellcheck disable=SC2086
    case "$kernel $hooks" in
    [789].*fentry*) try "${mixed[@]}" --may-miss -- $hooks ;;
    *) try "${mixed[@]}" -- $hooks ;;
    esac
done
try uring -- --family socket
# A service's address that no server has: both ends are known by what TCP counts from.
try translated -- --family socket
# HTTP/2, in the clear and over TLS.
for family in syscall socket; do
    try web --server nginx --client curl --version h2 -- --family "$family"
    # With kernel TLS, where the kernel has it; the module goes again, so that the agent has to await it.
    if modprobe tls; then
        rmmod tls
        try ktls -- --family "$family"
    else
        try web --server nginx --client curl --version h2 --tls -- --family "$family"
    fi
done
# rustls, and Go; under one agent, whose start is most of what this takes.
try web --server hyper,go --client reqwest,go --version h2 --tls -- --family socket
# The whole host, as the agent is installed: the family that the kernel permits.
try host-wide --concurrency 8
try host-wide --concurrency 8 -- --family syscall
verdict
