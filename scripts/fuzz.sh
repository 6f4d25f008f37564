#!/usr/bin/env bash
# Runs the fuzz targets, two at a time, with AddressSanitizer; fails when one of them finds something.
#
#   MINUTES   minutes for each target (10)
#   ONLY      names of targets, separated by spaces (all)
#   JOBS      targets at a time (2)
#
# Needs a nightly toolchain of Rust, which has the sanitizers; installs cargo-fuzz under .runtime/cargo if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.13.2
minutes=${MINUTES:-10}
jobs=${JOBS:-2}
folder=target/fuzz
say() { printf 'fuzz: %s\n' "$*"; }

if ! cargo +nightly --version >/dev/null 2>&1; then
    say "a nightly toolchain is missing: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
export PATH=$PWD/.runtime/cargo/bin:$PATH
if ! command -v cargo-fuzz >/dev/null; then
    say "installing cargo-fuzz $version under .runtime/cargo"
    cargo +nightly install --quiet --locked --root .runtime/cargo --target-dir .runtime/cargo/build "cargo-fuzz@$version"
    rm -rf .runtime/cargo/build
fi

# The C of libopus and ggml is checked too, where the compiler can.
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
if [ "${triple#*-linux-gnu}" != "$triple" ]; then
    export "CFLAGS_${triple//-/_}=-fsanitize=address -fno-omit-frame-pointer"
fi
say "building; the first time takes as long as the program itself"
cargo +nightly fuzz build --target-dir "$folder"
python3 scripts/fuzz_seeds.py "$folder/corpus"
mkdir -p "$folder/logs"

# limits TARGET: longest input in bytes, longest time for one in seconds, and memory in MB.
limits() {
    case $1 in
        decode) echo "-max_len=40000 -timeout=30 -rss_limit_mb=1536 -malloc_limit_mb=256" ;;
        look | model) echo "-max_len=110000 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=128" ;;
        *) echo "-max_len=8192 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=128" ;;
    esac
}

# run TARGET: one line about how it went; the findings are kept.
run() {
    local target=$1 log=$folder/logs/$1.log options corpora=("$folder/corpus/$1")
    read -ra options <<<"$(limits "$target")"
    [ ! -f "fuzz/dictionaries/$target.dict" ] || options+=("-dict=fuzz/dictionaries/$target.dict")
    [ ! -d "fuzz/regressions/$target" ] || corpora+=("fuzz/regressions/$target")
    mkdir -p "fuzz/artifacts/$target"
    if "$folder/$triple/release/$target" "${corpora[@]}" "${options[@]}" -max_total_time=$((minutes * 60)) \
        -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 -verbosity=1 >"$log" 2>&1; then
        say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
        return
    fi
    local found
    found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    say "$target: FOUND SOMETHING; $log tells what. Once more:"
    say "    cargo +nightly fuzz run --target-dir $folder $target ${found:-'(no file was written)'}"
    return 1
}
trap 'rm -rf /dev/shm/diarist-fuzz-* "${TMPDIR:-/tmp}"/diarist-fuzz-*' EXIT

failed=0
running=0
for target in ${ONLY:-$(cargo +nightly fuzz list)}; do
    if [ "$running" -ge "$jobs" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    say "$target: $minutes minutes"
    run "$target" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit "$failed"
