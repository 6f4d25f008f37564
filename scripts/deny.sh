#!/usr/bin/env bash
# `cargo deny`: licences, sources and duplicates of the dependencies always; known vulnerabilities if the public
# list of them can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
say() { printf 'deny: %s\n' "$*"; }

if cargo deny --version >/dev/null 2>&1; then
    deny=(cargo deny)
else
    if [ ! -x .runtime/cargo/bin/cargo-deny ]; then
        say "installing cargo-deny $version under .runtime/cargo; this takes some minutes, once"
        if ! cargo install --quiet --locked --root .runtime/cargo --target-dir .runtime/cargo/build "cargo-deny@$version"; then
            say "SKIPPED: cargo-deny could not be installed" >&2
            exit 0
        fi
        rm -rf .runtime/cargo/build
    fi
    deny=(.runtime/cargo/bin/cargo-deny)
fi

"${deny[@]}" --locked check bans licenses sources

advisories=https://github.com/rustsec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 15 git ls-remote --quiet "$advisories" HEAD >/dev/null 2>&1; then
    "${deny[@]}" --locked check advisories
else
    say "SKIPPED: known vulnerabilities, since $advisories cannot be reached"
fi
