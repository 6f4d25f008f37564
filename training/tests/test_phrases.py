"""Sentences of several languages: both sides say the same, and everything can be written and said."""

import random

import pytest

from diarist_micro import grammar, phrases
from diarist_micro.make_speech import by_written_word
from diarist_micro.voices import Spoken


def draws(language: str, count: int) -> list[phrases.Sentence]:
    rng = random.Random(language)
    return [phrases.sentence(language, rng) for _ in range(count)]


@pytest.mark.parametrize("language", ["de", "fr", "es", "en"])
def test_every_drawn_word_is_among_those_that_can_be_written(language):
    words = phrases.written(language)
    for sentence in draws(language, 3000):
        assert set(sentence.text.split()) <= words, sentence.text
        assert set(sentence.translation.split()) <= phrases.written("en"), sentence.translation


@pytest.mark.parametrize("name", phrases.GRAMMARS.values())
def test_both_sides_of_an_alternative_hold_the_same_slots(name):
    for rule, (alternatives, _) in grammar.rules(name).items():
        for alternative in alternatives:
            source, target = (sorted(phrases._SLOT.findall(side)) for side in phrases._sides(alternative))
            assert source == target, f"{name}.txt, {rule}: {alternative}"


@pytest.mark.parametrize("name", phrases.GRAMMARS.values())
def test_every_sentence_is_translated(name):
    """Else the source would stand on both sides; digits and greetings have nothing but slots and marks."""
    for alternative in grammar.rules(name)["sentence"][0]:
        literal = phrases._SLOT.sub("", alternative).strip(" .,")
        assert "/" in alternative or not literal, alternative


@pytest.mark.parametrize("name", phrases.GRAMMARS.values())
def test_a_sentence_that_is_always_the_same_is_not_kept_for_tests(name):
    """Training would never see its words."""
    for alternative in grammar.rules(name)["sentence"][0]:
        if "{" not in alternative:
            text = phrases._text(phrases._capital([(phrases._sides(alternative)[0], 0)]))
            assert not grammar.is_held_out(text), text


def test_a_compound_number_is_linked_to_both_of_its_parts():
    fragments = [("Drei", 1), ("und", 3), ("zwanzig", 2), (".", 3)], [("Twenty", 2), (" ", 3), ("three", 1), (".", 3)]
    assert phrases._links(*fragments) == [[0, 0], [0, 0]]


def test_a_word_without_a_counterpart_goes_with_the_one_before():
    assert phrases._links([("am ", 1), ("Montag", 2)], [("on ", 1), ("next ", 3), ("Monday", 2)]) == [[0, 0], [0, 0], [1, 1]]


def test_a_sentence_begins_with_a_capital_even_behind_a_mark():
    assert phrases._capital([("¿qué hora es?", 0)]) == [("¿Qué hora es?", 0)]
    assert phrases._capital([("été", 0)]) == [("Été", 0)]


def spoken(places: list[int], words: list[tuple[float, float]]) -> Spoken:
    return Spoken(None, [], words, places)


def test_parts_of_a_written_word_become_one():
    found = by_written_word("Vingt-deux euros.", spoken([0, 6, 11], [(0.0, 0.3), (0.3, 0.6), (0.6, 1.0)]))
    assert found.words == [(0.0, 0.6), (0.6, 1.0)]


def test_words_told_as_one_share_its_time():
    found = by_written_word("Es ist drei.", spoken([0, 7], [(0.0, 0.5), (0.5, 1.0)]))
    assert found.words == [(0.0, 0.2), (0.2, 0.5), (0.5, 1.0)]


def test_places_outside_words_are_no_words():
    found = by_written_word("Ja, das.", spoken([0, -1, 4, 3], [(0.0, 0.3), (0.3, 0.3), (0.4, 0.7), (0.7, 0.7)]))
    assert found.words == [(0.0, 0.3), (0.4, 0.7)]


def test_times_that_go_back_are_refused():
    assert by_written_word("Ja, das.", spoken([0, 4], [(0.5, 0.9), (0.1, 0.4)])) is None
    assert by_written_word("Ja, das.", spoken([4], [(0.1, 0.4)])) is None
