"""Whether a release may be used: its standing, and why it may not.

Releases of before were never tested: they are when their memory is first asked for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    for column in (sa.Column("standing", sa.String(16)), sa.Column("reasons", sa.Text)):
        op.add_column("release", column)
    op.execute(sa.text("UPDATE release SET standing = 'untested', reasons = ''"))
    with op.batch_alter_table("release") as table:
        table.alter_column("standing", existing_type=sa.String(16), nullable=False)
        table.alter_column("reasons", existing_type=sa.Text, nullable=False)
