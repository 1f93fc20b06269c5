#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Assumes a Debian machine with rustup's cargo. Goes on after a failed
# check, so that one run says everything; ends with a summary and is successful only if every step was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/target.sh
. tests/python.sh
packages=(build-essential clang libclang-dev cmake mosquitto mosquitto-clients curl haproxy openssl jq python3 python3-venv valgrind
    openjdk-17-jre-headless maven kcat rabbitmq-server nats-server)
deny_version=0.20.2
fuzz_seconds=60
names=() states=() seconds=()
failed=0

# Settings of the caller's shell would reach the processes under test. The driver alone may be chosen from outside.
for variable in "${!TIDEGATE_@}"; do
    [[ $variable == TIDEGATE_DRIVER ]] || unset "$variable"
done

say() { printf '\n=== %s\n' "$*"; }

# step NAME COMMAND...: runs, times and remembers it; false if it failed.
step() {
    local name=$1 start=$SECONDS state=ok
    shift
    say "$name"
    "$@" || { state=FAILED failed=1; }
    names+=("$name") states+=("$state") seconds+=("$((SECONDS - start))")
    [[ $state == ok ]]
}

skip() {
    names+=("$1") states+=(skipped) seconds+=(0)
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        echo "Debian packages: all there"
        return
    fi
    echo "Debian packages: installing ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

install_toolchain() {
    [[ -r $HOME/.cargo/env ]] && source "$HOME/.cargo/env"
    command -v cargo >/dev/null || { echo "cargo is missing: install it from https://rustup.rs" >&2; return 1; }
    cargo fmt --version && cargo clippy --version && return
    rustup component add rustfmt clippy
}

install_clients() {
    # tb-mqtt-client brings its own fork of paho under the same import name, and the gateway pins its own version of both, hence
    # three environments.
    python_environment venv-paho 'paho-mqtt>=2,<3' websocket-client && python_environment venv-tb 'tb-mqtt-client==1.13.14' &&
        python_environment venv-gateway 'thingsboard-gateway==3.8.5' &&
        python_environment venv-encoders 'protobuf>=5,<8' 'flatbuffers>=25,<26' && python_environment venv-smtp 'aiosmtpd>=1.4,<2' &&
        python_environment venv-rabbitmq 'pika>=1.3,<2' && python_environment venv-nats 'nats-py>=2,<3' &&
        install_kafka
}

# A Kafka broker, as tests/src/harness/kafka.rs would fetch it.
install_kafka() {
    local directory
    directory="$cache/kafka-$(sed -n 's|.*<version>\(.*\)</version>|\1|p' tests/clients/kafka.xml | tail -1)"
    [[ -e $directory/tidegate-complete ]] && return
    mvn -B -q -C -f tests/clients/kafka.xml org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        "-DoutputDirectory=$directory" && touch "$directory/tidegate-complete"
}

install_deny() {
    [[ $("$cache/tools/bin/cargo-deny" --version 2>/dev/null) == "cargo-deny $deny_version" ]] && return
    # Its own build directory: other features of shared dependencies would compile ours again.
    CARGO_TARGET_DIR="$cache/target-tools" cargo install --locked --root "$cache/tools" "cargo-deny@$deny_version" &&
        rm -rf "$cache/target-tools"
}

check_supply_chain() {
    # The policy looks at all platforms' crates; after this nothing needs the network.
    install_deny && cargo fetch --locked --quiet &&
        "$cache/tools/bin/cargo-deny" --offline --log-level error check bans licenses sources
}

# The checked-in code is what the schema compilers make of proto/. A program and workspace of its own (schemas/codegen).
check_generated() {
    cargo run --quiet --locked --manifest-path schemas/codegen/Cargo.toml -- --check
}

# The fuzz targets' harnesses as property tests, with new random inputs until the time is up (`cargo fuzz` runs the same
# harnesses, guided: dataplane/fuzz).
fuzz() {
    local end=$((SECONDS + fuzz_seconds)) rounds=0
    while ((SECONDS < end)); do
        PROPTEST_CASES=20000 cargo test --release --workspace --locked --quiet --lib -- ::any_ session::tests payload::tests >"$cache/fuzz.log" 2>&1 ||
            { cat "$cache/fuzz.log"; return 1; }
        rounds=$((rounds + 1))
    done
    echo "$rounds rounds without finding"
}

summary() {
    local index
    say "summary"
    for index in "${!names[@]}"; do
        printf '%-14s %-8s %5d s\n' "${names[index]}" "${states[index]}" "${seconds[index]}"
    done
    printf '%-14s %-8s %5d s\n' total "$([[ $failed -eq 0 ]] && echo ok || echo FAILED)" "$SECONDS"
}

# The connection test opens thousands of sockets.
ulimit -n "$(ulimit -Hn)"
trap summary EXIT

step packages install_packages || exit 1
step toolchain install_toolchain || exit 1
[[ -r $HOME/.cargo/env ]] && source "$HOME/.cargo/env"
step clients install_clients || true
step format cargo fmt --all --check || true
step lint cargo clippy --release --workspace --all-targets --locked -- -D warnings || true
step deny check_supply_chain || true
step generated check_generated || true
if step build cargo build --release --workspace --locked; then
    step test cargo test --release --workspace --locked --no-fail-fast || true
    step suites tests/suites/run.sh || true
    step gate bench/gate.sh || true
    step fuzz fuzz || true
else
    skip test
    skip suites
    skip gate
    skip fuzz
fi
exit "$failed"
