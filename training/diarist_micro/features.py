"""Whisper's log-mel features, computed as whisper.cpp computes them."""

import numpy as np

from .ggml import Header, read_header

RATE = 16_000  # samples a second
HOP = 160  # samples a frame: 100 frames a second
WINDOW = 400  # samples
FLOOR = -10.0  # log10 power of digital silence
RANGE = 8.0  # whisper keeps this many decades (log10) below the loudest value of a file

_HANN = np.hanning(WINDOW + 1)[:WINDOW].astype(np.float32)


class LogMel:
    """Turns samples into log10 mel power; the filters come from a GGML speech model."""

    def __init__(self, header: Header):
        self.filters = header.filters  # (80, 201)

    @classmethod
    def of_model(cls, path) -> "LogMel":
        return cls(read_header(path))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(samples,) -> (frames, 80) log10 power, frame i centred at sample 160 i; neither clamped nor scaled."""
        samples = np.asarray(samples, np.float32)
        count = len(samples) // HOP
        head = samples[1 : WINDOW // 2 + 1][::-1]
        head = np.concatenate([np.zeros(WINDOW // 2 - len(head), np.float32), head])
        padded = np.concatenate([head, samples, np.zeros(WINDOW, np.float32)])
        index = (np.arange(count) * HOP)[:, None] + np.arange(WINDOW)
        power = np.abs(np.fft.rfft(padded[index] * _HANN, axis=1)).astype(np.float32) ** 2
        return np.log10(np.maximum(power @ self.filters.T, 10**FLOOR))


def normalise(mel: np.ndarray, loudest: float | None = None) -> np.ndarray:
    """Whisper's input scale: `RANGE` decades below `loudest` (log10; by default the array's own maximum)."""
    loudest = mel.max() if loudest is None else loudest
    return (np.maximum(mel, loudest - RANGE) + 4) / 4
