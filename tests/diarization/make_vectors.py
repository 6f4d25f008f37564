"""Scores random small recordings with pyannote.metrics, for `vectors.rs`.

    pip install pyannote.metrics==4.2.0 scipy
    python tests/diarization/make_vectors.py > tests/diarization/vectors.json

Each case has the truth and a hypothesis as RTTM, the scored regions as UEM (null: from the first to the last turn of both),
and for each collar (seconds on each side) what pyannote.metrics finds, in seconds; `jaccard_errors` is summed over the speakers
of the truth. No speaker overlaps with himself: pyannote.metrics counts him twice then, NIST's scorer once. Nor are there two
best pairings of speakers, between which the Jaccard error would depend on the program.
"""

import itertools
import json
import random
import warnings

import numpy as np
from scipy.optimize import linear_sum_assignment

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

CASES = 60
COLLARS = (0.0, 0.25)


def turns(chance, speakers, length):
    """Milliseconds; speakers overlap one another, some turns of one speaker touch."""
    made = []
    for speaker in range(speakers):
        now = chance.randrange(0, 4_000)
        while now < length and len(made) < 30:
            end = now + chance.choice((chance.randrange(1, 400), chance.randrange(400, 6_000)))
            made.append((now, end, f"s{speaker}"))
            now = end + chance.choice((0, chance.randrange(1, 300), chance.randrange(300, 9_000)))
    return made


def disturbed(chance, truth, length):
    """A hypothesis: most of the truth, with moved edges, other names, things left out, swapped and invented."""
    names = sorted({speaker for _, _, speaker in truth})
    renamed = dict(zip(names, chance.sample([f"h{n}" for n in range(len(names) + 2)], len(names))))
    merged = chance.random() < 0.3
    made = []
    for start, end, speaker in truth:
        if chance.random() < 0.12:
            continue
        name = chance.choice(list(renamed.values())) if chance.random() < 0.15 else renamed[speaker]
        start, end = (max(0, edge + chance.choice((0, chance.randrange(-500, 500)))) for edge in (start, end))
        made.append((start, max(start + 1, end), "h0" if merged and name in ("h1", "h2") else name))
    if chance.random() < 0.5:
        made += turns(chance, 1, length // 3)
    return without_self_overlap(made)


def without_self_overlap(made):
    kept, last = [], {}
    for start, end, speaker in sorted(made):
        start = max(start, last.get(speaker, 0))
        if start < end:
            kept.append((start, end, speaker))
            last[speaker] = end
    return kept


def annotation(made):
    result = Annotation()
    for track, (start, end, speaker) in enumerate(made):
        result[Segment(start / 1000, end / 1000), track] = speaker
    return result


def rttm(made):
    line = "SPEAKER case 1 {:.3f} {:.3f} <NA> <NA> {} <NA> <NA>\n"
    return "".join(line.format(start / 1000, (end - start) / 1000, speaker) for start, end, speaker in made)


def timeline(regions):
    return None if regions is None else Timeline([Segment(a / 1000, b / 1000) for a, b in regions])


def has_one_best_pairing(truth, found, regions, collar):
    """Whether tiny changes leave the best pairing as it is."""
    metric = DiarizationErrorRate(collar=2 * collar)
    inside = metric.uemify(annotation(truth), annotation(found), uem=timeline(regions), collar=2 * collar)
    together = inside[0] * inside[1]
    pairings = set()
    for seed in range(20):
        noisy = together + np.random.default_rng(seed).uniform(0, 1e-7, together.shape)
        pairings.add(tuple((a, b) for a, b in zip(*linear_sum_assignment(-noisy)) if together[a, b] > 0))
    return len(pairings) == 1


def scores(truth, found, regions, collar):
    options = dict(collar=2 * collar, skip_overlap=False)
    der, jer = DiarizationErrorRate(**options), JaccardErrorRate(**options)
    evaluated = timeline(regions)
    components = der.compute_components(annotation(truth), annotation(found), uem=evaluated)
    jaccard = jer.compute_components(annotation(truth), annotation(found), uem=evaluated)
    return {
        "collar": collar,
        "speech": round(components["total"], 6),
        "missed": round(components["missed detection"], 6),
        "false_alarm": round(components["false alarm"], 6),
        "confusion": round(components["confusion"], 6),
        "speakers": int(jaccard["speaker count"]),
        "jaccard_errors": round(jaccard["speaker error"], 6),
    }


def case(number):
    tries = (attempt(number, seed) for seed in itertools.count(number, CASES))
    return next(made for made in tries if made)


def attempt(number, seed):
    chance = random.Random(seed)
    length = chance.randrange(2_000, 60_000)
    truth = turns(chance, chance.randrange(0 if number % 20 == 0 else 1, 7), length)
    found = disturbed(chance, truth, length) if number % 10 != 7 else turns(chance, chance.randrange(0, 4), length)
    regions = None
    if number % 3:
        edges = sorted(chance.sample(range(0, length + 5_000), 2 * chance.randrange(1, 4)))
        regions = list(zip(edges[::2], edges[1::2]))
    elif not truth and not found:
        regions = [(0, 1_000)]
    uem = None if regions is None else "".join(f"case 1 {a / 1000:.3f} {b / 1000:.3f}\n" for a, b in regions)
    if not all(has_one_best_pairing(truth, found, regions, collar) for collar in COLLARS):
        return None
    expected = [scores(truth, found, regions, collar) for collar in COLLARS]
    return {"truth": rttm(truth), "found": rttm(found), "uem": uem, "expected": expected}


def main():
    warnings.simplefilter("ignore")  # regions that are not given are meant
    print(json.dumps([case(number) for number in range(CASES)], indent=0))


if __name__ == "__main__":
    main()
