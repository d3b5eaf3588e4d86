"""Files that came with messages: where they are, and who was there when they came."""

from typing import Any

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
create table attachments (
    event_id text not null,
    agent text not null references agents on update cascade on delete cascade,
    room_id text not null,
    path text not null,             -- below the agent's workspace
    name text not null,             -- as its sender calls it
    mimetype text not null,         -- as its bytes tell
    size bigint not null,
    people text[] not null,         -- who may know it
    saved_at timestamptz not null default now(),
    primary key (event_id, agent)
);
create index attachments_path on attachments (agent, lower(normalize(path, nfkc)));

-- A message that is answered together with an earlier one of the same sender.
alter table inbox add joined_to bigint references inbox on delete cascade;
create index inbox_joined on inbox (joined_to) where joined_to is not null;
"""

DOWN = """
drop index inbox_joined;
alter table inbox drop joined_to;
drop table attachments;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
