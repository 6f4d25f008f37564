"""Writes a GGML file without weights that lends a vocabulary, for the first model of its kind.

    python -m diarist_micro.vocabulary multilingual.tiktoken ../models/diarist-micro-multi-q8_0.bin

`multilingual.tiktoken` is Whisper's, from the Python package `openai-whisper`. A model that is there lends its own.
"""

import argparse
import base64
from pathlib import Path

from .ggml import F16, Header, read_header, write_model
from .languages import MULTILINGUAL
from .paths import SHIPPED_MODEL


def read_tiktoken(path: Path) -> list[bytes]:
    """A token's bytes at its rank: lines of base64 and a number."""
    found = {}
    for line in path.read_text().splitlines():
        piece, rank = line.split()
        found[int(rank)] = base64.b64decode(piece)
    return [found.get(rank, b"") for rank in range(max(found) + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiktoken", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    vocabulary = read_tiktoken(options.tiktoken)
    if len(vocabulary) != MULTILINGUAL.numbers.end:
        raise SystemExit(f"{options.tiktoken} has {len(vocabulary)} tokens, not Whisper's {MULTILINGUAL.numbers.end}")
    hparams = (MULTILINGUAL.numbers.size, *[0] * 10)
    write_model(options.model, Header(hparams, read_header(SHIPPED_MODEL).filters, vocabulary), {}, F16)


if __name__ == "__main__":
    main()
