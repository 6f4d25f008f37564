"""What evaluations share: whisper.cpp as the ear, counts of errors, sounds without speech, facts about a file."""

import argparse
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import _pywhispercpp as whispercpp
import numpy as np
import torch
from pywhispercpp.model import Model

from . import noise
from .export import TYPES
from .features import RATE
from .ggml import FTYPES, read_header
from .languages import set_of_size

PADDING = 0.3  # seconds
TIMING_LAYERS = 2  # whisper.cpp: word times from all heads of the two top layers
LEVELS = (-20, -35, -50)  # dB below full scale, root mean square


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
    """Words in lower case without marks; the parts of `vingt-deux` are words."""
    return re.sub(r"[^\w' ]|[\d_]", " ", text.lower()).split()


def distance(heard: list[str], spoken: list[str]) -> int:
    """Words to change, insert and delete."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(spoken, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


class Ear:
    """whisper.cpp with one model: greedy and with a beam of five."""

    def __init__(self, path: Path):
        self.last_text = set_of_size(read_header(path).hparams[0]).numbers.end
        options = dict(n_threads=1, print_progress=False, print_realtime=False, redirect_whispercpp_logs_to=None)
        self.ways = {
            "greedy": Model(str(path), params_sampling_strategy=0, **options),
            "beam 5": Model(str(path), params_sampling_strategy=1, beam_search={"beam_size": 5, "patience": -1.0}, **options),
        }

        heads = whispercpp.whisper_alignment_heads_preset.WHISPER_AHEADS_N_TOP_MOST
        timing = dict(flash_attn=False, dtw_token_timestamps=True, dtw_aheads_preset=heads, dtw_n_top=TIMING_LAYERS)
        self.timed = Model(str(path), params_sampling_strategy=0, context_params=timing, **options)

    def word_starts(self, samples: np.ndarray, **asked) -> list[float]:
        """When each word of a recording begins, in seconds, by whisper.cpp's alignment of the attention.

        A token's `t_dtw` is where the attention leaves it, so a token begins where the one before it ends.
        """
        self.timed.transcribe(samples.astype(np.float32), **asked)
        context, starts = self.timed._ctx, []
        for segment in range(whispercpp.whisper_full_n_segments(context)):
            now = whispercpp.whisper_full_get_segment_t0(context, segment)
            for k in range(whispercpp.whisper_full_n_tokens(context, segment)):
                token = whispercpp.whisper_full_get_token_data(context, segment, k)
                if token.id < self.last_text:
                    if whispercpp.whisper_full_get_token_text(context, segment, k).startswith(" "):
                        starts.append(now / 100)
                    now = max(now, token.t_dtw)
        return starts

    def hear(self, way: str, samples: np.ndarray, **asked) -> tuple[str, list[tuple[float, float]]]:
        """The text, and each segment's start and end in seconds; `asked` are whisper.cpp's settings, which stay in force."""
        segments = self.ways[way].transcribe(samples.astype(np.float32), **asked)
        text = " ".join(segment.text.strip() for segment in segments)
        return text.strip(), [(segment.t0 / 100, segment.t1 / 100) for segment in segments]

    def language(self, samples: np.ndarray) -> str:
        """The code of the language that is spoken."""
        return self.timed.auto_detect_language(samples.astype(np.float32))[0][0]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def sounds(ear: Ear, seconds: float, way: str, **asked) -> dict[str, int]:
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
    found = {"digital silence": len(plain(ear.hear(way, silence(seconds), **asked)[0]))}
    for name, make in kinds.items():
        for level in LEVELS:
            sound = make() / 0.05 * 10 ** (level / 20)
            found[f"{name}, {level} dB"] = len(plain(ear.hear(way, np.clip(sound, -1, 1), **asked)[0]))
    return found


def show(name: str, way: str, scores: dict[str, Score]) -> None:
    """A line for who is waiting."""
    cells = (f"{kind} {score.error_rate:5.1f} % exact {score.exact:2}/{score.recordings:2}" for kind, score in scores.items())
    edges = [edge for score in scores.values() for edge in score.edges]
    starts = [start for score in scores.values() for start in score.starts]
    times = f"edges {np.median(edges or [np.nan]):.3f} s, word starts {np.median(starts or [np.nan]):.3f} s"
    print(f"{name:28} {way:7}", *cells, times, flush=True)


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
        stage=stage,
        sentences=options.sentences,
        padding=PADDING,
        sound_seconds=options.sound_seconds,
        way=options.ways[-1],
    )
