"""The management room without a homeserver: what of it is an order, whom it trusts and asks in."""

from typing import Any

import pytest

from memtrix_as.db import inbox
from memtrix_as.db.rooms import Room
from memtrix_as.matrix import management
from memtrix_as.matrix.intake import NOTHING
from memtrix_as.matrix.management import Facts
from tests.test_intake import ANN, BOB, EVE, MAIN, ROOM, decide, event, lanes, text

MANAGEMENT = Room(ROOM, True, frozenset({"memtrix", "dennis"}), frozenset({ANN}), True)
ORDER = [("admin", inbox.orders(ANN, ROOM))]


@pytest.mark.parametrize("body", ["status", "/status", "Dennis: hello", "yes", "📎"])
def test_whatever_is_written_is_an_order_to_the_main_agent(body: str) -> None:
    decision = decide(event(text(body)), MANAGEMENT)
    assert lanes(decision) == ORDER
    assert [arrival.agent for arrival in decision.arrivals] == ["memtrix"]


def test_each_administrator_has_a_lane() -> None:
    assert lanes(decide(event(text("status"), BOB), MANAGEMENT)) != ORDER


def test_also_who_may_do_nothing_is_heard_here() -> None:
    """They are told so; elsewhere they are not even that."""
    assert lanes(decide(event(text("hi"), EVE), MANAGEMENT)) == [("admin", inbox.orders(EVE, ROOM))]


@pytest.mark.parametrize(
    "raw",
    [
        event({"msgtype": "m.notice", "body": "status"}),
        event({"body": "status"}),
        event("status"),
        event({}, kind="m.sticker"),
        event({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$q", "key": "🎉"}},
              kind="m.reaction"),
        event(text("status"), MAIN),
    ],
)  # fmt: skip
def test_what_is_none(raw: Any) -> None:
    assert not decide(raw, MANAGEMENT).arrivals


def test_clicks_and_deletions() -> None:
    click = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$q", "key": "✅"}}
    assert lanes(decide(event(click, kind="m.reaction"), MANAGEMENT)) == ORDER
    gone = decide(event({"redacts": "$q"}, kind="m.room.redaction"), MANAGEMENT)
    assert [kind for kind, _ in lanes(gone)] == ["redaction", "admin"]


def test_edits_and_encrypted_ones_are_as_anywhere() -> None:
    edit = text("* x", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}})
    assert [kind for kind, _ in lanes(decide(event(edit), MANAGEMENT))] == ["edit"]
    secret = decide(event({}, kind="m.room.encrypted"), MANAGEMENT)
    assert [kind for kind, _ in lanes(secret)] == ["encrypted"]


def test_without_the_main_agent_nobody_answers() -> None:
    room = Room(ROOM, True, frozenset({"dennis"}), frozenset({ANN}), True)
    assert decide(event(text("status")), room) == NOTHING


def test_before_it_is_known_who_is_there_it_waits() -> None:
    room = Room(ROOM, False, frozenset({"memtrix"}), frozenset(), True)
    assert [kind for kind, _ in lanes(decide(event(text("status")), room))] == ["unsorted"]


def state(kind: str, content: Any, key: str = "", sender: str = MAIN) -> dict[str, Any]:
    return {"type": kind, "state_key": key, "sender": sender, "content": content}


def test_facts_of_a_room_whatever_stands_there() -> None:
    found = management.facts(
        [
            state("m.room.create", {"room_version": "12"}),
            state("m.room.member", {"membership": "join"}, ANN),
            state("m.room.member", "nonsense", EVE),
            state("m.room.power_levels", {"users": {ANN: 50}}),
            {"type": None},
        ]
    )
    assert (found.creator, found.version, found.encrypted) == (MAIN, "12", False)
    assert found.members[ANN] == "join" and found.power == {"users": {ANN: 50}}
    assert management.facts([]) == Facts()


def test_the_creator_is_not_named_in_the_power_levels() -> None:
    levels = management.empowered(Facts(ANN, power={"users": {}, "ban": 50}), [ANN, BOB])
    assert levels == {"users": {BOB: 50}, "ban": 50, "invite": 50}
    assert (
        management.empowered(Facts(MAIN, power={"users": {BOB: 100}, "invite": 50}), [BOB]) is None
    )
    assert management.empowered(Facts(MAIN, power={"users": {BOB: "x"}}), [BOB]) is not None


@pytest.mark.parametrize(
    ("members", "invited", "asked"),
    [
        ({}, (), [ANN, BOB]),
        ({ANN: "join"}, (ANN,), [BOB]),
        ({ANN: "join", BOB: "leave"}, (ANN, BOB), []),
        ({ANN: "invite", BOB: "ban"}, (), []),
        ({ANN: "leave", BOB: "leave"}, (ANN, BOB), [ANN, BOB]),
        ({ANN: "leave", BOB: "ban"}, (ANN, BOB), [ANN]),
    ],
)
def test_each_is_asked_in_once_but_somebody_must_be_there(
    members: dict[str, str], invited: tuple[str, ...], asked: list[str]
) -> None:
    assert management.missing(Facts(members=members), [ANN, BOB], invited) == asked
