"""Writes a checkpoint as a GGML file that whisper.cpp loads.

    python -m diarist_micro.export RUN/checkpoint.pt model-q8_0.bin [--type q8_0|f16|f32]

The rows of the few trained tokens are spread over all of Whisper's. All other rows hold one constant that gives them
a logit of -48 whatever is heard, so they are never chosen.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from .ggml import F16, F32, Q8_0, write_model
from .languages import ENGLISH, SETS, LanguageSet
from .network import AUDIO_POSITIONS, MELS, TEXT_POSITIONS, TIMESTAMPS, MicroWhisper

UNUSED = -6.0  # channel 0 of an unused token's row; the last layer norm holds 8 there
TYPES = {"f32": F32, "f16": F16, "q8_0": Q8_0}


def load(path) -> tuple[MicroWhisper, list[int], LanguageSet]:
    """The model of a checkpoint, the tokens of its table's rows, and its kind."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = MicroWhisper(**saved["dimensions"])
    model.load_state_dict(saved["model"])
    return model.eval(), saved["ids"], SETS[saved.get("languages", ENGLISH.name)]


@torch.no_grad()
def tensors(model: MicroWhisper, ids: list[int], languages: LanguageSet) -> dict[str, np.ndarray]:
    """All tensors under whisper.cpp's names, float32."""
    width = model.dimensions["width"]
    numbers = languages.numbers
    rows = torch.zeros(numbers.size, width)
    rows[:, 0] = UNUSED
    table = model.table()
    rows[ids] = table[: len(ids)]
    rows[numbers.first_timestamp : numbers.first_timestamp + TIMESTAMPS] = table[len(ids) :]
    state = model.state_dict()
    first = ["encoder.positional_embedding", "decoder.positional_embedding"]
    found = {name: state[name] for name in first} | {"decoder.token_embedding.weight": rows}
    found |= {name: value for name, value in state.items() if name.startswith(("encoder.", "decoder.")) and name not in found}
    found["decoder.ln.weight"], found["decoder.ln.bias"] = model.last_norm()
    for name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        found[name] = found[name][:, None]
    return {name: value.float().numpy() for name, value in found.items()}


def export(checkpoint: Path, model_path: Path, kind: str) -> None:
    model, ids, languages = load(checkpoint)
    of = model.dimensions
    width, heads = of["width"], of["heads"]
    header = languages.header()
    audio = (AUDIO_POSITIONS, width, heads, of["encoder_layers"])
    text = (TEXT_POSITIONS, width, heads, of["decoder_layers"])
    header.hparams = (languages.numbers.size, *audio, *text, MELS, 0)
    write_model(model_path, header, tensors(model, ids, languages), TYPES[kind])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    options = parser.parse_args()
    export(options.checkpoint, options.model, options.type)
    print(f"{options.model}: {options.model.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
