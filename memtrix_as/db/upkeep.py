"""Sessions whose newest words no journal has seen: found when they have gone quiet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from memtrix_as.db import inbox
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.messages import AT_TERMINAL

KIND = "upkeep"
TOO_OLD_DAYS = 7  # what nobody could condense for so long stays as it is: it is in the index


@dataclass(frozen=True, slots=True)
class Quiet:
    """A session with words that no journal has seen, up to the message `newest`."""

    session_id: int
    agent: str
    room_id: str
    newest: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A message to be condensed."""

    id: int
    day: date
    speaker: str
    text: str
    event: str
    people: tuple[str, ...]


async def unseen(pool: Pool, human: str | None = None) -> list[Quiet]:
    """Sessions in which a human has said something since a journal was last written.

    With `human` what they said at terminals, which is nobody else's to keep; else all the rest.
    """
    rows = await pool.fetch(
        f"""
        select s.id as session_id, s.agent, s.room_id, max(m.id) as newest,
            max(m.created_at) as since
        from sessions s join messages m on m.session_id = s.id and m.id > s.journaled_to
        where case left(s.room_id, 1) when '{AT_TERMINAL}' then exists (
                select from members where room_id = s.room_id and user_id = $1)
            else $1::text is null end
        group by s.id
        having bool_or(m.role = 'user') and max(m.created_at) > now() - interval '{TOO_OLD_DAYS} d'
           and not exists (select from turns t where t.session_id = s.id and t.ended_at is null)
        """,
        human,
    )
    return [Quiet(**row) for row in rows]


async def ask(pool: Pool, quiet: Quiet, now: datetime, terminal: str = "") -> None:
    """Put the condensing of a session into the inbox; once an hour for the same words.

    `terminal` is the room of the terminal that is to do it, if one is.
    """
    key = f"upkeep {quiet.session_id} {quiet.newest} {now:%Y%m%d%H}"
    payload = {"session": quiet.session_id, "newest": quiet.newest}
    # Beside the turns: nobody waits for it.
    lane = f"~~{quiet.agent} {terminal}" if terminal else f"~ {quiet.agent}"
    arrival = Arrival(lane, KIND, quiet.room_id, quiet.agent, key, payload)
    await inbox.put(pool, [arrival])


async def load(pool: Pool, session_id: int, newest: int, timezone: str) -> list[Line]:
    """What was said in the session up to `newest` that no journal has seen, in order."""
    rows = await pool.fetch(
        """
        select m.id, (m.created_at at time zone $3)::date as day, m.text,
            case when m.role = 'assistant' then a.display_name else coalesce(
                (select display_name from members
                 where room_id = s.room_id and user_id = t.sender), t.sender) end as speaker,
            coalesce(m.event_id, '') as event, coalesce(t.people, array[t.sender]) as people
        from sessions s join agents a on a.name = s.agent join messages m on m.session_id = s.id
            join turns t on t.id = m.turn_id
        where s.id = $1 and m.id > s.journaled_to and m.id <= $2 and m.text <> ''
          and (m.role = 'user' or m.role = 'assistant' and t.state = 'done'
               -- What was said after text from outside was read is not noted unasked.
               and not exists (select from messages o where o.session_id = s.id
                               and o.id < m.id and o.outside <> ''))
        order by m.id
        """,
        session_id,
        newest,
        timezone,
    )
    return [Line(**{**row, "people": tuple(row["people"])}) for row in rows]


async def seen(connection: Connection, session_id: int, newest: int) -> bool:
    """Note that a journal has seen the session up to `newest`; False if that was noted before."""
    return bool(
        await connection.fetchval(
            """
            update sessions set journaled_to = $2 where id = $1 and journaled_to < $2
            returning true
            """,
            session_id,
            newest,
        )
    )


def common(people: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Those who are in each of the sets: what was made of several messages is theirs to know."""
    shared = set(people[0]).intersection(*people[1:]) if people else set()
    return tuple(sorted(shared))
