#!/usr/bin/env bash
# Fetches two MQTT behaviour suites from the package registries into the cache and runs of them what fits a device platform
# against Tidegate (tests/suites/README.md). Nothing of them is part of this repository.
#
#   tests/suites/run.sh            the lists' scripts; successful only if each of them passed
#   tests/suites/run.sh NAME...    only scripts whose name contains one of these, skipped ones too
#
# TIDEGATE_BINARY: the program to judge; default: the release build of this clone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. tests/python.sh
gmqtt_version=0.8.0
binary=${TIDEGATE_BINARY:-}
if [[ -z $binary ]]; then
    . tests/target.sh
    binary=$CARGO_TARGET_DIR/release/tidegate
fi

fail() { echo "suites: $*" >&2; exit 1; }

# This machine's own package sources, asked for source packages, in a directory of our own: its configuration and its package
# lists stay as they are.
source_lists() {
    local parts=$1 file
    mkdir -p "$parts"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -r $file ]] && sed -n 's/^deb[[:space:]]/deb-src /p' "$file" | grep debian >"$parts/$(basename "$file" .list).list" || true
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -r $file ]] && grep -q debian "$file" && sed 's/^Types:.*/Types: deb-src/' "$file" >"$parts/$(basename "$file")" || true
    done
}

# Debian's source package with Debian's patches, which bring some of the scripts.
fetch_mosquitto() {
    local directory=$cache/suites/mosquitto work
    [[ -e $directory/tidegate-complete ]] && return
    echo "fetching the source package mosquitto"
    work=$cache/suites/apt
    rm -rf "$directory" "$work"
    mkdir -p "$work"/{lists/partial,archives/partial,package}
    source_lists "$work/parts"
    local options=(-q -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists"
        -o "Dir::Cache=$work" -o "APT::Sandbox::User=")
    (
        cd "$work/package"
        apt-get "${options[@]}" update
        apt-get "${options[@]}" source --download-only mosquitto
        dpkg-source --no-check -x ./*.dsc mosquitto
    ) >"$work/log" 2>&1 || { cat "$work/log"; fail "the source package mosquitto cannot be had"; }
    # Debian tests its installed program; the shim is where the sources build theirs.
    sed -i 's|/usr/sbin/mosquitto|../../src/mosquitto|' "$work/package/mosquitto/test/mosq_test.py"
    mv "$work/package/mosquitto" "$directory"
    rm -rf "$work"
    touch "$directory/tidegate-complete"
}

fetch_gmqtt() {
    local directory=$cache/suites/gmqtt-$gmqtt_version work
    [[ -e $directory/tidegate-complete ]] && return
    echo "fetching the source distribution gmqtt $gmqtt_version"
    work=$cache/suites/pip
    rm -rf "$directory" "$work"
    mkdir -p "$work"
    "$cache/venv-gmqtt/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$work" "gmqtt==$gmqtt_version"
    tar -xzf "$work/gmqtt-$gmqtt_version.tar.gz" -C "$work"
    mv "$work/gmqtt-$gmqtt_version" "$directory"
    rm -rf "$work"
    touch "$directory/tidegate-complete"
}

[[ -x $binary ]] || fail "$binary is missing: build the workspace first"
mkdir -p "$cache/suites"
python_environment venv-paho 'paho-mqtt>=2,<3' websocket-client
python_environment venv-gmqtt 'pytest>=8,<9' 'pytest-asyncio>=0.24,<1'
fetch_mosquitto
fetch_gmqtt
export PYTHONDONTWRITEBYTECODE=1
"$cache/venv-paho/bin/python" -m unittest discover --quiet --start-directory tests/suites
exec "$cache/venv-paho/bin/python" tests/suites/run.py "$binary" "$cache/suites/mosquitto" "$cache/suites/gmqtt-$gmqtt_version" \
    "$cache/venv-gmqtt/bin/python" "$@"
