#!/usr/bin/env python3
"""Writes networks for `make bench ONLY=separation`: the size and structure of the real ones, weights by chance.

    python benches/separation/models.py OUT

OUT/mdx.onnx is KUIELab's ConvTDFNet (Kim et al. 2021) as large as Kim_Vocal_2: eleven blocks of three convolutions and
a bottleneck over frequencies, 48 channels more at each level, 3072 bins by 256 frames. OUT/vocals.onnx and
OUT/accompaniment.onnx are Spleeter's U-Net (Hennequin et al. 2020) as sherpa-onnx exports it: six levels, 16 to 512
channels, 1024 bins by 512 frames. OUT/mdx-empty.onnx and OUT/spleeter-empty.onnx take and give the same and do nothing.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BATCH_NORM_EPSILON = 1e-3


class Graph:
    """Nodes one after the other, with weights that keep numbers about as large as they are."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def add(self, operator, inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def chance(self, shape, fan_in, gain=2.0):
        return self.weight((self.random.standard_normal(shape) * np.sqrt(gain / fan_in)).astype(np.float32))

    def conv(self, x, channels_in, channels_out, kernel, **attributes):
        shape = (channels_out, channels_in, kernel, kernel)
        bias = self.weight(np.zeros(channels_out, np.float32))
        w = self.chance(shape, channels_in * kernel * kernel)
        return self.add("Conv", [x, w, bias], kernel_shape=[kernel, kernel], **attributes)

    def conv_transpose(self, x, channels_in, channels_out, kernel, **attributes):
        shape = (channels_in, channels_out, kernel, kernel)
        w = self.chance(shape, channels_in * kernel * kernel / 4)
        return self.add("ConvTranspose", [x, w], kernel_shape=[kernel, kernel], strides=[2, 2], **attributes)

    def norm(self, x, channels):
        one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        weights = [self.weight(values) for values in (one, zero, zero, one)]
        return self.add("BatchNormalization", [x, *weights], epsilon=BATCH_NORM_EPSILON)

    def relu(self, x):
        return self.add("Relu", [x])

    def write(self, path, source, result, names, shape):
        """Saves the graph with `source` and `result` under the names that the real one has."""
        for node in self.nodes:
            node.input[:] = [names[0] if name == source else name for name in node.input]
            node.output[:] = [names[1] if name == result else name for name in node.output]
        tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
        graph = helper.make_graph(self.nodes, "random", tensors[:1], tensors[1:], initializer=self.weights)
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
        onnx.checker.check_model(model)
        onnx.save(model, path)
        print(f"{path}: {path.stat().st_size} bytes")


def tfc_tdf(graph, x, channels, bins):
    """Three convolutions, then the sum with what two layers along the frequencies make of it."""
    for _ in range(3):
        x = graph.relu(graph.conv(x, channels, channels, 3, pads=[1] * 4))
    narrow = graph.add("MatMul", [x, graph.chance((bins, bins // 8), bins)])
    narrow = graph.relu(graph.norm(narrow, channels))
    wide = graph.add("MatMul", [narrow, graph.chance((bins // 8, bins), bins // 8)])
    wide = graph.relu(graph.norm(wide, channels))
    return graph.add("Mul", [graph.add("Add", [x, wide]), graph.weight(np.float32(0.6))])


def mdx(path, levels=5, growth=48, bins=3072, frames=256):
    graph = Graph(1)
    x = graph.conv("in", 4, growth, 1)
    x = graph.relu(x)
    x = graph.add("Transpose", [x], perm=[0, 1, 3, 2])
    channels, f, skipped = growth, bins, []
    for _ in range(levels):
        x = tfc_tdf(graph, x, channels, f)
        skipped.append(x)
        x = graph.relu(graph.conv(x, channels, channels + growth, 2, strides=[2, 2]))
        channels, f = channels + growth, f // 2
    x = tfc_tdf(graph, x, channels, f)
    for skip in reversed(skipped):
        x = graph.conv_transpose(x, channels, channels - growth, 2)
        channels, f = channels - growth, f * 2
        x = graph.relu(graph.norm(x, channels))
        x = graph.add("Mul", [x, skip])
        x = tfc_tdf(graph, x, channels, f)
    x = graph.add("Transpose", [x], perm=[0, 1, 3, 2])
    x = graph.conv(x, channels, 4, 1)
    graph.write(path, "in", x, ("input", "output"), ["batch_size", 4, bins, frames])


def spleeter(path, seed, frames=512, bins=1024):
    graph = Graph(seed)
    swapped = graph.add("Transpose", ["in"], perm=[1, 0, 2, 3])
    same = [1, 1, 2, 2]  # what TensorFlow's "same" adds around 5 by 5 at every second sample
    x, channels, convolved = swapped, 2, []
    for level in range(6):
        wider = 16 << level
        x = graph.conv(x, channels, wider, 5, strides=[2, 2], pads=same)
        convolved.append(x)
        x = graph.add("LeakyRelu", [graph.norm(x, wider)], alpha=0.2)
        channels = wider
    x = convolved.pop()
    for level in reversed(range(6)):
        narrower = (16 << level) // 2 if level else 1
        x = graph.conv_transpose(x, channels, narrower, 5, pads=same)  # (n - 1) * 2 + 5 - 3 = 2 n
        x = graph.norm(graph.relu(x), narrower)
        channels = narrower
        if convolved:
            x = graph.add("Concat", [convolved.pop(), x], axis=1)
            channels = 2 * narrower
    x = graph.conv(x, channels, 2, 4, dilations=[2, 2], pads=[3] * 4)
    x = graph.add("Mul", [graph.add("Sigmoid", [x]), swapped])
    x = graph.add("Transpose", [x], perm=[1, 0, 2, 3])
    graph.write(path, "in", x, ("x", "y"), [2, "num_splits", frames, bins])


def empty(path, names, shape):
    graph = Graph(0)
    graph.write(path, "in", graph.add("Identity", ["in"]), names, shape)


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    mdx(out / "mdx.onnx")
    spleeter(out / "vocals.onnx", 2)
    spleeter(out / "accompaniment.onnx", 3)
    empty(out / "mdx-empty.onnx", ("input", "output"), ["batch_size", 4, 3072, 256])
    empty(out / "spleeter-empty.onnx", ("x", "y"), [2, "num_splits", 512, 1024])


if __name__ == "__main__":
    main()
