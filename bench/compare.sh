#!/usr/bin/env bash
# Measures Tidegate beside other brokers, one after the other, in one run on one machine, and prints one table; a second, small one
# for TLS.
#
#   bench/compare.sh [--only PEER,...] [--seconds N] [--warmup N] [--quick] [--rounds N] [--idle N] [--growth] [--no-install]
#                    [--out FILE]
#
#   PEER        floor mosquitto nats rumqttd mqttv5 rmqttd tidegate tidegate-buffered tidegate-epoll
#               mosquitto-tls tidegate-tls, or `tls` for both (default: all)
#   --seconds   measured seconds of each cell (60); --quick is 8 with a warm-up of 2 and 2,000 idle connections
#   --rounds    rounds over all peers, each cell's median is shown (1)
#   --growth    also 5,000 connections and 100,000 known devices beside 500 and 1,000 (creates the devices first)
#   --out       write the table there, too
#
# TLS: one server with a plain and a TLS listener; the same load over both, hence the ratio; clients that only come and go, with full
# handshakes and with resumed sessions; silent connections. TLS 1.3, ECDSA P-256, a certificate made on the spot.
#
# Each server has core 0, the generator core 1. CPU is the whole process's, all threads, from the end of the warm-up until the
# process is idle after the load (so that flushes and compactions count). TCP_NODELAY is on everywhere it can be set.
# Installs what is missing: Mosquitto and NATS from Debian, the brokers in Rust from crates.io. Traffic stays on loopback.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh

peers=(floor mosquitto nats rumqttd mqttv5 rmqttd tidegate tidegate-buffered tidegate-epoll mosquitto-tls tidegate-tls)
seconds=60 warmup=5 rounds=1 idle=8000 growth=no install=yes out=
port=28883 rest_port=28884 tls_port=28888
declare -A version settings durable

say() { printf '\n=== %s\n' "$*" >&2; }

while [[ $# -gt 0 ]]; do
    case $1 in
        --only)
            only=,${2:?--only PEER,...},
            IFS=, read -r -a peers <<<"$(sed 's/,tls,/,mosquitto-tls,tidegate-tls,/; s/^,//; s/,$//' <<<"$only")"
            shift
            ;;
        --seconds) seconds=${2:?--seconds N}; shift ;;
        --warmup) warmup=${2:?--warmup N}; shift ;;
        --rounds) rounds=${2:?--rounds N}; shift ;;
        --idle) idle=${2:?--idle N}; shift ;;
        --quick) seconds=8 warmup=2 idle=2000 ;;
        --growth) growth=yes ;;
        --no-install) install=no ;;
        --out) out=${2:?--out FILE}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
    shift
done

for peer in "${peers[@]}"; do
    case $peer in
        floor | mosquitto | nats | rumqttd | mqttv5 | rmqttd | tidegate | tidegate-buffered | tidegate-epoll) ;;
        mosquitto-tls | tidegate-tls) ;;
        *) fail "--only $peer: there is no such peer; see --help" ;;
    esac
done

workplace

as_root() { if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi; }
wants() { [[ " ${peers[*]} " == *" $1 "* ]]; }

debian() {
    dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -q '^installed' && return
    as_root apt-get update -q >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$1" >&2
}

# crate NAME VERSION BINARY [ARGUMENT...]: without a lock file where the crate's own no longer compiles.
crate() {
    [[ -x $cache/peers/bin/$3 ]] && return
    say "installing $1 $2 from crates.io"
    CARGO_TARGET_DIR="$cache/target-peers" cargo install --root "$cache/peers" "$1@$2" "${@:4}" >&2
}

install_peers() {
    debian jq
    if wants mosquitto || wants mosquitto-tls; then debian mosquitto; fi
    if wants nats; then debian nats-server; fi
    if wants rumqttd; then crate rumqttd 0.20.0 rumqttd || true; fi
    if wants mqttv5; then crate mqttv5-cli 0.29.10 mqttv5 || true; fi
    if wants rmqttd; then { debian protobuf-compiler && crate rmqttd 0.24.0 rmqttd --locked; } || true; fi
}

# on_core0 COMMAND...: in the background, its process in $pid.
on_core0() {
    taskset -c 0 "$@" >"$work/server.log" 2>&1 &
    pid=$!
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -5 "$work/server.log" >&2
    pid=
    return 1
}

package_version() { dpkg-query -W -f='${Version}' "$1" 2>/dev/null || echo '?'; }

start_floor() {
    version[floor]="this tree" settings[floor]="no broker: CONNACK and PUBACK only" durable[floor]=nothing
    on_core0 "$load" floor --listen "127.0.0.1:$port"
}

start_mosquitto() {
    version[mosquitto]=$(package_version mosquitto)
    settings[mosquitto]="set_tcp_nodelay true, max_inflight_messages 100, persistence off" durable[mosquitto]=nothing
    printf 'listener %s 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 100\n' "$port" >"$work/mosquitto.conf"
    on_core0 /usr/sbin/mosquitto -c "$work/mosquitto.conf"
}

start_mosquitto-tls() {
    version[mosquitto-tls]=$(package_version mosquitto)
    printf 'per_listener_settings false\nallow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 100\n' >"$work/mosquitto.conf"
    printf 'listener %s 127.0.0.1\nlistener %s 127.0.0.1\ncertfile %s\nkeyfile %s\n' "$port" "$tls_port" "$work/server.pem" \
        "$work/server.key" >>"$work/mosquitto.conf"
    # Started by root it becomes another user, who has to read the key.
    chmod 755 "$work"
    chmod 644 "$work/server.key"
    on_core0 /usr/sbin/mosquitto -c "$work/mosquitto.conf"
}

start_nats() {
    version[nats]=$(package_version nats-server)
    settings[nats]="JetStream file store, sync_interval 2m (default), GOMAXPROCS 1" durable[nats]="page cache"
    rm -rf "$work/nats"
    cat >"$work/nats.conf" <<CONF
server_name: compare
listen: "127.0.0.1:$((port + 2))"
jetstream { store_dir: "$work/nats" }
mqtt { host: "127.0.0.1", port: $port, max_ack_pending: 1024 }
CONF
    GOMAXPROCS=1 on_core0 /usr/sbin/nats-server -c "$work/nats.conf"
}

start_rumqttd() {
    version[rumqttd]="0.20.0" settings[rumqttd]="max_inflight_count 500, segments 100 MiB x 10" durable[rumqttd]=nothing
    cat >"$work/rumqttd.toml" <<CONF
id = 0
[router]
id = 0
max_connections = 20010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v4.1]
name = "v4-1"
listen = "127.0.0.1:$port"
next_connection_delay_ms = 0
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 20480
    max_inflight_count = 500
    dynamic_filters = true
CONF
    on_core0 "$cache/peers/bin/rumqttd" -c "$work/rumqttd.toml" -q
}

start_mqttv5() {
    version[mqttv5]="0.29.10" settings[mqttv5]="broker, anonymous, memory storage" durable[mqttv5]=nothing
    on_core0 "$cache/peers/bin/mqttv5" broker --host "127.0.0.1:$port" --allow-anonymous --storage-backend memory --non-interactive
}

start_rmqttd() {
    version[rmqttd]="0.24.0" settings[rmqttd]="no plug-ins, nodelay" durable[rmqttd]=nothing
    mkdir -p "$work/plugins"
    cat >"$work/rmqtt.toml" <<CONF
[node]
id = 1
[plugins]
dir = "$work/plugins"
default_startups = []
[log]
to = "console"
level = "error"
[rpc]
server_addr = "127.0.0.1:$((port + 3))"
[listener.tcp.external]
enable = true
addr = "127.0.0.1:$port"
nodelay = true
allow_anonymous = true
max_connections = 100000
max_handshaking_limit = 100000
handshake_timeout = "30s"
max_inflight = 1000
CONF
    on_core0 "$cache/peers/bin/rmqttd" -f "$work/rmqtt.toml"
}

# start_with LABEL DURABILITY DRIVER: with the fleet that seed made.
start_with() {
    version[$1]=$(git rev-parse --short HEAD) settings[$1]="default root chain, 1 shard, $3" durable[$1]=$4
    rm -rf "$work/data"
    cp -r "$work/seed" "$work/data"
    TIDEGATE_DURABILITY=$2 TIDEGATE_DRIVER=$3 tidegate "$work/data"
}

tidegate() { serve "$1" "$work/server.log" "$port" "$rest_port"; }

start_tidegate-tls() {
    version[tidegate-tls]=$(git rev-parse --short HEAD)
    rm -rf "$work/data"
    cp -r "$work/seed" "$work/data"
    serve "$work/data" "$work/server.log" "$port" "$rest_port" "$tls_port"
}

start_tidegate() { start_with tidegate synced auto "disk (fdatasync)"; }
start_tidegate-buffered() { start_with tidegate-buffered buffered auto "page cache, disk within 1 s"; }
start_tidegate-epoll() { start_with tidegate-epoll synced epoll "disk (fdatasync)"; }

# seed COUNT: a data directory that knows so many devices, and their tokens.
seed() {
    say "creating $1 devices"
    tidegate "$work/seed" || fail "no server, no devices"
    sleep 1
    idle_rss=$(awk '/^VmRSS/ {print $2}' "/proc/$pid/status")
    "$load" fleet --rest "http://127.0.0.1:$rest_port" --count "$1" --tokens "$work/tokens" >&2
    stop
}

tokens_of() { if [[ $1 == tidegate* ]]; then printf -- '--tokens\n%s\n' "$work/tokens"; fi; }

# cell PEER ROUND NAME ARGUMENT...: one load, its report in $work/PEER-NAME-ROUND.json.
cell() {
    local peer=$1 round=$2 name=$3 extra
    mapfile -t extra < <(tokens_of "$peer")
    say "$peer $name, round $round"
    local to=(--mqtt "127.0.0.1:$port")
    [[ " ${*:4} " != *" --mqtt "* ]] || to=()
    "$load" "${to[@]}" --core 1 --pid "$pid" --drain --quiet --label "$peer $name" --warmup "${warmup}s" \
        --duration "${seconds}s" --json "$work/$peer-$name-$round.json" "${extra[@]}" "${@:4}" >&2 || true
}

# measure_tls PEER ROUND: plain and TLS side by side, clients that come and go, silent ones.
measure_tls() {
    local peer=$1 round=$2 extra tls=(--mqtt "127.0.0.1:$tls_port" --tls --cafile "$work/server.pem")
    mapfile -t extra < <(tokens_of "$peer")
    "start_$peer" || { echo "$peer did not start" >&2; return 0; }
    cell "$peer" "$round" plain --connections 500
    cell "$peer" "$round" x1 --connections 500 "${tls[@]}"
    say "$peer handshakes, round $round"
    "$load" handshakes "${tls[@]}" --core 1 --pid "$pid" --duration "$((seconds < 20 ? seconds : 20))s" \
        --json "$work/$peer-handshakes-$round.json" "${extra[@]}" >&2 || true
    stop
    "start_$peer" || return 0
    say "$peer idle, round $round"
    taskset -c 1 "$load" idle "${tls[@]}" --connections "$idle" --ramp 500 --pid "$pid" --json "$work/$peer-idle-$round.json" \
        "${extra[@]}" >&2 || true
    stop
}

measure() {
    local peer=$1 round=$2 extra
    "start_$peer" || { echo "$peer did not start" >&2; return 0; }
    cell "$peer" "$round" x1 --connections 500
    cell "$peer" "$round" x16 --connections 500 --in-flight 16
    if [[ $peer == tidegate* ]]; then
        local max
        max=$(jq '.rate_per_s / 2 | floor' "$work/$peer-x1-$round.json" 2>/dev/null || echo 10000)
        cell "$peer" "$round" half --connections 500 --in-flight 16 --rate "$max"
    fi
    stop
    "start_$peer" || return 0
    mapfile -t extra < <(tokens_of "$peer")
    say "$peer idle, round $round"
    taskset -c 1 "$load" idle --mqtt "127.0.0.1:$port" --connections "$idle" --pid "$pid" \
        --json "$work/$peer-idle-$round.json" "${extra[@]}" >&2 || true
    stop
}

# figure PEER CELL FILTER: the median over the rounds, or a dash.
figure() {
    local files=("$work/$1-$2-"*.json)
    [[ -e ${files[0]} ]] || { echo -; return; }
    jq -s "map($3 | select(. != null)) | sort | if length == 0 then \"-\" else .[(length - 1) / 2 | floor] end" "${files[@]}"
}

number() { if [[ $2 == - ]]; then echo -; else printf "%.$1f" "$2"; fi; }
ratio() { if [[ $1 == - || $2 == - ]]; then echo -; else jq -n "$1 / $2 * 100 | round / 100"; fi; }

table() {
    echo "$(date -u +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores, Linux $(uname -r), commit $(git rev-parse --short HEAD)"
    echo "disk ($(df --output=fstype "$work" | tail -1)): $(jq -c '[.disk[] | {bytes, p50: (.commit_us.p50 | round), p99: (.commit_us.p99 | round), "commits/s": (.commits_per_s | round)}]' "$work/disk.json")"
    if [[ ${#plain_peers[@]} -gt 0 ]]; then plain_table; fi
    if [[ ${#tls_peers[@]} -gt 0 ]]; then tls_table; fi
    if [[ -n ${idle_rss:-} ]]; then echo; echo "whole process idle with demo data: $((idle_rss / 1024)) MiB RSS"; fi
    if [[ $growth == yes ]]; then growth_rows; fi
}

plain_table() {
    local peer name base
    echo
    echo "QoS 1, 500 connections, $seconds s a cell, 5 readings (about 87 bytes of JSON), server on core 0, generator on core 1, $rounds round(s)"
    echo
    echo "| peer | version | CPU us/msg x1 | / Mosquitto | msg/s x1 | ack p50 / p99 / p99.9 ms x1 | CPU us/msg x16 | / Mosquitto | msg/s x16 | ack p50 / p99 / p99.9 ms x16 | RSS KiB per idle connection | durable at the ack | settings |"
    echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for peer in "${plain_peers[@]}"; do
        local row="| $peer | ${version[$peer]:-did not start}"
        for name in x1 x16; do
            local cpu
            cpu=$(figure "$peer" "$name" .server.cpu_us_per_message)
            base=$(figure mosquitto "$name" .server.cpu_us_per_message)
            row+=" | $(number 2 "$cpu") | $(ratio "$cpu" "$base") | $(number 0 "$(figure "$peer" "$name" .rate_per_s)")"
            row+=" | $(number 2 "$(figure "$peer" "$name" .ack_us.p50/1000)") / $(number 2 "$(figure "$peer" "$name" .ack_us.p99/1000)") / $(number 2 "$(figure "$peer" "$name" .ack_us.p999/1000)")"
        done
        row+=" | $(number 2 "$(figure "$peer" idle .rss_bytes_per_connection/1024)") | ${durable[$peer]:--} | ${settings[$peer]:--} |"
        echo "$row"
    done
    for peer in "${plain_peers[@]}"; do
        [[ $peer == tidegate* ]] || continue
        echo
        echo "$peer at half its rate ($(number 0 "$(figure "$peer" half .rate_target)")/s): ack p50 $(number 2 "$(figure "$peer" half .ack_us.p50/1000)"), p99 $(number 2 "$(figure "$peer" half .ack_us.p99/1000)") ms; CPU $(number 2 "$(figure "$peer" half .server.cpu_us_per_message)") us/msg"
    done
}

tls_table() {
    local peer kind
    echo
    echo "TLS 1.3, ECDSA P-256, 500 connections x 1, $seconds s a cell; handshakes: 64 clients that connect, wait for CONNACK and leave"
    echo
    echo "| peer | version | CPU us/msg plain | CPU us/msg TLS | TLS / plain | msg/s TLS | ack p50 / p99 ms TLS | full handshakes/s | CPU us each | resumed/s | CPU us each | RSS KiB per idle TLS connection |"
    echo "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for peer in "${tls_peers[@]}"; do
        local clear secret row
        clear=$(figure "$peer" plain .server.cpu_us_per_message) secret=$(figure "$peer" x1 .server.cpu_us_per_message)
        row="| $peer | ${version[$peer]:-did not start} | $(number 2 "$clear") | $(number 2 "$secret") | $(ratio "$secret" "$clear")"
        row+=" | $(number 0 "$(figure "$peer" x1 .rate_per_s)")"
        row+=" | $(number 2 "$(figure "$peer" x1 .ack_us.p50/1000)") / $(number 2 "$(figure "$peer" x1 .ack_us.p99/1000)")"
        for kind in full resumed; do
            row+=" | $(number 0 "$(figure "$peer" handshakes "(.handshakes[] | select(.kind == \"$kind\") | .per_s)")")"
            row+=" | $(number 0 "$(figure "$peer" handshakes "(.handshakes[] | select(.kind == \"$kind\") | .server_cpu_us)")")"
        done
        row+=" | $(number 2 "$(figure "$peer" idle .rss_bytes_per_connection/1024)") |"
        echo "$row"
    done
}

grow() {
    local peer connections devices
    for peer in floor tidegate; do
        for connections in 500 5000; do
            if [[ $peer == floor ]]; then start_floor || continue; else
                devices=$((connections == 500 ? 1000 : 100000))
                rm -rf "$work/seed"
                seed "$devices"
                start_tidegate || continue
            fi
            cell "$peer" 1 "grow$connections" --connections "$connections"
            stop
        done
    done
}

growth_rows() {
    local peer
    echo
    echo "| | 500 connections (1,000 known) us/msg | 5,000 connections (100,000 known) us/msg | growth |"
    echo "|---|---|---|---|"
    for peer in floor tidegate; do
        local few many
        few=$(figure "$peer" grow500 .server.cpu_us_per_message) many=$(figure "$peer" grow5000 .server.cpu_us_per_message)
        echo "| $peer | $(number 2 "$few") | $(number 2 "$many") | $(ratio "$many" "$few") |"
    done
}

[[ $(nproc) -ge 2 ]] || fail "two cores are needed: one for the server, one for the generator"
if [[ $install == yes ]]; then install_peers; fi
build
certificate "$work"
plain_peers=() tls_peers=()
for peer in "${peers[@]}"; do
    if [[ $peer == *-tls ]]; then tls_peers+=("$peer"); else plain_peers+=("$peer"); fi
done
say "the disk itself"
"$load" disk --dir "$work" --duration 2s --json "$work/disk.json" >&2
if [[ " ${peers[*]} " == *" tidegate"* ]]; then seed "$((idle > 500 ? idle : 500))"; fi
for ((round = 1; round <= rounds; round++)); do
    for peer in "${plain_peers[@]}"; do measure "$peer" "$round"; done
    for peer in "${tls_peers[@]}"; do measure_tls "$peer" "$round"; done
done
if [[ $growth == yes ]]; then grow; fi
if [[ -n $out ]]; then table | tee "$out"; else table; fi
