"""Persona files with their versions, journals, who was present, and what is indexed."""

from typing import Any

from alembic import op

revision = "0003"
down_revision = "0002"

UP = """
-- A B-tree takes no row over 2,700 bytes, which is some ninety people.
alter table audiences drop constraint audiences_people_key;
alter table audiences add exclude using hash (people with =);

alter table agents add recall boolean not null default true;    -- memory is shown before a turn

-- The human that USER.md is about, unless the configuration names one.
create table owner (
    one boolean primary key default true check (one),
    user_id text not null,
    admin boolean not null                      -- an administrator takes the place of who is none
);

-- The humans who were in the room: when a message was taken in, and of them those who were still
-- there when its answer was begun. Who is not among them does not know what was said.
alter table inbox add people text[];
alter table turns add people text[];
alter table turns add indexed boolean not null default false;
create index turns_unindexed on turns (id) where not indexed;
alter table sessions add journaled_to bigint not null default 0;    -- messages that upkeep saw

-- Every text that a persona file ever had.
create table persona_versions (
    id bigint generated always as identity primary key,
    agent text not null references agents on update cascade on delete cascade,  -- whose folder
    file text not null,
    text text not null,
    author text not null check (author in ('template', 'agent', 'human', 'undo')),
    turn_id bigint references turns,
    placed boolean not null default true,       -- false: stored first, on its way into the file
    created_at timestamptz not null default now()
);
create index persona_versions_file on persona_versions (agent, file, id);

-- What an agent has read in a session, as it was then: only that may it write anew.
create table looks (
    session_id bigint not null references sessions on delete cascade,
    name text not null,                         -- 'USER.md', 'journal 2026-03-18'
    hash bytea not null,
    looked_at timestamptz not null default now(),
    primary key (session_id, name)
);

-- A day's journal is its entries, so that each keeps who may know it, and where it comes from.
create table journal_entries (
    id bigint generated always as identity primary key,
    agent text not null references agents on update cascade on delete cascade,
    day date not null,
    section text not null,                      -- a heading, or '' before the first
    place double precision not null,            -- its order within the day
    text text not null,
    people text[] not null,                     -- the humans who may know it; '*' is everybody
    room_id text,
    messages bigint[] not null default '{}',    -- what it was made of
    events text[] not null default '{}',
    author text not null check (author in ('agent', 'upkeep', 'import')),
    imported boolean not null default false,    -- from a file: the same file again replaces it
    turn_id bigint references turns,
    created_at timestamptz not null default now(),
    removed_at timestamptz                      -- taken out by a rewrite; kept, and shown to nobody
);
create index journal_entries_day on journal_entries (agent, day, place) where removed_at is null;
create index journal_entries_events on journal_entries using gin (events) where removed_at is null;

-- A journal is no text with lines any more.
alter table passages drop column first_line, drop column last_line;
-- Whoever makes vectors is told of new passages, in whatever process they were written.
create function memtrix_passages() returns trigger language plpgsql as $$
begin
    perform pg_notify('memtrix_passages', '');
    return null;
end $$;
create trigger memtrix_passages after insert on passages
    for each statement execute function memtrix_passages();
"""

DOWN = """
drop function memtrix_passages cascade;
alter table passages add first_line int, add last_line int;
drop table journal_entries, looks, persona_versions, owner;
alter table sessions drop journaled_to;
alter table turns drop indexed, drop people;
alter table inbox drop people;
alter table agents drop recall;
alter table audiences drop constraint audiences_people_excl;
alter table audiences add unique (people);
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
