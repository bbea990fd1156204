"""Migration of the store: the classes that each pooled release agrees on.

Every pool is judged again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column for the classes that a release agrees on; have every pool judged again."""
    op.add_column("pooled", sa.Column("behind", sa.Text(), nullable=False, server_default="[]"))
    op.execute("UPDATE pool SET judged = 0")
