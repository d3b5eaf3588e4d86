"""Commands of the management room as text: what is typed, what is shown, that none is missing."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.admin import settings, tables, when, words
from memtrix_as.admin.commands import COMMANDS
from memtrix_as.admin.confirm import Said, said
from memtrix_as.errors import AdminError
from memtrix_as.matrix.html import to_html

# Issue 5, point 5.
WANTED = """help, status, agents, agent create, agent show, agent rename, agent model,
agent verbose, agent reasoning, agent archive, agent delete, agent ask, models, model test,
providers, rooms, room leave, sessions, session clear, session show, memory search, memory show,
memory forget, memory reindex, persona show, persona history, persona undo, approvals, approve,
deny, tools, tool enable, tool disable, usage, permissions, config check, registration, backup,
version"""
DANGEROUS = {
    "agent archive", "agent delete", "session clear", "memory forget", "memory reindex",
    "room leave", "persona undo",
}  # fmt: skip


def test_every_command_is_there() -> None:
    assert {name.strip() for name in WANTED.replace("\n", " ").split(",")} <= set(COMMANDS)
    assert {name for name, command in COMMANDS.items() if command.then} == DANGEROUS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_understood(name: str) -> None:
    command = COMMANDS[name]
    line = words.split(command.example)
    assert COMMANDS.find(line) is command
    assert len(command.bind(line)) == len(command.parameters)
    assert command.usage.startswith(name) and command.does[0].islower()
    required = sum(not parameter.optional for parameter in command.parameters)
    if required:
        with pytest.raises(AdminError, match="for example"):
            command.bind(words.split(name))
    if not any(parameter.rest for parameter in command.parameters):
        with pytest.raises(AdminError):
            command.bind(words.split(f"{command.example} and much more than that"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("agent show Dennis", ["agent", "show", "Dennis"]),
        ('agent show "Dennis the Cook"', ["agent", "show", "Dennis the Cook"]),
        ("a 'b c' d", ["a", "b c", "d"]),
        ("a “b c” d", ["a", "b c", "d"]),
        ("don't ask o'clock", ["don't", "ask", "o'clock"]),
        ('5" nails "and more', ['5"', "nails", '"and', "more"]),
        ('"', ['"']),
        ('""', [""]),
        ("a\n\tb\u2003c", ["a", "b", "c"]),
        ("", []),
    ],
)
def test_words(text: str, parts: list[str]) -> None:
    assert [word.text for word in words.split(text).words] == parts


def test_the_rest_is_left_as_it_was_typed() -> None:
    line = words.split('agent ask Dennis  what  is\n"this"?')
    assert line.after(3) == 'what  is\n"this"?'
    assert words.split('agent create Dennis "knows Python"').after(3) == "knows Python"
    assert line.after(9) == ""


@given(st.text(alphabet=st.characters() | st.sampled_from("\"'“”„«» \n"), max_size=300))
def test_no_text_breaks_the_words(text: str) -> None:
    line = words.split(text)
    assert all(line.after(n) is not None for n in range(len(line.words) + 1))
    assert sum(len(word.text) for word in line.words) <= len(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("statsu", "`status`"),
        ("agents create Dennis", "`agent create`"),
        ("agent", "`create`, `show`"),
        ("agent crate Dennis", "`agent create`"),
        ("memory", "`search`, `show`, `forget` or `reindex`"),
        ("💥", "`help` lists all"),
        ("`", "`help` lists all"),
    ],
)
def test_an_unknown_command_says_what_may_have_been_meant(text: str, hint: str) -> None:
    with pytest.raises(AdminError) as raised:
        COMMANDS.find(words.split(text))
    assert hint in str(raised.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("yes", Said("yes")),
        ("JA!", Said("yes")),
        ("no #3", Said("no", 3)),
        ("yes 12", Said("yes", 12)),
        ("👍", Said("yes")),
        ("always", Said("always")),
        ("no one", None),
        ("yes please", None),
        ("yes 3 4", None),
        ("status", None),
    ],
)
def test_what_is_an_answer(text: str, meant: Said | None) -> None:
    assert said(text, None) == meant


def test_cells_cannot_break_a_table() -> None:
    evil = "a|b `c` **d**\n| e | [x](https://evil.test) <b>"
    shown = tables.table(("name", "text"), [(tables.code(evil, 200), evil)] * 3)
    html = to_html(shown) or ""
    assert html.count("<tr>") == 4 and html.count("<td>") == 6
    assert "<a " not in html and "<strong>" not in html and "a|b" in html


def test_long_tables_are_cut_and_say_so() -> None:
    rows = [(n,) for n in range(40)]
    first = tables.paged("rooms anna", ("n",), rows, 1, "rooms")
    assert "Page 1 of 3, 40 rooms; `rooms anna 2` shows more." in first
    assert first.count("\n| ") == tables.LONG
    assert "shows more" not in tables.paged("rooms", ("n",), rows, 3, "rooms")
    assert "has 3" in tables.paged("rooms", ("n",), rows, 4, "rooms")


def test_a_code_block_ends_where_it_should() -> None:
    assert tables.block("a\n```\nb").startswith("````\n")


def test_the_manual_shows_every_command_with_its_example() -> None:
    manual = (Path(__file__).parents[1] / "docs" / "management.md").read_text()
    for command in COMMANDS.values():
        usage_shown = command.usage.replace("|", "\\|")
        assert f"`{usage_shown}`" in manual, command.usage
        assert f"`{command.example}`" in manual, command.example


def test_times() -> None:
    today = date(2026, 3, 18)
    assert when.day_of("yesterday", today) == date(2026, 3, 17)
    assert when.day_of("2026-01-02", today) == date(2026, 1, 2)
    with pytest.raises(AdminError, match="2026-03-18"):
        when.day_of("2026-02-30", today)
    assert [when.lasting(s) for s in (0, 61, 90_061)] == ["0 s", "1 min 1 s", "1 d 1 h"]


def test_amounts_and_choices() -> None:
    counted = [words.amount(n, "entry") for n in (0, 1, 1200)]
    assert counted == ["0 entries", "1 entry", "1,200 entries"]
    assert words.amount(2, "day") == "2 days"
    assert words.either(["a", "b", "c"]) == "`a`, `b` or `c`"
    assert [words.number(text) for text in ("#3", "3", "0", "-1", "x", "٣", "9" * 10)] == [
        3, 3, None, None, None, None, None,
    ]  # fmt: skip


def test_changes_name_keys_and_no_values() -> None:
    old = {"a": {"token": "secret-one"}, "b": 1}
    assert list(settings.changes(old, {"a": {"token": "secret-two"}, "c": 1}, "x")) == [
        "x.a.token", "x.b", "x.c",
    ]  # fmt: skip
