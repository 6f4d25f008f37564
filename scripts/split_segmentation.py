#!/usr/bin/env python3
"""Cuts a segmentation network in two behind its first layer, whose work overlapping windows can share.

    pip install onnx==1.19.1
    python3 scripts/split_segmentation.py segmentation-3.0.int8lstm.onnx models

Writes `segmentation-3.0.filters.onnx` (samples to what its 80 filters answer, without the normalisation over a window)
and `segmentation-3.0.rest.onnx` (the loudest answers of windows to scores). What lies between them is linear, and
`src/diarization/split.rs` does it. The weights are untouched; every run gives the same bytes.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FILTERS, TAPS, STRIDE = 80, 251, 10
CLASSES = 7
POOLED = "/sincnet/pool1d.0/MaxPool_output_0"
GAIN, OFFSET = "sincnet.wav_norm1d.weight", "sincnet.wav_norm1d.bias"
TAPS_NAME = "/sincnet/conv1d.0/Concat_2_output_0"


def main(source: Path, folder: Path) -> None:
    whole = onnx.load(source)
    known = {tensor.name: tensor for tensor in whole.graph.initializer}
    save(filters(known, whole), folder / "segmentation-3.0.filters.onnx")
    save(rest(known, whole), folder / "segmentation-3.0.rest.onnx")


def filters(known: dict[str, TensorProto], whole: onnx.ModelProto) -> onnx.ModelProto:
    """The filters' answers to gain * samples + offset, as the normalisation of a window ends."""
    taps = numpy_helper.to_array(known[TAPS_NAME])
    assert taps.shape == (FILTERS, 1, TAPS), taps.shape
    gain, offset = (numpy_helper.to_array(known[name]).astype(np.float64).item() for name in (GAIN, OFFSET))
    exact = taps.astype(np.float64)
    weights = (gain * exact).astype(np.float32)
    bias = (offset * exact.sum(axis=(1, 2))).astype(np.float32)
    node = helper.make_node("Conv", ["samples", "taps", "offsets"], ["answers"], strides=[STRIDE])
    graph = helper.make_graph(
        [node],
        "filters",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, [1, 1, "samples"])],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, [1, FILTERS, "answers"])],
        [numpy_helper.from_array(weights, "taps"), numpy_helper.from_array(bias, "offsets")],
    )
    return model(graph, whole)


def rest(known: dict[str, TensorProto], whole: onnx.ModelProto) -> onnx.ModelProto:
    """Everything behind the first pooling."""
    nodes = list(whole.graph.node)
    first = next(index for index, node in enumerate(nodes) if POOLED in node.output) + 1
    nodes = nodes[first:]
    made = {name for node in nodes for name in node.output} | {POOLED, ""}
    needed = sorted({name for node in nodes for name in node.input} - made)
    scores = whole.graph.output[0].name
    graph = helper.make_graph(
        nodes,
        "rest",
        [helper.make_tensor_value_info(POOLED, TensorProto.FLOAT, ["windows", FILTERS, "frames"])],
        [helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["windows", "scores", CLASSES])],
        [known[name] for name in needed],
    )
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == POOLED:
                node.input[at] = "loudest"
    graph.input[0].name = "loudest"
    return model(graph, whole)


def model(graph: onnx.GraphProto, whole: onnx.ModelProto) -> onnx.ModelProto:
    made = helper.make_model(graph, opset_imports=list(whole.opset_import), ir_version=whole.ir_version)
    made.producer_name = "diarist"
    return made


def save(made: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(made.SerializeToString(deterministic=True))
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
