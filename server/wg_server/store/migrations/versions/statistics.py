"""What a campaign asks for, and what a release is of: until here, of classes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; in SQLite that of a release stands before its bytes, as in a new store."""
    op.add_column("campaign", _column())
    if op.get_bind().dialect.name != "sqlite":
        op.add_column("release", _column())
        return
    with op.batch_alter_table("release", recreate="always") as batch:
        batch.add_column(_column(), insert_before="data")


def _column() -> "sa.Column[str]":
    return sa.Column("statistics", sa.String(16), nullable=False, server_default="classes")
