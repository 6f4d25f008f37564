"""Makes a checkpoint of a model file that `export.py` wrote, for training to go on from.

    python -m diarist_micro.restore model-q8_0.bin restored.pt

A file lacks what serves training alone: the optimiser's state, and the two heads that name each frame's phone and word.
The heads are zero in the checkpoint, so at first nothing flows back from them, and they learn within some hundred steps.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from .export import UNUSED
from .ggml import read_model
from .languages import set_of_size
from .network import CONTENT_CHANNELS, TIMESTAMPS, MicroWhisper
from .tokens import Tokens

RIDGE = 0.01  # from 1e-6 to 0.1 the rows are met equally well


def used_tokens(table: np.ndarray, tokens: Tokens) -> list[int]:
    """The trained ones of all of Whisper's tokens, as `Tokens.ids` has them: texts by number, then the special ones."""
    unused = np.isclose(table[:, 0], UNUSED, atol=0.01) & (table[:, 1:] == 0).all(axis=1)
    special = tokens.ids[tokens.end :]
    return [int(token) for token in np.flatnonzero(~unused) if token < tokens.last_text] + special


def timestamp_map(rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the linear map from the positions' table to the timestamps' rows.

    The slowest waves of the table are nearly the same column. Ridge regression keeps their weights small, which half
    precision needs.
    """
    given = np.concatenate([positions[:, CONTENT_CHANNELS:], np.ones((len(positions), 1))], 1).astype(np.float64)
    found = np.linalg.solve(given.T @ given + RIDGE * np.eye(given.shape[1]), given.T @ rows).T
    weight = np.zeros((rows.shape[1], positions.shape[1]), np.float32)
    weight[:, CONTENT_CHANNELS:] = found[:, :-1]
    return weight, found[:, -1].astype(np.float32)


def restore(path: Path) -> dict:
    """What a checkpoint of the model file at `path` holds."""
    header, tensors = read_model(path)
    languages = set_of_size(header.hparams[0])
    table = tensors.pop("decoder.token_embedding.weight")
    ids = used_tokens(table, Tokens(header, None, languages))
    width, heads, encoder_layers = header.hparams[2:5]
    model = MicroWhisper(len(ids), len(languages.phone_names) + 1, width, heads, encoder_layers, header.hparams[8])
    state = model.state_dict()
    first = languages.numbers.first_timestamp
    positions = model.timestamp_positions.numpy()
    weight, bias = timestamp_map(table[first : first + TIMESTAMPS], positions)
    tensors |= {"text_rows": table[ids], "timestamp_map.weight": weight, "timestamp_map.bias": bias}
    restored = {name: torch.tensor(value).reshape(state[name].shape) for name, value in tensors.items()}
    untold = {name: torch.zeros_like(value) for name, value in state.items() if name not in restored}
    model.load_state_dict(restored | untold)
    return dict(model=model.state_dict(), dimensions=model.dimensions, ids=ids, languages=languages.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    torch.save(restore(options.model), options.checkpoint)


if __name__ == "__main__":
    main()
