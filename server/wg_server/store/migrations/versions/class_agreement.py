"""Migration of the store: the classes that each pooled release agrees on.

In every pool, all releases are compared with their peers again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column of classes on which a release agrees with its peers; reset comparisons."""
    op.add_column("pooled", sa.Column("behind", sa.Text(), nullable=False, server_default="[]"))
    op.execute("UPDATE pool SET judged = 0")
