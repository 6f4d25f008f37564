"""What training asks for beside the right tokens."""

import pytest
import torch

from diarist_micro.train import prompt_loss


def test_only_the_answers_attention_to_its_prompt_costs():
    prompt, wanted = torch.tensor([2, 0]), torch.tensor([[False, False, False, True, True, False], [True] * 6])
    weights = torch.zeros(2, 1, 6, 6)
    weights[0, 0, :, 0] = 1.0  # the prompt may look at itself, and padding wherever it likes
    weights[0, 0, 2:5] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    weights[1, 0, :, 0] = 1.0  # no prompt: its first token is the start of the answer
    assert prompt_loss([weights, weights], prompt, wanted) == 0
    weights[0, 0, 3] = torch.tensor([0.25, 0.25, 0.5, 0.0, 0.0, 0.0])
    assert prompt_loss([weights], prompt, wanted) == pytest.approx(torch.log(torch.tensor(2.0)).item() / 3)
    assert prompt_loss([weights], torch.zeros(2, dtype=int), wanted) == 0
