#!/usr/bin/env bash
# Counts the instructions of each pure stage per message (callgrind: the same on a busy machine) and compares them with
# bench/baseline.json. Fails when one grew by more than 5 %.
#
#   bench/gate.sh            compare
#   bench/gate.sh --accept   make what is counted now the baseline
#
# Counts depend on the compiler: with another rustc than the baseline's the comparison is printed and never fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

baseline=bench/baseline.json
allowed_percent=5
. bench/lib.sh
program=$CARGO_TARGET_DIR/release/tidegate-gate
accept=no

case "${1:-}" in
    "") ;;
    --accept) accept=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
esac
for tool in valgrind jq; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
done

cargo build --quiet --release --locked --workspace --bin tidegate-gate
work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-gate.XXXXXX")
trap 'rm -rf "$work"' EXIT

# count CASE: instructions per message.
count() {
    valgrind --tool=callgrind --toggle-collect='*gate_measured*' --callgrind-out-file="$work/out" "$program" "$1" >"$work/said" 2>&1 ||
        { cat "$work/said" >&2; return 1; }
    local collected
    collected=$(sed -n 's/^==[0-9]*== Collected : //p' "$work/said")
    [[ ${collected:-0} -gt 0 ]] || { echo "gate: callgrind counted nothing for \"$1\"" >&2; cat "$work/said" >&2; return 1; }
    echo $((collected / iterations))
}

mapfile -t listed < <("$program")
iterations=${listed[0]#iterations }
rustc=$(rustc --version)
same=yes
[[ $accept == yes || $(jq -r .rustc "$baseline") == "$rustc" ]] || same=no
counts='{}' failed=no
printf '%-32s %12s %12s %8s\n' case baseline now change
for name in "${listed[@]:1}"; do
    now=$(count "$name")
    counts=$(jq --arg name "$name" --argjson now "$now" '.[$name] = $now' <<<"$counts")
    if [[ $accept == yes ]]; then before=$now; else before=$(jq --arg name "$name" '.instructions[$name] // 0' "$baseline"); fi
    verdict=
    if [[ $before -eq 0 ]]; then
        verdict="not in the baseline: --accept" failed=yes change=-
    else
        change=$(((now - before) * 1000 / before))
        [[ $change -le $((allowed_percent * 10)) ]] || { verdict="more than $allowed_percent % above the baseline"; failed=yes; }
        change=$(jq -rn "$change / 10")%
    fi
    printf '%-32s %12s %12s %8s %s\n' "$name" "$before" "$now" "$change" "$verdict"
done
if [[ $accept == yes ]]; then
    jq -n --arg rustc "$rustc" --argjson instructions "$counts" '{$rustc, unit: "instructions per message", $instructions}' >"$baseline"
    echo "accepted: $baseline"
elif [[ $same == no ]]; then
    echo "gate: the baseline was counted with $(jq -r .rustc "$baseline"), this is $rustc: not judged"
elif [[ $failed == yes ]]; then
    echo "gate: failed" >&2
    exit 1
fi
