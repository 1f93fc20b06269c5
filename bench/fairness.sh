#!/usr/bin/env bash
# What two bad neighbours on the same shard do to a tenant's acknowledgements: one whose scripts never end, and one that sends all it can.
#
#   bench/fairness.sh [--seconds N] [--factor N]
#
#   --seconds   of each measurement (30)
#   --factor    by which the modest tenant's p99 may grow beside the others before this fails (10)
#
# The server has one shard on core 0; all generators share core 1, on which the modest one goes first where this user may say so
# (chrt): else its own waits for the core are measured too. Traffic stays on loopback; data lies in a temporary directory.
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
others=() first=() chrt=()
if chrt -f 1 true 2>/dev/null; then chrt=(chrt -f 1); else echo "the modest generator shares its core with the others (no chrt)" >&2; fi
stop() {
    # shellcheck disable=SC2086 # whether it runs
    end "${others[@]}" $pid
    pid= others=()
}

# draw NAME NODES CONNECTIONS: the root chain of a tenant.
draw() {
    local token chain
    token=$(login "$1@example.org" "$1-password")
    chain=$(api GET '/api/ruleChains?pageSize=10&page=0' "$token" | jq -r '.data[] | select(.root) | .id.id')
    api POST /api/ruleChain/metadata "$token" "$(jq -n --arg chain "$chain" "
        def node(\$class; \$configuration): {type: \"org.thingsboard.rule.engine.\(\$class)\", name: \$class, configuration: \$configuration};
        {ruleChainId: {entityType: \"RULE_CHAIN\", id: \$chain}, firstNodeIndex: 0, nodes: [$2], connections: [$3]}")" >/dev/null
}

save='node("telemetry.TbMsgTimeseriesNode"; {defaultTTL: 0})'

# Saves what a script that never ends lets through: nothing.
draw_endless() {
    draw endless "node(\"filter.TbJsFilterNode\"; {scriptLang: \"JS\", jsScript: \"while (true) {}\"}), $save" \
        '{fromIndex: 0, toIndex: 1, type: "True"}'
}

# Saves everything and owes a call for it to a server that is not there.
draw_calling() {
    local token profile
    token=$(login sysadmin@thingsboard.org sysadmin)
    profile=$(api GET '/api/tenantProfiles?pageSize=10&page=0' "$token" |
        jq -c '.data[] | select(.default) | .profileData.configuration.privateTargetsAllowed = true')
    api POST /api/tenantProfile "$token" "$profile" >/dev/null
    draw calling "$save, node(\"rest.TbRestApiCallNode\"; {restEndpointUrlPattern: \"http://127.0.0.1:1/\", requestMethod: \"POST\"})" \
        '{fromIndex: 0, toIndex: 1, type: "Success"}'
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
    "${first[@]}" "$load" --mqtt "127.0.0.1:$port" --tokens "$work/$name" --connections "$connections" --ramp 50 --core 1 --quiet "$@"
}

modest() { local first=("${chrt[@]}"); publish modest 20 --rate 200 --warmup 2s --duration "${seconds}s" --json "$work/$1.json" >&2; }
p() { jq -r ".ack_us.p$2 / 10 | round / 100" "$work/$1.json"; }

build
serve "$work/data" "$work/log" "$port" "$rest_port"
for name in modest endless calling greedy; do another_tenant "$name"; done
draw_endless
draw_calling
fleet modest 20
fleet endless 20
fleet calling 200
fleet greedy 200

# beside NAME [OTHER CONNECTIONS OPTION...]...: what the modest tenant measures, as NAME, while others send; each of those ends with "/".
beside() {
    local name=$1 other=() word
    shift
    for word in "$@"; do
        if [[ $word != / ]]; then
            other+=("$word")
            continue
        fi
        publish "${other[@]}" --warmup 1s --duration "$((seconds + 10))s" --json "$work/$name-${other[0]}.json" \
            >"$work/$name-${other[0]}.out" 2>&1 &
        others+=($!)
        other=()
    done
    [[ ${#others[@]} -eq 0 ]] || sleep 3
    modest "$name"
    # Without a number it would wait for the server.
    [[ ${#others[@]} -eq 0 ]] || wait "${others[@]}" || fail "the others: $(tail -3 "$work/$name"-*.out)"
    others=()
}
sent() { jq '.rate_per_s | round' "$work/$1.json"; }

echo "modest alone:" >&2
beside alone
echo "modest beside the tenant whose scripts never end:" >&2
beside scripts endless 20 --rate 2000 /
echo "modest beside the tenant that floods a REST call node:" >&2
beside calls calling 200 --in-flight 16 /
echo "modest beside the scripts and a tenant that sends all it can:" >&2
beside both endless 20 --rate 2000 / greedy 200 --in-flight 16 /

worst=$(jq -n --slurpfile alone "$work/alone.json" --slurpfile scripts "$work/scripts.json" --slurpfile calls "$work/calls.json" \
    --slurpfile both "$work/both.json" '[$scripts, $calls, $both | .[0].ack_us.p99] | max / ([$alone[0].ack_us.p99, 1] | max) * 10 | round / 10')
echo
echo "$(date -u +%F), one shard on one core, $seconds s each; the modest tenant: 20 connections, 200 messages/s"
echo
echo "| beside it | acknowledged p50 / p99, ms | messages/s of the others |"
echo "|---|---|---|"
echo "| nobody | $(p alone 50) / $(p alone 99) | - |"
echo "| scripts that never end | $(p scripts 50) / $(p scripts 99) | $(sent scripts-endless) |"
echo "| all that 200 connections can send, to a REST call node | $(p calls 50) / $(p calls 99) | $(sent calls-calling) |"
echo "| scripts that never end, and all that 200 connections can send | $(p both 50) / $(p both 99) | $(sent both-endless) and $(sent both-greedy) |"
echo
echo "the p99 grows to $worst times that alone at most; $factor is allowed"
jq -en --argjson worst "$worst" --argjson factor "$factor" '$worst <= $factor' >/dev/null
