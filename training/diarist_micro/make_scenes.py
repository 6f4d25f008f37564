"""Makes the recordings of several voices in `fixtures/`, with exact words, word times and speaker turns.

    python -m diarist_micro.make_scenes ../models/diarist-micro-en-q8_0.bin ../fixtures

Sentences are among those that training never used. The voices are those of the engines that a speaker encoder tells apart
best: most of espeak-ng's are one voice to it. A sentence is taken only if the model hears it exactly by itself, so that
what a test hears wrongly in a scene is due to the scene or the program. Writes `audio/scenes/NAME.flac`, and in
`expected/scenes` `NAME.json` (sentences with speaker, text, start, end and words; seconds) and `NAME.rttm` (a turn per
sentence).
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, resample_poly, sosfiltfilt

from . import noise
from .evaluate import RULES, Ear, Voice, all_voices, held_out
from .features import RATE

SEED = 2026
EDGE = 0.5  # seconds of silence before the first and after the last sentence
PADDING = 0.3  # seconds around a sentence that is tried by itself
TELEPHONE = (300, 3400)  # Hz
TELEPHONE_RATE = 8000

# Cosine distances of GE2E vectors after LDA: at least 0.78 between two of them, 0.15 to 0.36 within one.
VOICES = ("flite rms", "espeak-ng en-us+klatt4", "flite slt", "espeak-ng en-us+Michael", "espeak-ng en-us+f4")


@dataclass(frozen=True)
class Turn:
    """One sentence in a scene; times in seconds."""

    speaker: str
    text: str
    start: float
    end: float
    words: list[tuple[float, float]]
    samples: np.ndarray


@dataclass(frozen=True)
class Scene:
    """What a recording is made of."""

    name: str
    speakers: int
    sentences: int
    gaps: tuple[float, float]  # seconds between two sentences, from and to; below zero they overlap
    colour: Callable[[np.ndarray], np.ndarray] = lambda samples: samples
    rate: int = RATE


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def under(samples: np.ndarray, sound: np.ndarray, decibels: float) -> np.ndarray:
    """`sound` under `samples`, so many decibels below."""
    return samples + sound * level(samples) / level(sound) * 10 ** (-decibels / 20)


def with_noise(samples: np.ndarray) -> np.ndarray:
    return under(samples, noise.coloured(np.random.default_rng(SEED), len(samples), 1), 18)


def with_music(samples: np.ndarray) -> np.ndarray:
    return under(samples, noise.music(np.random.default_rng(SEED), len(samples)), 20)


def telephone(samples: np.ndarray) -> np.ndarray:
    """A telephone's band and µ-law steps, at 8 kHz."""
    narrow = sosfiltfilt(butter(4, TELEPHONE, "bandpass", fs=RATE, output="sos"), samples)
    narrow = resample_poly(narrow, TELEPHONE_RATE, RATE)
    coded = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    coded = np.round(coded * 127) / 127
    return np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255


SCENES = [
    Scene("two-voices", 2, 12, (0.2, 0.9)),
    Scene("three-voices-overlapping", 3, 15, (-0.8, 0.5)),
    Scene("four-voices", 4, 16, (0.15, 0.8)),
    Scene("five-voices", 5, 19, (0.2, 1.0)),
    Scene("five-voices-overlapping", 5, 19, (-0.8, 0.6)),
    Scene("long-pauses", 1, 5, (6.0, 14.0)),
    Scene("noise", 2, 8, (0.3, 1.0), with_noise),
    Scene("telephone", 2, 8, (0.3, 1.0), telephone, TELEPHONE_RATE),
    Scene("music", 2, 8, (0.3, 1.0), with_music),
]


class Studio:
    """Speaks sentences that are heard right."""

    def __init__(self, model: Path):
        self.ear, self.rng, self.used = Ear(model), random.Random(SEED), set()
        voices = {voice.name: voice for voice in all_voices()}
        self.voices = [voices[name] for name in VOICES]

    def say(self, voice: Voice, speaker: str, colour: Callable[[np.ndarray], np.ndarray], rate: int) -> Turn:
        """A new sentence, at time 0, that the model hears exactly: plainly and as it will sound in the scene."""
        while True:
            text = held_out(RULES["everyday"], 1, self.rng)[0]
            spoken = None if text in self.used else voice.speak(text)
            if spoken is None:
                continue
            self.used.add(text)
            padded = np.pad(spoken.samples, int(PADDING * RATE))
            coloured = resample_poly(colour(padded), RATE, rate)
            if all(self.ear.hear(way, samples)[0] == text for way in self.ear.ways for samples in (padded, coloured)):
                return Turn(speaker, text, 0.0, len(spoken.samples) / RATE, spoken.words, spoken.samples)

    def order(self, scene: Scene) -> list[int]:
        """Who speaks each sentence; with several voices nobody has three in a row."""
        order = [number % scene.speakers for number in range(scene.sentences)]
        while True:
            self.rng.shuffle(order)
            if scene.speakers == 1 or all(len(set(order[k : k + 3])) > 1 for k in range(len(order) - 2)):
                return order

    def turns(self, scene: Scene) -> list[Turn]:
        """The sentences of a scene, each at its time. Nobody is left out or talks over himself."""
        rng, turns, now = self.rng, [], EDGE
        order = self.order(scene)
        for number, following in zip(order, [*order[1:], None]):
            turn = self.say(self.voices[number], f"speaker{number + 1}", scene.colour, scene.rate)
            turn = replace(turn, start=now, end=now + turn.end, words=[(now + a, now + b) for a, b in turn.words])
            turns.append(turn)
            gap = rng.uniform(*scene.gaps)
            if gap < 0 and (following == number or len(turns) > 1 and turns[-2].end > turn.start):
                gap = rng.uniform(0.1, 0.4)  # never three at once
            now = round(max(turn.end + gap, turn.start + 0.5), 2)
        return turns


def mixed(turns: list[Turn]) -> np.ndarray:
    samples = np.zeros(round((max(turn.end for turn in turns) + EDGE) * RATE), np.float64)
    for turn in turns:
        at = round(turn.start * RATE)
        samples[at : at + len(turn.samples)] += turn.samples
    return samples


def write(folder: Path, scene: Scene, turns: list[Turn]) -> None:
    samples = scene.colour(mixed(turns))
    peak = np.abs(samples).max()
    if peak > 0.99:
        samples = samples * 0.99 / peak
    soundfile.write(folder / f"audio/scenes/{scene.name}.flac", samples, scene.rate, subtype="PCM_16", compression_level=1.0)
    told = [
        {
            "speaker": turn.speaker,
            "text": turn.text,
            "start": round(turn.start, 3),
            "end": round(turn.end, 3),
            "words": [
                {"word": word, "start": round(a, 3), "end": round(b, 3)} for word, (a, b) in zip(turn.text.split(), turn.words)
            ],
        }
        for turn in turns
    ]
    expected = folder / "expected/scenes" / scene.name
    truth = {"duration": round(len(samples) / scene.rate, 3), "segments": told}
    expected.with_suffix(".json").write_text(compact(truth))
    lines = [
        f"SPEAKER {scene.name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {turn.speaker} <NA> <NA>"
        for turn in turns
    ]
    expected.with_suffix(".rttm").write_text("\n".join(lines) + "\n")


def compact(truth: dict) -> str:
    """JSON with a line for each sentence."""
    lines = ",\n".join(json.dumps(segment) for segment in truth["segments"])
    return f'{{"duration": {truth["duration"]}, "segments": [\n{lines}\n]}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("fixtures", type=Path)
    options = parser.parse_args()
    for part in ("audio", "expected"):
        (options.fixtures / part / "scenes").mkdir(parents=True, exist_ok=True)
    studio = Studio(options.model)
    for scene in SCENES:
        turns = studio.turns(scene)
        write(options.fixtures, scene, turns)
        print(f"{scene.name}: {len(turns)} sentences, {turns[-1].end + EDGE:.1f} s", flush=True)


if __name__ == "__main__":
    main()
