# Sourced: where what tests fetch is kept, and how Python environments are made there.
# shellcheck shell=bash

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tidegate"

# python_environment NAME PACKAGE...: made once; the marker is written last, so that a half-made one is made again.
python_environment() {
    local directory="$cache/$1"
    shift
    [[ -e $directory/tidegate-complete ]] && return
    mkdir -p "$cache"
    rm -rf "$directory"
    python3 -m venv "$directory" &&
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@" &&
        touch "$directory/tidegate-complete"
}
