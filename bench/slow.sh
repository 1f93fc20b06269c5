#!/usr/bin/env bash
# What do bad peers cost? Thousands of each kind beside 20 well-behaved clients: they send their CONNECT a byte a second (byte), ask
# for much and never read it (deaf), send one byte and no more (half), begin a TLS handshake and never answer (handshake).
#
#   bench/slow.sh [--connections N] [--seconds N] [--only byte|deaf|half|handshake]...
#
#   --connections  of each kind (2000)
#   --seconds      of each kind (30)
#   --only         this kind (repeatable; all four)
#
# Everything over TLS. Server on core 0 with one shard, started anew for each kind, clients on core 1. Traffic stays on loopback.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh

connections=2000 seconds=30 kinds=()
port=28913 rest_port=28914 tls_port=28918

while [[ $# -gt 0 ]]; do
    case $1 in
        --connections) connections=${2:?--connections N}; shift ;;
        --seconds) seconds=${2:?--seconds N}; shift ;;
        --only) kinds+=("${2:?--only byte|deaf|half|handshake}"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
    shift
done
[[ ${#kinds[@]} -gt 0 ]] || kinds=(byte deaf half handshake)
for kind in "${kinds[@]}"; do
    [[ $kind =~ ^(byte|deaf|half|handshake)$ ]] || fail "--only $kind: byte, deaf, half or handshake"
done

workplace

build
certificate "$work"
status=0
for kind in "${kinds[@]}"; do
    rm -rf "$work/data"
    serve "$work/data" "$work/log" "$port" "$rest_port" "$tls_port"
    "$load" fleet --rest "http://127.0.0.1:$rest_port" --count "$((connections + 20))" --tokens "$work/tokens" >&2
    "$load" slow --mqtt "127.0.0.1:$tls_port" --tls --cafile "$work/server.pem" --connections "$connections" --kind "$kind" \
        --duration "${seconds}s" --tokens "$work/tokens" --core 1 --pid "$pid" --json "$work/$kind.json" >&2 || status=$?
    stop
done

echo
echo "$(date -u +%F), $(nproc) cores, commit $(git rev-parse --short HEAD), $connections bad peers of each kind for $seconds s over TLS, 20 well-behaved clients"
echo
echo "| bad peers | closed by the server | after p50 / at most, s | still open | server CPU s | RSS before / highest / afterwards, MiB | ack p50 / p99 before, ms | during | after | lost of the well-behaved |"
echo "|---|---|---|---|---|---|---|---|---|---|"
for kind in "${kinds[@]}"; do
    [[ -s $work/$kind.json ]] || { echo "| $kind | did not run | | | | | | | | |"; continue; }
    jq -r '
        def tenth: . * 10 | round / 10;
        def mib: . / 1048576 | round;
        def acks: "\(.p50 / 10 | round / 100) / \(.p99 / 10 | round / 100)";
        .slow[] | "| \(.kind) | \(.closed_by_server) of \(.peers) | \(.closed_after_us.p50 / 1e6 | tenth) / \(.closed_after_us.max / 1e6 | tenth)" +
        " | \(.still_open) | \(.server.cpu_s | tenth)" +
        " | \(.server.rss_before_bytes | mib) / \(.server.rss_peak_bytes | mib) / \(.server.rss_after_bytes | mib)" +
        " | \(.witness_ack_us.before | acks) | \(.witness_ack_us.during | acks) | \(.witness_ack_us.after | acks) | \(.witness_lost) |"
    ' "$work/$kind.json"
done
exit "$status"
