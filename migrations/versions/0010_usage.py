"""What model calls take in tokens and money, a row each, and which budgets ran short."""

from typing import Any

from alembic import op

revision = "0010"
down_revision = "0009"

UP = """
create table usage (
    id uuid primary key,                -- chosen by whoever asks the model
    at timestamptz not null default now(),      -- when it was asked: the day that this counts for
    -- No foreign keys: what was spent stays, whatever becomes of the agent and the conversation.
    agent text not null,
    room_id text not null,
    turn_id bigint,
    model text not null,                -- its name in the configuration
    provider text not null,
    purpose text not null check (purpose in ('turn', 'condense', 'upkeep', 'draft', 'test')),
    prompt_tokens bigint not null check (prompt_tokens >= 0),
    completion_tokens bigint not null check (completion_tokens >= 0),
    cost numeric check (cost >= 0 and cost < 'infinity'),  -- US dollars; null where nobody knows
    estimated boolean not null,         -- the tokens are our guess
    failed boolean not null default false,
    ended_at timestamptz                -- null: it runs, or its process died; as it was reserved
);
create index usage_at on usage (at) include (agent, prompt_tokens, completion_tokens, cost);

-- A limit that was nearly or quite reached, and told so: once a day, whoever sees it first.
create table budget_notices (
    day date not null,
    agent text not null,                -- '': all agents together
    measure text not null check (measure in ('tokens', 'cost')),
    amount double precision not null,   -- another one in the configuration is told anew
    level int not null,                 -- percent
    told_at timestamptz not null default now(),
    primary key (day, agent, measure, amount, level)
);

-- What was spent today in the time zone `zone`, in all and by the agent `who`. With `hold` nobody
-- else gets an answer before this transaction has ended: a statement that reserves by it sees all
-- earlier reservations, since each query of a volatile function has a snapshot of its own.
create function memtrix_spent(zone text, who text, hold boolean)
returns table (day date, ends_at timestamptz, tokens bigint, cost double precision,
    agent_tokens bigint, agent_cost double precision)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    today date := (now() at time zone zone)::date;
    begins timestamptz := today::timestamp at time zone zone;
    ends timestamptz := (today + 1)::timestamp at time zone zone;
begin
    if hold then
        -- A reservation need not outlive a power cut, and so nobody waits for the disk.
        perform set_config('synchronous_commit', 'off', true);
        perform pg_advisory_xact_lock(1297612803);     -- 0x4D580003
    end if;
    return query select today, ends,
        coalesce(sum(u.prompt_tokens + u.completion_tokens), 0)::bigint,
        coalesce(sum(u.cost), 0)::double precision,
        coalesce(sum(u.prompt_tokens + u.completion_tokens)
            filter (where u.agent = who), 0)::bigint,
        coalesce(sum(u.cost) filter (where u.agent = who), 0)::double precision
    from usage u where u.at >= begins and u.at < ends;
end $$;
"""

DOWN = """
drop function memtrix_spent;
drop table budget_notices, usage;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
