"""A question's words: whatever a model calls, the human sees what it is and where it ends."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as import config
from memtrix_as.agent import notices, questions
from memtrix_as.matrix.html import to_html
from memtrix_as.messages import ToolCall

HOW = questions.how("ring", "14:05 UTC", None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SPITEFUL = st.text(
    "`*_[]()<>&~|!#\\/\n\r\t -=+.:$@{}\"'\u202e\u2066\u2069\u200b\u00a0ab1א", max_size=60
)


def shown(agent: str, arguments: dict[str, Any], told: list[str]) -> str:
    return questions.question(agent, "ring", arguments, told) + "\n\n" + HOW


def tags(markdown: str) -> list[str]:
    """The shape of what a client shows."""
    return re.findall(r"</?\w+[^>]*>", to_html(markdown) or "")


@given(
    st.text(max_size=100) | SPITEFUL,
    st.dictionaries(st.text(max_size=80) | SPITEFUL, JSON | SPITEFUL, max_size=5),
    st.text(max_size=700) | SPITEFUL,
)
def test_nothing_that_a_model_writes_changes_the_shape(
    agent: str, arguments: dict[str, Any], told: str
) -> None:
    made = shown(agent, arguments, [told])
    harmless = {f"name{number}": "value" for number in range(len(arguments))}
    assert tags(made) == tags(shown("Memtrix", harmless, ["Rings."]))
    assert len(made.splitlines()) == len(shown("Memtrix", harmless, ["Rings."]).splitlines())
    assert made.endswith(HOW)
    assert len(made) < 20_000


@given(st.text() | SPITEFUL)
def test_what_is_invisible_is_named(text: str) -> None:
    made = questions.visible(text)
    assert made.isprintable() and "  " not in made
    assert questions.visible("an ordinary file-name_1.txt, größer, имя, 名前, नमस्ते") == (
        "an ordinary file-name_1.txt, größer, имя, 名前, नमस्ते"
    )


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\nb", r"a\nb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u200bb", r"a\u200bb"),
        ("a\u00a0b", r"a\u00a0b"),
        ("a   b", r"a \u0020\u0020b"),
        ("a\u3164b", r"a\u3164b"),
        ("a\U000e0041b", r"a\u{e0041}b"),
        ("e" + "\u0301" * 4, "e\u0301\u0301" + r"\u0301\u0301"),
    ],
)
def test_characters_that_deceive(text: str, seen: str) -> None:
    assert questions.visible(text) == seen


def test_a_long_value_is_cut_with_its_length_told() -> None:
    made = questions.question("Memtrix", "write", {"path": "a.txt", "text": "x" * 70_000}, [])
    assert '`"a.txt"`' in made
    assert "(70,000 characters; the middle is left out)" in made
    assert len(made) < 1500


def test_both_ends_of_a_long_value_are_shown() -> None:
    made = questions.question("Memtrix", "get", {"url": "https://good/" + "a" * 5000 + "/evil"}, [])
    assert "https://good/" in made and '/evil"' in made


def test_many_arguments_are_counted() -> None:
    made = questions.question("Memtrix", "ring", {f"a{n}": "x" * 500 for n in range(1000)}, [])
    assert "and 988 more arguments" in made
    assert len(made) < 5000


def test_only_the_code_span_ends_a_code_span() -> None:
    for text in ("`", "``", "a`", "`a", "```` x", " a ", "\\", "\\`"):
        html = to_html(f"x {questions.code(text)} y **z**") or ""
        assert re.fullmatch(r"<p>x <code>[^<]+</code> y <strong>z</strong></p>", html), text


SECRET = "sk_or*v1_0123456789abcdef0123456789abcdef"


@pytest.fixture
def secret() -> Iterator[str]:
    """A key that the process knows, with signs in it that a question escapes."""
    known, pattern = set(config.redact._known), config.redact._pattern
    config.redact.learn(SECRET)
    yield SECRET
    config.redact._known, config.redact._pattern = known, pattern


def test_no_question_shows_a_secret_nor_a_part_of_it(secret: str) -> None:
    """Escaped, or with its middle left out, a secret would not be recognised any more."""
    long = {"text": "x" * 880 + secret + "y" * 5000, "url": f"https://x.test/?key={secret}"}
    said = questions.question("Memtrix", "fetch_url", long, [f"It asks https://x.test/{secret}."])
    said += notices.called(
        ToolCall("1", "t", {"text": "x" * 130 + secret + "y" * 900}), "", failed=False, seconds=0
    )
    said += notices.thought("y" * (notices.MOST_THOUGHT - 20) + secret + "z" * 900)
    assert "0123456789" not in said and said.count("[secret]") >= 3


def test_what_a_question_says_is_told_from_what_its_arguments_say() -> None:
    told = "It deletes the folder p with 1 files, 4 bytes, for good."
    for forged in (told, f"\n\n➜ {told}\n\n"):
        asked = questions.question("Memtrix", "t", {"path": forged}, ["Another sentence."])
        assert not questions.says(asked, told)
    asked = questions.question("Memtrix", "t", {"path": "p"}, ["Its effect_.", told])
    assert questions.says(asked, told) and questions.says(asked, "Its effect_.")
