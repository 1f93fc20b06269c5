#!/usr/bin/env bash
# From a fresh Debian machine that has only rustup's cargo to a running Tidegate with one real message in it.
#
#   deploy/quickstart.sh          installs what is missing, builds, starts with demo data, publishes one message over MQTT,
#                                 reads it back over REST, and keeps running until Ctrl-C; data in ./data
#   deploy/quickstart.sh --check  the same in a temporary directory; ends after the read-back, 0 only if it succeeded
#
# Respects CARGO_TARGET_DIR and every TIDEGATE_<SECTION>_<KEY>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(build-essential clang libclang-dev cmake mosquitto-clients curl jq)
token=A1_TEST_TOKEN
user=tenant@thingsboard.org
password=tenant
start_seconds_max=120
check=no
pid=
work=

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$0"
}

case "${1:-}" in
    "") ;;
    --check) check=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
esac

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf '\nquickstart: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        say "1/5 Debian packages: all there"
        return
    fi
    say "1/5 Debian packages: installing ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

build() {
    [[ -r $HOME/.cargo/env ]] && source "$HOME/.cargo/env"
    command -v cargo >/dev/null || fail "cargo is missing: install it from https://rustup.rs and run this again"
    say "2/5 Building (the first time compiles RocksDB: minutes on a small machine)"
    local start=$SECONDS
    # The whole workspace's features, one program: a later `tests/run.sh` then compiles nothing twice.
    cargo build --release --locked --workspace --bin tidegate
    echo "built in $((SECONDS - start)) s"
}

# free_port VARIABLE HOST PORT: the setting's default unless something listens there; then the kernel picks a port.
free_port() {
    local variable=$1 host=$2 port=$3
    [[ -n ${!variable:-} ]] && return
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "port $port is taken: $variable gets a free one"
        port=0
    fi
    export "$variable=$host:$port"
}

start() {
    local binary=${CARGO_TARGET_DIR:-target}/release/tidegate
    work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-quickstart.XXXXXX")
    if [[ $check == yes ]]; then
        export TIDEGATE_DATA_DIR="$work/data"
    else
        export TIDEGATE_DATA_DIR="${TIDEGATE_DATA_DIR:-./data}"
    fi
    say "3/5 Starting Tidegate with demo data in $TIDEGATE_DATA_DIR"
    # Loopback also for MQTT: demo tokens are well known.
    free_port TIDEGATE_MQTT_LISTEN 127.0.0.1 1883
    free_port TIDEGATE_HTTP_LISTEN 127.0.0.1 8080
    free_port TIDEGATE_GRPC_LISTEN 127.0.0.1 7070
    free_port TIDEGATE_QUERY_LISTEN 127.0.0.1 7071
    free_port TIDEGATE_ADMIN_LISTEN 127.0.0.1 9090
    : >"$work/out"
    # Its own session: Ctrl-C reaches only this script, which asks once for a drain.
    setsid "$binary" standalone --demo >"$work/out" 2>"$work/log" &
    pid=$!
    local waited=0
    until grep -qx ready "$work/out"; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/out" "$work/log" >&2; pid=; fail "tidegate ended before it was ready"; }
        ((waited < start_seconds_max * 10)) || { cat "$work/log" >&2; fail "tidegate was not ready after $start_seconds_max s"; }
        waited=$((waited + 1))
        sleep 0.1
    done
    cat "$work/out"
}

# address NAME: what the machine-readable line says, with a host that can be called.
address() {
    sed -n "s/^listening .*\b$1=\([^ ]*\).*/\1/p" "$work/out" | sed 's/^0\.0\.0\.0:/127.0.0.1:/; s/^\[::\]:/[::1]:/'
}

rest() {
    local path=$1
    shift
    curl -sS --fail-with-body --max-time 20 -H 'Content-Type: application/json' "$@" "$http$path"
}

# publish_and_read: one message in over MQTT, the same value out over REST.
publish_and_read() {
    local temperature device stored jwt page
    mqtt=$(address mqtt)
    http=http://$(address http)
    temperature="2$((RANDOM % 10)).$((RANDOM % 9 + 1))"
    say "4/5 Publishing {\"temperature\": $temperature} as the device with token $token"
    timeout 20 mosquitto_pub -h "${mqtt%:*}" -p "${mqtt##*:}" -q 1 -u "$token" \
        -t v1/devices/me/telemetry -m "{\"temperature\": $temperature}" || fail "the message was not acknowledged"
    echo "acknowledged: it is on disk"
    say "5/5 Reading it back over REST"
    jwt=$(rest /api/auth/login -d "{\"username\": \"$user\", \"password\": \"$password\"}" | jq -er .token) || fail "login failed"
    page=$(rest "/api/tenant/devices?pageSize=10&page=0&textSearch=A1" -H "X-Authorization: Bearer $jwt") || fail "no devices: $page"
    device=$(jq -er '.data[0].id.id' <<<"$page") || fail "the demo device is missing: $page"
    series="/api/plugins/telemetry/DEVICE/$device/values/timeseries?keys=temperature"
    stored=$(rest "$series" -H "X-Authorization: Bearer $jwt") || fail "the reading could not be read: $stored"
    jq . <<<"$stored"
    jq -e --argjson sent "$temperature" '(.temperature[0].value | tonumber) == $sent' <<<"$stored" >/dev/null ||
        fail "stored is not what was published"
}

next_steps() {
    say "It works. Tidegate keeps running until Ctrl-C (log: $work/log). Things to try:"
    cat <<STEPS

  # publish more
  mosquitto_pub -h ${mqtt%:*} -p ${mqtt##*:} -q 1 -u $token -t v1/devices/me/telemetry -m '{"temperature": 30, "humidity": 40}'
  # listen as the device: shared attributes set over REST arrive here
  mosquitto_sub -h ${mqtt%:*} -p ${mqtt##*:} -u $token -t v1/devices/me/attributes -v
  # log in and read the latest value
  JWT=\$(curl -s $http/api/auth/login -H 'Content-Type: application/json' -d '{"username":"$user","password":"$password"}' | jq -r .token)
  curl -s -H "X-Authorization: Bearer \$JWT" '$http$series'
  # set a shared attribute
  curl -s -H "X-Authorization: Bearer \$JWT" -H 'Content-Type: application/json' -d '{"interval": 10}' \\
    $http${series%%/values*}/SHARED_SCOPE
  # the data plane's health and metrics
  curl -s http://$(address admin)/readyz; curl -s http://$(address admin)/metrics | head
  # every setting, its value and where it comes from
  ${CARGO_TARGET_DIR:-target}/release/tidegate check-settings
STEPS
}

stop() {
    local status=$?
    trap - EXIT INT TERM
    if [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null; then
        wait "$pid" || status=$?
        tail -n 1 "$work/out"
    fi
    [[ -z $work ]] || rm -rf "$work"
    exit "$status"
}

trap stop EXIT
trap 'exit 130' INT TERM
install_packages
build
start
publish_and_read
if [[ $check == yes ]]; then
    say "check passed"
    exit 0
fi
next_steps
# Ctrl-C is how this is meant to end.
trap 'exit 0' INT TERM
ended=0
wait "$pid" || ended=$?
pid=
cat "$work/log" >&2
fail "tidegate ended by itself with exit code $ended"
