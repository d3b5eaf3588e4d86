"""Agents, rooms, the inbox, turns, sessions, the outbox, and the engine that wakes lanes."""

from typing import Any

from alembic import op
from procrastinate import App, PsycopgConnector

revision = "0001"
down_revision = None

TABLES = """
create extension if not exists vector;

create table agents (
    name text primary key,              -- also the middle of its user id
    user_id text not null unique,
    display_name text not null,
    main boolean not null default false,
    model text not null,                -- a key of the configuration's models
    "verbose" boolean not null default false,
    reasoning boolean not null default false,
    shown_name text,                    -- the display name the homeserver was last told
    created_at timestamptz not null default now()
);
create unique index agents_one_main on agents (main) where main;

create table rooms (
    room_id text primary key,
    synced boolean not null default false,      -- members below are complete
    told_encrypted boolean not null default false
);
create table members (                  -- who is joined; nobody else
    room_id text not null references rooms on delete cascade,
    user_id text not null,
    display_name text,
    primary key (room_id, user_id)
);
create index members_user on members (user_id);

-- Every event id ever taken in: what a homeserver repeats is known by it.
create table events (
    event_id text primary key,
    received_at timestamptz not null default now()
);

-- A lane is what must happen in order: 'agent room' for turns, '!agent room' and '! room' for
-- what overtakes them, '* room' for events of a room whose members are not known yet.
create table inbox (
    id bigint generated always as identity primary key,
    lane text not null,
    kind text not null,
    room_id text not null,
    agent text not null default '',
    event_id text,
    payload jsonb not null,
    received_at timestamptz not null default now(),
    attempts int not null default 0,
    done_at timestamptz,
    error text
);
create index inbox_waiting on inbox (lane, id) where done_at is null;
create unique index inbox_event on inbox (event_id, kind, agent) where event_id is not null;

create table sessions (
    id bigint generated always as identity primary key,
    agent text not null references agents on update cascade,
    room_id text not null,
    summary text not null default '',   -- of the messages up to condensed_to
    condensed_to bigint not null default 0,
    started_at timestamptz not null default now(),
    ended_at timestamptz
);
create unique index sessions_open on sessions (agent, room_id) where ended_at is null;

create table turns (
    id bigint primary key references inbox,     -- the message that asked for it
    session_id bigint not null references sessions,
    event_id text not null,
    sender text not null,
    thread text,
    state text not null default 'running'
        check (state in ('running', 'done', 'failed', 'stopped', 'withdrawn')),
    error text,
    started_at timestamptz not null default now(),
    ended_at timestamptz
);
create index turns_running on turns (session_id) where state = 'running';

create table messages (
    id bigint generated always as identity primary key,
    session_id bigint not null references sessions,
    turn_id bigint references turns,
    role text not null check (role in ('user', 'assistant', 'tool')),
    text text not null default '',
    reasoning text not null default '',
    calls jsonb not null default '[]',
    call_id text,
    failed boolean not null default false,
    tokens int not null default 0,              -- an estimate, for fitting a session to a model
    event_id text,
    model text,
    prompt_tokens int,
    completion_tokens int,
    cost double precision,                      -- US dollars
    created_at timestamptz not null default now()
);
create index messages_session on messages (session_id, id) include (turn_id, tokens);
create index messages_turn on messages (turn_id);
create index messages_event on messages (event_id) where event_id is not null;

-- A call with effects is noted before it runs; one noted and unanswered was cut by a crash.
create table started_calls (
    message_id bigint not null references messages on delete cascade,
    call_id text not null,
    primary key (message_id, call_id)
);

create table outbox (
    id bigint generated always as identity primary key,
    key uuid not null unique default gen_random_uuid(),     -- names it to the homeserver, for ever
    lane text not null,
    room_id text not null,
    agent text not null,
    turn_id bigint references turns,
    kind text not null check (kind in ('text', 'notice', 'draft', 'redaction', 'leave')),
    text text not null default '',
    thread text,
    reply_to text,
    replaces bigint references outbox,          -- the draft that this completes
    target text,                                -- kind 'redaction': the event
    attempts int not null default 0,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    failed text
);
create index outbox_waiting on outbox (lane, id) where sent_at is null and failed is null;
create unique index outbox_draft on outbox (turn_id) where kind = 'draft';
create index outbox_thread on outbox (room_id, thread) where thread is not null;
create index outbox_replaces on outbox (replaces) where replaces is not null;

create table sent (                             -- the events that an outbox row became
    event_id text primary key,
    outbox_id bigint not null references outbox,
    part int not null
);
create index sent_outbox on sent (outbox_id, part);
"""

# The engine looks for work when it is told of a new job. A job that waited for its lock is
# not new, so without this it would be found by the next poll only, seconds later.
RING = """
create function memtrix_ring() returns trigger language plpgsql as $$
begin
    if exists (select from procrastinate_jobs where lock = old.lock and status = 'todo') then
        perform pg_notify('procrastinate_any_queue_v1',
            json_build_object('type', 'job_inserted', 'job_id', old.id)::text);
    end if;
    return null;
end $$;
create trigger memtrix_ring after delete on procrastinate_jobs
    for each row when (old.status = 'doing' and old.lock is not null)
    execute function memtrix_ring();
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    connection = raw()
    connection.execute(TABLES)
    connection.execute(App(connector=PsycopgConnector()).schema_manager.get_schema())
    connection.execute(RING)


def downgrade() -> None:
    raw().execute("""
        drop table sent, outbox, started_calls, messages, turns, sessions, inbox, events, members,
            rooms, agents cascade;
        drop function memtrix_ring cascade;
        drop table procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs,
            procrastinate_workers cascade;
        drop type procrastinate_job_to_defer_v1, procrastinate_job_status,
            procrastinate_job_event_type cascade;
        do $$ declare f text; begin
            for f in select oid::regprocedure from pg_proc where proname like 'procrastinate%'
            loop execute 'drop function ' || f || ' cascade'; end loop; end $$;
    """)
