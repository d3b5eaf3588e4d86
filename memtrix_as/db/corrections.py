"""Turns that a human stops, changes or takes back, in one transaction with what follows."""

from dataclasses import dataclass
from typing import Any

from memtrix_as.db import approvals, consultations, conversations, inbox, passages, queue
from memtrix_as.db.consultations import Consultation
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.messages import Message


@dataclass(frozen=True, slots=True)
class Target:
    """The inbox item of a message that its sender edits, withdraws or wants stopped.

    `turn_id` is the item that it is answered with: its own, or an earlier one.
    """

    id: int
    turn_id: int
    lane: str
    agent: str
    sender: str
    done: bool
    state: str | None  # of its turn, None when that has not begun
    given_up: bool  # it ended with an error


async def of_event(connection: Connection, room_id: str, event_id: str) -> list[Target]:
    """Where a message stands, for each agent that it was meant for; locked until commit."""
    locked: set[int] = set()
    while True:  # while we wait for a lock it may be joined to another
        rows = await connection.fetch(
            """
            select coalesce(joined_to, id) as id from inbox
            where event_id = $1 and room_id = $2 and kind in ('message', 'command', 'admin')
            """,
            event_id,
            room_id,
        )
        if {row["id"] for row in rows} <= locked:
            break
        locked |= {row["id"] for row in rows}
        await connection.execute(
            "select from inbox where id = any($1) order by id for update", sorted(locked)
        )
    rows = await connection.fetch(
        """
        select i.id, whole.id as turn_id, i.lane, i.agent, i.payload->>'sender' as sender,
            whole.done_at is not null as done, t.state, whole.error is not null as given_up
        from inbox i join inbox whole on whole.id = coalesce(i.joined_to, i.id)
            left join turns t on t.id = whole.id
        where i.event_id = $1 and i.room_id = $2 and i.kind in ('message', 'command', 'admin')
        """,
        event_id,
        room_id,
    )
    return [Target(**row) for row in rows]


async def reword(connection: Connection, edit_id: int, target_id: int) -> Any:
    """Give an unanswered message the words of its edit; returns the raw event as it now is."""
    return await connection.fetchval(
        """
        update inbox t set attempts = '{}', payload = jsonb_set(t.payload, '{content}',
            (e.payload->'content'->'m.new_content') || jsonb_build_object('m.relates_to',
                t.payload->'content'->'m.relates_to'))
        from inbox e
        where e.id = $1 and t.id = $2 and t.payload ? 'content'
          and jsonb_typeof(e.payload->'content'->'m.new_content') = 'object'
        returning t.payload
        """,
        edit_id,
        target_id,
    )


async def running(connection: Connection, lane: str) -> int | None:
    """The turn that runs in the lane, or waits there for a human's yes."""
    found: int | None = await connection.fetchval(
        """
        select t.id from turns t join inbox i using (id)
        where i.lane = $1 and i.done_at is null and t.state in ('running', 'parked')
        for update of i
        """,
        lane,
    )
    return found


async def stop(connection: Connection, lane: str, turn_id: int) -> None:
    """End a running turn because the human said so; its open calls are answered with that."""
    await end(connection, turn_id)
    await queue.abort(connection, lane)


async def end(connection: Connection, turn_id: int, why: str = "stopped by the human") -> None:
    """The same for a turn that nobody works on at the moment."""
    await approvals.close(connection, turn_id)
    await unask(connection, turn_id)
    await connection.execute(
        "update turns set state = 'stopped', ended_at = now() where id = $1", turn_id
    )
    await connection.execute("update inbox set done_at = now() where id = $1", turn_id)
    await connection.execute(
        """
        insert into messages (session_id, turn_id, role, text, call_id, failed, tokens)
        select m.session_id, m.turn_id, 'tool', $2 || '.', c->>'id', true, 10
        from messages m, jsonb_array_elements(m.calls) c
        where m.id = (select max(id) from messages where turn_id = $1 and role = 'assistant')
          and not exists (select from messages r
                          where r.turn_id = $1 and r.id > m.id and r.call_id = c->>'id')
        """,
        turn_id,
        why.capitalize(),
    )
    await connection.execute(
        """
        insert into messages (session_id, turn_id, role, text, tokens)
        select session_id, id, 'assistant', '(' || $2 || ')', 10 from turns where id = $1
        """,
        turn_id,
        why,
    )


async def unask(connection: Connection, turn_id: int) -> None:
    """Let nobody work any more on what a turn has asked other agents; the turn's row is locked."""
    for asked in await consultations.open_of(connection, turn_id):
        if await consultations.lock(connection, asked.item_id or 0) is None:
            continue
        await consultations.settle(connection, asked, "withdrawn", "")
        await drop(connection, asked)


async def drop(connection: Connection, asked: Consultation) -> None:
    """End the asked agent's turn on a question that nobody waits for any more."""
    item_id = asked.item_id or 0
    lane = await connection.fetchval("select lane from inbox where id = $1", item_id)
    row = await connection.fetchrow(
        "select state, attempts from turns join inbox using (id) where id = $1", item_id
    )
    if row is None:
        await inbox.finish(connection, item_id, "nobody waits for the answer")
    elif row["state"] == "running" and row["attempts"]:
        await stop(connection, lane, item_id)
    elif row["state"] in ("running", "parked"):
        # Parked, or free to go on and not taken up yet: what the lane does now is another's.
        await end(connection, item_id)


async def give_up_draft(pool: Pool, turn_id: int, lane: str, text: str) -> None:
    """Close the draft of a turn that was stopped, with what stands in it."""
    await pool.execute(
        """
        insert into outbox (turn_id, lane, room_id, agent, thread, kind, text, replaces)
        select d.turn_id, $2, d.room_id, d.agent, d.thread, 'text', $3, d.id
        from outbox d join turns t on t.id = d.turn_id
        where d.turn_id = $1 and d.kind = 'draft' and t.state = 'stopped'
        """,
        turn_id,
        lane,
        clean(text),
    )
    await queue.wake(pool, lane)


async def restart(connection: Connection, lane: str, turn_id: int) -> None:
    """Let a running turn begin again, with what its human has said and nothing else."""
    await approvals.close(connection, turn_id)
    await unask(connection, turn_id)
    await consultations.forget(connection, turn_id)
    await connection.execute("update turns set state = 'running' where id = $1", turn_id)
    await connection.execute("delete from messages where turn_id = $1 and role <> 'user'", turn_id)
    await queue.abort(connection, lane)


async def resay(
    connection: Connection, turn_id: int, event_id: str, message: tuple[Message, int]
) -> None:
    """Give a human's message of a turn other words."""
    await connection.execute(
        "update messages set text = $3, tokens = $4 where turn_id = $1 and event_id = $2",
        turn_id,
        event_id,
        clean(message[0].text),
        message[1],
    )


async def others(connection: Connection, turn_id: int, event_id: str) -> bool:
    """Whether the turn answers another message too."""
    return bool(
        await connection.fetchval(
            """
            select exists (select from messages where turn_id = $1 and role = 'user'
                           and event_id <> $2 and text <> $3)
            """,
            turn_id,
            event_id,
            conversations.WITHDRAWN,
        )
    )


async def withdraw(connection: Connection, lane: str, turn_id: int) -> None:
    """Take a running turn back: its messages, and what of it stands in the room."""
    await approvals.forget(connection, turn_id)
    await unask(connection, turn_id)
    await consultations.forget(connection, turn_id)
    await connection.execute(
        "update turns set state = 'withdrawn', ended_at = now() where id = $1", turn_id
    )
    await connection.execute("update inbox set done_at = now() where id = $1", turn_id)
    await connection.execute("delete from messages where turn_id = $1", turn_id)
    await connection.execute(
        """
        with unsent as (
            update outbox set failed = 'withdrawn'
            where turn_id = $1 and sent_at is null and failed is null)
        insert into outbox (lane, room_id, agent, kind, target)
        select $2, o.room_id, o.agent, 'redaction', s.event_id
        from outbox o join sent s on s.outbox_id = o.id
        where o.turn_id = $1 and (o.kind in ('draft', 'text') or o.once is not null)
            or o.kind = 'notice' and coalesce(o.replaces, o.id) in (
                select question_id from approvals where turn_id = $1)
        """,
        turn_id,
        lane,
    )
    await queue.abort(connection, lane)


async def blank(connection: Connection, room_id: str, event_id: str) -> None:
    """Take the words of a message out of what models will see, and out of the inbox."""
    await connection.execute(
        """
        update messages set text = $3, tokens = 10
        where event_id = $1 and session_id in (select id from sessions where room_id = $2)
        """,
        event_id,
        room_id,
        conversations.WITHDRAWN,
    )
    await conversations.changed(connection, room_id, [event_id])
    await passages.forget_event(connection, room_id, event_id)
    await connection.execute(
        """
        update inbox set payload = payload - 'content'
        where event_id = $1 and room_id = $2 and kind in ('message', 'command', 'admin')
        """,
        event_id,
        room_id,
    )


async def done(connection: Connection, edit_id: int) -> None:
    """An edit is done: its words stand where they belong, and nowhere else."""
    await connection.execute(
        "update inbox set done_at = now(), payload = payload - 'content' where id = $1", edit_id
    )
