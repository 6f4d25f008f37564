#!/usr/bin/env python3
"""Writes the small networks with which vocal separation is tried out and tested: fixed filters, not trained.

    pip install onnx==1.19.0 numpy==2.3.4
    python scripts/separation_models.py

models/voice_band.onnx has the signature of an MDX-Net (real and imaginary parts of both channels in and out, any
batch), tests/separation/{voice,background}.onnx that of Spleeter's pair in sherpa-onnx's export (magnitudes of both
channels, any number of windows). Each multiplies its input by a mask over the bins. The same versions write the same
bytes.

tests/separation/reference holds networks that mix whatever they get, a sound, and the voice that the recipes of
Ultimate Vocal Remover and sherpa-onnx make of it, computed here with numpy alone: nothing of it is Diarist's.
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
    nodes = [helper.make_node("Mul", [names[0], "mask"], [names[1]])]
    save(path, nodes, names, shape, numpy_helper.from_array(mask, "mask"))


def save(path, nodes, names, shape, weight):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    graph = helper.make_graph(
        nodes=nodes,
        name="fixed_mask",
        inputs=tensors[:1],
        outputs=tensors[1:],
        initializer=[weight],
    )
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)], producer_name="diarist"
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


# The grid of the reference: small, with bins left out at the top.
REF_FFT, REF_HOP, REF_BINS, REF_FRAMES = 512, 128, 200, 32
COMPENSATION = 1.05
SILENT_BINS = 3


def hann():
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(REF_FFT) / REF_FFT)


def stft(sound):
    """Shape (bins, frames), as torch.stft(center=True, pad_mode="reflect") gives it."""
    padded = np.pad(sound, REF_FFT // 2, mode="reflect")
    frames = [padded[at : at + REF_FFT] * hann() for at in range(0, len(padded) - REF_FFT + 1, REF_HOP)]
    return np.fft.rfft(frames, axis=1).T


def istft(spectrum, length):
    """As torch.istft(center=True): overlap and add, divided by the sum of the squared windows."""
    sound, weight = np.zeros(length + REF_FFT), np.zeros(length + REF_FFT)
    for frame, samples in enumerate(np.fft.irfft(spectrum.T, n=REF_FFT, axis=1)):
        at = slice(frame * REF_HOP, frame * REF_HOP + REF_FFT)
        sound[at] += samples * hann()
        weight[at] += hann() ** 2
    return (sound / np.maximum(weight, 1e-12))[REF_FFT // 2 : REF_FFT // 2 + length]


def pad_bins(spectrum):
    return np.pad(spectrum, ((0, REF_FFT // 2 + 1 - spectrum.shape[0]), (0, 0)))


def mdx_voices(sound, mixing):
    """What a network that mixes its four planes by `mixing` gives: (predicted voice, mix less predicted background)."""
    spectra = [stft(channel)[:REF_BINS].copy() for channel in sound]
    for spectrum in spectra:
        spectrum[:SILENT_BINS] = 0
    planes = np.stack([part for spectrum in spectra for part in (spectrum.real, spectrum.imag)])
    result = np.tensordot(mixing, planes, axes=1) * COMPENSATION
    predicted = [result[0] + 1j * result[1], result[2] + 1j * result[3]]
    for spectrum in predicted:
        spectrum[:SILENT_BINS] = 0
    voices = [istft(pad_bins(spectrum), sound.shape[1]) for spectrum in predicted]
    rests = [istft(pad_bins(mix - part), sound.shape[1]) for mix, part in zip(spectra, predicted)]
    return np.stack(voices), np.stack(rests)


def spleeter_voices(sound, networks):
    """What a pair of networks gives that mix the channels' magnitudes by `networks` and drop what is negative."""
    spectra = [stft(channel)[:REF_BINS] for channel in sound]
    magnitudes = np.abs(np.stack(spectra))
    voice, background = [np.maximum(np.tensordot(mixing, magnitudes, axes=1), 0) for mixing in networks]
    share = (voice**2 + 1e-10 / 2) / (voice**2 + background**2 + 1e-10)
    return np.stack([istft(pad_bins(part * mix), sound.shape[1]) for part, mix in zip(share, spectra)])


def write_mixing(path, mixing, names, shape, swap):
    """A network that mixes planes by a matrix; `swap` is Spleeter's order of axes, with what is negative dropped."""
    order = {"perm": [1, 0, 2, 3]}
    weight = numpy_helper.from_array(mixing.astype(np.float32)[:, :, None, None], "weight")
    if swap:
        nodes = [
            helper.make_node("Transpose", [names[0]], ["a"], **order),
            helper.make_node("Conv", ["a", "weight"], ["b"]),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Transpose", ["c"], [names[1]], **order),
        ]
    else:
        nodes = [helper.make_node("Conv", [names[0], "weight"], [names[1]])]
    save(path, nodes, names, shape, weight)


def write_reference():
    folder = ROOT / "tests/separation/reference"
    random = np.random.default_rng(7)
    length = REF_HOP * (REF_FRAMES - 1)
    sound = random.uniform(-1, 1, (2, length)).astype(np.float32)
    mixing = random.uniform(-1, 1, (4, 4)).astype(np.float32)
    pair = [random.uniform(-0.5, 1, (2, 2)).astype(np.float32) for _ in range(2)]
    folder.mkdir(parents=True, exist_ok=True)
    shape = ["batch_size", 4, REF_BINS, REF_FRAMES]
    write_mixing(folder / "mdx.onnx", mixing, ("input", "output"), shape, swap=False)
    for name, part in zip(("voice", "background"), pair):
        shape = [2, "num_splits", REF_FRAMES, REF_BINS]
        write_mixing(folder / f"spleeter_{name}.onnx", part, ("x", "y"), shape, swap=True)
    predicted, rest = mdx_voices(sound, mixing)
    results = {"sound": sound, "mdx_voice": predicted, "mdx_rest": rest, "spleeter": spleeter_voices(sound, pair)}
    for name, values in results.items():
        np.save(folder / f"{name}.npy", values.astype(np.float32))


def main():
    write_reference()
    mask = voice_mask(MDX_BINS).reshape(1, 1, MDX_BINS, 1)
    write(ROOT / "models/voice_band.onnx", mask, ("input", "output"), ["batch_size", 4, MDX_BINS, MDX_FRAMES])
    voice = voice_mask(SPLEETER_BINS)
    for name, mask in (("voice", voice), ("background", 1 - voice)):
        path = ROOT / "tests/separation" / f"{name}.onnx"
        write(path, mask, ("x", "y"), [2, "num_splits", SPLEETER_FRAMES, SPLEETER_BINS])


if __name__ == "__main__":
    main()
