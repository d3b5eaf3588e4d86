"""Which messages brought text from outside, and what may be done after it without asking."""

from typing import Any

from alembic import op

revision = "0005"
down_revision = "0004"

UP = """
-- Where the text of a tool's result comes from, if it comes from outside: "fetch_url: …".
alter table messages add outside text not null default '';
create index messages_outside on messages (session_id, id) where outside <> '';

-- Asked because text from outside stood before the model; "always" then holds after such text too.
alter table approvals add wary boolean not null default false;
alter table permissions add wary boolean not null default false;
"""

DOWN = """
alter table permissions drop wary;
alter table approvals drop wary;
drop index messages_outside;
alter table messages drop outside;
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
