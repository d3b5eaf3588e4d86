"""The jobs in which an item was taken up: one that failed for no fault of it goes uncounted."""

from typing import Any

from alembic import op

revision = "0013"
down_revision = "0012"

UP = """
alter table inbox drop attempts,
    -- The jobs that took it up; what ended there for no fault of its own is taken out again.
    add attempts bigint[] not null default '{}';
"""

DOWN = """
alter table inbox drop attempts, add attempts int not null default 0;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
