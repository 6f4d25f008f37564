"""Training windows: tokens, timestamps and endings as whisper.cpp handles them."""

import json

import numpy as np
import pytest

from diarist_micro import grammar
from diarist_micro.ggml import read_header
from diarist_micro.languages import ENGLISH
from diarist_micro.paths import SHIPPED_MODEL
from diarist_micro.tokens import Tokens
from diarist_micro.windows import FULL, IGNORE, Composer, Speech

END, FIRST_TIMESTAMP = ENGLISH.numbers.end, ENGLISH.numbers.first_timestamp


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    """A composer over two utterances of 1.5 s."""
    folder = tmp_path_factory.mktemp("speech")
    texts = ["We will meet Maria at nine thirty.", "Is it cold in Oslo?"]
    mel = np.random.default_rng(0).normal(-2, 1, (300, 80)).astype(np.float16)
    entries = []
    for k, text in enumerate(texts):
        edges = np.linspace(0, 1.5, len(grammar.words(text)) + 1).tolist()
        entries.append({"text": text, "first": 150 * k, "frames": 150, "phones": [[0, 1]], "words": list(zip(edges, edges[1:]))})
    np.save(folder / "0000.npy", mel)
    (folder / "0000.json").write_text(json.dumps(entries))
    return Composer(Speech(folder), Tokens(read_header(SHIPPED_MODEL)), seed=1)


def output(window, tokens: Tokens) -> list[int]:
    """Whisper's numbers of the tokens that a window teaches."""
    rows = window.rows[window.first + 1 :]
    return [tokens.ids[row] if row < tokens.text_rows else FIRST_TIMESTAMP + row - tokens.text_rows for row in rows]


def test_every_word_of_the_grammar_can_be_written():
    tokens = Tokens(read_header(SHIPPED_MODEL))
    for word in grammar.vocabulary():
        rows = tokens.encode(word + ".")
        assert "".join(tokens.piece(row) for row in rows) == f" {word}."


def test_windows_end_with_one_timestamp_or_with_two_where_a_sentence_is_cut(composer):
    endings = set()
    for _ in range(60):
        window = composer.window(FULL, 0.0)
        told = output(window, composer.tokens)
        assert told[-1] == END
        if told[0] >= FIRST_TIMESTAMP:
            assert told[0] <= FIRST_TIMESTAMP + 50  # whisper.cpp takes no first timestamp above 1.00 s
            assert told[-2] >= FIRST_TIMESTAMP
            endings.add(told[-3] >= FIRST_TIMESTAMP)
    assert endings == {True, False}


def test_silence_is_answered_with_a_timestamp_and_the_end(composer):
    window = composer.silent_window(FULL, 0, timestamps=True)
    told = output(window, composer.tokens)
    assert told[0] == FIRST_TIMESTAMP and told[-1] == END
    assert window.silent


def test_each_token_is_heard_inside_its_window(composer):
    for _ in range(40):
        window = composer.window(600, 0.0)
        assert len(window.spans) == len(window.rows) - window.first - 2  # all but the end
        assert all(0 <= start <= end <= 6.01 for start, end in window.spans)


def test_a_batch_has_a_target_for_every_token_of_the_output(composer):
    batch = composer.batch(440, 8, 0.3)
    assert tuple(batch["mel"].shape) == (8, 80, 440)
    assert batch["phones"].shape == batch["words"].shape == (8, 220)
    wanted = (batch["targets"] != IGNORE).sum(1)
    assert (wanted >= 2).all()
    assert ((batch["targets"] == composer.tokens.end).any(1)).all()


def test_only_longer_windows_have_pauses_of_many_seconds(composer):
    longest = {frames: max(composer.gap(frames, False) for _ in range(1000)) for frames in (600, 1100, FULL)}
    assert longest[600] <= 150 < longest[1100] and longest[FULL] > 600
    assert composer.gap(FULL, True) == 0
