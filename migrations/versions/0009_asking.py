"""Questions that a tool asks in the middle of a call."""

from typing import Any

from alembic import op

revision = "0009"
down_revision = "0008"

UP = """
-- 0: whether the call may run; from 1 on: what the tool asked while it ran, in order.
alter table approvals add ordinal int not null default 0;
drop index approvals_call;
create unique index approvals_call on approvals (message_id, call_id, ordinal);

-- The tool waits for its answer, in whatever process that is taken in.
create function memtrix_answered() returns trigger language plpgsql as $$
begin
    perform pg_notify('memtrix_answers', '');
    return null;
end $$;
create trigger memtrix_answered after update of state on approvals
    for each row when (new.ordinal > 0 and old.state = 'open')
    execute function memtrix_answered();
"""

DOWN = """
drop trigger memtrix_answered on approvals;
drop function memtrix_answered;
drop index approvals_call;
delete from approvals where ordinal > 0;
create unique index approvals_call on approvals (message_id, call_id);
alter table approvals drop ordinal;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
