"""The mean of checkpoints' weights."""

import pytest
import torch

from diarist_micro.mean import mean


def checkpoint(value: float, ids: list[int], step: int) -> dict:
    return dict(model={"layer": torch.full((2,), value)}, dimensions={"width": 2}, ids=ids, progress=dict(step=step))


def test_shares_are_made_to_sum_to_one_and_the_first_lends_the_rest():
    found = mean([(3, checkpoint(1.0, [5], 20)), (1, checkpoint(3.0, [5], 10))])
    assert found["model"]["layer"].tolist() == [1.5, 1.5]
    assert found["progress"] == dict(step=20)


def test_models_with_other_tokens_have_no_mean():
    with pytest.raises(ValueError, match="different models"):
        mean([(1, checkpoint(1.0, [5], 20)), (1, checkpoint(3.0, [6], 10))])
