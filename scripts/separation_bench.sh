#!/bin/sh
# Prepares `make bench ONLY=separation`: networks of true size and structure, with random weights, in OUT.
#
#   scripts/separation_bench.sh PYTHON OUT
set -eu
cd "$(dirname "$0")/.."
python=$1
out=$2
venv=$PWD/target/separation/venv

if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import onnx, numpy' 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check onnx==1.19.0 numpy==2.3.4
fi
"$venv/bin/python" -B benches/separation/models.py "$out" >&2
