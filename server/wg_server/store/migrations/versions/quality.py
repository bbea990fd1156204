"""Campaigns that ask about the packages of another one, and what sites answered."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add what is new; every campaign of before is about no other."""
    about = sa.Column("about", sa.String(32), nullable=False, server_default=sa.text("''"))
    op.add_column("campaign", about)
    op.create_table(
        "quality",
        sa.Column("campaign", sa.String(32), sa.ForeignKey("campaign.id"), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), primary_key=True),
        sa.Column("delivery_id", sa.String(32), nullable=False),
        sa.Column("package_id", sa.String(32), nullable=False),
        sa.Column("package_sha256", sa.String(64), nullable=False),
        sa.Column("conditioned", sa.Integer, nullable=False),
        sa.Column("candidates", sa.Text, nullable=False),
        sa.Column("received", sa.Float, nullable=False),
        sa.Column("signing_key", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("quality_by_site", "quality", ["site", "received"])
