"""Words as the lexical index knows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.memory.words import LONGEST, words


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("cafe", "Das Café ist zu."),
        ("CAFÉ", "the cafe\u0301 on the corner"),
        ("painting", "She painted a sunrise."),
        ("Caroline", "It was Caroline's idea."),
        ("avion", "Nous prenons l'avion."),
        ("0171", "Call 0171-5550199."),
        ("5550199", "Call 0171-5550199."),
        ("X-4711", "The part is x4711? No, X-4711."),
        ("strasse", "Lange Straße 5"),
        ("лодка", "Наша Лодка зелёная"),
        ("зеленая", "Наша лодка зелёная"),
        ("会議", "明日の会議は三時です"),
        ("회의", "내일 회의가 있다"),
        ("कमल", "कमल का फूल"),
        ("ﬁnance", "finance"),
    ],
)
def test_a_question_meets_the_text(asked: str, told: str) -> None:
    assert set(words(asked)) & set(words(told)), (words(asked), words(told))


def test_scripts_without_spaces_are_pairs() -> None:
    assert words("会議室 A3") == ["会議", "議室", "a3"]


def test_a_blob_is_cut() -> None:
    assert [len(word) for word in words("a1" * 500)] == [LONGEST]


@given(st.text())
def test_any_text_has_words_without_nothing(text: str) -> None:
    found = words(text)
    assert all(found)
    assert found == words(text)


@given(st.lists(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)))
def test_every_word_is_found(parts: list[str]) -> None:
    assert len(words(" ".join(parts))) == len(parts)
