"""Measures a model file with whisper.cpp and writes the model card.

    python -m diarist_micro.evaluate model-q8_0.bin --card MODEL_CARD.md --checkpoint RUN/checkpoint.pt

All sentences are held out of training. Speech is clean unless a table says otherwise, one sentence a recording, with
0.3 s of silence before and after, as a voice detector cuts it; whisper.cpp's own defaults, greedy and beam 5.
"""

import argparse
import hashlib
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import _pywhispercpp as whispercpp
import numpy as np
import torch
from pywhispercpp.model import Model

from . import grammar, noise
from .card import write_card
from .export import TYPES
from .features import RATE
from .ggml import FTYPES, read_header
from .tokens import END
from .voices import Espeak, Festival, Flite, Spoken

PADDING = 0.3  # seconds
TIMING_LAYERS = 2  # whisper.cpp: word times from all heads of the two top layers
RULES = {"everyday": ("statement", "question"), "meeting": ("meeting", "meeting_question")}
LEVELS = (-20, -35, -50)  # dB below full scale, root mean square


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


@dataclass
class Score:
    """Counts over some recordings."""

    words: int = 0
    errors: int = 0
    recordings: int = 0
    exact: int = 0
    edges: list[float] = field(default_factory=list)  # seconds by which segment edges are off
    starts: list[float] = field(default_factory=list)  # seconds by which word starts are off

    def add(self, heard: str, text: str) -> None:
        self.words += len(plain(text))
        self.errors += distance(plain(heard), plain(text))
        self.recordings += 1
        self.exact += heard == text

    def __iadd__(self, other: "Score") -> "Score":
        for name in ("words", "errors", "recordings", "exact", "edges", "starts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    @property
    def error_rate(self) -> float:
        return 100 * self.errors / max(1, self.words)

    @property
    def exact_share(self) -> float:
        return 100 * self.exact / max(1, self.recordings)


def plain(text: str) -> list[str]:
    """Words in lower case without marks."""
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def distance(heard: list[str], spoken: list[str]) -> int:
    """Words to change, insert and delete."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(spoken, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


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


class Ear:
    """whisper.cpp with one model: greedy and with a beam of five."""

    def __init__(self, path: Path):
        options = dict(n_threads=1, print_progress=False, print_realtime=False, redirect_whispercpp_logs_to=None)
        self.ways = {
            "greedy": Model(str(path), params_sampling_strategy=0, **options),
            "beam 5": Model(str(path), params_sampling_strategy=1, beam_search={"beam_size": 5, "patience": -1.0}, **options),
        }

        heads = whispercpp.whisper_alignment_heads_preset.WHISPER_AHEADS_N_TOP_MOST
        timing = dict(flash_attn=False, dtw_token_timestamps=True, dtw_aheads_preset=heads, dtw_n_top=TIMING_LAYERS)
        self.timed = Model(str(path), params_sampling_strategy=0, context_params=timing, **options)

    def word_starts(self, samples: np.ndarray) -> list[float]:
        """When each word of a recording begins, in seconds, by whisper.cpp's alignment of the attention.

        A token's `t_dtw` is where the attention leaves it, so a token begins where the one before it ends.
        """
        self.timed.transcribe(samples.astype(np.float32))
        context, starts = self.timed._ctx, []
        for segment in range(whispercpp.whisper_full_n_segments(context)):
            now = whispercpp.whisper_full_get_segment_t0(context, segment)
            for k in range(whispercpp.whisper_full_n_tokens(context, segment)):
                token = whispercpp.whisper_full_get_token_data(context, segment, k)
                if token.id < END:
                    if whispercpp.whisper_full_get_token_text(context, segment, k).startswith(" "):
                        starts.append(now / 100)
                    now = max(now, token.t_dtw)
        return starts

    def hear(self, way: str, samples: np.ndarray) -> tuple[str, list[tuple[float, float]]]:
        """The text, and each segment's start and end in seconds."""
        segments = self.ways[way].transcribe(samples.astype(np.float32))
        text = " ".join(segment.text.strip() for segment in segments)
        return text.strip(), [(segment.t0 / 100, segment.t1 / 100) for segment in segments]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


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


def sounds(ear: Ear, seconds: float, way: str) -> dict[str, int]:
    """Words invented for sounds without speech."""
    rng = np.random.default_rng(99)
    count = int(seconds * RATE)
    kinds = {
        "white noise": lambda: noise.coloured(rng, count, 0),
        "pink noise": lambda: noise.coloured(rng, count, 1),
        "hum": lambda: noise.hum(rng, count),
        "tones": lambda: noise.tones(rng, count),
        "clicks": lambda: noise.clicks(rng, count),
        "music": lambda: noise.music(rng, count),
    }
    found = {"digital silence": len(plain(ear.hear(way, silence(seconds))[0]))}
    for name, make in kinds.items():
        for level in LEVELS:
            sound = make() / 0.05 * 10 ** (level / 20)
            found[f"{name}, {level} dB"] = len(plain(ear.hear(way, np.clip(sound, -1, 1))[0]))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--card", type=Path, help="where to write the model card")
    parser.add_argument("--checkpoint", type=Path, help="the model's checkpoint, to say in the card how long it was trained")
    parser.add_argument("--sentences", type=int, default=40, help="per voice; a quarter of them of the meeting kind")
    parser.add_argument("--ways", nargs="+", default=["greedy", "beam 5"])
    parser.add_argument("--sound-seconds", type=float, default=60)
    parser.add_argument("--long-seconds", type=float, default=120)
    return parser.parse_args()


def show(name: str, way: str, scores: dict[str, Score]) -> None:
    """A line for who is waiting."""
    cells = (f"{kind} {score.error_rate:5.1f} % exact {score.exact:2}/{score.recordings:2}" for kind, score in scores.items())
    edges = [edge for score in scores.values() for edge in score.edges]
    starts = [start for score in scores.values() for start in score.starts]
    times = f"edges {np.median(edges or [np.nan]):.3f} s, word starts {np.median(starts or [np.nan]):.3f} s"
    print(f"{name:28} {way:7}", *cells, times, flush=True)


def main() -> None:
    options = arguments()
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
        write_card(options.card, facts(options), results, options.ways)


def facts(options: argparse.Namespace) -> dict:
    """What the model card says of the file itself."""
    data, hparams = options.model.read_bytes(), read_header(options.model).hparams
    _, _, width, heads, audio_layers, _, _, _, text_layers, _, kind = hparams
    stage = "not recorded"
    if options.checkpoint:
        saved = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
        stage = "{step:,} steps over {utterances:,} utterances, {hours:.0f} hours of windows".format(**saved["progress"])
    return dict(
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        kind=next(name for name, number in TYPES.items() if FTYPES[number] == kind),
        width=width,
        heads=heads,
        audio_layers=audio_layers,
        text_layers=text_layers,
        words=len(grammar.vocabulary()),
        stage=stage,
        sentences=options.sentences,
        padding=PADDING,
        sound_seconds=options.sound_seconds,
        way=options.ways[-1],
    )


if __name__ == "__main__":
    main()
