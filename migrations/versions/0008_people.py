"""Sub-agents: made true in Matrix, consulting each other, taken leave of."""

from typing import Any

from alembic import op

revision = "0008"
down_revision = "0007"

UP = """
-- 'leaving': it does nothing more, and goes out of its rooms; then its row goes too, or becomes
-- 'archived': its data stays, its user id is empty and may be another's.
alter table agents add state text not null default 'active'
    check (state in ('active', 'leaving', 'archived'));
alter table agents add purge boolean not null default false;    -- leaving: with all its data
alter table agents add expertise text not null default '';
alter table agents add created_by text;
alter table agents add registered boolean not null default false;   -- the homeserver has its user
alter table agents add avatar text;                             -- the mxc URI that it was given
alter table agents add configured text;                         -- main: the model in the file
update agents set configured = model where main;
alter table agents drop constraint agents_user_id_key;
create unique index agents_user on agents (user_id) where user_id <> '';

-- Counts the changes of who our agents are: whoever knows them knows which state that was.
create table world (
    one boolean primary key default true check (one),
    version bigint not null default 0
);
insert into world default values;
create function memtrix_world() returns trigger language plpgsql as $$
begin
    insert into world (version) values (1)
        on conflict (one) do update set version = world.version + 1;
    perform pg_notify('memtrix_agents', '');
    return null;
end $$;
create trigger memtrix_world after insert or delete or update of user_id, display_name, main, state,
    expertise on agents for each statement execute function memtrix_world();

-- A question of one agent to another. The caller's turn is parked until it has ended.
create table consultations (
    id bigint generated always as identity primary key,
    turn_id bigint not null references turns on delete cascade,     -- the caller's
    message_id bigint references messages on delete set null,       -- that asked for the call
    call_id text not null,
    caller text not null references agents on update cascade on delete cascade,
    asked text not null references agents on update cascade on delete cascade,
    item_id bigint references inbox on delete set null,             -- the question; also its turn
    root_id bigint not null references turns on delete cascade,     -- the human's turn behind it
    chain text[] not null,              -- who waits for the answer: from the first to the caller
    question text not null,
    outside text not null default '',   -- where text is from that the caller had read before
    state text not null default 'open' check (state in ('open', 'answered', 'failed', 'withdrawn')),
    answer text not null default '',
    answer_outside text not null default '',
    asked_at timestamptz not null default now(),
    expires_at timestamptz not null,
    answered_at timestamptz
);
create unique index consultations_call on consultations (message_id, call_id);
create index consultations_turn on consultations (turn_id);
create index consultations_item on consultations (item_id);
create index consultations_root on consultations (root_id);
create index consultations_due on consultations (expires_at) where state = 'open';

-- What an agent is told between turns, such as who asked it what; the model sees it as a note.
alter table messages add note bigint references consultations on delete cascade;
create index messages_note on messages (note) where note is not null;

-- How many agents have handed a message on before it came to this one.
alter table inbox add hops int not null default 0;

-- Whoever removes an agent removes its turns: what points to them is found by these.
create index outbox_turn on outbox (turn_id) where turn_id is not null;
create index outbox_agent on outbox (agent, id);
create index turns_session on turns (session_id);
create index persona_versions_turn on persona_versions (turn_id) where turn_id is not null;
create index journal_entries_turn on journal_entries (turn_id) where turn_id is not null;
"""

DOWN = """
drop index outbox_turn, outbox_agent, turns_session, persona_versions_turn, journal_entries_turn;
alter table inbox drop hops;
delete from messages where note is not null;
alter table messages drop note;
drop table consultations;
drop trigger memtrix_world on agents;
drop function memtrix_world;
drop table world;
drop index agents_user;
update agents set user_id = '@archived-' || name where user_id = '';
alter table agents add constraint agents_user_id_key unique (user_id);
alter table agents drop configured, drop avatar, drop registered, drop created_by,
    drop expertise, drop purge, drop state;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
