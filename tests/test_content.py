"""The contents of events: relations, mentions, edits, and the size that a server accepts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrix_as.matrix import content


def test_a_plain_message_is_small() -> None:
    assert content.text("Hello", kind="text", key="7.0") == {
        "msgtype": "m.text",
        "body": "Hello",
        "m.mentions": {},
        "io.memtrix.id": "7.0",
    }


def test_a_formatted_message_carries_both_forms() -> None:
    made = content.text("**Hello**", kind="notice", key="")
    assert made == {
        "msgtype": "m.notice",
        "body": "**Hello**",
        "format": "org.matrix.custom.html",
        "formatted_body": "<p><strong>Hello</strong></p>",
        "m.mentions": {},
    }


@pytest.mark.parametrize(
    ("thread", "reply_to", "relation"),
    [
        (None, None, None),
        (None, "$e", {"m.in_reply_to": {"event_id": "$e"}}),
        ("$t", "$e", {"rel_type": "m.thread", "event_id": "$t", "is_falling_back": True,
                      "m.in_reply_to": {"event_id": "$e"}}),
        ("$t", None, {"rel_type": "m.thread", "event_id": "$t", "is_falling_back": True,
                      "m.in_reply_to": {"event_id": "$t"}}),
    ],
)  # fmt: skip
def test_relations(thread: str | None, reply_to: str | None, relation: Any) -> None:
    made = content.text("x", kind="text", thread=thread, reply_to=reply_to, key="k")
    assert made.get("m.relates_to") == relation


def test_an_edit_replaces_and_leaves_the_relation_of_the_first() -> None:
    new = content.text("**new**", kind="text", thread="$t", reply_to="$e", key="k")
    assert content.edit(new, "$old") == {
        "msgtype": "m.text",
        "body": "* **new**",
        "m.mentions": {},
        "io.memtrix.id": "k",
        "io.memtrix.thread": "$t",
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$old"},
        "m.new_content": {name: new[name] for name in new if name != "m.relates_to"},
    }


def test_a_reaction() -> None:
    relation = {"rel_type": "m.annotation", "event_id": "$e", "key": "✅"}
    assert content.reaction("$e", "✅") == {"m.relates_to": relation}
    assert content.reaction("$e", "✅", key="k")["io.memtrix.id"] == "k"


@settings(deadline=None)
@given(
    st.text(st.sampled_from('a<&"\\\n*|`\x01é😀\ud83d'), max_size=50),
    st.sampled_from([1, 100, 1000, 5000]),
)
def test_no_event_is_too_large(text: str, times: int) -> None:
    made = content.text(text * times, kind="text", thread="$" * 44, reply_to="$" * 44, key="k" * 40)
    assert content.size(made) <= content.LARGEST_TEXT
    assert content.size(content.edit(made, "$" * 44)) <= content.LARGEST_EVENT


def test_what_is_cut_off_is_seen_to_be() -> None:
    made = content.text("é" * 100_000, kind="text", key="k")
    assert made["body"].endswith("é […]")
    assert content.size(made) > content.LARGEST_TEXT - 10
