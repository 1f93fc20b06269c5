#!/usr/bin/env bash
# Runs the criterion benches, each bounded to a few seconds a case.
#
#   bench/criterion.sh [BENCH...]      codec session payload quota rules store turn runtime (default: all)
#
# Wall times and, for turn and runtime, CPU a message. `turn` starts the real program; traffic stays on loopback.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. bench/lib.sh
case ${1:-} in
    -h | --help) usage; exit 0 ;;
esac
[[ $# -gt 0 ]] || set -- codec session payload rules store turn runtime
# `turn` looks for the programs beside its own directory.
build
benches=()
for bench in "$@"; do benches+=(--bench "$bench"); done
cargo bench --locked --workspace "${benches[@]}" -- --warm-up-time 1 --measurement-time 3
