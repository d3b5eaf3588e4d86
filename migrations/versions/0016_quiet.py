"""Work in the background is told when a lane is done, in place of looking."""

from typing import Any

from alembic import op

revision = "0016"
down_revision = "0012"

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
"""

DOWN = """
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
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
