"""Draws short sentences of other languages together with what they mean in English.

The rules lie in `german.txt`, `french.txt` and `spanish.txt`. Both sides come from one drawing, so it is known which
words of the source each word of the translation renders; training leads the attention there.
"""

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from . import grammar

GRAMMARS = {"de": "german", "fr": "french", "es": "spanish"}
_SLOT = re.compile(r"\{(\w+)\}")

Fragment = tuple[str, int]  # text, and the drawing that it comes from


@dataclass
class Sentence:
    text: str
    language: str
    translation: str = ""  # into English; empty where the text is English
    links: list[list[int]] = field(default_factory=list)  # of each translated word: its first and last source word


def sentence(language: str, rng: random.Random) -> Sentence:
    """One sentence. English ones are translations out of a language drawn at random."""
    of = language if language in GRAMMARS else rng.choice(list(GRAMMARS))
    source, target = (_capital(side) for side in _draw(GRAMMARS[of], "sentence", rng, itertools.count()))
    if language not in GRAMMARS:
        return Sentence(_text(target), language)
    return Sentence(_text(source), language, _text(target), _links(source, target))


def _sides(alternative: str) -> tuple[str, str]:
    """An alternative's source and English; one that has no stroke is the same on both sides."""
    source, stroke, target = alternative.partition("/")
    return source, target if stroke else source


def _draw(name: str, rule: str, rng: random.Random, numbers: Iterator[int]) -> tuple[list[Fragment], list[Fragment]]:
    """Fragments of both sides; those of one drawing have one number."""
    alternatives, weights = grammar.rules(name)[rule]
    source, target = _sides(rng.choices(alternatives, weights)[0])
    slots = _SLOT.findall(source)
    drawn = [(slot, *_draw(name, slot, rng, numbers)) for slot in slots]
    number = next(numbers)
    filled = []
    for side, template in enumerate((source, target), 1):
        waiting, fragments = list(drawn), []
        for k, part in enumerate(_SLOT.split(template)):
            if k % 2 == 0:
                fragments += [(part, number)] if part else []
                continue
            found = next(one for one in waiting if one[0] == part)  # a slot that stands twice is drawn twice
            waiting.remove(found)
            fragments += found[side]
        filled.append(fragments)
    return filled[0], filled[1]


def _capital(fragments: list[Fragment]) -> list[Fragment]:
    """The same with the sentence's first letter as a capital."""
    first, number = fragments[0]
    at = next(k for k, letter in enumerate(first) if letter.isalpha())
    return [(first[:at] + first[at].upper() + first[at + 1 :], number), *fragments[1:]]


def _text(fragments: list[Fragment]) -> str:
    return "".join(text for text, _ in fragments)


def _words(fragments: list[Fragment]) -> list[set[int]]:
    """The drawings that have letters in each word."""
    words: list[set[int]] = [set()]
    for text, number in fragments:
        for letter in text:
            if letter == " ":
                words.append(set())
            elif letter.isalpha():
                words[-1].add(number)
    return words


def _links(source: list[Fragment], target: list[Fragment]) -> list[list[int]]:
    """A word that has no counterpart goes with the word before it."""
    origins = _words(source)
    links = []
    for word in _words(target):
        places = [k for k, origin in enumerate(origins) if origin & word]
        nothing = links[-1] if links else [0, len(origins) - 1]
        links.append([places[0], places[-1]] if places else nothing)
    return links


@cache
def written(language: str) -> frozenset[str]:
    """Every word with its marks, as it may stand in a sentence of `language`, begun small or with a capital."""
    chosen = [(GRAMMARS[language], 0)] if language in GRAMMARS else [(name, 1) for name in GRAMMARS.values()]
    found = set()
    for name, side in chosen:
        for alternatives, _ in grammar.rules(name).values():
            for alternative in alternatives:
                for chunk in _sides(alternative)[side].split():
                    found |= _expansions(name, side, chunk)
    words = {word for text in found for word in text.split()}
    return frozenset(words | {_capital([(word, 0)])[0][0] for word in words if any(map(str.isalpha, word))})


@cache
def _expansions(name: str, side: int, template: str) -> frozenset[str]:
    """All texts that a template may become."""
    parts = _SLOT.split(template)
    choices = []
    for k, part in enumerate(parts):
        if k % 2 == 0:
            choices.append({part})
        else:
            choices.append({text for one in grammar.rules(name)[part][0] for text in _expansions(name, side, _sides(one)[side])})
    return frozenset("".join(texts) for texts in itertools.product(*choices))


def vocabulary(language: str) -> list[str]:
    """The words of a language without marks; letters that stand together are one word."""
    return sorted({part for word in written(language) for part in re.findall(r"[^\W\d_]+", word.lower())})
