#!/usr/bin/env bash
# What two bad neighbours on the same shard do to a tenant's acknowledgements: one whose scripts never end, and one that sends all it can.
#
#   bench/fairness.sh [--seconds N] [--factor N]
#
#   --seconds   of each measurement (30)
#   --factor    by which the modest tenant's p99 may grow beside the others before this fails (10)
#
# The server has one shard on core 0. Traffic stays on loopback; data lies in a temporary directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh

seconds=30 factor=10
port=28897 rest_port=28898

while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds) seconds=${2:?--seconds N}; shift ;;
        --factor) factor=${2:?--factor N}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 64 ;;
    esac
    shift
done

[[ $seconds =~ ^[0-9]+$ && $seconds -ge 5 ]] || fail "--seconds $seconds: at least 5"
[[ $factor =~ ^[0-9]+$ && $factor -ge 1 ]] || fail "--factor $factor: a whole number"

workplace
others=()
stop() {
    # shellcheck disable=SC2086 # whether it runs
    end "${others[@]}" $pid
    pid= others=()
}

# The root chain of the tenant "endless" saves what a script that never ends lets through: nothing.
draw_endless() {
    local token chain
    token=$(login endless@example.org endless-password)
    chain=$(api GET '/api/ruleChains?pageSize=10&page=0' "$token" | jq -r '.data[] | select(.root) | .id.id')
    api POST /api/ruleChain/metadata "$token" "$(jq -n --arg chain "$chain" '
        def node($class; $configuration): {type: "org.thingsboard.rule.engine.\($class)", name: $class, configuration: $configuration};
        {ruleChainId: {entityType: "RULE_CHAIN", id: $chain}, firstNodeIndex: 0,
         nodes: [node("filter.TbJsFilterNode"; {scriptLang: "JS", jsScript: "while (true) {}"}),
                 node("telemetry.TbMsgTimeseriesNode"; {defaultTTL: 0})],
         connections: [{fromIndex: 0, toIndex: 1, type: "True"}]}')" >/dev/null
}

# fleet NAME COUNT: devices of a tenant.
fleet() {
    "$load" fleet --rest "http://127.0.0.1:$rest_port" --count "$2" --prefix "$1" --user "$1@example.org" --password "$1-password" \
        --tokens "$work/$1" >&2
}

# publish NAME CONNECTIONS OPTION...: what the devices of a tenant send.
publish() {
    local name=$1 connections=$2
    shift 2
    "$load" --mqtt "127.0.0.1:$port" --tokens "$work/$name" --connections "$connections" --ramp 50 --core 1 --quiet "$@"
}

modest() { publish modest 20 --rate 200 --warmup 2s --duration "${seconds}s" --json "$work/$1.json" >&2; }
p() { jq -r ".ack_us.p$2 / 10 | round / 100" "$work/$1.json"; }

build
serve "$work/data" "$work/log" "$port" "$rest_port"
for name in modest endless greedy; do another_tenant "$name"; done
draw_endless
fleet modest 20
fleet endless 20
fleet greedy 200

echo "modest alone:" >&2
modest alone
echo "modest beside the tenant whose scripts never end:" >&2
publish endless 20 --rate 2000 --warmup 1s --duration "$((seconds + 10))s" --json "$work/endless.json" >"$work/endless.out" 2>&1 &
others=($!)
sleep 3
modest endless_beside
wait "${others[@]}" || fail "the tenant whose scripts never end: $(tail -3 "$work/endless.out")"
others=()
echo "modest beside that one and one that sends all it can:" >&2
publish endless 20 --rate 2000 --warmup 1s --duration "$((seconds + 10))s" --json "$work/endless.json" >"$work/endless.out" 2>&1 &
others=($!)
publish greedy 200 --in-flight 16 --warmup 1s --duration "$((seconds + 10))s" --json "$work/greedy.json" >"$work/greedy.out" 2>&1 &
others+=($!)
sleep 3
modest both_beside
wait "${others[@]}" || fail "the others: $(tail -3 "$work/endless.out" "$work/greedy.out")"
others=()

grown=$(jq -n --slurpfile alone "$work/alone.json" --slurpfile both "$work/both_beside.json" \
    '$both[0].ack_us.p99 / ([$alone[0].ack_us.p99, 1] | max) * 10 | round / 10')
echo
echo "$(date -u +%F), one shard on one core, $seconds s each; the modest tenant: 20 connections, 200 messages/s"
echo
echo "| beside it | acknowledged p50 / p99, ms | messages/s of the others |"
echo "|---|---|---|"
echo "| nobody | $(p alone 50) / $(p alone 99) | - |"
echo "| scripts that never end | $(p endless_beside 50) / $(p endless_beside 99) | $(jq '.rate_per_s | round' "$work/endless.json") |"
echo "| scripts that never end, and all that 200 connections can send | $(p both_beside 50) / $(p both_beside 99) | $(jq '.rate_per_s | round' "$work/endless.json") and $(jq '.rate_per_s | round' "$work/greedy.json") |"
echo
echo "p99 beside both is $grown times that alone; at most $factor is allowed"
jq -en --argjson grown "$grown" --argjson factor "$factor" '$grown <= $factor' >/dev/null
