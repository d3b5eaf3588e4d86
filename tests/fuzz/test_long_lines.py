"""One endless line, wherever a text is read: four times the text is no ten times the work."""

import time
from collections.abc import Callable
from datetime import date
from functools import partial

import pytest

from memtrix_as.agent import marking
from memtrix_as.matrix import html
from memtrix_as.memory import dates, journal_text, markdown, passages, words
from memtrix_as.outbound import told

DAY = date(2026, 3, 18)
READERS: dict[str, Callable[[str], object]] = {
    "a heading": markdown.heading,
    "a fence": lambda text: markdown.Fences().code(text),
    "a journal": partial(journal_text.cut, day=DAY, marked=True),
    "passages": partial(passages.cut_journal, "journal", DAY),
    "words": words.words,
    "dates": dates.dates,
    "html": html.to_text,
    "addresses": lambda text: told.stands_in("https://a.b/c", [text]),
    "hosts": lambda text: told.host_in("https://a.b", [text]),
    "marks": lambda text: marking.mark(text, "x"),
}
# a beginning, what is repeated, an end
LINES = [
    ("", " ", ""), ("# a", " ", "b"), ("# a", " #", "b"), ("- ", "- ", ""), ("a", "\t", "b"),
    ("", "a", ""), ("", ".", "1"), ("", "<a", ""), ("", "<!-- memtrix {", ""), ("", "`", ""),
    ("", "[", ""), ("", "1.", ""), ("", "a.", ""), ("", "a-", ""), ("", "\n ", ""), ("", "> ", ""),
    ("", "https://", ""), ("", "{{", ""), ("", "\u0e01", ""), ("", "\u0300", ""), ("", "9", ""),
    ("", "2026-03-18", ""), ("", "|", ""), ("", "\\", ""), ("", "_a", ""), ("", "&", ""),
    ("", "<mx-reply>", ""), ("", "\U0001f468\u200d", ""), ("```\n", "x", ""),
]  # fmt: skip


def cost(read: Callable[[str], object], line: tuple[str, str, str], size: int) -> float:
    first, again, last = line
    text = first + again * (size // len(again)) + last
    began = time.process_time()
    read(text)
    return time.process_time() - began


@pytest.mark.parametrize("read", READERS.values(), ids=list(READERS))
def test_a_line_costs_no_more_than_it_is_long(read: Callable[[str], object]) -> None:
    for line in LINES:
        cost(read, line, 100)  # what is made at the first call
        short, long = (min(cost(read, line, size) for _ in range(2)) for size in (6_000, 24_000))
        assert long < 10 * short + 0.1, ascii(line)
