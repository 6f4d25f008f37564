"""The GGML file: what is written is what whisper.cpp expects to read."""

import numpy as np
import pytest

from diarist_micro.ggml import F16, F32, Q8_0, Header, quantise_q8_0, read_header, tensor_type, write_model


def test_a_q8_0_block_is_a_half_precision_scale_and_rounded_bytes():
    values = np.zeros(32, np.float32)
    values[:4] = [127.0, -127.0, 0.5, -1.4]
    block = np.frombuffer(quantise_q8_0(values), [("scale", "<f2"), ("values", "i1", 32)])
    assert block["scale"].tolist() == [1.0]
    assert block["values"][0, :5].tolist() == [127, -127, 1, -1, 0]


def test_quantisation_is_never_off_by_more_than_half_a_step():
    values = np.random.default_rng(0).normal(0, 1, (16, 64)).astype(np.float32)
    blocks = np.frombuffer(quantise_q8_0(values), [("scale", "<f2"), ("values", "i1", 32)])
    back = (blocks["values"] * blocks["scale"][:, None].astype(np.float32)).reshape(16, 64)
    steps = np.repeat(np.abs(values).reshape(-1, 32).max(1) / 127, 32).reshape(16, 64)
    assert np.all(np.abs(back - values) <= 0.57 * steps)  # 0.5, and the scale's own rounding


def test_a_row_that_does_not_fill_its_blocks_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        quantise_q8_0(np.zeros((2, 40)))


def test_only_weight_matrices_are_quantised():
    assert tensor_type("encoder.blocks.0.mlp.0.weight", (512, 128), Q8_0) == Q8_0
    assert tensor_type("decoder.token_embedding.weight", (51864, 128), Q8_0) == Q8_0
    assert tensor_type("encoder.conv1.weight", (128, 80, 3), Q8_0) == F16
    assert tensor_type("encoder.conv1.bias", (128, 1), Q8_0) == F32
    assert tensor_type("encoder.positional_embedding", (1500, 128), Q8_0) == F32
    assert tensor_type("encoder.ln_post.weight", (128,), Q8_0) == F32


def test_a_written_header_is_read_back(tmp_path):
    header = Header((51864, 1500, 128, 2, 4, 448, 128, 2, 3, 80, 0), np.ones((80, 201), np.float32), [b"a", b"", b"\xff b"])
    write_model(tmp_path / "model.bin", header, {"weight": np.ones((2, 32), np.float32)}, Q8_0)
    found = read_header(tmp_path / "model.bin")
    assert found.hparams == (*header.hparams[:-1], 2007)
    assert found.vocabulary == header.vocabulary
    assert np.array_equal(found.filters, header.filters)
