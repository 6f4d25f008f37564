"""Synthetic voices: espeak-ng and flite through their C libraries, which tell when each phone and word is spoken."""

import ctypes
import subprocess
import tempfile
from ctypes import c_char_p, c_float, c_int, c_short, c_uint, c_void_p
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from .features import HOP, RATE

PEAK = 0.5
TRIM_DB = 40.0  # speech begins and ends where a frame comes this near to the loudest one
TRIM_MARGIN = 0.02  # seconds kept around it


@dataclass
class Spoken:
    """One utterance; all times are seconds from its first sample."""

    samples: np.ndarray  # (n,) float32 at 16 kHz, peak 0.5, edges trimmed
    phones: list[tuple[float, str]]  # start and name; a name that begins with "_" is a pause
    words: list[tuple[float, float]]  # start and end
    places: list[int] = field(default_factory=list)  # of each word, the letter of the text that it begins with, if told


def finish(samples: np.ndarray, rate: int, speed: float, phones, words) -> Spoken | None:
    """Resamples by `speed` (above 1: faster and higher), trims, and moves the times along; None if nothing is heard."""
    ratio = Fraction(RATE / rate / speed).limit_denominator(400)
    samples = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
    stretch = float(ratio) * rate / RATE
    frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    if len(frames) < 20:
        return None
    level = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(level > max(level.max() * 10 ** (-TRIM_DB / 20), 1e-6))
    if len(loud) < 10:
        return None
    first = max(0, loud[0] * HOP - int(TRIM_MARGIN * RATE))
    last = min(len(samples), (loud[-1] + 1) * HOP + int(TRIM_MARGIN * RATE))
    cut = samples[first:last]
    length = len(cut) / RATE
    move = lambda seconds: round(float(min(max(seconds * stretch - first / RATE, 0.0), length)), 3)
    return Spoken(
        cut / np.abs(cut).max() * PEAK,
        [(move(start), name) for start, name in phones],
        [(move(start), move(end)) for start, end in words],
    )


class _EspeakEvent(ctypes.Structure):
    class _Id(ctypes.Union):
        _fields_ = [("number", c_int), ("name", c_char_p), ("string", ctypes.c_char * 8)]

    _fields_ = [
        ("type", c_int),
        ("unique_identifier", c_uint),
        ("text_position", c_int),
        ("length", c_int),
        ("audio_position", c_int),
        ("sample", c_int),
        ("user_data", c_void_p),
        ("id", _Id),
    ]


class _EspeakVoice(ctypes.Structure):
    _fields_ = [(name, c_char_p) for name in ("name", "languages", "identifier")] + [
        (name, ctypes.c_ubyte) for name in ("gender", "age", "variant", "xx1")
    ] + [("score", c_int), ("spare", c_void_p)]  # fmt: skip


_ESPEAK_CALLBACK = ctypes.CFUNCTYPE(c_int, ctypes.POINTER(c_short), c_int, ctypes.POINTER(_EspeakEvent))


class Espeak:
    """libespeak-ng. Voices are names such as `en-us` or `en-gb+f2`."""

    WORD, PHONEME, END = 1, 7, 0
    SYNCHRONOUS, PHONEME_EVENTS, UTF8 = 2, 1, 1
    SPEED, PITCH, PITCH_RANGE = 1, 3, 4

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(self.SYNCHRONOUS, 0, None, self.PHONEME_EVENTS)
        self.blocks, self.phones, self.words, self.places = [], [], [], []
        self.callback = _ESPEAK_CALLBACK(self._receive)  # kept: the library holds only its address
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples, count, events) -> int:
        if samples and count > 0:
            self.blocks.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / 32768)
        for event in events if events else ():
            if event.type == self.END:
                break
            if event.type == self.PHONEME:
                self.phones.append((event.audio_position / 1000, event.id.string.decode("utf-8", "replace")))
            if event.type == self.WORD:
                self.words.append(event.audio_position / 1000)
                self.places.append(event.text_position - 1)
        return 0

    def speak(self, text: str, voice: str, pitch: int, pitch_range: int, words_a_minute: int, speed: float) -> Spoken | None:
        """`pitch` and `pitch_range`: 0 to 100, usual 50; `words_a_minute`: usual 175."""
        self.blocks, self.phones, self.words, self.places = [], [], [], []
        self._choose(voice)
        for parameter, value in ((self.SPEED, words_a_minute), (self.PITCH, pitch), (self.PITCH_RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        spoken = text.encode()
        self.library.espeak_Synth(spoken, len(spoken) + 1, 0, 1, 0, self.UTF8, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.float32)
        done = finish(samples, self.rate, speed, self.phones, self._spans(len(samples) / self.rate))
        return done and replace(done, places=self.places)

    def _choose(self, voice: str) -> None:
        if self.library.espeak_SetVoiceByName(voice.encode()) == 0:
            return
        wanted = _EspeakVoice(languages=voice.encode())
        if self.library.espeak_SetVoiceByProperties(ctypes.byref(wanted)):
            raise ValueError(f"espeak-ng has no voice {voice!r}")

    def _spans(self, end: float) -> list[tuple[float, float]]:
        pauses = [start for start, name in self.phones if name.startswith("_")]
        ends = []
        for k, start in enumerate(self.words):
            limit = self.words[k + 1] if k + 1 < len(self.words) else end
            ends.append(min([p for p in pauses if start < p] + [limit]))
        return list(zip(self.words, ends))


class Flite:
    """libflite. Voices: kal (8 kHz), kal16, awb, slt, rms."""

    def __init__(self):
        load = lambda name: ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        self.library = load("libflite.so.1")
        for name in ("usenglish", "cmulex"):
            load(f"libflite_{name}.so.1")
        for name, result in {
            "flite_synth_text": c_void_p, "utt_wave": c_void_p, "utt_relation": c_void_p, "relation_head": c_void_p,
            "item_next": c_void_p, "ffeature_string": c_char_p, "ffeature_float": c_float, "get_param_float": c_float,
        }.items():  # fmt: skip
            getattr(self.library, name).restype = result
        self.library.flite_init()
        self.voices = {}

    def _voice(self, name: str):
        if name not in self.voices:
            library = ctypes.CDLL(f"libflite_cmu_us_{name}.so.1")
            register = getattr(library, f"register_cmu_us_{name}")
            register.restype = c_void_p
            self.voices[name] = register(None)
        return self.voices[name]

    def speak(self, text: str, voice: str, stretch: float, pitch: float | None, speed: float) -> Spoken | None:
        """`stretch`: above 1 is slower; `pitch`: mean in Hz, None leaves the voice's own."""
        handle = self._voice(voice)
        features = c_void_p(ctypes.cast(handle, ctypes.POINTER(c_void_p))[1])
        own_pitch = self.library.get_param_float(features, b"int_f0_target_mean", c_float(0))
        self.library.feat_set_float(features, b"duration_stretch", c_float(stretch))
        if pitch is not None:
            self.library.feat_set_float(features, b"int_f0_target_mean", c_float(pitch))
        utterance = c_void_p(self.library.flite_synth_text(text.encode(), c_void_p(handle)))
        if own_pitch:
            self.library.feat_set_float(features, b"int_f0_target_mean", c_float(own_pitch))
        else:
            self.library.feat_remove(features, b"int_f0_target_mean")
        try:
            samples, rate = self._wave(utterance)
            phones, start = [], 0.0
            for item in self._items(utterance, b"Segment"):
                name = self.library.ffeature_string(item, b"name").decode()
                phones.append((start, "_" if name == "pau" else name))
                start = self.library.ffeature_float(item, b"end")
            first, last = (
                b"R:SylStructure.daughter1.daughter1.R:Segment.p.end",
                b"R:SylStructure.daughtern.daughtern.R:Segment.end",
            )
            edge = self.library.ffeature_float
            words = [(edge(item, first), edge(item, last)) for item in self._items(utterance, b"Word")]
            return finish(samples, rate, speed, phones, words)
        finally:
            self.library.delete_utterance(utterance)

    def _items(self, utterance, relation: bytes):
        item = self.library.relation_head(c_void_p(self.library.utt_relation(utterance, relation)))
        while item:
            yield c_void_p(item)
            item = self.library.item_next(c_void_p(item))

    def _wave(self, utterance) -> tuple[np.ndarray, int]:
        class Wave(ctypes.Structure):
            _fields_ = [
                ("type", c_char_p),
                ("rate", c_int),
                ("count", c_int),
                ("channels", c_int),
                ("samples", ctypes.POINTER(c_short)),
            ]

        wave = ctypes.cast(self.library.utt_wave(utterance), ctypes.POINTER(Wave)).contents
        return np.ctypeslib.as_array(wave.samples, (wave.count,)).astype(np.float32) / 32768, wave.rate


class Festival:
    """The festival program, for voices that only evaluation uses; it tells no times."""

    def speak(self, text: str, voice: str) -> Spoken | None:
        """`voice`: such as `ked_diphone`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "speech.wav")
            command = ["text2wave", "-eval", f"(voice_{voice})", "-o", path]
            subprocess.run(command, input=text.encode(), check=True, capture_output=True)
            rate, samples = wavfile.read(path)
        return finish(samples.astype(np.float32) / 32768, rate, 1.0, [], [])
