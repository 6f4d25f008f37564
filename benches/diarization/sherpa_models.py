"""Makes of Diarist's segmentation network and speaker encoder what sherpa-onnx can load.

    python sherpa_models.py FILTERS.onnx REST.onnx ENCODER.onnx RECORDINGS OUT

Diarist's segmentation network lies in two pieces; OUT/segmentation.onnx has them joined again. sherpa-onnx asks for facts about a network in its metadata. It gives encoders the logarithm of 80 mel bands, with
pre-emphasis; GE2E wants the power of 40 others, of speech that is not quieter than -30 dB. So OUT/encoder.onnx begins with
exp, a matrix that takes one to the other (and to the loudness) by least squares over the recordings that it will hear, which
is the best that can be done for it, and the gain.
"""

import argparse
from pathlib import Path

import kaldi_native_fbank as kaldi
import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper

RATE = 16_000
BANDS, MELS = 80, 40
WINDOW, HOP = 400, 160
QUIETEST = 10 ** (-30 / 10)  # mean power that GE2E was trained on at least

SEGMENTATION = dict(
    model_type="pyannote-segmentation-3.0", version=1, num_speakers=3, powerset_max_classes=2, num_classes=7,
    sample_rate=RATE, window_size=160_000, receptive_field_size=991, receptive_field_shift=270,
)  # fmt: skip
ENCODER = dict(
    framework="wespeaker", language="English", url="", comment="GE2E", sample_rate=RATE, output_dim=256,
    normalize_samples=1, normalize_features=0, feature_normalize_type="",
)  # fmt: skip


def bands(samples):
    """(frames, 80): log mel power as sherpa-onnx computes it."""
    options = kaldi.FbankOptions()
    options.frame_opts.dither, options.frame_opts.snip_edges = 0, False
    options.frame_opts.samp_freq, options.mel_opts.num_bins = RATE, BANDS
    options.mel_opts.high_freq = -400
    bank = kaldi.OnlineFbank(options)
    bank.accept_waveform(RATE, samples.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


def filters():
    """(40, 201): Slaney's mel filters, as librosa makes them."""
    to_mel = lambda hz: np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1) / 1000) * 27 / np.log(6.4))
    to_hz = lambda mel: np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    edges = to_hz(np.linspace(0, to_mel(RATE / 2), MELS + 2))
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def mels(samples, frames):
    """(frames, 41): the mel power that GE2E was trained on, at the middles of sherpa-onnx's frames, and the mean power."""
    padded = np.pad(samples, WINDOW // 2)
    window = np.hanning(WINDOW + 1)[:-1]
    starts = np.minimum(np.arange(frames) * HOP + HOP // 2, len(padded) - WINDOW)
    cut = padded[starts[:, None] + np.arange(WINDOW)]
    power = np.abs(np.fft.rfft(cut * window)) ** 2 @ filters().T
    return np.concatenate([power, (cut**2).mean(axis=1, keepdims=True)], axis=1)


def between(recordings):
    """(80, 41): takes bands to `mels`, by least squares; loud recordings do not outweigh quiet ones."""
    given, wanted = [], []
    for path in recordings:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE and samples.ndim == 1, f"{path} is not 16 kHz mono"
        log_power = bands(samples)
        power, target = np.exp(log_power), mels(samples, len(log_power))
        weight = 1 / np.sqrt((target**2).sum(axis=1).mean())
        given.append(power * weight)
        wanted.append(target * weight)
    matrix, *_ = np.linalg.lstsq(np.concatenate(given), np.concatenate(wanted), rcond=1e-6)
    return matrix.astype(np.float32)


def described(network, facts):
    del network.metadata_props[:]
    helper.set_model_props(network, {key: str(value) for key, value in facts.items()})
    return network


def with_front(network, matrix):
    """`network` on bands instead of mels."""
    graph = network.graph
    mels_name, frames = graph.input[0].name, helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", BANDS])
    constants = dict(
        bands_to_mels=matrix, parts=np.array([MELS, 1]), quietest=np.float32([QUIETEST]), one=np.float32([1]),
        least=np.float32([1e-12]),
    )  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    front = [
        helper.make_node("Exp", ["x"], ["bands_power"]),
        helper.make_node("MatMul", ["bands_power", "bands_to_mels"], ["estimated"]),
        helper.make_node("Relu", ["estimated"], ["positive"]),
        helper.make_node("Split", ["positive", "parts"], ["mels_power", "powers"], axis=2),
        helper.make_node("ReduceMean", ["powers"], ["power"], axes=[1]),
        helper.make_node("Max", ["power", "least"], ["some_power"]),
        helper.make_node("Div", ["quietest", "some_power"], ["needed"]),
        helper.make_node("Max", ["needed", "one"], ["gain"]),
        helper.make_node("Mul", ["mels_power", "gain"], [mels_name]),
    ]
    nodes = [*front, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(frames)
    return network


def joined(filters, rest):
    """The network in one piece: what Diarist does between the two, for a window by itself, is three nodes."""
    graph = rest.graph
    one, none = numpy_helper.from_array(np.float32([1]), "one"), numpy_helper.from_array(np.float32([0]), "none")
    graph.initializer.extend([one, none, *filters.graph.initializer])
    (conv,) = filters.graph.node
    front = [
        helper.make_node("InstanceNormalization", ["x", "one", "none"], [conv.input[0]], epsilon=1e-5),
        conv,
        helper.make_node("Abs", [conv.output[0]], ["loud"]),
        helper.make_node("MaxPool", ["loud"], ["loudest"], kernel_shape=[3], strides=[3]),
    ]
    nodes = [*front, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, "T"]))
    return rest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("filters", "rest", "encoder", "recordings", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    segmentation = joined(onnx.load(options.filters), onnx.load(options.rest))
    onnx.save(described(segmentation, SEGMENTATION), options.out / "segmentation.onnx")
    recordings = sorted(path for path in options.recordings.glob("*.flac") if path.with_suffix(".rttm").exists())
    encoder = with_front(onnx.load(options.encoder), between(recordings))
    onnx.save(described(encoder, ENCODER), options.out / "encoder.onnx")


if __name__ == "__main__":
    main()
