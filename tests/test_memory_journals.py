"""Journals as text: cut into entries and put together again without a loss; the day it is."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.db.journals import Entry
from memtrix_as.db.pool import clean
from memtrix_as.memory.journal_text import (
    Mark,
    added,
    cut,
    escaped,
    lines,
    mark_of,
    render,
    titled,
    unescaped,
)
from memtrix_as.memory.journals import Journals, lost

DAY = date(2026, 3, 18)
ANNA, BEN = "@anna:memtrix.local", "@ben:memtrix.local"

JOURNAL = """# 2026-03-18

## Conversations

- Anna told me of the boat.
  It is called Nessie.

  She bought it in May.
- We had soup.

A block of words.

| boat | length |
|------|--------|
| Nessie | 7 m |

## Decisions

- We sell it.

### Boat

- Not before June.

```
## no heading
- no bullet
```

## Harbour

- It is full.
"""

piece = st.one_of(
    st.sampled_from(
        ["", "", "  ", "# One", "# 2026-03-18", "## Learned", "## Two ##", "### Three"]
    ),
    st.sampled_from(["- bullet", "* star", "1. first", "  more", "\tmore", "plain", "> quote"]),
    st.sampled_from(["```", "~~~", "- ```py", "  ```", "| a | b |", "##", "## ", "a\u2028b", "\r"]),
    st.sampled_from(["<!-- memtrix {} -->", '<!-- memtrix {"for":["*"]} -->', "<!-- \\memtrix x"]),
    st.text(max_size=30),
)
journals = st.lists(piece, max_size=30).map("\n".join)


def entries(markdown: str, people: tuple[str, ...] = (ANNA,)) -> list[Entry]:
    return [Entry(piece.section, piece.text, people) for piece in cut(markdown, DAY)]


def letters(text: str) -> Counter[str]:
    """What must not be lost; headings may change their form."""
    return Counter(c for c in clean(text) if not c.isspace() and c not in "#`~")


def test_a_journal_is_its_bullets_and_blocks() -> None:
    found = [(entry.section, entry.text) for entry in cut(JOURNAL, DAY)]
    assert found == [
        (
            "Conversations",
            "- Anna told me of the boat.\n  It is called Nessie.\n\n  She bought it in May.",
        ),
        ("Conversations", "- We had soup."),
        ("Conversations", "A block of words."),
        ("Conversations", "| boat | length |\n|------|--------|\n| Nessie | 7 m |"),
        ("Decisions", "- We sell it."),
        ("Decisions", "### Boat\n\n- Not before June.\n\n```\n## no heading\n- no bullet\n```"),
        ("Harbour", "- It is full."),
    ]
    assert render(DAY, entries(JOURNAL)) == JOURNAL


def test_sections_stand_in_their_order_and_strange_ones_after() -> None:
    text = "before\n## Harbour\n- full\n## notes\n- n\n## Learned\n- l\n## Notes\n- m\n## Tasks\n"
    assert render(DAY, entries(text)) == (
        "# 2026-03-18\n\nbefore\n\n## Learned\n\n- l\n\n## Notes\n\n- n\n- m\n\n"
        "## Harbour\n\n- full\n"
    )
    assert render(DAY, []) == ""


def test_what_is_added_to_a_section_does_not_go_under_its_deeper_headings() -> None:
    found = [*entries(JOURNAL), Entry("Decisions", "- Or in July.", (ANNA,))]
    text = render(DAY, found)
    assert text.index("Or in July") < text.index("### Boat")
    assert {e.text for e in cut(text, DAY)} == {e.text for e in found}


def test_a_heading_alone_is_kept_unless_it_is_the_form() -> None:
    text = "# 2026-03-18\n\n## Tasks\n\n## Bought a boat\n\n## Notes\n"
    assert [(e.section, e.text) for e in entries(text)] == [("Bought a boat", "")]
    assert entries(render(DAY, entries(text))) == entries(text)


def test_an_open_fence_swallows_nothing() -> None:
    found = entries("## Tasks\n```\ncode\n")
    text = render(DAY, [*found, Entry("Notes", "- n", (ANNA,))])
    assert [e.text for e in cut(text, DAY)] == ["```\ncode\n\n```", "- n"]


@given(journals)
def test_nothing_is_lost(markdown: str) -> None:
    kept = letters(" ".join(f"{e.section} {e.text}" for e in cut(markdown)))
    wanted = letters("\n".join(x for x in markdown.split("\n") if not x.startswith("##")))
    assert not wanted - kept


@given(journals)
def test_what_was_put_together_is_cut_without_a_loss(markdown: str) -> None:
    first = entries(markdown)
    text = render(DAY, first)
    again = entries(text)
    assert not letters("".join(e.text for e in first)) - letters("".join(e.text for e in again))
    for _ in range(4):  # an indented block may join the one before it; then it stays so
        text, again = render(DAY, again), entries(render(DAY, again))
    assert render(DAY, again) == text


@given(st.lists(st.sampled_from(JOURNAL.split("\n")), max_size=30).map("\n".join))
def test_what_did_not_change_is_known_again(markdown: str) -> None:
    first = entries(markdown)
    if markdown.count("```") % 2 == 0 and not any(e.text[:1] == " " for e in first):
        again = {(e.section, e.text) for e in entries(render(DAY, first))}
        assert {(e.section, e.text) for e in first if not e.text.startswith(" ")} == again


@given(journals, st.sampled_from([("*",), (ANNA,), (ANNA, BEN)]))
def test_marks_survive_a_file(markdown: str, people: tuple[str, ...]) -> None:
    at = datetime(2026, 3, 18, 12, tzinfo=UTC)
    made = [
        Entry(p.section, p.text, people, "!room--x:>", (), ("$a", "$-->"), "agent", created_at=at)
        for p in cut(markdown, DAY)
    ]
    safe = [replace(e, text=escaped(e.text)) for e in made]
    found = cut(render(DAY, safe, mark_of), DAY, marked=True)
    mark = Mark(people, "!room--x:>", ("$a", "$-->"), "agent", at)
    texts = Counter((e.section, e.text) for e in made if e.text)
    assert Counter((p.section, unescaped(p.text)) for p in found if p.text) == texts
    assert all(p.mark == mark for p in found if p.text)


@pytest.mark.parametrize(
    "said",
    [
        {}, {"for": []}, {"for": "x"}, {"for": [1]}, {"for": ["anna"]}, [],
        {"for": ["*"], "by": "x"}, {"for": ["*"], "at": "noon"}, {"for": ["*"], "room": 1},
        {"for": ["*"], "at": "2026-03-18"}, {"for": ["*"], "events": [1]}, {"for": ["*"], "at": 5},
    ],
)  # fmt: skip
def test_a_broken_mark_is_text(said: Any) -> None:
    comment = f"<!-- memtrix {json.dumps(said)} -->"
    assert [p.text for p in cut(f"- a\n{comment}", marked=True)] == [f"- a\n{comment}"]


def test_an_agent_cannot_write_marks() -> None:
    forged = '- a\n<!-- memtrix {"for":["*"]} -->'
    made = [replace(e, text=escaped(e.text)) for e in entries(forged)]
    (found,) = cut(render(DAY, made, mark_of), DAY, marked=True)
    assert found.mark and found.mark.people == (ANNA,)
    assert unescaped(found.text) == forged


def test_a_text_that_is_added_becomes_bullets() -> None:
    found = added("learned", "The boat is red.\n\n- It is *Nessie*.\n## Tasks\nPaint it.", DAY)
    assert [(p.section, p.text) for p in found] == [
        ("Learned", "- The boat is red."),
        ("Learned", "- It is *Nessie*."),
        ("Tasks", "- Paint it."),
    ]
    assert [p.section for p in added("## Notes", "x", DAY)] == ["Notes"]
    assert added("Notes", "# 2026-03-18\n\n## Notes\n", DAY) == []


def test_lines_know_their_entry() -> None:
    found = list(lines(entries("## Notes\n- a\n  b\n- c")))
    assert [(line, entry and entry.text) for line, entry in found] == [
        ("## Notes", None), ("", None), ("- a", "- a\n  b"), ("  b", "- a\n  b"), ("- c", "- c"),
    ]  # fmt: skip


def test_the_title_of_a_text() -> None:
    assert titled("\n# 2026-03-18\nx") == DAY
    assert titled("# Boats") is titled("## 2026-03-18") is titled("") is None


def test_how_much_a_rewrite_loses() -> None:
    old = " ".join(f"word{n}" for n in range(100))
    assert lost(old, old + " more") == 0
    assert lost(old, " ".join(f"word{n}" for n in range(25))) == pytest.approx(0.75)
    assert lost("a few words", "") == 0


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("UTC", "2026-03-18T23:59:59+00:00", (2026, 3, 18)),
        ("UTC", "2026-03-19T00:00:00+00:00", (2026, 3, 19)),
        ("Europe/Berlin", "2026-03-28T22:59:59+00:00", (2026, 3, 28)),
        ("Europe/Berlin", "2026-03-28T23:00:00+00:00", (2026, 3, 29)),
        ("Europe/Berlin", "2026-03-29T21:59:59+00:00", (2026, 3, 29)),  # a day of 23 hours
        ("Europe/Berlin", "2026-03-29T22:00:00+00:00", (2026, 3, 30)),
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", (2026, 10, 25)),
        ("Europe/Berlin", "2026-10-25T22:59:59+00:00", (2026, 10, 25)),  # a day of 25 hours
        ("Europe/Berlin", "2026-10-25T23:00:00+00:00", (2026, 10, 26)),
        ("America/Santiago", "2026-09-06T03:59:59+00:00", (2026, 9, 5)),
        ("America/Santiago", "2026-09-06T04:00:00+00:00", (2026, 9, 6)),  # it begins at one
        ("Pacific/Kiritimati", "2026-03-18T10:00:00+00:00", (2026, 3, 19)),
        ("Pacific/Pago_Pago", "2026-03-18T10:59:59+00:00", (2026, 3, 17)),
        ("Asia/Kathmandu", "2026-03-18T18:15:00+00:00", (2026, 3, 19)),
    ],
)
def test_the_day_is_the_users(zone: str, now: str, day: tuple[int, int, int]) -> None:
    config: Any = SimpleNamespace(timezone=ZoneInfo(zone))
    assert Journals(None, config).today(datetime.fromisoformat(now)) == date(*day)
