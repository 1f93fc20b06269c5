# What the scripts of this folder share; sourced by them, from the top of the clone. Starts and stops programs, measures nothing.
# shellcheck shell=bash

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tidegate"
. tests/target.sh
load=$CARGO_TARGET_DIR/release/tidegate-load

# usage: the comment at the head of the script, up to its first line of code.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "bench/$(basename "$0")"; }
fail() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }

# workplace: a directory of this run in $work; at the end of the script it is removed, after `stop`.
workplace() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-$(basename "$0" .sh).XXXXXX")
    pid=
    trap 'stop; rm -rf "$work"' EXIT
}

# stop: ends the server, if one runs. Scripts that start more say how themselves.
stop() {
    [[ -n $pid ]] || return 0
    end "$pid"
    pid=
}

build() {
    cargo build --release --locked --workspace --bin tidegate --bin tidegate-load >&2
    ulimit -n "$(ulimit -Hn)"
}

# certificate DIR: a self-made certificate for localhost in DIR/server.pem, its key in DIR/server.key.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=localhost" \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -keyout "$1/server.key" -out "$1/server.pem" 2>/dev/null
}

# end PID...: ends processes that this script started, and waits for them.
end() {
    local each
    for each in "$@"; do
        kill "$each" 2>/dev/null || true
        wait "$each" 2>/dev/null || true
    done
}

# serve DATA LOG PORT REST_PORT [TLS_PORT]: Tidegate on core 0 with one shard and the demo's users, its process in $pid, once it is
# ready; with TLS_PORT also over TLS, by the certificate beside DATA.
serve() {
    local tls=()
    if [[ -n ${5:-} ]]; then
        tls=("TIDEGATE_MQTT_TLS_LISTEN=127.0.0.1:$5"
            "TIDEGATE_DEVICE_TLS_CERTIFICATES=$(dirname "$1")/server.pem:$(dirname "$1")/server.key")
    fi
    TIDEGATE_DATA_DIR=$1 TIDEGATE_SHARDS=1 TIDEGATE_MQTT_LISTEN=127.0.0.1:$3 TIDEGATE_HTTP_LISTEN=127.0.0.1:$4 \
        TIDEGATE_DEVICE_HTTP_LISTEN=127.0.0.1:0 TIDEGATE_GRPC_LISTEN=127.0.0.1:0 TIDEGATE_QUERY_LISTEN=127.0.0.1:0 TIDEGATE_ADMIN_LISTEN=127.0.0.1:0 \
        taskset -c 0 env "${tls[@]}" "$CARGO_TARGET_DIR/release/tidegate" standalone --demo >"$2" 2>&1 &
    pid=$!
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        grep -q '^ready' "$2" && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "tidegate does not start: $(tail -3 "$2")" >&2
    return 1
}

# api METHOD PATH TOKEN [JSON]: asks the control plane at $rest_port.
api() {
    curl -sS --fail-with-body -X "$1" "http://127.0.0.1:$rest_port$2" -H "X-Authorization: Bearer $3" \
        -H 'Content-Type: application/json' ${4:+-d "$4"}
}

# login USER PASSWORD: a token of the user.
login() {
    curl -sS --fail-with-body "http://127.0.0.1:$rest_port/api/auth/login" -H 'Content-Type: application/json' \
        -d "{\"username\":\"$1\",\"password\":\"$2\"}" | jq -r .token
}

# another_tenant NAME: a tenant with the administrator NAME@example.org, whose password is NAME-password.
another_tenant() {
    local token tenant user link
    token=$(login sysadmin@thingsboard.org sysadmin)
    tenant=$(api POST /api/tenant "$token" "{\"title\":\"$1\"}" | jq -c .id)
    user=$(api POST '/api/user?sendActivationMail=false' "$token" \
        "{\"email\":\"$1@example.org\",\"authority\":\"TENANT_ADMIN\",\"tenantId\":$tenant}" | jq -r .id.id)
    link=$(api GET "/api/user/$user/activationLink" "$token")
    curl -sS --fail-with-body -X POST "http://127.0.0.1:$rest_port/api/noauth/activate?sendActivationMail=false" \
        -H 'Content-Type: application/json' -d "{\"activateToken\":\"${link##*activateToken=}\",\"password\":\"$1-password\"}" >/dev/null
}
