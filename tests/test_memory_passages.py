"""Texts cut into passages: nothing lost, nothing too long, and little changed by an addition."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.memory.passages import (
    LONGEST,
    TARGET,
    Passage,
    Said,
    cut_conversation,
    cut_journal,
    tokens,
)

DAY = date(2026, 5, 1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

JOURNAL = """# 2026-05-01

## Conversations

- Anna told me of the boat.
  It is called Nessie.
- We had soup.

## Learned

## Decisions

### Boat

We sell it.

```
# no heading
- no bullet
```
"""

line = st.one_of(
    st.sampled_from(["", "  ", "# One", "## Two", "### Three", "- bullet", "1. first", "  more"]),
    st.sampled_from(["```", "~~~", "a\u2028b", "日本語" * 200, "x" * 3000, "word " * 400]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=40),
)
journals = st.lists(line, max_size=40).map("\n".join)
talks = st.lists(st.one_of(st.text(max_size=60), line, journals), max_size=30)


def say(texts: list[str], people: tuple[str, ...] = ()) -> list[Said]:
    return [
        Said(n, "Anna", text, NOON + timedelta(seconds=n), f"${n}", people)
        for n, text in enumerate(texts)
    ]


def test_a_journal_is_cut_along_its_structure() -> None:
    found = [(p.heading, p.text) for p in cut_journal("journal", DAY, JOURNAL)]
    assert found == [
        (
            "2026-05-01 > Conversations",
            "- Anna told me of the boat.\n  It is called Nessie.\n- We had soup.",
        ),
        (
            "2026-05-01 > Decisions > Boat",
            "We sell it.\n```\n# no heading\n- no bullet\n```",
        ),
    ]


def test_a_heading_alone_is_a_text_unless_it_is_the_form() -> None:
    found = cut_journal("journal", DAY, "## Learned\n## Bought a boat\n## Notes\n")
    assert [p.text for p in found] == ["## Bought a boat"]


@given(journals)
def test_nothing_of_a_journal_is_lost(markdown: str) -> None:
    passages = cut_journal("journal", DAY, markdown)
    letters = "".join("".join(parts_of(passages)).split())
    for text in markdown.split("\n"):
        bare = text.strip().strip("#").strip()
        known = bare in ("Conversations", "Learned", "Decisions", "Tasks", "Notes")
        assert known or "".join(bare.split()) in letters or text.strip().startswith("#")
    in_order(passages)


@given(journals)
def test_a_heading_is_never_lost(markdown: str) -> None:
    passages = cut_journal("journal", DAY, f"## Bought a boat\n{markdown}\n## Sold a car")
    text = "\n".join(p.indexed for p in passages)
    assert "Bought a boat" in text and "Sold a car" in text


@given(journals)
def test_passages_are_bounded(markdown: str) -> None:
    for passage in cut_journal("journal", DAY, markdown):
        assert sum(map(tokens, passage.parts)) <= max(TARGET, LONGEST)


@given(journals, st.sampled_from(["- more", "More.", "word " * 100]))
def test_appending_changes_only_the_end(markdown: str, more: str) -> None:
    """Only a fence that is left open, or the last section's last passage, may change."""
    before = cut_journal("journal", DAY, f"{markdown}\n")
    after = cut_journal("journal", DAY, f"{markdown}\n{more}\n")
    assert [p.hash for p in after[: len(before) - 1]] == [p.hash for p in before[:-1]]


@given(talks)
def test_nothing_said_is_lost(texts: list[str]) -> None:
    passages = cut_conversation("room", say(texts))
    heard = "".join("".join(p.text.split()) for p in passages)
    for text in texts:
        for word in text.split():
            assert "".join(word[:200].split()) in heard or len(word) > LONGEST * 2
    by_place: dict[int, str] = {}
    for passage in passages:
        for place, part in enumerate(passage.parts, passage.start):
            assert by_place.setdefault(place, part) == part
    assert sorted(by_place) == list(range(len(by_place)))
    assert {m for p in passages for m in p.messages} == set(range(len(texts)))


@given(talks)
def test_windows_are_bounded(texts: list[str]) -> None:
    for passage in cut_conversation("room", say(texts)):
        assert len(passage.parts) == 1 or sum(map(tokens, passage.parts)) <= TARGET
        assert all(tokens(part) <= LONGEST + 10 for part in passage.parts)
        assert len(passage.messages) == len(passage.events) == len(passage.parts)


@given(talks, st.text(max_size=60))
def test_one_more_message_changes_only_the_last_windows(texts: list[str], more: str) -> None:
    before = cut_conversation("room", say(texts))
    after = cut_conversation("room", say([*texts, more]))
    same = [p.hash for p in before[:-1]]
    assert [p.hash for p in after][: len(same)] == same


@given(talks)
def test_the_same_text_is_cut_the_same(texts: list[str]) -> None:
    assert cut_conversation("room", say(texts)) == cut_conversation("room", say(texts))


def test_who_was_not_there_is_given_nothing() -> None:
    anna, both = ("@anna",), ("@anna", "@ben")
    said = say(["a secret", "another"], anna) + say(["hello Ben", "hello"], both)
    found = cut_conversation("room", said)
    assert [p.people for p in found] == [anna, both]
    assert "secret" not in found[1].text and found[1].start == 2


def test_a_long_line_is_cut_at_sentences() -> None:
    sentence = "The quick brown fox jumps over the lazy dog. "
    passages = cut_journal("journal", DAY, sentence * 100)
    assert all(p.text.startswith("The quick") for p in passages)
    assert "".join(parts_of(passages)) == sentence * 100


def parts_of(passages: list[Passage]) -> list[str]:
    """The parts of all passages in their order, each once."""
    parts = {p.start + n: part for p in passages for n, part in enumerate(p.parts)}
    return [parts[n] for n in sorted(parts)]


def in_order(passages: list[Passage]) -> None:
    """Each passage begins within the one before, or right after it, and leads further."""
    reached = 0
    for passage in passages:
        assert passage.start <= reached < passage.start + len(passage.parts)
        reached = passage.start + len(passage.parts)
