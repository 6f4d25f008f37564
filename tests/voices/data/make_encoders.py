#!/usr/bin/env python3
"""Writes encoders that look from outside as WeSpeaker's ResNet34-LM does, with random weights.

    python3 make_encoders.py            # writes shared.onnx and tied.onnx here; needs the package onnx
    python3 make_encoders.py --full F   # the real one's layers and sizes, for measuring speed

Inputs `fbank` (windows, frames, 80) and `weights` (masks, frames of the mask), output `embedding` (masks, 256): a trunk of
convolutions, then mean and standard deviation over time, weighted by the masks, then a matrix. In `shared.onnx` one
window can be combined with several masks, in `tied.onnx` there must be as many of the one as of the other.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(1)


class Graph:
    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def name(self):
        self.count += 1
        return f"n{self.count}"

    def constant(self, value):
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weights(self, *shape):
        fan_in = max(1, int(np.prod(shape[1:])))
        return self.constant((random.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def add(self, kind, *inputs, **attributes):
        name = self.name()
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x, channels_in, channels_out, size, stride):
        pad = size // 2
        kernel = self.weights(channels_out, channels_in, size, size)
        return self.add("Conv", x, kernel, strides=[stride, stride], pads=[pad] * 4)


def small_trunk(graph, x):
    x = graph.add("Relu", graph.conv(x, 1, 4, 3, 2))
    x = graph.add("Relu", graph.conv(x, 4, 4, 3, 2))
    return graph.add("Relu", graph.conv(x, 4, 4, 3, 2)), 4 * 10


def resnet34_trunk(graph, x):
    x, before = graph.add("Relu", graph.conv(x, 1, 32, 3, 1)), 32
    for channels, blocks, first_stride in ((32, 3, 1), (64, 4, 2), (128, 6, 2), (256, 3, 2)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            shortcut = x if before == channels and stride == 1 else graph.conv(x, before, channels, 1, stride)
            inner = graph.add("Relu", graph.conv(x, before, channels, 3, stride))
            inner = graph.add("Mul", graph.conv(inner, channels, channels, 3, 1), graph.constant(np.float32(0.3)))
            x, before = graph.add("Relu", graph.add("Add", inner, shortcut)), channels
    return x, 256 * 10


def build(trunk, tied):
    graph = Graph()
    axes = lambda *numbers: graph.constant(np.array(numbers, np.int64))
    x = graph.add("Unsqueeze", graph.add("Transpose", "fbank", perm=[0, 2, 1]), axes(1))
    x, features = trunk(graph, x)
    x = graph.add("Reshape", x, axes(0, features, -1))  # (windows, features, frames)
    frames = graph.add("Slice", graph.add("Shape", x), axes(2), axes(3))
    masks = graph.add("Unsqueeze", "weights", axes(1))
    if tied:
        rows = graph.add("Slice", graph.add("Shape", x), axes(0), axes(1))
        masks = graph.add("Reshape", masks, graph.add("Concat", rows, axes(1, -1), axis=0))
    rows = graph.add("Slice", graph.add("Shape", masks), axes(0), axes(2))
    sizes = graph.add("Concat", rows, frames, axis=0)
    masks = graph.add("Resize", masks, "", "", sizes, mode="nearest", nearest_mode="floor",
                      coordinate_transformation_mode="asymmetric")
    # pyannote.audio, StatsPool: weighted mean, and the unbiased deviation for weights.
    total = graph.add("Add", graph.add("ReduceSum", masks, axes(2), keepdims=1), graph.constant(np.float32(1e-8)))
    mean = graph.add("Div", graph.add("ReduceSum", graph.add("Mul", x, masks), axes(2), keepdims=1), total)
    centred = graph.add("Sub", x, mean)
    squares = graph.add("Mul", graph.add("Mul", centred, centred), masks)
    weight_squares = graph.add("ReduceSum", graph.add("Mul", masks, masks), axes(2), keepdims=1)
    freedom = graph.add("Add", graph.add("Sub", total, graph.add("Div", weight_squares, total)),
                        graph.constant(np.float32(1e-8)))
    variance = graph.add("Div", graph.add("ReduceSum", squares, axes(2), keepdims=1), freedom)
    stats = graph.add("Concat", mean, graph.add("Sqrt", variance), axis=1)
    out = graph.add("Gemm", graph.add("Squeeze", stats, axes(2)), graph.weights(2 * features, 256),
                    graph.constant(np.zeros(256, np.float32)))
    graph.nodes.append(helper.make_node("Identity", [out], ["embedding"]))
    tensor = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    made = helper.make_graph(graph.nodes, "encoder", [tensor("fbank", "batch", "frames", 80),
                             tensor("weights", "batch", "mask_frames")], [tensor("embedding", "batch", 256)],
                             graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    if sys.argv[1:2] == ["--full"]:
        onnx.save(build(resnet34_trunk, tied=False), sys.argv[2])
    else:
        here = Path(__file__).parent
        onnx.save(build(small_trunk, tied=False), here / "shared.onnx")
        onnx.save(build(small_trunk, tied=True), here / "tied.onnx")
