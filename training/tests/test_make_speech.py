"""Which sentences a shard holds."""

import re

import numpy as np
import pytest

from diarist_micro import grammar
from diarist_micro.languages import ENGLISH
from diarist_micro.make_speech import make_shard
from diarist_micro.voices import Spoken


class Mute:
    """Speaks every sentence as a second of silence, its words one after the other."""

    languages = ENGLISH

    def speak(self, sentence, rng):
        count = len(grammar.words(sentence.text))
        return "espeak", Spoken(np.zeros(16_000, np.float32), [], [(k / count, (k + 1) / count) for k in range(count)])


@pytest.mark.parametrize("only", ["", "^There are ", r" starts at |\?$"])
def test_all_sentences_of_a_shard_are_found_by_only_and_none_is_kept_for_tests(only):
    _, entries = make_shard(0, 50, Mute(), lambda samples: np.zeros((100, 80)), re.compile(only))
    texts = [entry["text"] for entry in entries]
    assert len(texts) == 50 and len(set(texts)) > 25
    assert all(re.search(only, text) and not grammar.is_held_out(text) for text in texts)
