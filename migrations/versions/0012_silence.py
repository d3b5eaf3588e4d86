"""Who was told that a message waits, what is tried again, rooms that took nothing."""

from typing import Any

from alembic import op

revision = "0012"
down_revision = "0011"

UP = """
alter table inbox
    -- When a message that waits was last seen to be in hand; infinity once its human was told.
    add watched_at timestamptz,
    add retry int not null default 0;           -- how often its human has had it tried again
drop index inbox_event;
create unique index inbox_event on inbox (event_id, kind, agent, retry) where event_id is not null;

-- Where words of an agent could not be delivered, as the operators were last told.
create table undeliverable (
    room_id text not null,
    agent text not null,
    cause text not null,
    told_at timestamptz not null default now(),
    primary key (room_id, agent, cause)
);
"""

DOWN = """
drop table undeliverable;
-- What stood in line once more falls back to its first try.
update inbox set event_id = null where retry > 0;
drop index inbox_event;
create unique index inbox_event on inbox (event_id, kind, agent) where event_id is not null;
alter table inbox drop retry, drop watched_at;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
