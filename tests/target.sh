# Sourced, from the top of the clone: says where cargo builds. RocksDB takes a quarter of an hour, so once for all clones.
# shellcheck shell=bash

if [[ -z ${CARGO_TARGET_DIR:-} && ! -d target/release ]]; then
    CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/target
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

# Cargo calls the workspace's crates the same in every clone and compares modification times only: what another clone built after
# the last change here would pass for ours.
mkdir -p "$CARGO_TARGET_DIR"
if [[ $(cat "$CARGO_TARGET_DIR/last-clone" 2>/dev/null) != "$PWD" ]]; then
    find . \( -name .git -o -name target \) -prune -o -type f -exec touch {} +
    echo "$PWD" >"$CARGO_TARGET_DIR/last-clone"
fi
