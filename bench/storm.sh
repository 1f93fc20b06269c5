#!/usr/bin/env bash
# Does a fleet that loses all its connections at once come back by itself, and do those who stayed notice? Connects it, drops it,
# lets it come back as devices do, over TCP, over TLS with the sessions it had, and over TLS with full handshakes.
#
#   bench/storm.sh [--connections N] [--within TIME] [--patience TIME] [--only tcp|resumed|full]...
#
#   --connections  of the fleet (10000)
#   --within       the first attempts are spread over this time (0s: all at once)
#   --patience     how long a client waits for its CONNACK before it gives an attempt up (10s)
#   --only         this kind (repeatable; all three)
#
# Back-off of the clients: at once, then 1 s doubling to 60 s, each pause anywhere in its second half. Server on core 0 with one
# shard, clients on core 1, both with as many descriptors as this user may have. Traffic stays on loopback.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh

connections=10000 within=0s patience=10s kinds=()
port=28903 rest_port=28904 tls_port=28908

while [[ $# -gt 0 ]]; do
    case $1 in
        --connections) connections=${2:?--connections N}; shift ;;
        --within) within=${2:?--within TIME}; shift ;;
        --patience) patience=${2:?--patience TIME}; shift ;;
        --only) kinds+=("${2:?--only tcp|resumed|full}"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
    shift
done
[[ ${#kinds[@]} -gt 0 ]] || kinds=(tcp resumed full)
for kind in "${kinds[@]}"; do
    [[ $kind =~ ^(tcp|resumed|full)$ ]] || fail "--only $kind: tcp, resumed or full"
done

workplace

build
certificate "$work"
status=0
for kind in "${kinds[@]}"; do
    rm -rf "$work/data"
    serve "$work/data" "$work/log" "$port" "$rest_port" "$tls_port"
    "$load" fleet --rest "http://127.0.0.1:$rest_port" --count "$((connections + 20))" --tokens "$work/tokens" >&2
    to=(--mqtt "127.0.0.1:$tls_port" --tls --cafile "$work/server.pem")
    case $kind in
        tcp) to=(--mqtt "127.0.0.1:$port") ;;
        full) to+=(--no-resumption) ;;
    esac
    echo "$kind:" >&2
    "$load" storm "${to[@]}" --connections "$connections" --tokens "$work/tokens" --core 1 --pid "$pid" --within "$within" \
        --patience "$patience" --json "$work/$kind.json" >&2 || status=$?
    stop
done

echo
echo "$(date -u +%F), $(nproc) cores, commit $(git rev-parse --short HEAD), $connections connections dropped at once, first attempts within $within, 20 that stay"
echo
echo "| storm | all had tried, s | back 50 % / 99 % / all, s | attempts | resumed | refused, by kind | server CPU s | RSS before / highest, MiB | ack p50 / p99 before, ms | during | after | lost of those who stayed |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|"
for kind in "${kinds[@]}"; do
    [[ -s $work/$kind.json ]] || { echo "| $kind | did not run | | | | | | | | | | |"; continue; }
    jq -r --arg kind "$kind" '
        def tenth: if . == null then "never" else . * 10 | round / 10 end;
        def mib: . / 1048576 | round;
        def acks: "\(.p50 / 10 | round / 100) / \(.p99 / 10 | round / 100)";
        def refused: if . == {} then "none" else to_entries | map("\(.key) \(.value)") | join(", ") end;
        "| \($kind) | \(.tried_s | tenth) | \(.back_s.p50 | tenth) / \(.back_s.p99 | tenth) / \(.back_s.all | tenth) | \(.attempts) | \(.resumed)" +
        " | \(.refusals | refused) | \(.server.cpu_s | tenth) | \(.server.rss_before_bytes | mib) / \(.server.rss_peak_bytes | mib)" +
        " | \(.witness_ack_us.before | acks) | \(.witness_ack_us.during | acks) | \(.witness_ack_us.after | acks) | \(.witness_lost) |"
    ' "$work/$kind.json"
done
exit "$status"
