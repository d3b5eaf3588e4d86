"""Rows that nobody reads and nothing asks for any more, taken out a few pages at a time."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from memtrix_as.db.pool import Pool

PAGES = 64  # of a table, of 8 KiB each, in one statement
PAUSE = 0.05  # seconds between two statements, for whoever has more urgent things to do

RESENT = timedelta(days=30)  # after which a homeserver that repeats an event is answered anew
SPENT = timedelta(days=90)  # three times as long as the longest period that is shown
TOLD = timedelta(days=3)  # what is told once a day

# What is old in each table; $1 is how long it is kept at least. Rows of the inbox that were
# answered stay: turns and conversations hang on them.
OLD = {
    "events": "received_at < now() - $1::interval",
    "inbox": "done_at < now() - $1::interval"
    " and kind not in ('message', 'question', 'errand') and joined_to is null"
    " and not exists (select from turns where turns.id = inbox.id)",
    "started_calls": "exists (select from messages m join turns t on t.id = m.turn_id"
    " where m.id = message_id and t.ended_at < now() - $1::interval)",
    "usage": "at < now() - $1::interval",
    "usage_sums": "slot < now() - $1::interval",
    "budget_notices": "told_at < now() - $1::interval",
    "undeliverable": "told_at < now() - $1::interval",
}


def ages(resent: timedelta = RESENT) -> Mapping[str, timedelta]:
    """How long the rows of each table are kept; `resent`: those that know an event again."""
    known = max(resent, RESENT)
    return {
        "events": known, "inbox": known, "started_calls": TOLD, "usage": SPENT, "usage_sums": TOLD,
        "budget_notices": TOLD, "undeliverable": TOLD,
    }  # fmt: skip


async def prune(pool: Pool, table: str, age: timedelta) -> int:
    """Delete what is older in a table; how many rows. It waits for nobody, and nobody for it.

    Each page is looked at once, whatever is left: rows that are locked are for the next night.
    """
    pages = await pool.fetchval(
        "select pg_relation_size($1::text::regclass) / current_setting('block_size')::int", table
    )
    deleted = 0
    for first in range(0, pages, PAGES):
        told = await pool.execute(
            f"""
            delete from {table} where ctid = any(array(
                select ctid from {table} where ctid >= $2 and ctid < $3 and {OLD[table]}
                for update skip locked))
            """,
            age,
            (first, 0),
            (first + PAGES, 0),
        )
        deleted += int(told.rpartition(" ")[2])
        await asyncio.sleep(PAUSE)
    return deleted
