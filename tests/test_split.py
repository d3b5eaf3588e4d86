"""Long answers: nothing lost, nothing too large, and cuts where a reader would make them."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrix_as.matrix import content
from memtrix_as.matrix.split import split

K = 200_000


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def check_sizes(parts: list[str]) -> None:
    for part in parts:
        made = content.text(part, kind="text", thread="$" * 44, reply_to="$" * 44, key="k" * 40)
        assert made["body"] == part  # nothing cut off
        assert len(json.dumps(made, ensure_ascii=False).encode()) < 60_000
        edit = content.edit(made, "$" * 44)
        assert len(json.dumps(edit, ensure_ascii=False).encode()) < 61_000


@pytest.mark.parametrize("text", ["", "\n\n", "  "])
def test_nothing_gives_no_part(text: str) -> None:
    assert split(text) == []


def test_a_short_text_stays_as_it_is() -> None:
    assert split("# A\n\nb\n\n```\nc\n```\n") == ["# A\n\nb\n\n```\nc\n```"]


def test_paragraphs_stay_whole() -> None:
    paragraphs = [f"Paragraph {n}. " + "Some words follow here. " * n for n in range(1, 30)]
    parts = split("\n\n".join(p.strip() for p in paragraphs), 2_000)
    assert len(parts) > 3
    for part in parts:
        assert part.startswith("Paragraph")
    assert "\n\n".join(parts) == "\n\n".join(p.strip() for p in paragraphs)


def test_a_heading_stays_with_its_text() -> None:
    text = "\n\n".join(f"## Chapter {n}\n\n" + "word " * 100 for n in range(20))
    assert all(part.startswith("## Chapter") for part in split(text, 1_200))


def test_a_list_is_cut_between_items() -> None:
    parts = split("\n".join(f"- item {n} " + "word " * 12 for n in range(100)), 1_500)
    assert all(re.match(r"- item \d+ ", part) for part in parts)


def test_a_nested_list_does_not_become_code() -> None:
    text = "1. first\n" + "\n".join(f"    - point {n} " + "word " * 12 for n in range(60))
    for part in split(text, 1_500):
        assert "<pre>" not in (content.text(part, kind="text", key="").get("formatted_body") or "")


def test_a_long_paragraph_is_cut_after_a_sentence_then_after_a_word() -> None:
    parts = split("This is a sentence of the text. " * 200, 2_000)
    assert all(part.strip().endswith("text.") for part in parts)
    parts = split("word " * 2_000, 2_000)
    assert words(" ".join(parts)) == ["word"] * 2_000


def test_code_is_closed_and_opened_again() -> None:
    code = "\n".join(f"line_{n} = {n}  # a comment" for n in range(300))
    parts = split(f"Before.\n\n```python title\n{code}\n```\n\nAfter.", 2_000)
    assert parts[0].startswith("Before.\n\n```python title\n")
    assert parts[-1].endswith("```\n\nAfter.")
    inside = []
    for part in parts:
        block = re.search(r"^```python title\n(.*?)\n```$", part, re.DOTALL | re.MULTILINE)
        assert block
        inside.append(block[1])
    assert "\n".join(inside) == code


def test_a_short_code_block_stays_whole() -> None:
    text = "\n\n".join("Text around it. " * 30 + "\n\n```\na\n\nb\n```" for _ in range(20))
    for part in split(text, 1_500):
        assert part.count("```") % 2 == 0
        assert part.count("```") // 2 == part.count("a\n\nb")


def test_longer_fences_and_what_looks_like_one_inside() -> None:
    code = "\n".join(f"```\ninner {n}\n~~~" for n in range(200))
    for part in split(f"````md\n{code}\n````", 1_500):
        assert part.startswith("````md\n") and part.endswith("\n````")


def test_code_in_a_list_goes_on_as_code() -> None:
    code = "\n".join(f"      if x{n}:\n          y()" for n in range(100))
    parts = split(f"1. a\n    - b\n\n      ```py\n{code}\n      ```\n    - c\n2. d", 1_500)
    assert all(part.startswith("```py\n") for part in parts[1:])
    assert "if x50:\n    y()" in "\n".join(parts)
    assert parts[-1].splitlines()[-2:] == ["- c", "2. d"]


def test_code_in_a_quote_stays_in_the_quote() -> None:
    parts = split("> ```py\n" + "> x = 1\n" * 400 + "> ```", 1_500)
    assert all(part.startswith("> ```py\n> x") and part.endswith("\n> ```") for part in parts)
    assert sum(part.count("x = 1") for part in parts) == 400


def test_a_table_begins_anew_with_its_header() -> None:
    rows = "\n".join(f"| {n} | value {n} |" for n in range(200))
    parts = split(f"| Number | Value |\n|---|---|\n{rows}\n", 1_500)
    assert all(part.startswith("| Number | Value |\n|---|---|\n| ") for part in parts)
    body = [line for part in parts for line in part.splitlines()[2:]]
    assert body == rows.splitlines()


def test_what_is_seen_as_one_character_is_not_cut() -> None:
    family = "👩‍👩‍👧‍👦"
    for one in (family, "e\u0301", "👍🏽", "🇩🇪", "\u2764\ufe0f"):
        for part in split(one * 600, 1_000):
            assert part.replace(one, "") == ""


def test_broken_surrogates_and_line_ends() -> None:
    assert split("a\r\nb\rc\ud83d") == ["a\nb\nc\ufffd"]


HUGE = {
    "less-than": "<" * K,
    "ampersand": "&" * K,
    "quotes": '"' * K,
    "control": "\x01" * K,
    "emoji": "👩‍👩‍👧‍👦" * (K // 25),
    "one line": "word, " * (K // 6),
    "row": "|a|b|\n|-|-|\n|" + "x" * K + "|b|\n",
    "cells": "|a|b|\n|-|-|\n|" + "x|" * (K // 2) + "\n",
    "wide header": "|"
    + "a|" * 9_000
    + "\n|"
    + "-|" * 9_000
    + "\n"
    + ("|" + "b|" * 9_000 + "\n") * 5,
    "table": "|a|b|\n|-|-|\n" + "|1|2|\n" * (K // 6),
    "code": "```py\n" + "x" * K + "\n```",
    "open code": "~~~ " + "info" * 9_000 + "\n" + "x = 1\n" * (K // 6),
    "emphasis": "*a*" * (K // 3),
    "quote": "> " + "q w e r\n> " * (K // 10),
    "items": "-\n" * (K // 2),
    "backticks": "`" * K,
    "backslashes": "\\" * K,
    "combining": "e" + "\u0301" * (K // 2),
    "deep": "> " * (K // 2),
    "newlines": "a\n" * (K // 2),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_texts(name: str) -> None:
    started = time.perf_counter()
    parts = split(HUGE[name])
    assert time.perf_counter() - started < 15  # 2.5 s at most on an idle machine
    check_sizes(parts)
    assert parts == split(HUGE[name])


@pytest.mark.parametrize("name", ["less-than", "ampersand", "quotes", "emoji", "backslashes"])
def test_huge_lines_lose_nothing(name: str) -> None:
    assert "".join(split(HUGE[name])) == HUGE[name]


@pytest.mark.parametrize("name", ["one line", "quote", "newlines", "emphasis"])
def test_huge_texts_lose_nothing(name: str) -> None:
    assert words("\n".join(split(HUGE[name]))) == words(HUGE[name])


PARAGRAPH = st.lists(st.sampled_from(["alpha", "beta.", "gamma,", "*delta*", "&", "<e>", "ζ"])).map(
    " ".join
)
BLOCK = st.one_of(
    PARAGRAPH,
    PARAGRAPH.map(lambda p: f"# {p}"),
    st.lists(PARAGRAPH, max_size=30).map(lambda ps: "\n".join(f"- {p}" for p in ps)),
    st.lists(PARAGRAPH, max_size=30).map(lambda ps: "\n".join(f"  1. x\n     - {p}" for p in ps)),
    st.lists(PARAGRAPH, max_size=30).map(lambda ps: "\n".join(f"> {p}" for p in ps)),
    st.lists(PARAGRAPH, max_size=30).map(lambda ps: "```py\n" + "\n".join(ps) + "\n```"),
    st.lists(PARAGRAPH, max_size=30).map(
        lambda ps: "\n".join(["    code", *("    " + p for p in ps)])
    ),
)
TEXT = st.lists(BLOCK, min_size=1, max_size=60).map("\n\n".join)


@settings(max_examples=60, deadline=None)
@given(TEXT, st.sampled_from([1_000, 2_000, 16_000]))
def test_the_parts_say_what_the_whole_says(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert parts == split(text, limit)
    assert all(0 < content.weight(part) <= limit for part in parts)
    check_sizes(parts)
    said = [word for word in words("\n".join(parts)) if word not in ("py", "1")]
    assert said == [word for word in words(text) if word not in ("py", "1")]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["```", "~~~", "\n", "> ", "- ", "    ", "|", "|-|", "word ", "&", "*", "`",
                         "# ", "1. ", "\t", "😀", "\u0301", "\u200d", "\\", "\r", "<br>", "  "]),
        max_size=30,
    ),
    st.integers(1, 400),
)  # fmt: skip
def test_any_text_is_cut_and_ends(pieces: list[str], times: int) -> None:
    text = "".join(pieces) * times
    parts = split(text, 1_000)
    check_sizes(parts)
    assert "".join(parts).count("word") >= text.count("word")
    assert "".join(parts).count("😀") >= text.count("😀")
