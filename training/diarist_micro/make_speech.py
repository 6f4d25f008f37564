"""Makes training speech: shards of log-mel frames with texts, phone labels and word times.

    python -m diarist_micro.make_speech FOLDER --shards 60 [--languages multilingual]

Every shard depends on its number alone, so several processes may share the work (`--start`, `--step`) and an
interrupted run continues where it stopped. Training may read the folder while it grows.
"""

import argparse
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import grammar, noise, phones
from .features import HOP, RATE, LogMel
from .languages import ENGLISH, SETS, LanguageSet
from .paths import SHIPPED_MODEL
from .phrases import Sentence
from .voices import Espeak, Flite, Spoken

ACCENTS = {"en-us": 5, "en-gb": 2} | dict.fromkeys(
    ("en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"), 1
)
VARIANTS = (
    "m1 m2 m4 m5 m6 m7 m8 f1 f3 f4 f5 klatt klatt2 klatt3 klatt6 Alex Alicia Andy Annie Denis Diogo Gene Gene2 Henrique Hugo "
    "Jacky Lee Marco Mario Michael Mike adam anika announcer antonio aunty belinda benjamin boris caleb david ed edward "
    "grandma grandpa gustave iven john linda marcelo max michel miguel norbert pablo paul pedro quincy rob robert sandro "
    "shelby steph steph2 steph3 travis victor zac croak"
).split()
# Of multilingual speech, which espeak-ng alone speaks.
ACCENTS_OF = {"en": {"en-us": 5, "en-gb": 2}, "de": {"de": 1}, "fr": {"fr-fr": 3, "fr-be": 1}, "es": {"es": 1, "es-419": 1}}
# Never in training: espeak-ng's variants m3, f2, klatt4 and Andrea, flite's rms, festival's ked.
FLITE_VOICES = {"kal": 1, "kal16": 2, "awb": 4, "slt": 5}
FLITE_PITCH = {"kal": 95, "kal16": 95, "awb": 135, "slt": 170}
ESPEAK_SHARE = 0.55
LONGEST, SHORTEST = 9.0, 0.3  # seconds


class Speakers:
    """Draws a voice and speaks with it."""

    def __init__(self, languages: LanguageSet = ENGLISH):
        self.languages, self.espeak = languages, Espeak()
        self.flite = None if languages.tells_language else Flite()

    def speak(self, sentence: Sentence, rng: random.Random) -> tuple[str, Spoken | None]:
        """The engine's name and the utterance, None where the engine failed to give one or its words are not the text's."""
        speed = 1.0 if rng.random() < 0.4 else rng.uniform(0.86, 1.17)
        if self.languages.tells_language:
            spoken = self.by_espeak(sentence.text, ACCENTS_OF[sentence.language], speed, rng)
            return "espeak", by_written_word(sentence.text, spoken)
        engine, spoken = self.english(sentence.text, speed, rng)
        return engine, spoken if spoken and len(spoken.words) == len(grammar.words(sentence.text)) else None

    def english(self, text: str, speed: float, rng: random.Random) -> tuple[str, Spoken | None]:
        if rng.random() < ESPEAK_SHARE:
            return "espeak", self.by_espeak(text, ACCENTS, speed, rng)
        voice = rng.choices(list(FLITE_VOICES), FLITE_VOICES.values())[0]
        pitch = None if rng.random() < 0.5 else FLITE_PITCH[voice] * rng.uniform(0.8, 1.25)
        stretch = rng.choice([1.0, rng.uniform(0.85, 1.2)]) * (1.1 if voice.startswith("kal") else 1.0)
        return "flite", self.flite.speak(text, voice, stretch, pitch, speed)

    def by_espeak(self, text: str, accents: dict[str, int], speed: float, rng: random.Random) -> Spoken | None:
        accent = rng.choices(list(accents), accents.values())[0]
        voice = accent + ("+" + rng.choice(VARIANTS) if rng.random() < 0.85 else "")
        pitch, pitch_range = rng.randint(25, 80), rng.choice([50, rng.randint(20, 80)])
        return self.espeak.speak(text, voice, pitch, pitch_range, rng.randint(125, 205), speed)


def by_written_word(text: str, spoken: Spoken | None) -> Spoken | None:
    """The utterance with one span per word of `text` as spaces part it; None where its times do not fit the text.

    espeak-ng tells of parts of words (`quatre-vingt`), of several words at once (`es ist`), and of places where none is.
    """
    if spoken is None:
        return None
    words, spans = text.split(), {}
    for place, (start, end) in zip(spoken.places, spoken.words):
        if 0 <= place < len(text) and text[place] != " ":
            word = text[:place].count(" ")
            first, last = spans.get(word, (start, end))
            spans[word] = (min(first, start), max(last, end))
    told = sorted(spans)
    if not told or told[0] != 0 or sorted(spans.values()) != [spans[word] for word in told]:
        return None
    found = []
    for word, following in zip(told, told[1:] + [len(words)]):  # words that are told as one share its time by their letters
        start, end = spans[word]
        letters = [len(one) for one in words[word:following]]
        edges = [start + (end - start) * sum(letters[:k]) / sum(letters) for k in range(len(letters) + 1)]
        found += [(round(a, 3), round(b, 3)) for a, b in zip(edges, edges[1:])]
    return replace(spoken, words=found)


def labels(spoken: Spoken, engine: str, count: int, known: int) -> list[list[int]]:
    """Runs of one phone label: [first frame, label]; `known` phones have one."""
    runs = [[0, phones.SILENCE]]
    for start, name in spoken.phones:
        runs.append([min(count, round(start * RATE / HOP)), phones.index(name, engine, known)])
    return runs


def meaning(sentence: Sentence) -> dict:
    """What a multilingual shard says of a sentence besides its text."""
    return {"language": sentence.language, "translation": sentence.translation, "links": sentence.links}


def make_shard(
    number: int, size: int, speakers: Speakers, log_mel: LogMel, only: re.Pattern = re.compile("")
) -> tuple[np.ndarray, list[dict]]:
    """(frames, 80) float16 of all utterances in a row, and what is said where. All are found by `only`."""
    rng = random.Random(1000 + number)
    mels, entries, first = [], [], 0
    while len(entries) < size:
        sentence = speakers.languages.sentence(rng)
        if grammar.is_held_out(sentence.text) or not only.search(sentence.text):
            continue
        engine, spoken = speakers.speak(sentence, rng)
        if spoken is None or not SHORTEST < len(spoken.samples) / RATE < LONGEST:
            continue
        mel = log_mel(spoken.samples).astype(np.float16)
        heard = labels(spoken, engine, len(mel), len(speakers.languages.phone_names))
        sound = {"first": first, "frames": len(mel), "phones": heard, "words": spoken.words}
        entries.append({"text": sentence.text} | sound | (meaning(sentence) if speakers.languages.tells_language else {}))
        mels.append(mel)
        first += len(mel)
    return np.concatenate(mels), entries


def make_sounds(minutes: float, log_mel: LogMel) -> np.ndarray:
    """(frames, 80) float16 of sounds without speech, ten seconds each."""
    rng = np.random.default_rng(2026)
    return np.concatenate([log_mel(noise.draw(rng, 10.0)).astype(np.float16) for _ in range(max(4, round(minutes * 6)))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=60, help="how many in all")
    parser.add_argument("--size", type=int, default=500, help="utterances a shard")
    parser.add_argument("--start", type=int, default=0, help="this process's first shard")
    parser.add_argument("--sound-minutes", type=float, default=30, help="of sounds without speech; made with shard 0")
    parser.add_argument("--languages", choices=SETS, default=ENGLISH.name)
    parser.add_argument("--step", type=int, default=1, help="number of processes")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="sentences that this expression finds")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    speakers, log_mel = Speakers(SETS[options.languages]), LogMel.of_model(SHIPPED_MODEL)
    sounds = options.folder / "sounds.npy"
    if options.start == 0 and not sounds.exists():
        np.save(sounds.with_suffix(".part.npy"), make_sounds(options.sound_minutes, log_mel))
        sounds.with_suffix(".part.npy").rename(sounds)
    for number in range(options.start, options.shards, options.step):
        entries_path = options.folder / f"{number:04}.json"
        if entries_path.exists():
            continue
        mels, entries = make_shard(number, options.size, speakers, log_mel, options.only)
        np.save(options.folder / f"{number:04}.npy", mels)
        temporary = entries_path.with_suffix(".part")
        temporary.write_text(json.dumps(entries))
        temporary.rename(entries_path)  # last: a shard with its .json is complete
        print(f"shard {number}: {len(entries)} utterances, {len(mels) * HOP / RATE / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
