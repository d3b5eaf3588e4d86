"""Calls that wait for a human's yes, turns that are parked meanwhile, and standing permissions."""

from typing import Any

from alembic import op

revision = "0004"
down_revision = "0003"

UP = """
-- A parked turn waits for a human; its lane waits with it, and nothing else does.
alter table turns drop constraint turns_state_check;
alter table turns add constraint turns_state_check check
    (state in ('running', 'parked', 'done', 'failed', 'stopped', 'withdrawn'));
alter table turns add said_to bigint not null default 0;    -- message whose words stand in the room
create index turns_parked on turns (id) where state = 'parked';

-- 'reaction': an emoji (text) on the event that the row `replaces` became.
alter table outbox drop constraint outbox_kind_check;
alter table outbox add constraint outbox_kind_check check
    (kind in ('text', 'notice', 'draft', 'redaction', 'leave', 'reaction'));

create table approvals (
    id bigint generated always as identity primary key,
    turn_id bigint not null references turns,
    message_id bigint references messages on delete set null,   -- that asked for the call
    call_id text not null,
    agent text not null references agents on update cascade,
    room_id text not null,
    tool text not null,
    arguments jsonb not null,                   -- frozen: only a call with these may run
    question text not null,                     -- as shown, without how to answer it
    question_id bigint not null unique references outbox,
    asked text not null,                        -- the human who caused the turn
    state text not null default 'open'
        check (state in ('open', 'approved', 'denied', 'expired', 'withdrawn')),
    asked_at timestamptz not null default now(),
    expires_at timestamptz not null,
    answered_at timestamptz,
    answered_by text,
    told text[] not null default '{}'           -- who was told that the answer is not theirs
);
create unique index approvals_call on approvals (message_id, call_id);
create index approvals_turn on approvals (turn_id);
create index approvals_due on approvals (expires_at) where state = 'open';
create index approvals_open on approvals (room_id, agent) where state = 'open';

-- "Always for this tool in this room".
create table permissions (
    id bigint generated always as identity primary key,
    agent text not null references agents on update cascade on delete cascade,
    room_id text not null,
    tool text not null,
    given_by text not null,
    given_at timestamptz not null default now(),
    unique (agent, room_id, tool)
);
"""

DOWN = """
drop table permissions, approvals;
delete from outbox where kind = 'reaction';
alter table outbox drop constraint outbox_kind_check;
alter table outbox add constraint outbox_kind_check check
    (kind in ('text', 'notice', 'draft', 'redaction', 'leave'));
update turns set state = 'running' where state = 'parked';
drop index turns_parked;
alter table turns drop said_to;
alter table turns drop constraint turns_state_check;
alter table turns add constraint turns_state_check check
    (state in ('running', 'done', 'failed', 'stopped', 'withdrawn'));
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
