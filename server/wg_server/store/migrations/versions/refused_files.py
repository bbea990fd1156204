"""Migration of the store: the table of files that the server's witness refused, for auditors."""

import sqlalchemy as sa
from alembic import op

from wg_core.wire import protocol

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of refused files."""
    op.create_table(
        "refused_file",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("origin", sa.String(protocol.ORIGIN_CHARACTERS_LIMIT), nullable=False),
        sa.Column("received", sa.Float, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("refused_file_by_origin", "refused_file", ["origin"])
