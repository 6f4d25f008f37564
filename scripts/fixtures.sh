#!/usr/bin/env bash
# Makes the speech fixtures again; see fixtures/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in espeak-ng flite; do
    command -v "$tool" >/dev/null || { echo "fixtures: $tool is missing (Debian's package has that name)" >&2; exit 1; }
done
[ -x .runtime/fixtures/bin/python ] || python3 -m venv .runtime/fixtures
.runtime/fixtures/bin/python -m pip install --quiet --disable-pip-version-check -r fixtures/make/requirements.txt
.runtime/fixtures/bin/python fixtures/make/make.py models/diarist-micro-en-q8_0.bin models/silero_vad_16k_op15.onnx "$@"
