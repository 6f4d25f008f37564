"""Sounds without speech, made of formulas: noises, hums, tones, clicks and simple music."""

import numpy as np
from scipy.signal import fftconvolve

from .features import RATE


def coloured(rng: np.random.Generator, count: int, slope: float) -> np.ndarray:
    """Noise whose power falls with frequency to the power `slope` (0 white, 1 pink, 2 brown)."""
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    spectrum /= np.maximum(np.arange(len(spectrum)) * RATE / count, 20.0) ** (slope / 2)
    return _level(np.fft.irfft(spectrum, count))


def slowly(rng: np.random.Generator, count: int, low: float, high: float, every: float) -> np.ndarray:
    """A random curve between `low` and `high` with a knot every `every` seconds."""
    knots = max(2, int(count / RATE / every) + 2)
    return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), rng.uniform(low, high, knots))


def hum(rng: np.random.Generator, count: int) -> np.ndarray:
    """A mains hum or an engine: a low tone with harmonics, steady or wandering."""
    base = rng.choice([50, 60, 100, 120, rng.uniform(30, 300)])
    drift = slowly(rng, count, 0.97, 1.03, 2.0) if rng.random() < 0.4 else 1.0
    phase = np.cumsum(np.full(count, base) * drift) * 2 * np.pi / RATE
    weights = rng.uniform(0, 1, 12) * 0.7 ** np.arange(12)
    return _level(sum(w * np.sin((k + 1) * phase + rng.uniform(0, 6)) for k, w in enumerate(weights)))


def tones(rng: np.random.Generator, count: int) -> np.ndarray:
    """Beeps or a sliding whistle."""
    hold = rng.uniform(0.1, 1.5)
    pitch = np.exp(slowly(rng, count, np.log(200), np.log(4000), hold))
    if rng.random() < 0.6:
        pitch = pitch[(np.arange(count) // int(hold * RATE)) * int(hold * RATE)]
    gate = 1.0 if rng.random() < 0.5 else (np.arange(count) // int(rng.uniform(0.1, 1.0) * RATE)) % 2
    return _level(np.sin(np.cumsum(pitch) * 2 * np.pi / RATE) * gate + 1e-4)


def clicks(rng: np.random.Generator, count: int) -> np.ndarray:
    """Knocks, key strokes, crackle: decaying bursts at random times."""
    impulses = np.where(rng.random(count) < rng.uniform(1, 40) / RATE, rng.normal(0, 1, count), 0)
    length = int(RATE * rng.uniform(0.002, 0.08))
    burst = rng.normal(0, 1, length) * np.exp(-np.arange(length) / (length / 5))
    return _level(fftconvolve(impulses, burst)[:count] + 1e-4 * rng.normal(0, 1, count))


def music(rng: np.random.Generator, count: int) -> np.ndarray:
    """Chords and a melody of decaying harmonic notes, with or without drums."""
    beat = rng.uniform(0.18, 0.6)
    scale = 110 * 2 ** (rng.integers(0, 12) / 12) * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
    bright, decay = rng.uniform(0.3, 0.85), rng.uniform(0.15, 2.0)
    out = np.zeros(count + RATE * 4)
    for step in range(int(count / RATE / beat)):
        at = int(step * beat * RATE)
        notes = list(rng.choice(scale, 1) * rng.choice([1, 2, 4])) if rng.random() < 0.8 else []
        if step % 4 == 0:
            notes += list(scale[rng.integers(0, 5) + np.array([0, 2, 4])])
        time = np.arange(int(RATE * min(3.5, decay * 4))) / RATE
        for note in notes:
            wave = sum(bright**k * np.sin(2 * np.pi * note * (k + 1) * time) for k in range(6) if note * (k + 1) < 7500)
            out[at : at + len(time)] += wave * np.exp(-time / decay) * np.minimum(1, time / 0.01) * rng.uniform(0.3, 1)
        if rng.random() < 0.4:
            drum = rng.normal(0, 1, 2400) * np.exp(-np.arange(2400) / rng.uniform(150, 900))
            out[at : at + 2400] += drum * rng.uniform(0, 1)
    return _level(out[:count] + 1e-5)


def draw(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One random sound without speech, (samples,) float32 at root mean square 0.05."""
    count = int(seconds * RATE)
    slope = rng.choice([0, 0, 1, 1, 2, rng.uniform(-1, 2.5)])
    kinds = [lambda rng, count: coloured(rng, count, slope), hum, tones, clicks, music]
    sound = kinds[rng.choice(5, p=[0.4, 0.15, 0.12, 0.13, 0.2])](rng, count)
    if rng.random() < 0.35:  # a second one below it
        sound = sound + kinds[rng.integers(0, 5)](rng, count) * 10 ** rng.uniform(-2.5, 0)
    if rng.random() < 0.3:  # gusts
        sound = sound * 10 ** slowly(rng, count, -1.5, 0, rng.uniform(0.2, 3))
    return _level(sound).astype(np.float32)


def _level(sound: np.ndarray) -> np.ndarray:
    return sound / (np.sqrt(np.mean(sound**2)) + 1e-9) * 0.05
