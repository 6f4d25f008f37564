"""Measures a multilingual model with whisper.cpp; `evaluate.py` says how recordings are made and starts it."""

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from . import grammar, phrases
from .card_languages import write_card
from .features import RATE
from .languages import MULTILINGUAL
from .make_speech import by_written_word
from .measure import PADDING, Ear, Score, facts, show, silence, sounds
from .voices import Espeak, Spoken

# Accent and voice, pitch, words a minute; the second list is of variants that training never speaks with.
SEEN = {
    "en": [("en-us", 50, 160), ("en-gb", 45, 155), ("en-us+f4", 55, 155), ("en-us+Michael", 45, 155)],
    "de": [("de", 50, 160), ("de+f4", 55, 155), ("de+Michael", 45, 155), ("de+klatt2", 45, 150)],
    "fr": [("fr-fr", 50, 160), ("fr-be", 45, 155), ("fr-fr+f4", 55, 155), ("fr-fr+Michael", 45, 155)],
    "es": [("es", 50, 160), ("es-419", 45, 155), ("es+f4", 55, 155), ("es-419+Michael", 45, 155)],
}
UNSEEN = {
    "en": [("en-us+m3", 50, 160), ("en-gb+f2", 55, 150), ("en-us+klatt4", 45, 155), ("en-gb+Andrea", 50, 155)],
    "de": [("de+m3", 50, 160), ("de+f2", 55, 150), ("de+klatt4", 45, 155), ("de+Andrea", 50, 155)],
    "fr": [("fr-fr+m3", 50, 160), ("fr-fr+f2", 55, 150), ("fr-fr+klatt4", 45, 155), ("fr-be+Andrea", 50, 155)],
    "es": [("es+m3", 50, 160), ("es-419+f2", 55, 150), ("es+klatt4", 45, 155), ("es-419+Andrea", 50, 155)],
}
NOISE_DB = 20.0  # white noise below the speech
OFTEN = 3  # one recording in so many is also heard without timestamps, without its language, and in noise


@dataclass
class Result:
    """What one voice gave."""

    texts: dict[str, Score]  # by way, with timestamps
    untimed: Score = field(default_factory=Score)  # the first way without timestamps
    unnamed: Score = field(default_factory=Score)  # the first way, its language detected
    noisy: Score = field(default_factory=Score)
    translations: dict[str, Score] = field(default_factory=dict)
    detected: int = 0
    recordings: int = 0


def held_out(language: str, count: int, rng: random.Random) -> list[phrases.Sentence]:
    """Sentences that training never saw."""
    chosen: dict[str, phrases.Sentence] = {}
    while len(chosen) < count:
        sentence = phrases.sentence(language, rng)
        if grammar.is_held_out(sentence.text):
            chosen[sentence.text] = sentence
    return list(chosen.values())


def measure(ear: Ear, language: str, speak: Callable[[str], Spoken], texts: list[phrases.Sentence], ways: list[str]) -> Result:
    """One voice's sentences, asked for in every manner."""
    result = Result({way: Score() for way in ways}, translations={way: Score() for way in ways if language != "en"})
    asked = dict(language=language, translate=False, no_timestamps=False)
    for k, sentence in enumerate(texts):
        spoken = by_written_word(sentence.text, speak(sentence.text))
        length = len(spoken.samples) / RATE
        samples = np.concatenate([silence(PADDING), spoken.samples, silence(PADDING)])
        for way in ways:
            heard, spans = ear.hear(way, samples, **asked)
            result.texts[way].add(heard, sentence.text)
            if len(spans) == 1:
                result.texts[way].edges += [abs(spans[0][0] - PADDING), abs(spans[0][1] - PADDING - length)]
        for way, score in result.translations.items():
            score.add(ear.hear(way, samples, **asked | {"translate": True})[0], sentence.translation)
        result.detected += ear.language(samples) == language
        result.recordings += 1
        if k % OFTEN == 0:
            otherwise(ear, result, spoken, samples, sentence.text, ways[0], asked)
    return result


def otherwise(ear: Ear, result: Result, spoken: Spoken, samples: np.ndarray, text: str, way: str, asked: dict) -> None:
    """What is measured on some recordings only."""
    result.untimed.add(ear.hear(way, samples, **asked | {"no_timestamps": True})[0], text)
    result.unnamed.add(ear.hear(way, samples, **asked | {"language": "auto"})[0], text)
    loudness = np.sqrt(np.mean(spoken.samples**2)) * 10 ** (-NOISE_DB / 20)
    noise = np.random.default_rng(len(samples)).normal(0, loudness, len(samples))
    result.noisy.add(ear.hear(way, samples + noise, **asked)[0], text)
    starts = ear.word_starts(samples, **asked)
    if len(starts) == len(spoken.words):
        result.texts[way].starts += [abs(found - PADDING - start) for found, (start, _) in zip(starts, spoken.words)]


def run(options: argparse.Namespace) -> None:
    ear, espeak = Ear(options.model), Espeak()
    voices: dict[str, dict[str, tuple[bool, Result]]] = {}
    for language in MULTILINGUAL.languages:
        voices[language] = {}
        for seen, chosen in ((True, SEEN), (False, UNSEEN)):
            for name, pitch, pace in chosen[language][: options.voices]:
                texts = held_out(language, options.sentences, random.Random(name))
                speak = lambda text, name=name, pitch=pitch, pace=pace: espeak.speak(text, name, pitch, 50, pace, 1.0)
                result = measure(ear, language, speak, texts, options.ways)
                voices[language][name] = (seen, result)
                scores = {"text": result.texts[options.ways[0]], "untimed": result.untimed, "noisy": result.noisy}
                if language != "en":
                    scores["translated"] = result.translations[options.ways[0]]
                found = f"{result.detected}/{result.recordings} "
                show(found + name + ("" if seen else " (unseen)"), options.ways[0], scores)
    way = options.ways[-1]
    quiet = {language: sounds(ear, options.sound_seconds, way, language=language) for language in ("auto", "de")}
    print("invented words:", {language: sum(counts.values()) for language, counts in quiet.items()}, flush=True)
    if options.card:
        words = {language: len(phrases.vocabulary(language)) for language in MULTILINGUAL.languages}
        write_card(options.card, facts(options) | {"words": words}, voices, quiet, options.ways)
