#!/usr/bin/env python3
"""Writes the small networks with which vocal separation is tried out and tested: fixed filters, not trained.

    pip install onnx==1.19.0 numpy==2.3.4
    python scripts/separation_models.py

models/voice_band.onnx has the signature of an MDX-Net (real and imaginary parts of both channels in and out, any
batch), tests/separation/{voice,background}.onnx that of Spleeter's pair in sherpa-onnx's export (magnitudes of both
channels, any number of windows). Each multiplies its input by a mask over the bins. The same versions write the same
bytes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent

RATE = 44_100
N_FFT = 2_048  # bins 21.5 Hz apart
MDX_BINS, MDX_FRAMES = 256, 256
SPLEETER_BINS, SPLEETER_FRAMES = 512, 64

# Hz: silent below the first, full from the second to the third, silent from the fourth on.
BAND = (150, 220, 3_400, 3_700)


def voice_mask(bins):
    """Shape (bins,), in [0, 1]: what of each bin may be a voice."""
    frequency = np.arange(bins) * RATE / N_FFT
    low, full, falling, high = BAND
    rise = np.clip((frequency - low) / (full - low), 0, 1)
    fall = np.clip((high - frequency) / (high - falling), 0, 1)
    return (np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2).astype(np.float32)


def write(path, mask, names, shape):
    """A network that multiplies numbers of `shape` by `mask`."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    graph = helper.make_graph(
        nodes=[helper.make_node("Mul", [names[0], "mask"], [names[1]])],
        name="fixed_mask",
        inputs=tensors[:1],
        outputs=tensors[1:],
        initializer=[numpy_helper.from_array(mask, "mask")],
    )
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)], producer_name="diarist"
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def main():
    mask = voice_mask(MDX_BINS).reshape(1, 1, MDX_BINS, 1)
    write(ROOT / "models/voice_band.onnx", mask, ("input", "output"), ["batch_size", 4, MDX_BINS, MDX_FRAMES])
    voice = voice_mask(SPLEETER_BINS)
    for name, mask in (("voice", voice), ("background", 1 - voice)):
        path = ROOT / "tests/separation" / f"{name}.onnx"
        write(path, mask, ("x", "y"), [2, "num_splits", SPLEETER_FRAMES, SPLEETER_BINS])


if __name__ == "__main__":
    main()
