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


def note(rng: np.random.Generator, pitch: float, seconds: float, bright: float, decay: float, held: bool) -> np.ndarray:
    """One harmonic note: struck and fading within about `decay` seconds, or `held` with vibrato."""
    time = np.arange(int(RATE * seconds)) / RATE
    vibrato = 1 + rng.uniform(0, 0.02) * np.sin(2 * np.pi * rng.uniform(4, 7) * time) if held else np.ones(len(time))
    phase = 2 * np.pi * np.cumsum(vibrato) * pitch / RATE
    wave = sum(bright**k * np.sin((k + 1) * phase) for k in range(8) if pitch * (k + 1) < 7500)
    shape = np.minimum(1, time / 0.08) * np.minimum(1, (seconds - time) / 0.08) if held else np.exp(-time / decay)
    return wave * shape * np.minimum(1, time / rng.uniform(0.002, 0.02)) * rng.uniform(0.3, 1)


def drum(rng: np.random.Generator) -> np.ndarray:
    """A bass drum, or noise that fades: a snare or a cymbal."""
    time = np.arange(RATE // 3) / RATE
    if rng.random() < 0.4:
        falling = rng.uniform(40, 70) + rng.uniform(50, 150) * np.exp(-time * 30)
        return 2 * np.sin(2 * np.pi * np.cumsum(falling) / RATE) * np.exp(-time * rng.uniform(6, 15))
    return rng.normal(0, 1, len(time)) * np.exp(-time * rng.uniform(12, 100))


def music(rng: np.random.Generator, count: int) -> np.ndarray:
    """Some of: a melody, chords, a bass, drums; struck or held notes."""
    beat = rng.uniform(0.14, 0.6)
    steps = [np.array([0, 2, 4, 5, 7, 9, 11]), np.array([0, 2, 3, 5, 7, 8, 10]), np.array([0, 3, 5, 7, 10])][rng.integers(0, 3)]
    scale = 110 * 2 ** (rng.integers(0, 12) / 12) * 2 ** (np.concatenate([steps, steps + 12]) / 12)
    has = dict(zip(["melody", "chords", "bass", "drums"], rng.random(4) < [0.7, 0.5, 0.4, 0.4]))
    if not any(has.values()):
        has["melody"] = True
    voices = {part: (rng.uniform(0.25, 0.85), rng.uniform(0.1, 1.5), rng.random() < 0.3) for part in has}
    octave, every, busy = rng.choice([1, 2, 4]), rng.choice([4, 8]), rng.uniform(0.5, 1)
    hits = [[drum(rng) for _ in range(rng.integers(0, 3))] for _ in range(8)]
    out = np.zeros(count + RATE * 8)

    def play(at: int, part: str, pitch: float, beats: float) -> None:
        bright, decay, held = voices[part]
        sound = note(rng, pitch, beats * beat if held else min(3.5, decay * 4), bright, decay, held)
        out[at : at + len(sound)] += sound

    for step in range(int(count / RATE / beat)):
        at = int(step * beat * RATE)
        root = rng.integers(0, len(steps))
        if has["melody"] and rng.random() < busy:
            play(at, "melody", rng.choice(scale) * octave, rng.choice([1, 2]))
        if has["chords"] and step % every == 0:
            for third in (0, 2, 4):
                play(at, "chords", scale[min(root + third, len(scale) - 1)], every)
        if has["bass"] and step % 4 == 0:
            play(at, "bass", scale[root] / 2, 4)
        if has["drums"]:
            for hit in hits[step % 8]:
                out[at : at + len(hit)] += hit
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
