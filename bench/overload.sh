#!/usr/bin/env bash
# What happens to a Tidegate that is asked for ten times what it can give: holds it to a tenth of a core and to `memory_max` 512 MiB,
# lets one tenant's devices send too much for a while, and looks at its memory, at what it acknowledged, and at another tenant.
#
#   bench/overload.sh [--seconds N] [--percent N] [--memory SIZE]
#
#   --seconds   of overload (120)
#   --percent   of one core for the server (10)
#   --memory    memory_max (512M)
#
# The core is shared out by a cpu cgroup (v2 or v1) where this user may make one, else by stopping the process for most of every
# 100 ms. Traffic stays on loopback; data lies in a temporary directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh

seconds=120 percent=10 memory=512M
port=28897 rest_port=28898

while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds) seconds=${2:?--seconds N}; shift ;;
        --percent) percent=${2:?--percent N}; shift ;;
        --memory) memory=${2:?--memory SIZE}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
    shift
done

[[ $seconds =~ ^[0-9]+$ && $seconds -ge 40 ]] || fail "--seconds $seconds: at least 40, of which the other tenant is measured in all but 25"

workplace
throttle= sampler= how= groups=()
stop() {
    local each
    release 2>/dev/null || true
    [[ -z $pid ]] || kill -CONT "$pid" 2>/dev/null || true
    # shellcheck disable=SC2086 # whichever of them run
    end $throttle $sampler $pid
    pid= throttle= sampler=
    for each in "${groups[@]}"; do rmdir "$each" 2>/dev/null || true; done
}

# hold: leaves the server `percent` of a core, and says how.
hold() {
    local group=/sys/fs/cgroup/tidegate-overload-$$
    if [[ -f /sys/fs/cgroup/cgroup.controllers ]] && mkdir "$group" 2>/dev/null; then
        groups+=("$group")
        if echo "$((percent * 1000)) 100000" 2>/dev/null >"$group/cpu.max" && echo "$pid" 2>/dev/null >"$group/cgroup.procs"; then
            how="a cgroup (v2)"
            return
        fi
    fi
    group=/sys/fs/cgroup/cpu/tidegate-overload-$$
    if [[ -f /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]] && mkdir "$group" 2>/dev/null; then
        groups+=("$group")
        if echo 100000 >"$group/cpu.cfs_period_us" && echo "$((percent * 1000))" >"$group/cpu.cfs_quota_us" \
            && echo "$pid" >"$group/cgroup.procs"; then
            how="a cgroup (v1)"
            return
        fi
    fi
    how=SIGSTOP
}

# pulse: the server runs for `percent` of every 100 ms.
pulse() {
    local on off
    on=$(awk "BEGIN {print $percent / 1000}") off=$(awk "BEGIN {print (100 - $percent) / 1000}")
    while kill -CONT "$pid" 2>/dev/null; do
        sleep "$on"
        kill -STOP "$pid" 2>/dev/null || return
        sleep "$off"
    done
}

# release: the server has its core again.
release() {
    if [[ -n $throttle ]]; then
        end "$throttle"
        throttle=
        kill -CONT "$pid"
    fi
    local each
    for each in "${groups[@]}"; do
        [[ -f $each/cpu.max ]] && echo max >"$each/cpu.max"
        [[ -f $each/cpu.cfs_quota_us ]] && echo -1 >"$each/cpu.cfs_quota_us"
    done
    return 0
}

rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$pid/status"; }
sample() {
    while rss_kib >>"$work/rss" 2>/dev/null; do sleep 1; done
}

build
TIDEGATE_MEMORY_MAX=$memory serve "$work/data" "$work/log" "$port" "$rest_port"
rest=(--rest "http://127.0.0.1:$rest_port")
another_tenant modest
"$load" fleet "${rest[@]}" --count 500 --prefix greedy --tokens "$work/greedy" >&2
"$load" fleet "${rest[@]}" --count 20 --prefix modest --user modest@example.org --password modest-password --tokens "$work/modest" >&2
hold
if [[ $how == SIGSTOP ]]; then
    pulse &
    throttle=$!
fi
sample &
sampler=$!

greedy=(--mqtt "127.0.0.1:$port" --tokens "$work/greedy" --connections 500 --ramp 50 --core 1 --quiet)
modest=(--mqtt "127.0.0.1:$port" --tokens "$work/modest" --connections 20 --ramp 20 --rate 20 --core 1 --quiet)
p() { jq -r ".ack_us.p$2 / 100 | round / 10" "$work/$1.json"; }

echo "greedy alone, at maximum rate:" >&2
"$load" "${greedy[@]}" --in-flight 16 --warmup 5s --duration 15s --json "$work/max.json" >&2
most=$(jq '.rate_per_s | floor' "$work/max.json")
echo "modest alone:" >&2
"$load" "${modest[@]}" --warmup 2s --duration 15s --json "$work/before.json" >&2

echo "greedy at ten times that, modest beside it:" >&2
"$load" "${greedy[@]}" --in-flight 64 --rate $((most * 10)) --warmup 1s --duration "${seconds}s" --audit-later \
    --ledger "$work/greedy.ledger" --json "$work/greedy.json" >"$work/greedy.out" 2>&1 &
greedy_pid=$!
sleep 15
status=0
"$load" "${modest[@]}" --warmup 1s --duration "$((seconds - 25))s" --audit-later --ledger "$work/during.ledger" \
    --json "$work/during.json" >&2 || status=$?
wait "$greedy_pid" || status=$?
cat "$work/greedy.out" >&2
sleep 5
"$load" "${modest[@]}" --warmup 0s --duration 15s --audit-later --ledger "$work/after.ledger" --json "$work/after.json" >&2 || status=$?
kill "$sampler" 2>/dev/null || true

echo "reading back what was acknowledged:" >&2
release
audits=()
for each in greedy during after; do
    user=()
    [[ $each == greedy ]] || user=(--user modest@example.org --password modest-password)
    if "$load" verify "${rest[@]}" "${user[@]}" --ledger "$work/$each.ledger" >&2; then
        audits+=("$each passed")
    else
        audits+=("$each FAILED") status=1
    fi
done

peak=$(sort -n "$work/rss" | tail -1 | awk '{printf "%.0f", $1 / 1024}')
echo
echo "$(date -u +%F), server held to $percent % of a core by $how, memory_max $memory, $seconds s of overload"
echo
echo "| figure | value |"
echo "|---|---|"
echo "| most that one tenant gets acknowledged (500 connections, 16 in flight) | $most/s |"
echo "| asked for during the overload | $((most * 10))/s |"
echo "| acknowledged during the overload | $(jq '.rate_per_s | round' "$work/greedy.json")/s |"
echo "| highest RSS | $peak MiB |"
echo "| audits (everything acknowledged is there) | ${audits[*]} |"
echo "| modest tenant, 20/s: acknowledged p50 / p99 before, ms | $(p before 50) / $(p before 99) |"
echo "| during | $(p during 50) / $(p during 99), $(jq '.rate_per_s * 10 | round / 10' "$work/during.json")/s |"
echo "| from 5 s after the end | $(p after 50) / $(p after 99) |"
exit "$status"
