"""A checkpoint made of a model file says what the file says."""

import numpy as np
import pytest
import torch

from diarist_micro.export import load, tensors
from diarist_micro.ggml import read_model
from diarist_micro.paths import SHIPPED_MODEL, SHIPPED_MULTILINGUAL
from diarist_micro.restore import restore


@pytest.mark.parametrize("path", [SHIPPED_MODEL, SHIPPED_MULTILINGUAL], ids=["english", "multilingual"])
def test_what_is_restored_is_exported_as_it_was(path, tmp_path):
    torch.save(restore(path), tmp_path / "restored.pt")
    assert load(tmp_path / "restored.pt")[0].timestamp_map.weight.abs().max() < 2, "training works in half precision"
    again = tensors(*load(tmp_path / "restored.pt"))
    _, given = read_model(path)
    assert again.keys() == given.keys()
    for name, values in given.items():
        # Timestamps share one map, which is found from rows that were rounded one by one.
        allowed = 0.02 if name == "decoder.token_embedding.weight" else 0
        step = np.abs(values).max() * allowed
        assert np.abs(again[name] - values).max() <= step, name
