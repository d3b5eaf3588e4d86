"""Passages of the memory, their words with the statistics that BM25 needs, and their vectors."""

from typing import Any

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
-- One row per agent: the size of its memory, which is also the lock of those who write it.
create table memories (
    agent text primary key references agents on update cascade on delete cascade,
    passages int not null default 0,
    length bigint not null default 0            -- words of all of them
);

create table audiences (                        -- sets of humans who were present
    id int generated always as identity primary key,
    people text[] not null unique               -- user ids, sorted
);

create table passages (
    id int generated always as identity primary key,
    agent text not null references agents on update cascade on delete cascade,
    source text not null,                       -- the text it was cut from
    start int not null,                         -- place of its first part in the source
    day date not null,
    heading text not null default '',
    parts text[] not null,                      -- lines, or messages
    indexed text not null,                      -- what an embedding is made of
    first_line int,
    last_line int,
    messages bigint[] not null default '{}',    -- for each part
    events text[] not null default '{}',        -- for each part, '' where there is none
    room_id text,
    audience int not null references audiences,
    hash bytea not null,
    words int[] not null,                       -- ids of its terms, each once: to find its postings
    length int not null,
    created_at timestamptz not null default now()
);
create index passages_source on passages (agent, source, start);
create index passages_seen on passages (id) include (audience, day);    -- filters without the text

create table terms (
    id int generated always as identity primary key,
    agent text not null references agents on update cascade on delete cascade,
    term text not null,
    passages int not null default 0,            -- that have it
    unique (agent, term)
) with (fillfactor = 50);                       -- each write counts its words anew, in place

-- No foreign keys: the passages' trigger keeps it, and each would be checked sixty times a write.
-- real, because sums of int or numeric cost a query several times as much.
create table postings (
    term int not null,
    passage int not null,
    count real not null,
    length real not null,                       -- of the passage
    primary key (term, passage) include (count, length)
);

create table spaces (                           -- an embedding model, as it was when it was used
    id int generated always as identity primary key,
    model text not null,
    dimensions int not null,
    background double precision not null,       -- the cosine of texts that have nothing in common
    created_at timestamptz not null default now(),
    complete_at timestamptz                     -- when every passage first had its vector here
);

-- Narrow, and never out of line: an exact search reads all of an agent's vectors.
create table vectors (
    passage int not null references passages on delete cascade,
    space int not null references spaces on delete cascade,
    agent text not null references agents on update cascade on delete cascade,
    audience int not null,
    day date not null,
    vector halfvec not null,
    primary key (passage, space)
);
alter table vectors alter vector set storage plain;
create index vectors_agent on vectors (agent, space);
"""

# However a passage goes, its words go in the same transaction. Whoever deletes passages takes
# the lock on `memories` first, as those who add do; else the two could wait for each other.
FORGET = """
create function memtrix_forget() returns trigger language plpgsql as $$
begin
    delete from postings p using (select id, unnest(words) as term from gone) g
    where p.term = g.term and p.passage = g.id;
    update terms t set passages = t.passages - g.n
    from (select unnest(words) as id, count(*) as n from gone group by 1) g where t.id = g.id;
    delete from terms t using (select distinct unnest(words) as id from gone) g
    where t.id = g.id and t.passages <= 0;
    update memories m set passages = m.passages - g.n, length = m.length - g.length
    from (select agent, count(*) as n, sum(length) as length from gone group by agent) g
    where m.agent = g.agent;
    return null;
end $$;
create trigger memtrix_forget after delete on passages referencing old table as gone
    for each statement execute function memtrix_forget();
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    connection = raw()
    connection.execute(TABLES)
    connection.execute(FORGET)


def downgrade() -> None:
    raw().execute("""
        drop table vectors, spaces, postings, terms, passages, audiences, memories cascade;
        drop function memtrix_forget cascade;
    """)
