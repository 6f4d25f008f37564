"""Measures a model file with whisper.cpp and writes the model card.

    python -m diarist_micro.evaluate model-q8_0.bin --card MODEL_CARD.md --checkpoint RUN/checkpoint.pt

All sentences are held out of training. Speech is clean unless a table says otherwise, one sentence a recording, with
0.3 s of silence before and after, as a voice detector cuts it; whisper.cpp's own defaults, greedy and beam 5.
"""

import argparse
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import evaluate_languages, grammar
from .card import write_card
from .features import RATE
from .ggml import read_header
from .languages import set_of_size
from .measure import PADDING, Ear, Score, facts, show, silence, sounds
from .voices import Espeak, Festival, Flite, Spoken

RULES = {"everyday": ("statement", "question"), "meeting": ("meeting", "meeting_question")}


@dataclass
class Voice:
    name: str
    seen: bool  # whether training used it
    speak: Callable[[str], Spoken | None]


def all_voices() -> list[Voice]:
    """The test voices; festival's only where it is installed."""
    espeak, flite, festival = Espeak(), Flite(), Festival()
    by_espeak = lambda voice, pitch=50, pace=160: lambda text: espeak.speak(text, voice, pitch, 50, pace, 1.0)
    by_flite = lambda voice, stretch=1.0: lambda text: flite.speak(text, voice, stretch, None, 1.0)
    voices = [
        Voice("espeak-ng en-us", True, by_espeak("en-us")),
        Voice("espeak-ng en-us+f4", True, by_espeak("en-us+f4", 55, 155)),
        Voice("espeak-ng en-us+Michael", True, by_espeak("en-us+Michael", 45, 155)),
        Voice("espeak-ng en-gb", True, by_espeak("en-gb", 45, 155)),
        Voice("espeak-ng en-gb-scotland+m7", True, by_espeak("en-gb-scotland+m7", 40, 150)),
        Voice("flite awb", True, by_flite("awb")),
        Voice("flite slt", True, by_flite("slt")),
        Voice("flite kal16", True, by_flite("kal16", 1.1)),
        Voice("espeak-ng en-us+m3", False, by_espeak("en-us+m3")),
        Voice("espeak-ng en-gb+f2", False, by_espeak("en-gb+f2", 55, 150)),
        Voice("espeak-ng en-us+klatt4", False, by_espeak("en-us+klatt4", 45, 155)),
        Voice("espeak-ng en-gb+Andrea", False, by_espeak("en-gb+Andrea", 50, 155)),
        Voice("flite rms", False, by_flite("rms")),
    ]
    if shutil.which("text2wave"):
        voices.append(Voice("festival ked", False, lambda text: festival.speak(text, "ked_diphone")))
    return voices


def held_out(rules: tuple[str, ...], count: int, rng: random.Random) -> list[str]:
    """Sentences of some rules of the grammar that training never saw."""
    chosen = []
    while len(chosen) < count:
        text = grammar.draw(rng.choice(rules), rng)
        text = text[0].upper() + text[1:] + ("?" if "question" in rules[-1] and is_question(text) else ".")
        if grammar.is_held_out(text) and text not in chosen:
            chosen.append(text)
    return chosen


def is_question(text: str) -> bool:
    return text.split()[0] in {"where", "what", "when", "how", "who", "can", "did", "do", "is", "why", "could", "are", "should"}


def sentences(ear: Ear, voice: Voice, rules: str, count: int, ways: list[str], noisy: bool = False) -> dict[str, Score]:
    """Single sentences of one voice."""
    rng = random.Random(voice.name + rules)
    numbers = np.random.default_rng(7)
    scores = {way: Score() for way in ways}
    for text in held_out(RULES[rules], count, rng):
        spoken = voice.speak(text)
        speech = spoken.samples
        samples = np.concatenate([silence(PADDING), speech, silence(PADDING)])
        if noisy:  # 20 dB below the speech
            samples = samples + numbers.normal(0, np.sqrt(np.mean(speech**2)) / 10, len(samples))
        for way in ways:
            heard, spans = ear.hear(way, samples)
            scores[way].add(heard, text)
            if len(spans) == 1:
                scores[way].edges += [abs(spans[0][0] - PADDING), abs(spans[0][1] - PADDING - len(speech) / RATE)]
        starts = ear.word_starts(samples) if not noisy else []
        if len(starts) == len(spoken.words):
            scores[ways[0]].starts += [abs(found - PADDING - start) for found, (start, _) in zip(starts, spoken.words)]
    return scores


def conversation(ear: Ear, voices: list[Voice], seconds: float, way: str) -> Score:
    """One long recording of changing voices, without a voice detector: the words of all of it."""
    rng, parts, texts, length = random.Random(11), [silence(0.4)], [], 0.4
    while length < seconds:
        text = held_out(RULES["everyday"], 1, rng)[0]
        part = np.concatenate([rng.choice(voices).speak(text).samples, silence(rng.uniform(0.25, 1.0))])
        parts.append(part)
        texts.append(text)
        length += len(part) / RATE
    score = Score()
    score.add(ear.hear(way, np.concatenate(parts))[0], " ".join(texts))
    return score


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--card", type=Path, help="where to write the model card")
    parser.add_argument("--checkpoint", type=Path, help="the model's checkpoint, to say in the card how long it was trained")
    parser.add_argument("--sentences", type=int, default=40, help="per voice; a quarter of them of the meeting kind")
    parser.add_argument("--voices", type=int, default=4, help="of each language, seen and unseen; of multilingual models")
    parser.add_argument("--ways", nargs="+", default=["greedy", "beam 5"])
    parser.add_argument("--sound-seconds", type=float, default=60)
    parser.add_argument("--long-seconds", type=float, default=120)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if set_of_size(read_header(options.model).hparams[0]).tells_language:
        evaluate_languages.run(options)
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    ear, voices = Ear(options.model), all_voices()
    counts = {"meeting": max(1, options.sentences // 4)}
    counts["everyday"] = max(1, options.sentences - counts["meeting"])
    results = {"voices": {}, "noisy": {}, "long": {}, "sounds": {}}
    for voice in voices:
        scores = {kind: sentences(ear, voice, kind, counts[kind], options.ways) for kind in ("everyday", "meeting")}
        results["voices"][voice.name] = (voice.seen, scores)
        for way in options.ways:
            show(voice.name + ("" if voice.seen else " (unseen)"), way, {kind: score[way] for kind, score in scores.items()})
    for seen in (True, False):
        some = [voice for voice in voices if voice.seen == seen]
        total = {way: Score() for way in options.ways}
        for voice in some:
            noisy = sentences(ear, voice, "everyday", max(2, options.sentences // 8), options.ways, noisy=True)
            for way, score in noisy.items():
                total[way] += score
        results["noisy"][seen] = total
        results["long"][seen] = conversation(ear, some, options.long_seconds, options.ways[-1])
        for way, score in total.items():
            show("seen voices" if seen else "unseen voices", way, {"in noise": score, "long": results["long"][seen]})
    results["sounds"] = sounds(ear, options.sound_seconds, options.ways[-1])
    print("invented words:", {name: count for name, count in results["sounds"].items() if count} or "none", flush=True)
    if options.card:
        write_card(options.card, facts(options) | {"words": len(grammar.vocabulary())}, results, options.ways)


if __name__ == "__main__":
    main()
