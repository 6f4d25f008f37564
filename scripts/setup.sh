#!/usr/bin/env bash
# Installs what building and running Diarist need. Changes nothing that is there already.
#
#   scripts/setup.sh        compilers and ONNX Runtime
#   scripts/setup.sh node   Node.js as well, for the tests
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Debian's Python comes without the module that makes environments with pip.
has_python() { has python3 && python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

missing_packages() {
    has cmake || echo cmake
    has c++ || echo g++
    has cc || echo gcc
    has pkg-config || echo pkg-config
    has_python || echo python3 python3-venv
    if [ "${1:-}" = node ]; then
        has node || echo nodejs
        has npm || echo npm
    fi
}

apt_install() {
    if ! has apt-get; then
        say "please install these (names of Debian's packages): $*" >&2
        return 1
    fi
    local root=()
    if [ "$(id -u)" != 0 ]; then
        if ! has sudo; then
            say "these packages are missing and only root can install them: $*" >&2
            say "as root: apt-get update && apt-get install $*" >&2
            return 1
        fi
        root=(sudo)
    fi
    say "installing $*"
    "${root[@]}" apt-get update -qq || say "the package lists could not be refreshed; going on with the old ones"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

if ! has cargo; then
    say "Rust is missing; install it from https://rustup.rs and run this again" >&2
    exit 1
fi

# shellcheck disable=SC2207  # package names have no spaces
packages=($(missing_packages))
if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "${packages[@]}"
fi

if [ "${1:-}" = node ]; then
    # shellcheck disable=SC2207
    packages=($(missing_packages node))
    if [ "${#packages[@]}" -gt 0 ]; then
        apt_install "${packages[@]}"
    fi
fi

python3 scripts/onnxruntime.py
