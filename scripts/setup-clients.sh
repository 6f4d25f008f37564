#!/usr/bin/env bash
# Installs OpenAI's official clients for tests/sdk, at the pinned versions, under .runtime/clients.
# Changes nothing that is there already. Without Node.js (and no way to install it) the Node client is left out.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
clients=.runtime/clients
mkdir -p "$clients"

# `done_with NAME FILES…`: whether NAME was installed from just these files.
done_with() {
    local stamp="$clients/$1.stamp" name=$1
    shift
    [ -d "$clients/$name" ] && [ -f "$stamp" ] && cat "$@" | cmp -s - "$stamp"
}

install_python() {
    local name=$1 requirements=tests/sdk/python/$1.txt
    done_with "$name" "$requirements" && return
    say "installing OpenAI's Python client ($(grep '^openai==' "$requirements"))"
    [ -x .runtime/venv/bin/python ] || python3 -m venv .runtime/venv
    rm -rf "${clients:?}/$name"
    .runtime/venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$clients/$name" -r "$requirements"
    cat "$requirements" >"$clients/$name.stamp"
}

install_node() {
    local name=node from=(tests/sdk/node/package.json tests/sdk/node/package-lock.json)
    done_with "$name" "${from[@]}" && return
    if ! { command -v node && command -v npm; } >/dev/null && ! scripts/setup.sh node; then
        say "WARNING: there is no Node.js: the tests of the Node client will be SKIPPED" >&2
        return
    fi
    say "installing OpenAI's Node client"
    rm -rf "${clients:?}/$name"
    mkdir -p "$clients/$name"
    cp "${from[@]}" "$clients/$name/"
    (cd "$clients/$name" && npm ci --no-audit --no-fund --silent)
    cat "${from[@]}" >"$clients/$name.stamp"
}

install_python openai-3
install_python openai-1
install_node
