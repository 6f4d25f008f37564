#!/bin/sh
# Prepares what `make bench ONLY=peers` compares with, in target/peers: whisper.cpp in its default build (the sources
# that whisper-rs-sys carries), faster-whisper from PyPI, and models of true size for all of them.
#
#   scripts/peers.sh PYTHON
#
# What is there already is kept.
set -eu
cd "$(dirname "$0")/.."
python=$1
out=$PWD/target/peers
mkdir -p "$out"

if [ ! -x "$out/venv/bin/python" ]; then
    "$python" -m venv "$out/venv"
fi
if ! "$out/venv/bin/python" -c 'import faster_whisper' 2>/dev/null; then
    "$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'faster-whisper==1.2.1'
fi

if [ ! -x "$out/run_whisper_cpp" ]; then
    sources=$(cargo metadata --locked --format-version 1 | "$python" -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "whisper-rs-sys"))')/whisper.cpp
    # Nothing but where things are: its own defaults, built for this processor.
    env -u CMAKE_CXX_FLAGS cmake -S "$sources" -B "$out/whisper.cpp" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DWHISPER_BUILD_TESTS=OFF -DWHISPER_BUILD_EXAMPLES=OFF >"$out/whisper.cpp.log" 2>&1
    cmake --build "$out/whisper.cpp" --target whisper -j "$(nproc)" >>"$out/whisper.cpp.log" 2>&1
    libraries="src/libwhisper.a ggml/src/libggml.a ggml/src/libggml-cpu.a ggml/src/libggml-base.a"
    for library in $libraries; do set -- "$@" "$out/whisper.cpp/$library"; done
    shift
    g++ -O2 -o "$out/run_whisper_cpp" benches/peers/run_whisper_cpp.cpp -I "$sources/include" -I "$sources/ggml/include" \
        "$@" -fopenmp -lpthread -ldl
fi

for size in base small; do
    if [ ! -f "$out/models/scripted-$size-int8/tokenizer.json" ]; then
        "$out/venv/bin/python" -B benches/peers/models.py models/diarist-micro-en-q8_0.bin "$size" "$out/models"
    fi
done
