#!/usr/bin/env bash
# Does anything grow? Runs Tidegate at half of what it can take for a long time, with clients that leave and come back, and fits a
# line through its memory and its descriptors.
#
#   bench/soak.sh [--minutes N] [--churn N] [--driver auto|io_uring|epoll]... [--port N]
#                 [--memory-max SIZE] [--samples DIR]
#
#   --minutes   per driver (30)
#   --churn     connections a second that leave and come back (5)
#   --driver    repeatable (io_uring and epoll)
#   --port      where to listen, and at the next one (28893); two runs beside each other need two
#   --memory-max  the server's bound (320M): with small pools it shows early whether anything grows beside them
#   --samples   where to leave the samples: seconds, RSS in KiB, descriptors (not kept)
#
# The first third is left out of the lines: caches and write buffers fill. Traffic stays on loopback; data lies in a temporary
# directory and takes about 40 MB a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh

minutes=30 churn=5 drivers=()
port=28893 memory_max=320M kept=
sample_seconds=5

while [[ $# -gt 0 ]]; do
    case $1 in
        --minutes) minutes=${2:?--minutes N}; shift ;;
        --churn) churn=${2:?--churn N}; shift ;;
        --memory-max) memory_max=${2:?--memory-max SIZE}; shift ;;
        --samples) kept=${2:?--samples DIR}; shift ;;
        --port) port=${2:?--port N}; shift ;;
        --driver) drivers+=("${2:?--driver NAME}"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
    shift
done
[[ ${#drivers[@]} -gt 0 ]] || drivers=(io_uring epoll)

rest_port=$((port + 1))
if [[ -n $kept ]]; then mkdir -p "$kept"; fi
workplace
sampler=
stop() {
    # shellcheck disable=SC2086 # whichever of them run
    end $sampler $pid
    pid= sampler=
}

# sample PID FILE: seconds, RSS in KiB, descriptors; until it is killed.
sample() {
    while [[ -r /proc/$1/status ]]; do
        echo "$SECONDS $(awk '/^VmRSS/ {print $2}' "/proc/$1/status") $(find "/proc/$1/fd" -maxdepth 1 2>/dev/null | wc -l)" >>"$2"
        sleep "$sample_seconds"
    done
}

# slope FILE COLUMN: growth per hour, least squares, without the first third.
slope() {
    awk -v column="$2" '{ x[NR] = $1; y[NR] = $column }
        END { for (i = int(NR / 3) + 1; i <= NR; i++) { n++; sx += x[i]; sy += y[i]; sxx += x[i] * x[i]; sxy += x[i] * y[i] }
              d = n * sxx - sx * sx; printf "%.1f", d == 0 ? 0 : (n * sxy - sx * sy) / d * 3600 }' "$1"
}

build
echo "| driver | minutes | messages/s | lost connections | reconnects | RSS first / last MiB | RSS growth KiB/h | descriptors first / last | growth /h |"
echo "|---|---|---|---|---|---|---|---|---|"
for driver in "${drivers[@]}"; do
    TIDEGATE_DRIVER=$driver TIDEGATE_MEMORY_MAX=$memory_max serve "$work/$driver" "$work/log" "$port" "$rest_port"
    "$load" fleet --rest "http://127.0.0.1:$rest_port" --count 500 --tokens "$work/tokens" >&2
    common=(--mqtt "127.0.0.1:$port" --tokens "$work/tokens" --connections 500 --core 1 --quiet)
    "$load" "${common[@]}" --duration 10s --warmup 2s --json "$work/max.json" >&2
    half=$(jq '.rate_per_s / 2 | floor' "$work/max.json")
    samples=${kept:-$work}/samples-$driver
    # Once everybody is connected and has sent something.
    { sleep 30; sample "$pid" "$samples"; } &
    sampler=$!
    "$load" "${common[@]}" --rate "$half" --churn "$churn" --reconnect --duration "${minutes}m" --json "$work/soak.json" >&2 || true
    kill "$sampler" 2>/dev/null || true
    mib() { awk "$1 {printf \"%.1f\", \$2 / 1024}" "$samples"; }
    row="| $driver | $minutes | $(jq '.rate_per_s | round' "$work/soak.json") | $(jq .lost_connections "$work/soak.json") | $(jq .reconnects "$work/soak.json")"
    row+=" | $(mib 'NR == 1') / $(tail -1 "$samples" | awk '{printf "%.1f", $2 / 1024}') | $(slope "$samples" 2)"
    row+=" | $(awk 'NR == 1 {print $3}' "$samples") / $(tail -1 "$samples" | awk '{print $3}') | $(slope "$samples" 3) |"
    echo "$row"
    stop
    rm -rf "${work:?}/$driver"
done
