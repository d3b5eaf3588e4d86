"""The port of the homeserver: always the specification's answer, and nobody's neighbour lost."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.db.pool import to_json
from memtrix_as.matrix import transaction
from memtrix_as.testing import ScriptedModel
from tests.chat.conftest import *  # noqa: F403
from tests.chat.test_port import message
from tests.fuzz.junk import JSON, TEXTS, nested, tries
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service

PATHS = [
    *("transactions/1", "transactions/", "transactions/a%2Fb%00", "users/@x:y", "rooms/%23x:y"),
    *("ping", "nowhere", "", "../../x", "%ff", "users/" + "x" * 5000),
]


@only("direct")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:20])
async def test_every_answer_is_one_of_the_specification(service: Service, path: str) -> None:
    http, right = service.door.api.http, service.door.registration["hs_token"]
    url = f"{service.url}/_matrix/app/v1/{path}"
    for method in ("GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"):
        for token in (None, "wrong", "Bearer", right):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with http.request(method, url, headers=headers, data=b"{}") as answer:
                body = await answer.json()
                assert answer.status in (200, 400, 401, 403, 404, 405), (method, token)
                assert answer.status != 200 or token == right, (method, token)
                assert answer.status == 200 or body["errcode"].startswith("M_"), (method, token)
                assert answer.status != 401 or token is None


@only("direct")
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b'{"events": []}'),
        ("deflate", b"\xff\xff"),
        ("gzip", gzip.compress(b'{"events": []}')[:14]),
        ("unheard-of", b"\xff"),
        ("identity", b'{"events": [' + nested(50_000).encode()),
        ("identity", b'{"events": "' + b"\\" * 9999),
    ],
    ids=["no gzip", "no deflate", "half of gzip", "unheard-of", "no end", "no end of a string"],
)
async def test_a_body_that_cannot_be_read_is_refused(
    service: Service, encoding: str, body: bytes
) -> None:
    right = service.door.registration["hs_token"]
    url = f"{service.url}/_matrix/app/v1/transactions/odd"
    headers = {"Authorization": f"Bearer {right}", "Content-Encoding": encoding}
    async with service.door.api.http.put(url, headers=headers, data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["errcode"] == "M_NOT_JSON"


@only("direct")
async def test_half_a_request_holds_nobody_up(service: Service) -> None:
    right = service.door.registration["hs_token"]
    head = "PUT /_matrix/app/v1/transactions/half HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {right}\r\nContent-Length: 100\r\n\r\n{{"
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head.encode())
    await writer.drain()
    assert (await service.put("whole", {"events": []}))[0] == 200
    writer.transport.abort()
    assert (await service.put("after", {"events": []}))[0] == 200


ODD = {
    "nested deeply": '"q": ' + nested(50_000),
    "nested in a relation": '"m.relates_to": ' + '{"event_id":' * 5000 + "1" + "}" * 5000,
    "nested less deeply": '"q": ' + nested(900),
    "infinity": '"q": 1e999',
    "no number": '"q": [NaN, -Infinity]',
    "5000 digits": '"q": ' + "9" * 5000,
    "half a character": '"q": "\\ud800\\u0000"',
    "tags without end": '"format": "org.matrix.custom.html", "formatted_body": "'
    + "<b>" * 20_000 + '"',
    "a relation to itself": '"m.relates_to": {"rel_type": "m.replace", "event_id": "$odd"}',
    "a thread at itself": '"m.relates_to": {"rel_type": "m.thread", "event_id": "$odd"}',
}  # fmt: skip


@only("direct")
@pytest.mark.parametrize("content", ODD.values(), ids=list(ODD))
async def test_what_is_odd_in_one_event_hides_no_neighbour(
    chat: Chat, service: Service, model: ScriptedModel, content: str
) -> None:
    model.by_default("an answer")
    before, after = (message(chat, f"${name}", name) for name in ("before", "after"))
    odd = json.dumps(message(chat, "$odd", "odd")).replace('"m.mentions": {}', content)
    body = f'{{"events": [{json.dumps(before)}, {odd}, {json.dumps(after)}]}}'
    assert (await service.put("odd", body.encode()))[0] == 200
    for name in ("before", "after"):
        await chat.until(
            lambda name=name: any(name in r.last_user for r in model.requests) or None,  # type: ignore[misc]
            f"{name} to reach the model",
        )


IDS = st.sampled_from(["$one", "$two", "$three"])
RELATION = st.fixed_dictionaries(
    {},
    optional={
        "rel_type": st.sampled_from(["m.replace", "m.thread", "m.annotation"]) | JSON,
        "event_id": IDS | JSON,
        "key": st.sampled_from(["✅", "❌", "🔁", ""]) | TEXTS | JSON,
        "m.in_reply_to": st.fixed_dictionaries({"event_id": IDS | JSON}) | JSON,
        "is_falling_back": JSON,
    },
)
CONTENT = JSON | st.fixed_dictionaries(
    {},
    optional={
        "msgtype": st.sampled_from(["m.text", "m.notice", "m.image", "m.emote"]) | JSON,
        "body": st.sampled_from(["yes", "/stop", "!clear now", "/verbose", "Memtrix: hi"]) | TEXTS,
        "formatted_body": TEXTS | JSON,
        "format": st.just("org.matrix.custom.html") | JSON,
        "m.relates_to": RELATION | JSON,
        "m.new_content": JSON | st.dictionaries(st.sampled_from(["body", "msgtype"]), TEXTS),
        "m.mentions": JSON | st.fixed_dictionaries({"user_ids": JSON}),
        "membership": st.sampled_from(["join", "invite", "leave", "ban", "knock"]) | JSON,
        "displayname": TEXTS | JSON,
        "redacts": IDS | JSON,
        "url": st.just("mxc://x/../y") | TEXTS | JSON,
        "info": JSON | st.fixed_dictionaries({"size": JSON, "mimetype": JSON}),
        "filename": TEXTS | JSON,
        "users": JSON,
        "replacement_room": JSON,
        "io.memtrix.id": TEXTS | JSON,
        "io.memtrix.hops": JSON,
    },
)
KINDS = st.sampled_from(
    ["m.room.message", "m.room.member", "m.room.redaction", "m.reaction", "m.sticker",
     "m.room.encrypted", "m.room.encryption", "m.room.power_levels", "m.room.tombstone",
     "m.room.name", "m.room.create"]
)  # fmt: skip
EVENT = st.fixed_dictionaries(
    {"type": KINDS, "content": CONTENT, "room": st.booleans(), "by": st.integers(0, 2)},
    optional={
        "state_key": st.just("") | TEXTS | JSON,
        "redacts": IDS | JSON,
        "origin_server_ts": JSON,
        "unsigned": JSON,
    },
)


@only("direct")
async def test_after_any_events_a_message_is_answered(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    events: list[dict[str, Any]] = []
    agent = service.door.user("memtrix")

    @tries(200)
    @given(EVENT)
    def collect(event: dict[str, Any]) -> None:
        here, by = event.pop("room"), event.pop("by")
        about = {"room_id": chat.room if here else "!nowhere:hs.test"}
        about["sender"] = (chat.human.user_id, agent, "@eve:evil.test")[by]
        if event["type"] == "m.room.member" and here:
            about["state_key"] = "@eve:evil.test"  # who is in the room stays the homeserver's
        events.append({"event_id": f"$fuzz{len(events)}", **event, **about})

    collect()
    model.by_default("an answer")
    for n in range(0, len(events), 20):
        body = json.dumps({"events": events[n : n + 20]}).encode()
        assert (await service.put(f"fuzz{n}", body))[0] == 200
    model.when("are you there?").by_default("I am here")
    await chat.send("are you there?")
    await chat.until(
        lambda: any("are you there?" in r.last_user for r in model.requests) or None,
        "the message behind them to reach the model",
    )


def test_numbers_that_no_database_takes_are_read_as_something_near() -> None:
    read = transaction.read(b"[1e999, -1e999, NaN, Infinity, " + b"9" * 5000 + b"]")
    assert read == [0.0, 0.0, None, None, 0]


@tries(300)
@given(JSON, st.integers(90, 110), st.booleans())
def test_what_is_read_can_be_stored(value: Any, depth: int, deep: bool) -> None:
    inner = json.dumps(value)
    raw = nested(depth + 5000 * deep, inner) if deep else inner
    read = transaction.read(f'{{"events": [{raw}], "last": 7}}'.encode())
    assert read["last"] == 7
    json.loads(to_json(read), parse_constant=lambda name: pytest.fail(name))
