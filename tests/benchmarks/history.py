"""Fills a room's session, and all the tables that grow with it, as if it had been lived in."""

import json
from dataclasses import dataclass
from typing import Any

QUESTION, ANSWER = 90, 320  # characters of a message of the human, of the agent

FILL = """
with s as (
    insert into sessions (agent, room_id) values ($1, $2) returning id),
i as (
    insert into inbox (lane, kind, room_id, agent, event_id, payload, attempts, done_at)
    select $1 || ' ' || $2, 'message', $2, $1, '$' || n || $2, $4::text::jsonb, '{1}', now()
    from generate_series(1, $3::int) n returning id, event_id),
t as (
    insert into turns (id, session_id, event_id, sender, state, ended_at)
    select i.id, s.id, i.event_id, '@human', 'done', now() from i, s
    returning id, session_id, event_id),
e as (
    insert into events select event_id from i union all select event_id || 'a' from i),
o as (
    insert into outbox (lane, room_id, agent, turn_id, kind, text, attempts, sent_at)
    select $1 || ' ' || $2, $2, $1, id, 'text', repeat('word ', $6::int / 5), 1, now()
    from t returning id, turn_id),
n as (
    insert into sent select t.event_id || 'a', o.id, 0 from o join t on t.id = o.turn_id)
insert into messages (session_id, turn_id, role, text, tokens, event_id)
select session_id, id, role, repeat('word ', size / 5), 6 + size / 4,
    case role when 'user' then event_id end
from t, (values (1, 'user', $5::int), (2, 'assistant', $6::int)) as m (part, role, size)
order by id, part
"""


@dataclass(frozen=True)
class Room:
    """A room with a past; whatever is said in it later can be taken out again."""

    name: str
    room_id: str
    session: int
    last: int  # id of the newest message of the past

    async def forget_the_rest(self, db: Any) -> None:
        """So that each message meets the same history; the room itself goes on ageing."""
        await db.execute(
            "delete from messages where session_id = $1 and id > $2", self.session, self.last
        )


async def fill(db: Any, name: str, room_id: str, agent: str, total: int, shown: int) -> Room:
    """`total` messages, of which the newest `shown` are not condensed."""
    raw = {"type": "m.room.message", "room_id": room_id, "sender": "@human", "event_id": "$",
           "content": {"msgtype": "m.text", "body": "word " * (QUESTION // 5)}}  # fmt: skip
    await db.execute("delete from sessions where agent = $1 and room_id = $2", agent, room_id)
    await db.execute(FILL, agent, room_id, total // 2, json.dumps(raw), QUESTION, ANSWER)
    session = await db.fetchval(
        "select id from sessions where agent = $1 and room_id = $2", agent, room_id
    )
    last = await db.fetchval("select coalesce(max(id), 0) from messages")
    if shown < total:
        await db.execute(
            """
            update sessions set summary = 'They said many words.', condensed_to = (
                select id from messages where session_id = $1 order by id desc offset $2 limit 1)
            where id = $1
            """,
            session,
            shown,
        )
    await db.execute("analyze")
    return Room(name, room_id, session, last)
