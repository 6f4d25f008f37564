"""The model card, written from what the evaluation measured."""

from pathlib import Path

import numpy as np

_HEAD = """\
# diarist-micro-en

This page is written by `python -m diarist_micro.evaluate --card`; do not edit it by hand.

A small English speech model of Whisper's architecture (width {width}, {heads} heads, {audio_layers} encoder and
{text_layers} decoder layers), so that Diarist does something real before a real model is pulled, and so that its
tests compare words. It understands synthetic voices that say sentences of a small grammar, and nothing else.

| | |
|---|---|
| File | {size:,} bytes, GGML, type {kind}, SHA-256 `{sha256}` |
| Licence | MIT OR Apache-2.0, like Diarist |
| Domain | sentences of `training/diarist_micro/english.txt`: {words} words; numbers, times, dates, prices, names, everyday and meeting talk |
| Training speech | made for this model with espeak-ng (accents of English × voice variants) and flite (kal, kal16, awb, slt); an early stage also with festival's slt-hts. No recordings of people, no other model's weights or output |
| Training | from random weights, in several stages, each beginning with the weights of the one before |
| Last stage | {stage} |

## How it was measured

whisper.cpp with this file, sentences that training never saw, {sentences} a voice. One sentence a recording,
{padding} s of silence before and after, clean unless said otherwise. Error rates are words to change, insert or
delete per spoken word, without case and marks; *exact* means equal to the letter, capitals and marks included.
"Edges" is the median error of a segment's start and end, "word starts" that of the words' starts by whisper.cpp's
alignment over the two top layers. A rate of some {sentences} sentences is uncertain by a few
points. Voices under *unseen* had no part in training.
"""

_TAIL = """
## Limits

- People's voices, other words and other languages come out as nonsense of the grammar's words.
- Most of its training was recordings cut at pauses, one to three sentences each. It mishears more in long ones without a
  voice activity detector, as the table shows.
- It spells numbers as words and knows no digits.
- Two sentences at once, strong echo and voices below the noise are not its domain.
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def times(scores: list) -> list[str]:
    """The median errors of edges and of word starts."""
    cells = []
    for name in ("edges", "starts"):
        errors = [error for score in scores for error in getattr(score, name)]
        cells.append(f"{1000 * np.median(errors):.0f} ms" if errors else "–")
    return cells


def voices_table(voices: dict, seen: bool, ways: list[str]) -> str:
    """One row a voice and one for their mean: everyday sentences, then those of meetings."""
    rules = ["everyday", "meeting"]
    head = ["Voice"] + [f"{kind}, {way}: wrong / exact" for kind in rules for way in ways] + ["edges", "word starts"]
    chosen = {name: scores for name, (was_seen, scores) in voices.items() if was_seen == seen}
    rows = []
    for name, scores in chosen.items():
        cells = [
            f"{scores[kind][way].error_rate:.1f} % / {scores[kind][way].exact_share:.0f} %" for kind in rules for way in ways
        ]
        rows.append([name, *cells, *times([scores["everyday"][ways[0]]])])
    means = []
    for kind in rules:
        for way in ways:
            of = [scores[kind][way] for scores in chosen.values()]
            means.append(f"**{np.mean([s.error_rate for s in of]):.1f} % / {np.mean([s.exact_share for s in of]):.0f} %**")
    rows.append(["**mean**", *means, *times([scores["everyday"][ways[0]] for scores in chosen.values()])])
    return table(head, rows)


def write_card(path: Path, facts: dict, results: dict, ways: list[str]) -> None:
    """`facts` fill the head; `results` are those of `evaluate.main`."""
    parts = [_HEAD.format(**facts)]
    for seen, title in ((True, "Voices of the training"), (False, "Unseen voices")):
        parts.append(f"\n## {title}\n\n" + voices_table(results["voices"], seen, ways))
    cell = lambda score: f"{score.error_rate:.1f} % / {score.exact_share:.0f} %"
    rows = []
    for seen, by_way in results["noisy"].items():
        long = f"{results['long'][seen].error_rate:.1f} %"
        rows.append(["seen" if seen else "unseen", *(cell(score) for score in by_way.values()), long])
    head = ["Voices", *(f"white noise 20 dB below, {way}" for way in ways), f"long recording without a detector, {ways[-1]}"]
    parts.append("\n## Harder conditions\n\n" + table(head, rows))
    parts.append(
        f"\n## Words invented where nobody speaks\n\nIn {facts['sound_seconds']:.0f} s each, beam 5, without a detector.\n\n"
    )
    parts.append(table(["Sound", "words"], [[name, str(count)] for name, count in results["sounds"].items()]))
    parts.append(_TAIL)
    path.write_text("".join(parts))
