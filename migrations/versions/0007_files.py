"""Files and reactions that tools put into a room, each at most once a turn."""

from typing import Any

from alembic import op

revision = "0007"
down_revision = "0006"

UP = """
-- 'file': an event whose finished content is kept; 'reaction': an emoji (text) on `target`, or on
-- the event that the row `replaces` became.
alter table outbox drop constraint outbox_kind_check;
alter table outbox add constraint outbox_kind_check check
    (kind in ('text', 'notice', 'draft', 'redaction', 'leave', 'reaction', 'file'));
alter table outbox add content jsonb;
-- What a tool asked for, so that a call repeated after a crash puts nothing in a second time.
alter table outbox add once text;
create unique index outbox_once on outbox (turn_id, once) where once is not null and failed is null;
"""

DOWN = """
delete from sent where outbox_id in (select id from outbox where kind = 'file');
delete from outbox where kind = 'file';
drop index outbox_once;
alter table outbox drop once, drop content;
alter table outbox drop constraint outbox_kind_check;
alter table outbox add constraint outbox_kind_check check
    (kind in ('text', 'notice', 'draft', 'redaction', 'leave', 'reaction'));
"""


def raw() -> Any:
    """psycopg's own connection: it takes many statements at once, and a % as it stands."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    raw().execute(UP)


def downgrade() -> None:
    raw().execute(DOWN)
