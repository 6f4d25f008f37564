#!/bin/sh
# Prepares what `make bench ONLY=diarizers` compares with: sherpa-onnx from PyPI in target/diarizers, and in OUT the
# segmentation network and speaker encoder of MODELS, made fit for it.
#
#   scripts/diarizers.sh PYTHON MODELS RECORDINGS OUT
set -eu
cd "$(dirname "$0")/.."
python=$1
models=$2
recordings=$3
out=$4
venv=$PWD/target/diarizers/venv

if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import kaldi_native_fbank, onnx, sherpa_onnx, soundfile' 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        'sherpa-onnx==2.0.1' kaldi-native-fbank onnx numpy soundfile
fi
"$venv/bin/python" -B benches/diarization/sherpa_models.py "$models/segmentation-3.0.filters.onnx" \
    "$models/segmentation-3.0.rest.onnx" "$models/ge2e_resemblyzer_int8.onnx" "$recordings" "$out"
