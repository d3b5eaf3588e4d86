"""Questions of one agent to another: asked, answered, or come to nothing.

The caller's turn is parked meanwhile, so that nothing waits; the asked agent has a turn of its
own, whose inbox item is younger. Whoever ends either locks the inbox rows from the older to the
younger, and looks only then.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memtrix_as.db import inbox, outbox, queue
from memtrix_as.db.inbox import Arrival, Item
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.db.queue import Lease
from memtrix_as.messages import AMONG_AGENTS, Place

State = Literal["open", "answered", "failed", "withdrawn"]
KIND = "question"  # of the inbox items that these are
COLUMNS = """c.id, c.turn_id, c.caller, c.asked, c.item_id, c.root_id, c.chain, c.question,
    c.outside, c.state, c.answer, c.answer_outside, c.asked_at, c.expires_at"""


@dataclass(frozen=True, slots=True)
class Consultation:
    """A question; `chain` are the agents that wait for its answer, the first asked first."""

    id: int
    turn_id: int
    caller: str
    asked: str
    item_id: int | None
    root_id: int
    chain: Sequence[str]
    question: str
    outside: str
    state: State
    answer: str
    answer_outside: str
    asked_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Root:
    """The human's turn that a consultation is for, and how it is shown there."""

    turn_id: int
    place: Place
    event_id: str
    sender: str
    lane: str
    done: bool
    verbose: bool  # its agent tells the room what it does


@dataclass(frozen=True, slots=True)
class Asking:
    """A question about to be asked, for those who are present: `people`."""

    call_id: str
    asked: str
    question: str
    outside: str
    chain: Sequence[str]
    root_id: int
    people: Sequence[str]
    seconds: float  # after which it comes to nothing
    most: int  # questions that a human's message may lead to


def pair(caller: str, people: Sequence[str]) -> str:
    """The room behind the rooms in which an agent is asked by `caller` on behalf of these people.

    One for each audience: what one human has an agent ask never meets what another has.
    """
    digest = hashlib.sha256("\0".join(sorted(set(people))).encode("utf-8", "replace"))
    return f"{AMONG_AGENTS}{caller} {digest.hexdigest()[:16]}"


# The message whose calls a turn is running: ids of calls are unique within one message only.
_CALLING = "(select max(id) from messages where turn_id = $1 and role = 'assistant')"


async def of_call(db: Connection | Pool, turn_id: int, call_id: str) -> Consultation | None:
    """What became of the question that a call of the turn's last message asked, if it did."""
    row = await db.fetchrow(
        f"select {COLUMNS} from consultations c where message_id = {_CALLING} and call_id = $2",
        turn_id,
        call_id,
    )
    return Consultation(**row) if row else None


async def of_item(db: Connection | Pool, item_id: int) -> Consultation | None:
    """The question that an inbox item is."""
    row = await db.fetchrow(f"select {COLUMNS} from consultations c where item_id = $1", item_id)
    return Consultation(**row) if row else None


async def root(db: Connection | Pool, turn_id: int) -> Root | None:
    """The human's turn with this id."""
    row = await db.fetchrow(
        """
        select t.id as turn_id, i.room_id, i.agent, t.thread, t.event_id, t.sender, i.lane,
            i.done_at is not null as done, a."verbose"
        from turns t join inbox i using (id) join agents a on a.name = i.agent where t.id = $1
        """,
        turn_id,
    )
    if row is None:
        return None
    found = dict(row)
    place = Place(found.pop("room_id"), found.pop("agent"), found.pop("thread"))
    return Root(place=place, **found)


async def lane(pool: Pool, root_id: int) -> str:
    """The lane of the human's turn behind a question."""
    return str(await pool.fetchval("select lane from inbox where id = $1", root_id))


async def ask(pool: Pool, item: Item, lease: Lease, a: Asking, shown: str) -> bool:
    """Put a question into the inbox of whom it is for, once; False where `most` are asked already.

    `shown` is what those are told who watch. LostTurn if the turn is not ours.
    """
    async with pool.acquire() as connection, connection.transaction():
        # The human's turn first, which is the oldest: whoever asks for it counts after the others.
        await connection.execute("select from inbox where id = $1 for update", a.root_id)
        await inbox.hold_turn(connection, item, lease)
        if await of_call(connection, item.id, a.call_id):
            return True
        asked = "select count(*) from consultations where root_id = $1"
        if await connection.fetchval(asked, a.root_id) >= a.most:
            return False
        room_id = pair(item.agent, a.people)
        await furnish(connection, room_id, a.people)
        payload = {"sender": item.agent, "question": clean(a.question)}
        behind = await root(connection, a.root_id)
        lane = inbox.consults(a.asked, behind.place.room_id if behind else "")
        arrival = Arrival(lane, KIND, room_id, a.asked, None, payload, tuple(a.people))
        await inbox.put(connection, [arrival])
        row = await connection.fetchrow(
            f"""
            insert into consultations as c (turn_id, message_id, call_id, caller, asked, item_id,
                root_id, chain, question, outside, expires_at)
            values ($1, {_CALLING}, $2, $3, $4,
                (select max(id) from inbox i where lane = $10 and kind = $11 and room_id = $12
                 -- Another turn of the same caller may have asked just before, with a later id.
                 and not exists (select from consultations where item_id = i.id)), $5,
                $6, $7, $8, now() + make_interval(secs => $9))
            returning {COLUMNS}
            """,
            item.id,
            a.call_id,
            item.agent,
            a.asked,
            a.root_id,
            list(a.chain),
            clean(a.question),
            clean(a.outside),
            a.seconds,
            arrival.lane,
            KIND,
            room_id,
        )
        await show(connection, Consultation(**row), shown)
    return True


async def furnish(connection: Connection | Pool, room_id: str, people: Sequence[str]) -> None:
    """Let the room be there, with its audience in it: so all that asks who may know works there."""
    await connection.execute(
        "insert into rooms (room_id, synced) values ($1, true) on conflict do nothing", room_id
    )
    await connection.execute(
        "insert into members select $1, unnest($2::text[]) on conflict do nothing",
        room_id,
        sorted(set(people)),
    )


async def lock(connection: Connection, item_id: int) -> Consultation | None:
    """The open question that an item is, its caller's row and its own locked until commit."""
    await connection.execute(
        """
        select from inbox where id = $1 or id = (select turn_id from consultations
            where item_id = $1) order by id for update
        """,
        item_id,
    )
    row = await connection.fetchrow(
        f"select {COLUMNS} from consultations c where item_id = $1 and state = 'open'", item_id
    )
    return Consultation(**row) if row else None


async def lock_around(connection: Connection, agent: str) -> None:
    """Lock all that hangs together with what an agent does or is asked, until commit.

    From the older to the younger, and at once: whoever ends one turn of these after the other
    would else take a younger row before an older one, and wait for somebody who waits for it.
    """
    locked: set[int] = set()
    while True:  # while we wait for a lock more may be asked
        rows = await connection.fetch(
            """
            with recursive around (id) as (
                select id from inbox where agent = $1 and done_at is null
                union
                select turn_id from consultations where asked = $1 and state = 'open'
                union
                select c.item_id from consultations c join around on around.id = c.turn_id
                where c.state = 'open' and c.item_id is not null)
            select id from around
            """,
            agent,
        )
        if {row["id"] for row in rows} <= locked:
            return
        locked |= {row["id"] for row in rows}
        await connection.execute(
            "select from inbox where id = any($1) order by id for update", sorted(locked)
        )


async def settle(
    connection: Connection, c: Consultation, state: State, answer: str, outside: str = ""
) -> None:
    """Note how a question ended, and let its caller go on; its rows are locked."""
    await connection.execute(
        """
        update consultations set state = $2, answer = $3, answer_outside = $4, answered_at = now()
        where id = $1
        """,
        c.id,
        state,
        clean(answer),
        clean(outside),
    )
    lane = await connection.fetchval(
        """
        update turns t set state = 'running' from inbox i
        where t.id = $1 and i.id = t.id and t.state = 'parked' returning i.lane
        """,
        c.turn_id,
    )
    if lane:
        await queue.wake(connection, lane)


async def show(connection: Connection, c: Consultation, text: str) -> None:
    """Tell the humans of an exchange, in a thread at their message, if they want to see it.

    Not while somebody is there on whose behalf nobody was asked.
    """
    behind = await root(connection, c.root_id)
    if (
        behind
        and behind.verbose
        and not behind.place.among_agents
        and await _among_themselves(connection, c, behind.place.room_id)
    ):
        place = Place(
            behind.place.room_id, behind.place.agent, behind.place.thread or behind.event_id
        )
        await outbox.say(connection, behind.lane, place, text, turn_id=behind.turn_id)
        await queue.wake(connection, behind.lane)


async def _among_themselves(connection: Connection, c: Consultation, room_id: str) -> bool:
    """Whether all humans in a room are of those for whom a question was asked."""
    return bool(
        await connection.fetchval(
            """
            select not exists (
                select from members where room_id = $1
                    and user_id not in (select user_id from agents)
                    and user_id <> all (select unnest(people) from inbox where id = $2))
            """,
            room_id,
            c.item_id,
        )
    )


async def due(connection: Connection, most: int) -> list[Consultation]:
    """Questions whose time is up, the oldest first; not those in other hands."""
    rows = await connection.fetch(
        """
        select c.item_id from consultations c join inbox i on i.id = c.turn_id
        where c.state = 'open' and c.expires_at <= now() order by c.turn_id limit $1
        for update of i skip locked
        """,
        most,
    )
    found = [await lock(connection, row["item_id"]) for row in rows if row["item_id"]]
    return [c for c in found if c]


async def next_due(pool: Pool) -> float | None:
    """Seconds until the next open question comes to nothing; None if none is open."""
    found: float | None = await pool.fetchval(
        "select extract(epoch from min(expires_at) - now())::float8 from consultations"
        " where state = 'open'"
    )
    return found


async def open_of(connection: Connection, turn_id: int) -> list[Consultation]:
    """The questions that a turn still waits for; the turn's own row is locked."""
    rows = await connection.fetch(
        f"select {COLUMNS} from consultations c where turn_id = $1 and state = 'open' order by id",
        turn_id,
    )
    return [Consultation(**row) for row in rows]


async def to_agent(connection: Connection, agent: str) -> list[Consultation]:
    """The open questions to an agent."""
    rows = await connection.fetch(
        f"select {COLUMNS} from consultations c where asked = $1 and state = 'open' order by id",
        agent,
    )
    return [Consultation(**row) for row in rows]


async def note(
    connection: Connection, c: Consultation, human: str, text: str, tokens: int, outside: str
) -> None:
    """Tell the asked agent of it in its newest session with this human alone, if there is one.

    `outside` is where text from outside is from that question or answer was made of.
    """
    await connection.execute(
        f"""
        with newest as (
            select s.id from sessions s
            where s.agent = $1 and s.ended_at is null and left(s.room_id, 1) <> '{AMONG_AGENTS}'
              and exists (select from messages where session_id = s.id)
              and array(select user_id from members m where m.room_id = s.room_id
                        and user_id not in (select user_id from agents)) = array[$2]
            order by (select max(id) from messages where session_id = s.id) desc limit 1)
        insert into messages (session_id, role, text, tokens, outside, note)
        select id, 'user', $3, $4, $5, $6 from newest
        """,
        c.asked,
        human,
        clean(text),
        tokens,
        clean(outside),
        c.id,
    )


async def forget(connection: Connection, root_id: int) -> None:
    """Keep nothing of what a human's message had agents ask each other; all of it has ended."""
    for statement in (
        "delete from messages where turn_id in (select item_id from asked)",
        "update turns set indexed = false where id in (select item_id from asked)",
        "update inbox set payload = payload - 'question' where id in (select item_id from asked)",
        # With what the asked agents were noted of it.
        "delete from consultations where root_id = $1",
    ):
        await connection.execute(
            f"with asked as (select item_id from consultations where root_id = $1) {statement}",
            root_id,
        )
