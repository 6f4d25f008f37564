"""Makes the recordings of several voices in `fixtures/`, with exact words, word times and speaker turns.

    python -m diarist_micro.make_scenes ../models/diarist-micro-en-q8_0.bin ../fixtures

Sentences are among those that training never used. The voices are those of the engines that a speaker encoder tells apart
best: most of espeak-ng's are one voice to it. A sentence is taken only if the model hears it exactly by itself, so that
what a test hears wrongly in a scene is due to the scene or the program. As in a conversation, a turn is one to three
sentences, and everyone has several of them. Writes `audio/scenes/NAME.flac`, and in `expected/scenes` `NAME.json`
(sentences with speaker, text, start, end and words; seconds) and `NAME.rttm` (a line per sentence).
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
from .evaluate import RULES, Voice, all_voices, held_out
from .features import RATE
from .measure import Ear

SEED = 2026
EDGE = 0.5  # seconds of silence before the first and after the last sentence
PADDING = 0.3  # seconds around a sentence that is tried by itself
PAUSES = (0.2, 0.5)  # seconds between two sentences of a turn
SPEECH = 12.0  # seconds that everyone in a scene speaks, at least
TELEPHONE = (300, 3400)  # Hz
TELEPHONE_RATE = 8000

# Cosine distances of GE2E vectors after LDA: at least 0.78 between two of them, 0.15 to 0.36 within one.
VOICES = ("flite rms", "espeak-ng en-us+klatt4", "flite slt", "espeak-ng en-us+Michael", "espeak-ng en-us+f4")


@dataclass(frozen=True)
class Sentence:
    """One sentence in a scene; times in seconds."""

    speaker: str
    text: str
    start: float
    end: float
    words: list[tuple[float, float]]
    samples: np.ndarray

    def at(self, time: float) -> "Sentence":
        """This sentence, said at another time."""
        by = time - self.start
        words = [(by + start, by + end) for start, end in self.words]
        return replace(self, start=time, end=by + self.end, words=words)


@dataclass(frozen=True)
class Scene:
    """What a recording is made of."""

    name: str
    speakers: int
    lengths: tuple[int, ...]  # sentences of a turn; one of these is drawn
    gaps: tuple[float, float]  # seconds between two turns, from and to; below zero they overlap
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


# Where many speak, turns of a single sentence are few: else four are heard within ten seconds all the time.
FEW, MANY = (1, 2, 3), (1, 2, 2, 2, 3, 3, 3)

SCENES = [
    Scene("two-voices", 2, FEW, (0.2, 0.9)),
    Scene("three-voices-overlapping", 3, FEW, (-0.8, 0.5)),
    Scene("four-voices", 4, MANY, (0.15, 0.8)),
    Scene("five-voices", 5, MANY, (0.2, 1.0)),
    Scene("five-voices-overlapping", 5, MANY, (-0.8, 0.6)),
    Scene("long-pauses", 1, (1,), (6.0, 14.0)),
    Scene("noise", 2, FEW, (0.3, 1.0), with_noise),
    Scene("telephone", 2, FEW, (0.3, 1.0), telephone, TELEPHONE_RATE),
    Scene("music", 2, FEW, (0.3, 1.0), with_music),
]


class Studio:
    """Speaks sentences that are heard right."""

    def __init__(self, model: Path):
        self.ear, self.rng, self.used = Ear(model), random.Random(SEED), set()
        voices = {voice.name: voice for voice in all_voices()}
        self.voices = [voices[name] for name in VOICES]

    def say(self, voice: Voice, speaker: str, colour: Callable[[np.ndarray], np.ndarray], rate: int) -> Sentence:
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
                return Sentence(speaker, text, 0.0, len(spoken.samples) / RATE, spoken.words, spoken.samples)

    def next_speaker(self, said: list[float], last: int | None) -> int:
        """Anyone but who spoke last, the likelier the more he has still to say; `said` is in seconds."""
        others = [number for number in range(len(said)) if number != last or len(said) == 1]
        missing = [max(0.0, SPEECH - said[number]) for number in others]
        return self.rng.choices(others, missing if any(missing) else None)[0]

    def sentences(self, scene: Scene) -> list[Sentence]:
        """A scene's sentences, each at its time, until everyone has said enough. Nobody talks over himself."""
        rng, sentences, now = self.rng, [], EDGE
        said, number = [0.0] * scene.speakers, None
        while min(said) < SPEECH:
            number = self.next_speaker(said, number)
            for left in reversed(range(rng.choice(scene.lengths))):
                spoken = self.say(self.voices[number], f"speaker{number + 1}", scene.colour, scene.rate)
                said[number] += spoken.end
                sentences.append(spoken.at(now))
                now = self.next_start(sentences, PAUSES if left else scene.gaps)
        return sentences

    def next_start(self, sentences: list[Sentence], gaps: tuple[float, float]) -> float:
        """When the sentence after these begins: within `gaps` of the last one's end. Never do three speak at once."""
        last, gap = sentences[-1], self.rng.uniform(*gaps)
        if gap < 0 and len(sentences) > 1 and sentences[-2].end > last.start:
            gap = self.rng.uniform(0.1, 0.4)
        return round(max(last.end + gap, last.start + 0.5), 2)


def mixed(sentences: list[Sentence]) -> np.ndarray:
    samples = np.zeros(round((max(sentence.end for sentence in sentences) + EDGE) * RATE), np.float64)
    for sentence in sentences:
        at = round(sentence.start * RATE)
        samples[at : at + len(sentence.samples)] += sentence.samples
    return samples


def write(folder: Path, scene: Scene, sentences: list[Sentence]) -> None:
    samples = scene.colour(mixed(sentences))
    peak = np.abs(samples).max()
    if peak > 0.99:
        samples = samples * 0.99 / peak
    soundfile.write(folder / f"audio/scenes/{scene.name}.flac", samples, scene.rate, subtype="PCM_16", compression_level=1.0)
    expected = folder / "expected/scenes" / scene.name
    truth = {"duration": round(len(samples) / scene.rate, 3), "segments": [told(sentence) for sentence in sentences]}
    expected.with_suffix(".json").write_text(compact(truth))
    expected.with_suffix(".rttm").write_text("".join(rttm(scene.name, sentence) for sentence in sentences))


def told(sentence: Sentence) -> dict:
    """A sentence as the JSON has it."""
    words = zip(sentence.text.split(), sentence.words)
    return {
        "speaker": sentence.speaker,
        "text": sentence.text,
        "start": round(sentence.start, 3),
        "end": round(sentence.end, 3),
        "words": [{"word": word, "start": round(start, 3), "end": round(end, 3)} for word, (start, end) in words],
    }


def rttm(recording: str, sentence: Sentence) -> str:
    start, length = sentence.start, sentence.end - sentence.start
    return f"SPEAKER {recording} 1 {start:.3f} {length:.3f} <NA> <NA> {sentence.speaker} <NA> <NA>\n"


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
        sentences = studio.sentences(scene)
        write(options.fixtures, scene, sentences)
        print(f"{scene.name}: {len(sentences)} sentences, {sentences[-1].end + EDGE:.1f} s", flush=True)


if __name__ == "__main__":
    main()
