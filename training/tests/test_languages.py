"""The multilingual kind of model: token numbers, what windows begin with, translations, and weights taken over."""

import json

import numpy as np
import pytest
import torch

from diarist_micro.export import tensors
from diarist_micro.languages import ENGLISH, MULTILINGUAL, set_of_size
from diarist_micro.network import TEXT_POSITIONS, TIMESTAMPS, MicroWhisper
from diarist_micro.tokens import Tokens
from diarist_micro.train import take_over
from diarist_micro.vocabulary import read_tiktoken
from diarist_micro.windows import FULL, IGNORE, Composer, Recipe, Speech, Task

TEXT, TRANSLATION = "Heute ist Montag.", "Today is Monday."


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    if not MULTILINGUAL.header_of.exists():
        pytest.skip(f"{MULTILINGUAL.header_of.name} is not there to lend its vocabulary: see README.md")
    return Tokens(MULTILINGUAL.header(), languages=MULTILINGUAL)


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Speech:
    """One German utterance of 1.5 s."""
    folder = tmp_path_factory.mktemp("speech")
    np.save(folder / "0000.npy", np.random.default_rng(0).normal(-2, 1, (150, 80)).astype(np.float16))
    sound = {"first": 0, "frames": 150, "phones": [[0, 1]], "words": [[0.0, 0.5], [0.5, 0.8], [0.8, 1.4]]}
    meaning = {"language": "de", "translation": TRANSLATION, "links": [[0, 0], [1, 1], [2, 2]]}
    (folder / "0000.json").write_text(json.dumps([{"text": TEXT} | sound | meaning]))
    return Speech(folder)


def composer(speech: Speech, tokens: Tokens, translations: float) -> Composer:
    return Composer(speech, tokens, 1, Recipe(prompts=0.5, cuts=0.5, translations=translations))


def ids(tokens: Tokens, rows: list[int]) -> list[int]:
    return [tokens.ids[row] if row < tokens.text_rows else MULTILINGUAL.numbers.first_timestamp for row in rows]


def test_the_numbers_are_whispers():
    """As whisper.cpp counts them for 99 languages."""
    numbers = MULTILINGUAL.numbers
    assert [MULTILINGUAL.language_token(code) for code in ("en", "de", "es", "fr")] == [50259, 50261, 50262, 50265]
    assert numbers.first_timestamp + TIMESTAMPS == numbers.size == 51865
    assert ENGLISH.numbers.first_timestamp + TIMESTAMPS == ENGLISH.numbers.size == 51864
    assert set_of_size(51865) is MULTILINGUAL and set_of_size(51864) is ENGLISH
    with pytest.raises(ValueError, match="51866"):
        set_of_size(51866)


def test_letters_beyond_ascii_are_written_and_read_back(tokens):
    for text in ("Fünfundzwanzig.", "¿Dónde está el teléfono?", "Quatre-vingt-dix-sept.", "Aujourd'hui, c'est lundi."):
        assert b"".join(map(tokens.piece_bytes, tokens.encode(text))).decode() == " " + text


def test_a_window_names_its_language_and_task(speech, tokens):
    for translations, task in ((0.0, MULTILINGUAL.numbers.transcribe), (1.0, MULTILINGUAL.numbers.translate)):
        of = composer(speech, tokens, translations)
        for _ in range(20):
            window = of.window(600, 0.0)
            beginning = ids(tokens, window.rows[window.prompt : window.prompt + 3])
            assert beginning == [MULTILINGUAL.numbers.start, MULTILINGUAL.language_token("de"), task]
            assert window.first >= window.prompt + 2


def test_a_translation_is_written_where_its_words_are_heard(speech, tokens):
    of = composer(speech, tokens, 1.0)
    for _ in range(20):
        window = of.window(440, 0.0)
        told = window.rows[window.first + 1 :]
        text = b"".join(tokens.piece_bytes(row) for row in told if row < tokens.end).decode()
        assert TRANSLATION in text and "Heute" not in text
        assert len(window.spans) == len(told) - 1
        monday = told.index(tokens.encode("Monday")[0])
        today = told.index(tokens.encode("Today")[0])
        assert window.spans[today][1] <= window.spans[monday][0]
        spoken = {row for row in window.words if row != IGNORE}
        assert spoken == set(tokens.encode(TEXT)[:-1])  # the frames' words are the source's


def test_a_prompt_gives_way_to_a_long_answer(speech, tokens):
    of = composer(speech, tokens, 0.0)
    of.recipe.prompts = 1.0
    window = next(one for one in iter(lambda: of.window(FULL, 0.0), None) if one.prompt > 100)
    before, answer = list(window.rows), window.rows[window.prompt :]
    window.rows += [tokens.end] * (TEXT_POSITIONS - len(before) + 30)
    of.shorten_prompt(window)
    assert len(window.rows) == TEXT_POSITIONS
    assert window.rows[0] == tokens.previous and window.rows[1:5] == before[31:35]
    assert window.rows[window.prompt : window.prompt + len(answer)] == answer
    assert window.rows[window.first] == tokens.task("de", False)[1] or window.rows[window.first] == tokens.no_timestamps


def test_the_language_is_learned_after_the_start_and_no_speech_in_silence(speech, tokens):
    of = composer(speech, tokens, 0.3)
    german = tokens.task("de", False)[0]
    batch = of.batch(440, 30, 0.5)
    at_start = {int(target[row == tokens.start][0]) for row, target in zip(batch["rows"], batch["targets"])}
    assert at_start == {german, tokens.no_speech}


def test_silence_is_answered_with_a_timestamp_and_the_end(speech, tokens):
    of = composer(speech, tokens, 0.0)
    of.task = Task("de")
    of.window = lambda frames, share: of.silent_window(FULL, 0, timestamps=True)
    batch = of.batch(FULL, 3, 1.0)
    for rows, targets in zip(batch["rows"].tolist(), batch["targets"].tolist()):
        first = rows.index(tokens.start) + 2
        assert targets[first] == tokens.timestamp(0) and targets[first + 1] == tokens.end


def test_another_kinds_checkpoint_gives_its_layers_and_the_words_that_both_write(tokens):
    english = Tokens(ENGLISH.header())
    theirs = MicroWhisper(english.text_rows, 3)
    saved = dict(model=theirs.state_dict(), dimensions=theirs.dimensions, ids=english.ids)
    own = MicroWhisper(tokens.text_rows, 5)
    take_over(own, tokens, saved)
    assert torch.equal(own.encoder.conv1.weight, theirs.encoder.conv1.weight)
    assert torch.equal(own.phone_head.weight[:3], theirs.phone_head.weight)
    assert torch.equal(own.text_rows[tokens.encode("Monday")[0]], theirs.text_rows[english.encode("Monday")[0]])
    assert torch.equal(own.text_rows[tokens.start], theirs.text_rows[english.start])


def test_an_exported_table_holds_each_token_at_its_number(tokens):
    model = MicroWhisper(tokens.text_rows, 3)
    rows = tensors(model, tokens.ids, MULTILINGUAL)["decoder.token_embedding.weight"]
    assert rows.shape[0] == 51865
    german = tokens.task("de", False)[0]
    assert np.array_equal(rows[50261], model.text_rows[german].detach().numpy())
    assert np.array_equal(rows[50364:], model.table()[tokens.text_rows :].detach().numpy())
    assert rows[50260, 0] < -5  # Chinese is never found


def test_a_tiktoken_file_gives_bytes_by_rank(tmp_path):
    (tmp_path / "small.tiktoken").write_text("IQ== 0\noQ== 1\n= 3\n")
    assert read_tiktoken(tmp_path / "small.tiktoken") == [b"!", b"\xa1", b"", b""]


def test_the_vocabulary_that_models_lend_is_whispers(tokens):
    header = MULTILINGUAL.header()
    assert len(header.vocabulary) == MULTILINGUAL.numbers.end
    assert header.vocabulary[0] == b"!" and header.filters.shape == (80, 201)
