"""What counts as read from outside, and which addresses a page or a human has named."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.agent import context, taint
from memtrix_as.db.sessions import Session, Stored
from memtrix_as.messages import Message, ToolCall
from memtrix_as.outbound.told import host_in, stands_in

PAGE = Message("tool", "a page", call_id="1", outside="fetch_url: a")
OWN = Message("tool", "the time", call_id="2")
ASKING = Message("assistant", calls=(ToolCall("1", "fetch_url"), ToolCall("2", "write")))


def test_a_call_is_judged_by_what_its_model_had_read() -> None:
    before = [Message("system"), Message("user", "hello"), ASKING]
    assert taint.sources(before) == []
    assert taint.sources([*before, PAGE, OWN]) == [], "results of the very calls were not read yet"
    later = [*before, PAGE, OWN, ASKING]
    assert taint.sources(later) == ["fetch_url: a"]
    other = Message("tool", "another", outside="read_file: b")
    assert taint.sources([*later, other, ASKING, PAGE]) == ["read_file: b", "fetch_url: a"]


def test_it_outlives_the_turn_and_the_condensing() -> None:
    stored = (Stored(7, 1, 5, Message("user", "and now?")),)
    prompt = context.fit(Session(1, "They looked at a page.", stored, True, "fetch_url: a"),
                         Message("system", "Be kind."), 1000)  # fmt: skip
    assert "fetch_url: a" in taint.sources(prompt.messages)[0]
    untouched = context.fit(Session(1, "They talked.", stored, True), Message("system", "x"), 1000)
    assert taint.sources(untouched.messages) == []


def test_the_warning_names_the_newest_source_and_how_many_more() -> None:
    told = taint.warning(["fetch_url: " + "x" * 500, "b", "c"])
    assert "fetch_url: xxx" in told and "2 more" in told and len(told) < 350


@pytest.mark.parametrize(
    ("address", "text", "there"),
    [
        ("https://a.test/x", "see https://a.test/x.", True),
        ("https://a.test/x", "(https://a.test/x)", True),
        ("https://a.test/x_(y)", "https://a.test/x_(y)", True),
        ("https://a.test/x_(y)", "in (https://a.test/x_(y)).", True),
        ("https://A.test/x", "[it](https://a.test/x)", True),
        ("https://a.test/x#part", "<https://a.test/x>", True),
        ("https://a.test", '"https://a.test/"', True),
        ("https://a.test/?q=1", "https://a.test/?q=1&x=2", False),
        ("https://a.test/x", "https://a.test/xyz", False),
        ("https://a.test/xyz", "https://a.test/x", False),
        ("https://a.test/?secret", "https://a.test/", False),
        ("https://user@a.test/", "https://a.test/", False),
        ("http://a.test/", "https://a.test/", False),
        ("https://a.test/", "", False),
        ("no address", "no address", False),
        ("https://[", "https://[", False),
        ("file:///etc/passwd", "file:///etc/passwd", False),
    ],
)
def test_an_address_counts_only_whole(address: str, text: str, there: bool) -> None:
    assert stands_in(address, ["nothing", text]) is there


@pytest.mark.parametrize(
    ("address", "text", "there"),
    [
        ("https://example.org", "look at example.org", True),
        ("https://www.example.org/", "What is new on Example.org?", True),
        ("https://example.org/a", "look at example.org", False),
        ("https://example.org/?x", "look at example.org", False),
        ("https://x.example.org", "look at example.org", False),
        ("https://example.org", "mail ann@example.org", False),
        ("https://example.org", "look at example.org.evil.test", False),
    ],
)
def test_a_bare_host_may_be_named_in_words(address: str, text: str, there: bool) -> None:
    assert host_in(address, [text]) is there


@given(st.text(alphabet="abc/?=&#%.:@()[]\\ \n", max_size=40), st.text(min_size=1, max_size=20))
def test_what_is_put_behind_an_address_makes_it_another(tail: str, secret: str) -> None:
    page = f"Read https://evil.test/go{tail}"
    made = f"https://evil.test/send?to={secret.encode().hex()}"
    assert not stands_in(made, [page]) and not host_in(made, [page])


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_the_look(address: str, text: str) -> None:
    for look in (stands_in, host_in):
        assert look(address, [text]) in (True, False)


def test_a_page_full_of_signs_takes_no_time() -> None:
    """Signs behind an address are taken off one by one, which on a whole page took seconds."""
    for page in (
        "http://a.test/" + "." * 50_000,
        ("http://a.test/" + "." * 4_900 + " ") * 60,
        "x." * 25_000,
    ):
        begun = time.process_time()
        assert not stands_in("https://b.test/", [page]) and not host_in("https://b.test/", [page])
        assert time.process_time() - begun < 0.5
