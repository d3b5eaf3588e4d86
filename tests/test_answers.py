"""Which words and emoji answer which question: pure decisions."""

from typing import Any

import pytest

from memtrix_as.db.approvals import Question
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.rooms import Room
from memtrix_as.matrix import answers, intake
from memtrix_as.matrix.intake import NOTHING, Decision, Facts, World
from tests.test_intake import ALONE, ANN, BOTH, GROUP, MAIN, ROOM, WORLD, event, text

MINE = Question(1, "memtrix", ROOM, None, ("$q1", "$q1-ended"), True)
HIS = Question(2, "dennis", ROOM, None, ("$q2",), True)
SENT = {"$q1": "memtrix", "$q2": "dennis", "$said": "memtrix"}


def decide(raw: Any, *questions: Question, room: Room = ALONE, world: World = WORLD) -> Decision:
    return intake.decide(raw, room, world, Facts(SENT, {}, questions))


def reply(body: str, to: str) -> dict[str, Any]:
    return text(body, **{"m.relates_to": {"m.in_reply_to": {"event_id": to}}})


def reaction(key: object, to: str = "$q1", **more: Any) -> Any:
    relation = {"rel_type": "m.annotation", "event_id": to, "key": key, **more}
    return event({"m.relates_to": relation}, kind="m.reaction")


def answered(decision: Decision) -> list[tuple[str, object, str]]:
    """Agent, approval and word of what is an answer; all else fails."""
    assert all(a.kind == "approval" and a.lane.startswith("!") for a in decision.arrivals)
    return [(a.agent, a.payload["approval"], a.payload["answer"]) for a in decision.arrivals]


def kinds(decision: Decision) -> list[str]:
    return [a.kind for a in decision.arrivals]


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        *(
            (w, "yes")
            for w in ("yes", "Yes.", " y ", "YES!", "ja", "oui", "si", "sí", "👍🏿", "✅")
        ),
        *((w, "no") for w in ("no", "No!", "n", "nein", "non", "❌", "👎", "/no", "!deny")),
        *((w, "always") for w in ("always", "Always.", "/always", "immer", "♾️")),
        ("Memtrix: yes", "yes"),
        ("@memtrix, no", "no"),
        ("/approve", "yes"),
    ],
)
def test_words_that_answer(said: str, meaning: str) -> None:
    assert answered(decide(event(text(said)), MINE)) == [("memtrix", 1, meaning)]
    assert answers.may_answer(event(text(said)))


@pytest.mark.parametrize(
    "said",
    ["yes please", "no, wait", "yesterday", "ok", "y?", "no no", "maybe", "> yes", "yes\nno"],
)
def test_all_else_is_a_message(said: str) -> None:
    assert kinds(decide(event(text(said)), MINE)) == ["message"]


def test_without_a_question_a_yes_is_a_message() -> None:
    assert kinds(decide(event(text("yes")))) == ["message"]
    closed = Question(1, "memtrix", ROOM, None, ("$q1",), False)
    assert kinds(decide(event(text("yes")), closed)) == ["message"]
    unsent = Question(1, "memtrix", ROOM, None, (), True)
    assert kinds(decide(event(text("yes")), unsent)) == ["message"], "nobody can have seen it"
    elsewhere = Question(1, "memtrix", "!other", None, ("$q1",), True)
    assert kinds(decide(event(text("yes")), elsewhere)) == ["message"]


def test_a_reply_means_the_question_that_it_replies_to() -> None:
    for to in ("$q1", "$q1-ended"):
        assert answered(decide(event(reply("yes", to)), MINE, HIS, room=BOTH))[0][:2] == (
            "memtrix",
            1,
        )
    assert answered(decide(event(reply("no", "$q2")), MINE, HIS, room=BOTH)) == [
        ("dennis", 2, "no")
    ]
    assert kinds(decide(event(reply("yes", "$said")), MINE)) == ["message"]
    assert kinds(decide(event(reply("why?", "$q1")), MINE)) == ["message"]


def test_a_yes_that_could_mean_two_is_not_guessed() -> None:
    two = Question(3, "memtrix", ROOM, None, ("$q3",), True)
    for questions, room in (((MINE, two), ALONE), ((MINE, HIS), BOTH)):
        (arrival,) = decide(event(text("yes")), *questions, room=room).arrivals
        assert arrival.payload["approval"] is None and arrival.payload["ambiguous"]
    assert answered(decide(event(text("Dennis: yes")), MINE, HIS, room=BOTH)) == [
        ("dennis", 2, "yes")
    ]
    assert answered(decide(event(text("yes")), HIS, room=BOTH)) == [("dennis", 2, "yes")]


def test_among_humans_a_yes_must_be_for_the_agent() -> None:
    assert decide(event(text("yes")), MINE, room=GROUP) == NOTHING
    assert answered(decide(event(text("Memtrix: yes")), MINE, room=GROUP)) == [
        ("memtrix", 1, "yes")
    ]
    assert answered(decide(event(reply("yes", "$q1")), MINE, room=GROUP)) == [("memtrix", 1, "yes")]


def test_a_thread_answers_its_own_question() -> None:
    asked = Question(1, "memtrix", ROOM, "$root", ("$q1",), True)
    inside = {"rel_type": "m.thread", "event_id": "$root", "is_falling_back": True}
    other = {**inside, "event_id": "$other"}
    assert answered(decide(event(text("yes", **{"m.relates_to": inside})), asked))
    assert kinds(decide(event(text("yes", **{"m.relates_to": other})), asked)) == ["message"]
    assert answered(decide(event(text("yes")), asked)), "from a client without threads"


@pytest.mark.parametrize(
    ("key", "meaning"),
    [("✅", "yes"), ("✔️", "yes"), ("👍", "yes"), ("👍🏽", "yes"), ("❌", "no"), ("✖️", "no"),
     ("👎🏻", "no"), ("♾️", "always"), ("♾", "always")],
)  # fmt: skip
def test_emoji_that_answer(key: str, meaning: str) -> None:
    assert answered(decide(reaction(key), MINE)) == [("memtrix", 1, meaning)]


@pytest.mark.parametrize(
    "raw",
    [
        reaction("🎉"),
        reaction("yes"),
        reaction(None),
        reaction(["✅"]),
        reaction("✅", "$said"),
        reaction("✅", rel_type="m.reference"),
        event({"m.relates_to": "✅"}, kind="m.reaction"),
        event(None, kind="m.reaction"),
        {**reaction("✅"), "sender": MAIN},
        {**reaction("✅"), "sender": "@eve:evil.test"},
    ],
)
def test_emoji_that_say_nothing(raw: Any) -> None:
    assert decide(raw, MINE).arrivals == ()


def test_an_emoji_from_another_room_says_nothing() -> None:
    elsewhere = Question(1, "memtrix", "!other", None, ("$q1",), True)
    assert decide(reaction("✅"), elsewhere) == NOTHING


def test_an_edit_never_answers() -> None:
    new = {**text("* yes"), "m.new_content": text("yes")}
    new["m.relates_to"] = {"rel_type": "m.replace", "event_id": "$1"}
    assert kinds(decide(event(new), MINE)) == ["edit"]


def test_a_command_without_a_question_is_told_so() -> None:
    arrivals: tuple[Arrival, ...] = decide(event(text("/yes"))).arrivals
    assert [a.payload["approval"] for a in arrivals] == [None]
    assert decide(event(text("/yes")), room=GROUP) == NOTHING
    assert ANN == arrivals[0].payload["sender"]
