"""The management room, its questions before what is dangerous, and tools that are off."""

from typing import Any

from alembic import op

revision = "0011"
down_revision = "0010"

UP = """
-- The room in which administrators give orders: the one behind `management.room`.
create table management (
    one boolean primary key default true check (one),
    room_id text not null,
    alias text not null,
    invited text[] not null default '{}',       -- administrators who were asked in, once
    told text[] not null default '{}'           -- others who were told that it is not for them
);

-- An order that is carried out only after a yes. What it will do is frozen in `details`.
create table confirmations (
    id bigint generated always as identity primary key,
    room_id text not null,
    agent text not null references agents on update cascade,
    command text not null,
    details jsonb not null,
    question text not null,                     -- as shown, without how to answer it
    question_id bigint not null unique references outbox,
    asked text not null,                        -- the administrator who gave the order
    state text not null default 'open'
        check (state in ('open', 'going', 'done', 'failed', 'denied', 'expired', 'withdrawn')),
    item_id bigint unique references inbox on delete set null,      -- the yes
    asked_at timestamptz not null default now(),
    expires_at timestamptz not null,
    answered_at timestamptz,
    answered_by text
);
create index confirmations_due on confirmations (expires_at) where state = 'open';

create table disabled_tools (
    tool text not null,
    agent text not null default '',             -- '' is every agent, also those to come
    disabled_by text not null,
    disabled_at timestamptz not null default now(),
    primary key (tool, agent)
);

-- A room id has up to 255 characters; nobody wants to type it.
alter table rooms add number int generated always as identity unique;
"""

DOWN = """
alter table rooms drop number;
drop table disabled_tools, confirmations, management;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
