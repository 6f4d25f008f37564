"""Training windows, composed from single utterances in the log-mel domain, where gain, echo and noise are cheap."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter

from .features import FLOOR, normalise
from .network import TEXT_POSITIONS
from .phones import UNKNOWN
from .tokens import Tokens

FRAMES_A_SECOND = 100
FULL = 3000  # frames of a whole 30 s window
LONG = 1600  # frames from which a window is filled with as many sentences as fit
IGNORE = -100  # label without a loss
LAST_FIRST_TIMESTAMP = 1.0  # whisper.cpp's max_initial_ts: a window's first timestamp cannot be later
LONGEST_PROMPT = 223  # tokens
PROMPT_SHARE = 0.75  # of the whole windows come after a prompt, and half as many of the others
MORE_PROMPT = 0.93  # chance of yet another sentence in a prompt that is not full
HEARD_ENOUGH = 0.6  # of a word that the edge of a recording cuts: with more of it the word is written, with less not
NO_GAP_SHARE = 0.3  # of the windows have sentences set end to end
LONG_PAUSES = {FULL: 0.3, 2300: 0.2, 1600: 0.2, 1100: 0.2}  # of the pauses, by a window's frames, may be of many seconds
CUT_SHARE = 0.3  # of the windows begin, and as many end, in the middle of a sentence


@dataclass
class Utterance:
    mel: np.ndarray  # (frames, 80) log10 power
    text: str
    phones: np.ndarray  # (frames,)
    words: list[tuple[float, float]]  # start and end as fractions of the utterance
    translation: str = ""
    links: list[list[int]] = field(default_factory=list)  # of each translated word: the first and last word it renders

    def cut(self, first: int, last: int) -> "Utterance":
        """Frames `first` to `last` of it, with the words of which enough is left. There may be none."""
        count, kept, words = len(self.mel), [], []
        for word, (start, end) in zip(self.text.split(), self.words):
            a, b = max(first, start * count), min(last, end * count)
            if b - a > HEARD_ENOUGH * (end - start) * count:
                kept.append(word)
                words.append(((a - first) / (last - first), (b - first) / (last - first)))
        return Utterance(self.mel[first:last], " ".join(kept), self.phones[first:last], words)


@dataclass
class Task:
    """What is asked of a window; English models know one task."""

    language: str = "en"
    translate: bool = False


@dataclass
class Recipe:
    """Shares of windows that models of one kind are trained with."""

    prompts: float = PROMPT_SHARE
    cuts: float = CUT_SHARE
    translations: float = 0.0


@dataclass
class Window:
    """One example. Times are seconds from the crop's first frame."""

    mel: np.ndarray  # (frames, 80) normalised
    offset: int  # the crop's first position (20 ms) in the 30 s window
    rows: list[int] = field(default_factory=list)  # prompt, start, output
    first: int = 0  # the output token `rows[first + 1]` is the first with a loss
    spans: list[tuple[float, float]] = field(default_factory=list)  # where each output token is heard
    phones: np.ndarray = None  # (positions,)
    words: np.ndarray = None  # (positions,) row of the word token being spoken
    silent: bool = False
    blank: bool = False  # silent, and answered with a lone full stop where whisper.cpp forbids an immediate end
    prompt: int = 0  # tokens of the prompt


class Speech:
    """The shards of a folder; `refresh` takes in new ones."""

    def __init__(self, folder):
        self.folder, self.seen, self.items, self.sounds = Path(folder), set(), [], None
        self.of_language: dict[str, list] = {}
        self.refresh()

    def refresh(self) -> int:
        """Number of utterances now at hand."""
        for path in sorted(self.folder.glob("[0-9]*.json")):
            if path not in self.seen:
                self.seen.add(path)
                mels = np.load(path.with_suffix(".npy"), mmap_mode="r")
                for entry in json.loads(path.read_text()):
                    self.items.append((mels, entry))
                    self.of_language.setdefault(entry.get("language", "en"), []).append((mels, entry))
        if self.sounds is None and (self.folder / "sounds.npy").exists():
            self.sounds = np.load(self.folder / "sounds.npy", mmap_mode="r")
        return len(self.items)

    def draw(self, rng: random.Random, language: str) -> Utterance:
        mels, entry = rng.choice(self.of_language[language])
        count = entry["frames"]
        phones = np.full(count, UNKNOWN, np.int64)
        runs = entry["phones"]
        for (start, label), (end, _) in zip(runs, runs[1:] + [[count, 0]]):
            phones[start:end] = label
        length = count / FRAMES_A_SECOND
        words = [(min(1.0, start / length), min(1.0, end / length)) for start, end in entry["words"]]
        mel = np.asarray(mels[entry["first"] : entry["first"] + count], np.float32)
        return Utterance(mel, entry["text"], phones, words, entry.get("translation", ""), entry.get("links", []))


class Composer:
    """Draws windows and batches; everything random comes from one seed."""

    def __init__(self, speech: Speech, tokens: Tokens, seed: int, recipe: Recipe | None = None):
        self.speech, self.tokens, self.recipe = speech, tokens, recipe or Recipe()
        self.rng, self.numbers = random.Random(seed), np.random.default_rng(seed)
        self.task = Task()  # of the window that is being made

    # ---- sound ----

    def utterance(self) -> Utterance:
        """One utterance, now and then stretched in time or frequency."""
        rng, one = self.rng, self.speech.draw(self.rng, self.task.language)
        if rng.random() < 0.3:
            where = np.linspace(0, len(one.mel) - 1, max(20, int(len(one.mel) * rng.uniform(0.88, 1.15))))
            low = np.minimum(where.astype(int), len(one.mel) - 2)
            share = (where - low)[:, None].astype(np.float32)
            one.mel = one.mel[low] * (1 - share) + one.mel[low + 1] * share
            one.phones = one.phones[low]
        if rng.random() < 0.5:
            where = np.clip(np.arange(80) * rng.uniform(0.87, 1.13) + rng.uniform(-1, 1), 0, 78.99)
            low = where.astype(int)
            share = (where - low).astype(np.float32)
            one.mel = one.mel[:, low] * (1 - share) + one.mel[:, low + 1] * share
        return one

    def room(self, power: np.ndarray) -> np.ndarray:
        """Echo and a recording curve over speech power (frames, 80)."""
        rng = self.rng
        if rng.random() < 0.3:
            keep = 10 ** (-0.06 / rng.uniform(0.12, 0.5))
            power = power + rng.uniform(0.02, 0.3) * lfilter([0, 1 - keep], [1, -keep], power, axis=0)
        if rng.random() < 0.5:
            curve = np.interp(np.arange(80), np.linspace(0, 79, 6), self.numbers.normal(0, 0.25, 6))
            power = power * 10 ** (curve + np.linspace(-0.5, 0.5, 80) * rng.uniform(-1, 1))
            if rng.random() < 0.15:
                power[:, rng.randint(50, 72) :] *= 10 ** -rng.uniform(1, 5)  # a narrow band, as on a telephone
        return power

    def noise(self, count: int) -> np.ndarray:
        """(frames, 80) power of a sound without speech, its loudest band near 1."""
        rng = self.rng
        if self.speech.sounds is not None and rng.random() < 0.5:
            start = rng.randrange(len(self.speech.sounds) - count)
            power = 10 ** np.asarray(self.speech.sounds[start : start + count], np.float32)
            return power / np.percentile(power, 99.5)
        shape = np.interp(np.arange(80), np.linspace(0, 79, 7), self.numbers.normal(0, 0.35, 7))
        shape = shape + np.linspace(0.5, -0.5, 80) * rng.uniform(-0.6, 2)
        if rng.random() < 0.2:
            shape[rng.randint(0, 20)] += rng.uniform(1, 3)
        grain = np.linspace(1.2, 5, 80)  # a band's power sums more bins the higher it lies
        power = self.numbers.standard_gamma(grain, (count, 80)) / grain * 10 ** (shape - shape.max())
        if rng.random() < 0.4:
            power *= 10 ** np.interp(np.arange(count), np.linspace(0, count, 8), self.numbers.uniform(-1.5, 0, 8))[:, None]
        return power

    def record(self, mel: np.ndarray, count: int, silent: bool) -> np.ndarray:
        """Whisper's input of a window: the first `count` frames were recorded, the rest is padding."""
        rng = self.rng
        if silent or rng.random() > 0.15:
            power = 10.0 ** mel[:count]
            loudest = 1.0
            if not silent:
                power = self.room(power)
                loudest = power.max()
            if rng.random() < (0.9 if silent else 0.7):
                below = rng.uniform(0, 6) if silent else rng.choice([rng.uniform(2.5, 7), rng.uniform(0.8, 3)])
                power = power + self.noise(count) * loudest * 10**-below
            power = power * 10 ** rng.uniform(-4, 1.4)  # a loud pure tone at the top
            mel[:count] = np.log10(np.maximum(power, 10**FLOOR))
        loudest = mel.max() + (rng.uniform(0, 1.2) if rng.random() < 0.3 else 0)  # the rest of the file may be louder
        return normalise(mel, loudest)

    # ---- text ----

    def token_words(self, text: str) -> tuple[list[int], list[tuple[int, bool]]]:
        """Rows of a text, and for each the number of its word and whether it is a punctuation mark after it."""
        rows, places, word = self.tokens.encode(text), [], -1
        for row in rows:
            piece = self.tokens.piece(row)
            word += piece.startswith(" ")
            places.append((word, piece.strip() in {".", ",", "?"}))
        return rows, places

    def token_spans(self, one: Utterance) -> tuple[list[int], list[tuple[float, float]], list[bool]]:
        """Rows, the fraction of the utterance in which each is heard, and which are punctuation."""
        rows, places = self.token_words(one.text)
        sizes = [sum(1 for word, mark in places if word == k and not mark) for k in range(len(one.words))]
        spans, part = [], [0] * len(sizes)
        for word, mark in places:
            start, end = one.words[min(word, len(one.words) - 1)]
            if mark:
                spans.append((end, end))
                continue
            share = (end - start) / sizes[word]
            spans.append((start + part[word] * share, start + (part[word] + 1) * share))
            part[word] += 1
        return rows, spans, [mark for _, mark in places]

    def translation_spans(self, one: Utterance) -> list[tuple[int, tuple[float, float], bool]]:
        """Rows of the translation, where the words that each renders are heard, and which are punctuation."""
        found = []
        for row, (word, mark) in zip(*self.token_words(one.translation)):
            first, last = one.links[min(word, len(one.links) - 1)]
            start, end = one.words[first][0], one.words[last][1]
            found.append((row, (end, end) if mark else (start, end), mark))
        return found

    def prompt(self, timestamps: bool) -> list[int]:
        """The text so far, as whisper.cpp hands it over: of the windows before, each with times of its own."""
        rng, groups = self.rng, []
        now = rng.choice([rng.uniform(1, 30), rng.uniform(26, 30)])  # windows end late
        with_times = timestamps or rng.random() < 0.2
        while not groups or (sum(map(len, groups)) < LONGEST_PROMPT and rng.random() < MORE_PROMPT):
            entry = rng.choice(self.speech.of_language[self.task.language])[1]
            rows = self.tokens.encode(self.task.translate and entry.get("translation") or entry["text"])
            length = 0.2 + 0.24 * len(rows)
            if with_times:
                rows = [self.tokens.timestamp(max(0, now - length)), *rows, self.tokens.timestamp(now)]
            groups.insert(0, rows)
            now -= length + rng.choice([0, rng.uniform(0, 1)])
            if now < 1:
                now = rng.uniform(26, 30)
        return [self.tokens.previous, *sum(groups, [])[-LONGEST_PROMPT:]]

    # ---- windows ----

    def draw_task(self) -> Task:
        """A language and what to write of it."""
        if not self.tokens.languages.tells_language:
            return Task()
        return Task(self.rng.choice(list(self.speech.of_language)), self.rng.random() < self.recipe.translations)

    def beginning(self, timestamps: bool) -> list[int]:
        """The tokens before a window's answer."""
        task = self.tokens.task(self.task.language, self.task.translate)
        return [self.tokens.start, *task] + ([] if timestamps else [self.tokens.no_timestamps])

    def window(self, frames: int, silent_share: float) -> Window:
        """A window of `frames` (even); 3000 make a whole one, fewer a crop of it."""
        rng, full = self.rng, frames == FULL
        self.task = self.draw_task()
        timestamps = rng.random() < (0.92 if frames >= 700 else 0.7)
        offset = 0 if full or rng.random() < 0.5 else rng.randrange(0, 1501 - frames // 2)
        if rng.random() < silent_share:
            return self.silent_window(frames, offset, timestamps)
        mel, placed, tail, recorded = self.place(frames, full, timestamps)
        phones = np.full(frames, 0)
        for start, one in placed + ([tail] if tail else []):
            phones[start : start + len(one.phones)] = one.phones[: frames - start]
        prompt = self.prompt(timestamps) if rng.random() < self.recipe.prompts / (1 if full else 2) else []
        window = Window(self.record(mel, recorded, False), offset, phones=phones[::2], prompt=len(prompt))
        self.write(window, placed, tail, timestamps, prompt)
        self.shorten_prompt(window)
        return window

    @staticmethod
    def shorten_prompt(window: Window) -> None:
        """Forgets the oldest of the prompt where prompt and answer do not fit the decoder together."""
        excess = min(len(window.rows) - TEXT_POSITIONS, window.prompt - 1)
        if excess > 0:
            del window.rows[1 : 1 + excess]
            window.prompt -= excess
            window.first -= excess

    def place(self, frames: int, full: bool, timestamps: bool):
        """Lays utterances into a window: the power, (first frame, utterance) each, one cut by the end, frames recorded."""
        rng = self.rng
        mel = np.full((frames, 80), FLOOR, np.float32)
        recorded = rng.choices([frames, rng.randint(150, 700), rng.randint(700, 2000)], [0.45, 0.35, 0.2])[0] if full else frames
        pads = [rng.uniform(0, 0.6), rng.uniform(0, 0.6), rng.uniform(0, 1.0), rng.uniform(0, 6 if full else 2)]
        now, placed, tail = int(rng.choice(pads) * FRAMES_A_SECOND), [], None
        wanted = 99 if frames >= LONG else rng.choices([1, 2, 3, 9], [0.3, 0.2, 0.15, 0.35])[0]
        cuts = 0 if self.task.translate else self.recipe.cuts  # what a part of a sentence means is not known
        tries, end_to_end, cut_end = 0, rng.random() < NO_GAP_SHARE, rng.random() < cuts
        if rng.random() < cuts:
            now = self.lay_cut_start(mel, placed, recorded, end_to_end)
            wanted += len(placed)
        while not placed or (len(placed) < wanted and now < recorded):
            one = self.utterance()
            if now + len(one.mel) > recorded:
                if not placed:
                    tries += 1
                    now = now // 2 if tries < 8 else 0
                    recorded = frames if tries > 8 else recorded
                    continue
                if full and recorded == frames and timestamps:
                    if now < frames - 12:
                        mel[now:] = one.mel[: frames - now]
                        tail = (now, one)
                elif cut_end and now < recorded - 5:
                    one = one.cut(0, recorded - now)
                    mel[now:recorded] = one.mel
                    placed.append((now, one))
                break
            mel[now : now + len(one.mel)] = one.mel + rng.choice([0, 0, rng.uniform(-1.2, 0.3)])
            placed.append((now, one))
            now += len(one.mel) + self.gap(frames, end_to_end)
        if not full and not cut_end and rng.random() < 0.7:  # a cut recording ends soon after its last word
            end = placed[-1][0] + len(placed[-1][1].mel)
            recorded = min(frames, end + int(rng.uniform(0, 0.6) * FRAMES_A_SECOND))
        return mel, placed, tail, recorded

    def gap(self, frames: int, end_to_end: bool) -> int:
        """Frames between two sentences."""
        rng = self.rng
        if end_to_end:
            return 0
        gaps = [rng.uniform(0.05, 0.3), rng.uniform(0.15, 0.9), rng.uniform(0.3, 1.5)]
        if rng.random() < LONG_PAUSES.get(frames, 0.0):
            gaps.append(rng.uniform(1, 7))
        return int(rng.choice(gaps) * FRAMES_A_SECOND)

    def lay_cut_start(self, mel: np.ndarray, placed: list, recorded: int, end_to_end: bool) -> int:
        """Begins a window in the middle of a sentence. Returns where the next one may begin."""
        one, rng = self.utterance(), self.rng
        count = len(one.mel)
        left = rng.choice([rng.randint(3, 40), rng.randint(5, count - count // 8)])  # often just the last word's end
        one = one.cut(max(0, count - left), count)
        if len(one.mel) > recorded:
            return 0
        mel[: len(one.mel)] = one.mel
        placed.append((0, one))
        return len(one.mel) + self.gap(0, end_to_end)

    def write(self, window: Window, placed, tail, timestamps: bool, prompt: list[int]) -> None:
        """Fills in the tokens and where each is heard."""
        tokens, base = self.tokens, window.offset / 50
        window.rows = prompt + self.beginning(timestamps)
        window.first = len(window.rows) - 1
        window.words = np.full(len(window.phones), IGNORE)

        def stamp(seconds: float, shown: float | None = None) -> None:
            if timestamps:
                window.rows.append(tokens.timestamp(base + seconds if shown is None else shown))
                window.spans.append((seconds, seconds))

        for first, one in placed:
            if not one.text:  # the edge left no word of it
                continue
            start, length = first / FRAMES_A_SECOND, len(one.mel) / FRAMES_A_SECOND
            first_word, last_word = start + one.words[0][0] * length, start + one.words[-1][1] * length
            nothing_yet = len(window.rows) == window.first + 1
            stamp(first_word, min(first_word, LAST_FIRST_TIMESTAMP) if nothing_yet and window.offset == 0 else None)
            heard = list(zip(*self.token_spans(one)))
            for row, (a, b), mark in heard:
                if not mark:
                    window.words[int((start + a * length) * 50) : int((start + b * length) * 50)] = row
            translated = self.task.translate and one.translation
            for row, (a, b), _ in self.translation_spans(one) if translated else heard:
                window.rows.append(row)
                window.spans.append((start + a * length, start + b * length))
            stamp(last_word)
        if tail:
            stamp(tail[0] / FRAMES_A_SECOND)
        if len(window.rows) == window.first + 1:  # a word's end and nothing more
            stamp(0)
        window.rows.append(tokens.end)

    def silent_window(self, frames: int, offset: int, timestamps: bool) -> Window:
        """No speech: the answer is the end, whatever came before."""
        rng, tokens = self.rng, self.tokens
        recorded = frames if rng.random() < 0.6 else rng.randint(50, frames)
        mel = self.record(np.full((frames, 80), FLOOR, np.float32), recorded, True)
        prompt = self.prompt(timestamps) if rng.random() < self.recipe.prompts / 2 else []
        window = Window(mel, offset, silent=True, prompt=len(prompt))
        window.rows = prompt + self.beginning(timestamps)
        window.first = len(window.rows) - 1
        if timestamps:
            window.rows.append(tokens.timestamp(offset / 50))
        elif rng.random() < 0.6:
            window.blank = True
            window.rows.append(tokens.full_stop)
        if not window.blank and rng.random() < 0.25:  # even after a wrong word
            window.rows.append(rng.randrange(0, tokens.end))
        window.rows.append(tokens.end)
        window.phones, window.words = np.zeros(frames // 2, int), np.full(frames // 2, IGNORE)
        return window

    def batch(self, frames: int, count: int, silent_share: float) -> dict[str, torch.Tensor]:
        """`count` windows of one size as tensors; `spans` and `heard` tell the attention where to look."""
        windows = [self.window(frames, silent_share) for _ in range(count)]
        length = max(len(window.rows) for window in windows) - 1
        rows = np.full((count, length), self.tokens.end)
        targets = np.full((count, length), IGNORE)
        spans, heard = np.zeros((count, length, 2), np.float32), np.zeros((count, length), bool)
        for i, window in enumerate(windows):
            used = len(window.rows) - 1
            rows[i, :used] = window.rows[:-1]
            if window.silent:
                targets[i, window.first : used] = self.tokens.end
                first = window.rows[window.first + 1]
                if window.blank or (self.tokens.languages.tells_language and first >= self.tokens.text_rows):
                    targets[i, window.first] = first  # in English models no_speech has this place
                targets[i, window.prompt] = self.tokens.no_speech
                continue
            if self.tokens.languages.tells_language:
                targets[i, window.prompt] = window.rows[window.prompt + 1]  # the language: by this it is detected
            targets[i, window.first : used] = window.rows[window.first + 1 :]
            spans[i, window.first : window.first + len(window.spans)] = np.reshape(window.spans, (-1, 2))
            heard[i, window.first : window.first + len(window.spans)] = True
        stack = lambda name: torch.from_numpy(np.stack([getattr(window, name) for window in windows]))
        return {
            "mel": stack("mel").transpose(1, 2).float(),
            "prompt": torch.tensor([window.prompt for window in windows]),
            "offset": torch.tensor([window.offset for window in windows]),
            "rows": torch.from_numpy(rows),
            "targets": torch.from_numpy(targets),
            "spans": torch.from_numpy(spans),
            "heard": torch.from_numpy(heard),
            "phones": stack("phones").long(),
            "words": stack("words").long(),
        }
