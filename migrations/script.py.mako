"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute("""
    """)


def downgrade() -> None:
    op.get_bind().connection.driver_connection.execute("""
    """)
