"""The words of notices: short, safe to read over a shoulder, and nothing forged in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.agent import marking, notices
from memtrix_as.messages import ToolCall


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (0.34, "0.3 s"), (9.96, "10 s"), (59.4, "59 s"), (72, "1 min 12 s"),
     (3600, "60 min 0 s")],
)  # fmt: skip
def test_times_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert notices.duration(seconds) == told


def test_a_call_tells_what_how_long_and_how_it_ended() -> None:
    call = ToolCall("1", "fetch_url", {"url": "https://a.test", "offset": 3})
    said = notices.called(call, marking.mark("A page", "x"), failed=False, seconds=1.23)
    assert said == (
        '✓ `fetch_url`, 1.2 s\n\n- `url`: `"https://a.test"`\n- `offset`: `3`\n\n➜ `A page`'
    )
    assert notices.called(call, "No.", failed=True, seconds=None).startswith("✗ `fetch_url`\n")


@pytest.mark.parametrize("name", ["api_key", "Token", "client_secret", "password", "Cookie", "pin"])
def test_what_looks_like_a_secret_is_not_shown(name: str) -> None:
    said = notices.called(ToolCall("1", "t", {name: "4711"}), "", failed=False, seconds=0)
    assert "4711" not in said and name in said and notices.HIDDEN in said


def test_long_things_are_cut_and_their_length_told() -> None:
    arguments = {f"a{n}": "x" * 5000 for n in range(40)}
    said = notices.called(ToolCall("1", "t", arguments), "y" * 9000, failed=False, seconds=0)
    assert len(said) < 5000 and "28 more" in said and "9,000 characters" in said


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=40))
def test_nothing_in_them_makes_a_line_of_its_own(argument: str, result: str, name: str) -> None:
    said = notices.called(ToolCall("1", "t", {name: argument}), result, failed=True, seconds=0)
    lines = [line for line in said.splitlines() if line]
    assert 2 <= len(lines) <= 3
    assert lines[0].startswith("✗") and lines[1].startswith("- ")
    assert len(lines) == 2 or lines[2].startswith("➜")


def test_a_thought_without_an_end_is_cut() -> None:
    assert notices.thought("  a thought\n") == "💭 a thought"
    said = notices.thought("x" * 100_000)
    assert len(said) < 6_100 and said.endswith("… (100,000 characters)")
