"""Releases say which classes they stand behind; every kind is judged anew at its next change."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, and let each sum count as never judged."""
    op.add_column("pooled", sa.Column("behind", sa.Text(), nullable=False, server_default="[]"))
    op.execute("UPDATE pool SET judged = 0")
