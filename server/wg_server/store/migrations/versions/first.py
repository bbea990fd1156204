"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:  # long: a migration, as it was
    """Make the tables."""
    op.create_table(
        "site",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("node_key", sa.Text, nullable=False),
        sa.Column("signing_key", sa.String(64), nullable=False),
        sa.Column("ledger_origin", sa.Text, nullable=False),
        sa.Column("ledger_key", sa.String(64), nullable=False),
        sa.Column("enrolled", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
    )
    op.create_table(
        "join_token",
        sa.Column("secret_sha256", sa.String(64), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("used", sa.Float),
    )
    op.create_table(
        "certificate",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("revoked", sa.Float),
    )
    op.create_index("certificate_by_site", "certificate", ["site"])
    op.create_table(
        "witness",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("received", sa.Float, nullable=False),
        sa.Column("earlier", sa.LargeBinary, nullable=False),
        sa.Column("later", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "release",
        sa.Column("release_id", sa.String(64), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("encoder", sa.String(64), nullable=False),
        sa.Column("epsilon", sa.String(40), nullable=False),
        sa.Column("delta", sa.String(40), nullable=False),
        sa.Column("received", sa.Float, nullable=False),
        sa.Column("signing_key", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("release_by_site", "release", ["site", "received"])
    op.create_table(
        "campaign",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("epsilon", sa.String(40), nullable=False),
        sa.Column("delta", sa.String(40), nullable=False),
        sa.Column("encoder", sa.String(64), nullable=False),
        sa.Column("collect_until", sa.Float, nullable=False),
        sa.Column("deliver_until", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("finished", sa.Float),
    )
    op.create_table(
        "task",
        sa.Column("campaign", sa.String(32), sa.ForeignKey("campaign.id"), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), primary_key=True),
        sa.Column("query_id", sa.String(32), nullable=False, unique=True),
        sa.Column("delivery_id", sa.String(32), nullable=False, unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("release_id", sa.String(64), nullable=False),
        sa.Column("package_sha256", sa.String(64), nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("bytes_received", sa.BigInteger, nullable=False),
        sa.Column("bytes_sent", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
