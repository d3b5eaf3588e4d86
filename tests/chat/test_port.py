"""The port that the homeserver talks to: each event once, whatever comes, however it comes."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Process, Service
from tests.rig.stage import Stage

Json = dict[str, Any]


def message(chat: Chat, event_id: str, text: str) -> Json:
    """A message event as the homeserver pushes it; the homeserver itself does not know it."""
    return {
        "event_id": event_id,
        "room_id": chat.room,
        "sender": chat.human.user_id,
        "type": "m.room.message",
        "origin_server_ts": int(time.time() * 1000),
        "content": {"msgtype": "m.text", "body": text, "m.mentions": {}},
    }


async def test_the_same_transaction_in_parallel_is_handled_once(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    events = [message(chat, f"$same{n}", f"number {n}") for n in range(5)]
    for n in range(5):
        model.says(f"answer {n}")
    body = {"events": events}
    answers = await asyncio.gather(*(service.put("same", body) for _ in range(5)))
    assert [status for status, _ in answers] == [200] * 5
    assert [await chat.reply() for _ in events] == [f"answer {n}" for n in range(5)]
    assert len(model.requests) == 5


async def test_a_transaction_cut_differently_is_handled_once(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    events = [message(chat, f"$cut{n}", f"number {n}") for n in range(4)]
    for n in range(5):
        model.says(f"answer {n}")
    cuts = [events[:1], events, events[1:3], events[:3], events[2:]]
    for number, cut in enumerate(cuts):
        assert (await service.put(f"cut{number}", {"events": cut}))[0] == 200
    assert (await service.put("cut0", {"events": [message(chat, "$last", "last")]}))[0] == 200
    assert [await chat.reply() for _ in range(5)] == [f"answer {n}" for n in range(5)]
    asked = [request.messages[-1]["content"] for request in model.requests]
    assert asked == ["number 0", "number 1", "number 2", "number 3", "last"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
KEYS = ["event_id", "room_id", "sender", "type", "state_key", "content", "unsigned", "redacts"]
TYPES = ["m.room.message", "m.room.member", "m.room.redaction", "m.reaction", "m.room.encrypted"]
CONTENT = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["body", "msgtype", "membership", "m.relates_to", "m.new_content", "info", "url"], JUNK
    ),
)


@st.composite
def malformed(draw: st.DrawFn) -> Any:
    """Something that stands where an event should: anything, or nearly an event."""
    if draw(st.booleans()):
        return draw(JUNK)
    event = {key: draw(JUNK) for key in draw(st.sets(st.sampled_from(KEYS)))}
    whole = {"type": st.sampled_from(TYPES), "content": CONTENT, "room_id": st.just("!nowhere")}
    return event | {key: draw(values) for key, values in whole.items() if draw(st.booleans())}


@only("direct")
async def test_malformed_events_do_not_lose_their_neighbours(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    batches: list[list[Any]] = []

    @tries(
        max_examples=100,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(malformed(), min_size=1, max_size=6))
    def collect(garbage: list[Any]) -> None:
        batches.append(garbage)

    collect()
    for number in range(10):
        garbage = [junk for batch in batches[number::10] for junk in batch]
        here = message(chat, f"$good{number}", f"number {number}")
        half = len(garbage) // 2
        body = {"events": [*garbage[:half], here, *garbage[half:]]}
        model.says(f"answer {number}")
        assert (await service.put(f"garbage{number}", body))[0] == 200, garbage
    for number in range(10):
        assert await chat.reply() == f"answer {number}"


@only("direct")
@pytest.mark.parametrize(
    "wrong",
    [
        {"content": None},
        {"content": {"msgtype": "m.text"}},
        {"content": {"msgtype": "m.text", "body": {"text": "hi"}}},
        {"content": {"msgtype": "m.text", "body": "x", "m.relates_to": "thread"}},
        {"content": {"msgtype": "m.text", "body": "x\0y\ud800", "m.mentions": {"user_ids": 7}}},
        {"unsigned": []},
        {"origin_server_ts": "yesterday"},
        {"origin_server_ts": 10**40},
    ],
    ids=str,
)
async def test_a_message_with_wrong_types_hurts_nobody(
    chat: Chat, service: Service, model: ScriptedModel, wrong: Json
) -> None:
    model.by_default("an answer")
    events = [message(chat, "$odd", "odd") | wrong, message(chat, "$even", "even")]
    assert (await service.put("odd", {"events": events}))[0] == 200
    await chat.until(
        lambda: any(r.messages[-1]["content"] == "even" for r in model.requests) or None,
        "the neighbour to reach the model",
    )


@only("direct")
async def test_a_wrong_token_is_refused_and_not_logged(process: Process) -> None:
    await process.stop()
    process.set("logging.level", "DEBUG")
    await process.start()
    wrong, http = "wr0ng-" + "s3cret" * 4, process.door.api.http
    body: Json = {"events": []}
    status, answer = await process.put("forged", body, token=wrong)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    url = f"{process.url}/_matrix/app/v1/transactions/query"
    async with http.put(f"{url}?access_token={wrong}", json=body) as response:
        assert response.status == 403
    async with http.put(url, json=body) as response:
        assert response.status in (401, 403)
    right = process.door.registration["hs_token"]
    async with http.put(f"{url}?access_token={right}", json=body) as response:
        assert response.status == 200  # as Conduit does it
    assert "hs_token" in process.text()
    tokens = [wrong, right, process.door.registration["as_token"]]
    assert not [token for token in tokens if token in process.text()]


@only("direct")
async def test_every_door_of_the_port_wants_the_token(service: Service) -> None:
    http, right = service.door.api.http, service.door.registration["hs_token"]
    for method, path in (("POST", "ping"), ("GET", "users/@x:y"), ("GET", "rooms/%23x:y")):
        for token in ("", "wrong", right):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            url = f"{service.url}/_matrix/app/v1/{path}"
            async with http.request(method, url, headers=headers, json={}) as answer:
                refused = answer.status in (401, 403)
            assert refused == (token != right), (path, token)


@only("direct")
async def test_a_message_that_comes_a_day_late_is_told_so(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    day = 24 * 3600 * 1000
    old = message(chat, "$old", "are you awake?")
    old["origin_server_ts"] -= day + day // 24
    model.says("Good morning.")
    assert (await service.put("late", {"events": [old]}))[0] == 200
    assert "late" in await chat.notice()
    assert await chat.ask("and now?") == "Good morning."
    assert len(model.requests) == 1


@only("direct")
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"events": 7}', b"\xff\xfe", b"null"])
async def test_what_is_no_transaction_is_refused_as_such(service: Service, body: bytes) -> None:
    status, answer = await service.put("strange", body)
    assert status == 400 and answer["errcode"].startswith("M_")


@only("direct")
async def test_a_transaction_of_40_mib_is_handled(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    model.says("still here")
    filler = {"type": "org.example.filler", "content": {"body": "x" * 60_000}}
    events = [message(chat, f"$f{n}", "") | filler for n in range(710)]
    events.insert(300, message(chat, "$needle", "found me?"))
    body = json.dumps({"events": events}).encode()
    assert len(body) > 40 * 1024**2
    assert (await service.put("large", body))[0] == 200
    assert await chat.reply() == "still here"


@only("direct")
async def test_a_transaction_over_the_cap_says_what_to_raise(
    stage: Stage, stopped: Service, caplog: pytest.LogCaptureFixture
) -> None:
    stopped.set("appservice.max_body_size", 1)
    await stopped.start()
    status, answer = await stopped.put("huge", b'{"events": ["' + b"x" * 2 * 1024**2 + b'"]}')
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert "max_body_size" in caplog.text
