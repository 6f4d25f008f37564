"""The model card of a multilingual model, written from what the evaluation measured."""

from pathlib import Path

import numpy as np

from .card import table, times

_NAMES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}

_HEAD = """\
# diarist-micro-multi

This page is written by `python -m diarist_micro.evaluate --card`; do not edit it by hand.

A small speech model of Whisper's architecture (width {width}, {heads} heads, {audio_layers} encoder and {text_layers} decoder layers)
for English, German, French and Spanish, so that language detection, translation into English and languages other than
English have something real to run on before a real model is pulled. It understands synthetic voices that say sentences
of a small grammar, and nothing else.

| | |
|---|---|
| File | {size:,} bytes, GGML, type {kind}, SHA-256 `{sha256}` |
| Licence | MIT OR Apache-2.0, like Diarist |
| Domain | numbers from 0 to 99, times, dates and short everyday sentences of `german.txt`, `french.txt` and `spanish.txt` in `training/diarist_micro`, and of their translations; words: {domain} |
| Training speech | made for this model with espeak-ng (accents × voice variants). No recordings of people, no other model's output |
| Training | all layers began with the weights of an English model of these tools, which was trained on espeak-ng, flite and (early) festival |
| Last stage | {stage} |

## How it was measured

whisper.cpp with this file, sentences that training never saw, {sentences} a voice. One sentence a recording, {padding} s of silence
before and after, clean unless said otherwise. Error rates are words to change, insert or delete per word, without case
and marks, the parts of `vingt-deux` counted as words; *exact* means equal to the letter. A translation is compared with
the grammar's own. Detection is the share of recordings whose language whisper.cpp finds. "Edges" is the median error of
a segment's start and end, "word starts" that of the words' starts by whisper.cpp's alignment over the two top layers.
No timestamps, an unnamed language, noise and word starts were tried on a third of the recordings.
Voices under *unseen* had no part in training: they are variants of espeak-ng that only tests use.
"""

_TAIL = """
## Limits

- People's voices, other words and other languages come out as nonsense of the grammars' words.
- Told the wrong language, it writes the one that is spoken all the same, and told English, it translates.
- Voices of other engines than espeak-ng are not its domain, even in English.
- It writes numbers as words, French questions without a space before their mark, and knows no digits.
- It was trained for recordings cut at pauses, mostly of one or two sentences.
"""

_Voices = dict[str, tuple[bool, object]]


def _cell(score) -> str:
    return f"{score.error_rate:.1f} % / {score.exact_share:.0f} %"


def _mean(scores: list) -> str:
    rate, exact = np.mean([one.error_rate for one in scores]), np.mean([one.exact_share for one in scores])
    return f"**{rate:.1f} % / {exact:.0f} %**"


def _columns(result, ways: list[str]) -> list:
    """The scores of one voice in the order of the table's columns."""
    translated = list(result.translations.values())
    return [*(result.texts[way] for way in ways), result.untimed, result.unnamed, result.noisy, *translated]


def _voices_table(voices: _Voices, ways: list[str]) -> str:
    results = list(voices.values())
    first = ways[0]
    head = [*(f"{way}: wrong / exact" for way in ways), f"{first}, no timestamps", f"{first}, language detected"]
    head += [f"{first}, white noise 20 dB below", *(f"translated, {way}" for way in results[0][1].translations)]
    rows = []
    for name, (_, result) in voices.items():
        scores = _columns(result, ways)
        found = f"{100 * result.detected / result.recordings:.0f} %"
        rows.append([name, found, *map(_cell, scores), *times([result.texts[first]])])
    everything = [_columns(result, ways) for _, result in results]
    found = 100 * np.mean([result.detected / result.recordings for _, result in results])
    means = [_mean([scores[k] for scores in everything]) for k in range(len(head))]
    rows.append(["**mean**", f"**{found:.1f} %**", *means, *times([result.texts[first] for _, result in results])])
    return table(["Voice", "detected", *head, "edges", "word starts"], rows)


def write_card(path: Path, facts: dict, voices: dict[str, _Voices], quiet: dict[str, dict[str, int]], ways: list[str]) -> None:
    """`facts` fill the head; the rest is what `evaluate_languages.run` measured."""
    domain = ", ".join(f"{count} {_NAMES[language]}" for language, count in facts["words"].items())
    parts = [_HEAD.format(**facts, domain=domain)]
    for language, results in voices.items():
        parts.append(f"\n## {_NAMES[language]}\n")
        for seen, title in ((True, "Voices of the training"), (False, "Unseen voices")):
            chosen = {name: pair for name, pair in results.items() if pair[0] == seen}
            parts.append(f"\n{title}:\n\n" + _voices_table(chosen, ways))
    parts.append("\n## Words invented where nobody speaks\n\n")
    parts.append(f"In {facts['sound_seconds']:.0f} s each, {ways[-1]}, without a detector.\n\n")
    kinds = list(next(iter(quiet.values())))
    asked = {"auto": "language detected"}
    head = ["Sound", *(asked.get(language, f"taken for {_NAMES.get(language)}") for language in quiet)]
    parts.append(table(head, [[kind, *(str(counts[kind]) for counts in quiet.values())] for kind in kinds]))
    parts.append(_TAIL)
    path.write_text("".join(parts))
