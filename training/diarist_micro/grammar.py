"""Draws sentences from rules such as those in `english.txt`, and keeps some sentences out of training for good."""

import hashlib
import random
import re
from functools import cache
from pathlib import Path

HELD_OUT_OF = 25  # one sentence in so many is never trained on


@cache
def rules(grammar: str = "english") -> dict[str, tuple[list[str], list[float]]]:
    """Each rule's alternatives and their weights; `grammar` names the file."""
    found: dict[str, tuple[list[str], list[float]]] = {}
    name = ""
    for line in Path(__file__).with_name(f"{grammar}.txt").read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if match := re.match(r"(\w+) = (.*)", line):
            name, words = match[1], match[2].split()
            found[name] = (words, [1.0] * len(words))
        elif match := re.match(r"(\w+):$", line):
            name = match[1]
            found[name] = ([], [])
        elif match := re.match(r"\s+([\d.]+) (.*)", line):
            found[name][0].append(match[2])
            found[name][1].append(float(match[1]))
        else:  # a list's next line
            found[name][0].extend(line.split())
            found[name][1].extend([1.0] * len(line.split()))
    return found


def draw(rule: str, rng: random.Random) -> str:
    alternatives, weights = rules()[rule]
    chosen = rng.choices(alternatives, weights)[0]
    return re.sub(r"\{(\w+)\}", lambda match: draw(match[1], rng), chosen)


def sentence(rng: random.Random) -> str:
    """One sentence with its capital and its closing mark."""
    text = draw("sentence", rng)
    return text[0].upper() + text[1:]


def is_held_out(text: str) -> bool:
    """Whether a sentence belongs to the tests; a property of its text alone."""
    return int(hashlib.md5(text.encode()).hexdigest(), 16) % HELD_OUT_OF == 0


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z']+", text)


@cache
def vocabulary() -> list[str]:
    """All words that the grammar can say, as they are written inside a sentence."""
    texts = [re.sub(r"\{\w+\}", " ", text) for alternatives, _ in rules().values() for text in alternatives]
    return sorted({word for text in texts for word in words(text)})
