"""What a human is offered after a call has run: a question that nothing waits for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memtrix_as.db import inbox
from memtrix_as.db.pool import Pool, clean
from memtrix_as.messages import Place

OFFER = "open_room"  # in place of a tool: nothing waits for the answer, so its turn goes on
OFFERED = ["✅", "❌"]  # the agent puts them there, to be clicked on


@dataclass(frozen=True, slots=True)
class Offering:
    """An offer about to be made: what a yes does is said by `arguments`."""

    turn_id: int
    asked: str
    question: str
    how: str
    arguments: Mapping[str, Any]
    seconds: float


async def offer(pool: Pool, lane: str, place: Place, a: Offering) -> None:
    """Ask a human something that follows from a turn; LostTurn when that has ended meanwhile."""
    async with pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, a.turn_id)
        await connection.execute(
            """
            with question as (
                insert into outbox (lane, room_id, agent, thread, kind, text, turn_id)
                values ($1, $2, $3, $4, 'notice', $5, $6) returning id),
            offered as (
                insert into outbox (lane, room_id, agent, kind, text, replaces)
                select $1, $2, $3, 'reaction', emoji, id
                from question, unnest($7::text[]) with ordinality as e (emoji, n) order by n)
            insert into approvals (turn_id, call_id, agent, room_id, tool, arguments, question,
                question_id, asked, expires_at)
            select $6, '', $3, $2, $8, $9, $10, id, $11, now() + make_interval(secs => $12)
            from question
            """,
            lane,
            place.room_id,
            place.agent,
            place.thread,
            clean(f"{a.question}\n\n{a.how}"),
            a.turn_id,
            OFFERED,
            OFFER,
            dict(a.arguments),
            clean(a.question),
            a.asked,
            a.seconds,
        )
