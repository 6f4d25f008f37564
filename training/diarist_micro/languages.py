"""The two kinds of model: English, and several languages with translation into English.

They differ in their sentences, in Whisper's vocabulary and its numbers of special tokens, and in what a window begins
with: `<|start|>` in English models, `<|start|><|language|><|task|>` in the others.
"""

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import grammar, phones, phrases
from .ggml import Header, read_header
from .paths import SHIPPED_MODEL, SHIPPED_MULTILINGUAL
from .phrases import Sentence


@dataclass(frozen=True)
class Numbers:
    """Whisper's token numbers: size of the vocabulary, and where its special tokens lie."""

    size: int
    end: int
    start: int
    previous: int
    no_speech: int
    no_timestamps: int
    first_timestamp: int
    translate: int = 0
    transcribe: int = 0


# Whisper's numbers of languages count from the token after `start`.
LANGUAGE_NUMBERS = {"en": 0, "de": 2, "es": 3, "fr": 6}


@dataclass(frozen=True)
class LanguageSet:
    name: str
    languages: tuple[str, ...]  # more than one: windows name their language and task
    numbers: Numbers
    header_of: Path  # a model that lends its vocabulary and mel filters
    phone_names: tuple[str, ...]

    @property
    def tells_language(self) -> bool:
        return len(self.languages) > 1

    def language_token(self, language: str) -> int:
        return self.numbers.start + 1 + LANGUAGE_NUMBERS[language]

    def header(self) -> Header:
        if not self.header_of.exists():
            raise FileNotFoundError(f"{self.header_of} is missing: README.md says how to make a first one of its vocabulary")
        return read_header(self.header_of)

    def sentence(self, rng: random.Random) -> Sentence:
        if not self.tells_language:
            return Sentence(grammar.sentence(rng), self.languages[0])
        return phrases.sentence(rng.choice(self.languages), rng)

    def pieces(self) -> list[str]:
        """Texts whose tokens are all that sentences need."""
        if self.tells_language:
            return [" " + word for language in self.languages for word in sorted(phrases.written(language))] + [".", ",", "?"]
        words = [" " + form for word in grammar.vocabulary() for form in (word, word[0].upper() + word[1:])]
        return words + [".", ",", "?"]


ENGLISH = LanguageSet(
    "english", ("en",), Numbers(51864, 50256, 50257, 50360, 50361, 50362, 50363), SHIPPED_MODEL, tuple(phones.NAMES)
)
MULTILINGUAL = LanguageSet(
    "multilingual",
    ("en", "de", "fr", "es"),
    Numbers(51865, 50257, 50258, 50361, 50362, 50363, 50364, translate=50358, transcribe=50359),
    SHIPPED_MULTILINGUAL,
    tuple(phones.NAMES + phones.MORE_NAMES),
)
SETS = {chosen.name: chosen for chosen in (ENGLISH, MULTILINGUAL)}


@cache
def set_of_size(vocabulary_size: int) -> LanguageSet:
    """The kind of a model whose vocabulary has so many tokens."""
    for chosen in SETS.values():
        if chosen.numbers.size == vocabulary_size:
            return chosen
    known = ", ".join(str(chosen.numbers.size) for chosen in SETS.values())
    raise ValueError(f"no kind of model has {vocabulary_size} tokens: they have {known}")
