"""Flat cost: nobody looks every second whether a lane is done, nor adds up a whole day."""

from typing import Any

from alembic import op

revision = "0014"
down_revision = "0013"

COLUMNS = "agent, at, prompt_tokens, completion_tokens, cost"
SUMS = """
        insert into usage_sums as s (agent, slot, tokens, cost)
        select whose, date_bin('15 minutes', at, 'epoch'),
            sum(sign * (prompt_tokens + completion_tokens)), sum(sign * coalesce(cost, 0))
        from ({rows}) changed cross join lateral (values ('*'), (agent)) w (whose)
        group by 1, 2 having sum(sign * (prompt_tokens + completion_tokens)) <> 0
            or sum(sign * coalesce(cost, 0)) <> 0
        order by 1, 2
        on conflict (agent, slot) do update
            set tokens = s.tokens + excluded.tokens, cost = s.cost + excluded.cost"""
ADDED = f"select 1 as sign, {COLUMNS} from added"
CHANGED = f"{ADDED} union all select -1, {COLUMNS} from gone"

UP = """
-- Upkeep lets humans go first, and goes on when they have their answer (agent/courtesy.py).
create index procrastinate_jobs_behind on procrastinate_jobs (id)
    where status = 'doing' and left(lock, 1) = '~' and substr(lock, 2, 1) in (' ', '~');

create or replace function memtrix_ring() returns trigger language plpgsql as $$
begin
    if exists (select from procrastinate_jobs where lock = old.lock and status = 'todo')
        or exists (select from procrastinate_jobs where status = 'doing'
                   and left(lock, 1) = '~' and substr(lock, 2, 1) in (' ', '~')) then
        perform pg_notify('procrastinate_any_queue_v1',
            json_build_object('type', 'job_inserted', 'job_id', old.id)::text);
    end if;
    return null;
end $$;

-- Reservations of calls that are under way, or whose process died.
create index usage_open on usage (at) where ended_at is null;

-- What calls took together, in quarters of an hour: the days of all time zones begin with one.
create table usage_sums (
    agent text not null,                -- '*': all agents together
    slot timestamptz not null,
    tokens bigint not null,
    cost numeric not null,              -- US dollars
    primary key (agent, slot)
) with (fillfactor = 50);               -- updated all the time, in place

-- Kept right by the statement that writes into usage, so that no sum is ever another than that of
-- the rows. In one order, lest two wait for each other.
create function memtrix_sum_usage() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then            -- old rows go when their sums have gone
        update usage_sums s set tokens = s.tokens - g.tokens, cost = s.cost - g.cost
        from (select whose, date_bin('15 minutes', at, 'epoch') as slot,
                sum(prompt_tokens + completion_tokens) as tokens, coalesce(sum(cost), 0) as cost
              from gone cross join lateral (values ('*'), (agent)) w (whose) group by 1, 2) g
        where s.agent = g.whose and s.slot = g.slot;
        return null;
    end if;
    if tg_op = 'INSERT' then
        ADDED;
    else
        CHANGED;
    end if;
    return null;
end $$;
create trigger memtrix_usage_added after insert on usage referencing new table as added
    for each statement execute function memtrix_sum_usage();
create trigger memtrix_usage_changed after update on usage
    referencing old table as gone new table as added
    for each statement execute function memtrix_sum_usage();
create trigger memtrix_usage_gone after delete on usage referencing old table as gone
    for each statement execute function memtrix_sum_usage();

insert into usage_sums
select whose, date_bin('15 minutes', at, 'epoch'), sum(prompt_tokens + completion_tokens),
    coalesce(sum(cost), 0)
from usage cross join lateral (values ('*'), (agent)) w (whose)
where at > now() - interval '3 days' group by 1, 2;

-- What was spent today in the time zone `zone`, in all and by the agent `who`. With `hold` nobody
-- else gets an answer before this transaction has ended: a statement that reserves by it sees all
-- earlier reservations, since each query of a volatile function has a snapshot of its own.
create or replace function memtrix_spent(zone text, who text, hold boolean)
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
        coalesce(sum(s.tokens) filter (where s.agent = '*'), 0)::bigint,
        coalesce(sum(s.cost) filter (where s.agent = '*'), 0)::double precision,
        coalesce(sum(s.tokens) filter (where s.agent = who), 0)::bigint,
        coalesce(sum(s.cost) filter (where s.agent = who), 0)::double precision
    from usage_sums s where s.agent in ('*', who) and s.slot >= begins and s.slot < ends;
end $$;
"""

DOWN = """
-- What was spent today in the time zone `zone`, in all and by the agent `who`. With `hold` nobody
-- else gets an answer before this transaction has ended: a statement that reserves by it sees all
-- earlier reservations, since each query of a volatile function has a snapshot of its own.
create or replace function memtrix_spent(zone text, who text, hold boolean)
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
drop trigger memtrix_usage_added on usage;
drop trigger memtrix_usage_changed on usage;
drop trigger memtrix_usage_gone on usage;
drop function memtrix_sum_usage;
drop table usage_sums;
drop index usage_open;
create or replace function memtrix_ring() returns trigger language plpgsql as $$
begin
    if exists (select from procrastinate_jobs where lock = old.lock and status = 'todo') then
        perform pg_notify('procrastinate_any_queue_v1',
            json_build_object('type', 'job_inserted', 'job_id', old.id)::text);
    end if;
    return null;
end $$;
drop index procrastinate_jobs_behind;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    added, changed = SUMS.format(rows=ADDED), SUMS.format(rows=CHANGED)
    raw().execute(UP.replace("ADDED", added).replace("CHANGED", changed))


def downgrade() -> None:
    raw().execute(DOWN)
