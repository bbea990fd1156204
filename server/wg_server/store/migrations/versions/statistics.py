"""Migration of the store: the kind of statistics of campaigns and releases.

Earlier rows have class statistics.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns, in SQLite at the place where a new store has them."""
    op.add_column("campaign", _statistics_column())
    if op.get_bind().dialect.name != "sqlite":
        op.add_column("release", _statistics_column())
        return
    with op.batch_alter_table("release", recreate="always") as batch:
        batch.add_column(_statistics_column(), insert_before="data")


def _statistics_column() -> "sa.Column[str]":
    return sa.Column("statistics", sa.String(16), nullable=False, server_default="classes")
