"""What a campaign asks for, and what a release is of: until here, of classes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_CLASSES = "classes"


def upgrade() -> None:
    """Add the columns; in SQLite that of releases stands before their bytes, as in a new store."""
    for table, place in (("campaign", {}), ("release", {"insert_before": "data"})):
        with op.batch_alter_table(table, recreate="auto" if place else "never") as batch:
            column = sa.Column("statistics", sa.String(16), nullable=False, server_default=_CLASSES)
            batch.add_column(column, **place)
