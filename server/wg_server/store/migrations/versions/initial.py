"""The tables of 0.1.0."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:  # long: one call for each table
    """Make the tables."""
    op.create_table(
        "campaign",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("epsilon", sa.String(40), nullable=False),
        sa.Column("delta", sa.String(40), nullable=False),
        sa.Column("encoder", sa.String(64), nullable=False),
        sa.Column("collect_seconds", sa.Float, nullable=False),
        sa.Column("deliver_seconds", sa.Float, nullable=False),
        sa.Column("min_sites", sa.Integer, nullable=False),
        sa.Column("grace_seconds", sa.Float, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("paused_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("finished", sa.Float),
        sa.Column("generator", sa.String(64), nullable=False),
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
        "operator",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("removed", sa.Float),
    )
    op.create_table(
        "operator_log",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("operator", sa.String(100), nullable=False),
        sa.Column("through", sa.String(16), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.create_table(
        "pool",
        sa.Column("generator", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("sites", sa.BigInteger, nullable=False),
        sa.Column("changes", sa.BigInteger, nullable=False),
        sa.Column("judged", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "pool_tree",
        sa.Column("generator", sa.String(64), primary_key=True),
        sa.Column("root", sa.String(64), primary_key=True),
        sa.Column("sums", sa.Text, nullable=False),
    )
    op.create_table(
        "pooled",
        sa.Column("generator", sa.String(64), primary_key=True),
        sa.Column("release_id", sa.String(64), primary_key=True),
        sa.Column("added", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("site", sa.String(63), nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("noise", sa.Float, nullable=False),
        sa.Column("used", sa.Boolean, nullable=False),
        sa.Column("removed", sa.BigInteger, nullable=False),
    )
    op.create_index("pooled_by_kind", "pooled", ["generator", "kind"])
    op.create_index("pooled_by_site", "pooled", ["generator", "site"])
    op.create_table(
        "site",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("node_key", sa.Text, nullable=False),
        sa.Column("signing_key", sa.String(64), nullable=False),
        sa.Column("ledger_origin", sa.Text, nullable=False),
        sa.Column("ledger_key", sa.Text, nullable=False),
        sa.Column("enrolled", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("pins", sa.Text, nullable=False),
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
        "join_token",
        sa.Column("secret_sha256", sa.String(64), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("used", sa.Float),
        sa.Column("keys_sha256", sa.String(64), nullable=False),
    )
    op.create_table(
        "log",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("genesis", sa.String(64), nullable=False),
        sa.Column("predecessor", sa.Text, nullable=False),
        sa.Column("predecessor_checkpoint", sa.Text, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
    )
    op.create_index("log_by_site", "log", ["site", "first_seen"])
    op.create_table(
        "replaced_log",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("replaced_log_by_site", "replaced_log", ["site"])
    op.create_table(
        "release",
        sa.Column("release_id", sa.String(64), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("encoder", sa.String(64), nullable=False),
        sa.Column("epsilon", sa.String(40), nullable=False),
        sa.Column("delta", sa.String(40), nullable=False),
        sa.Column("received", sa.Float, nullable=False),
        sa.Column("signing_key", sa.String(64), nullable=False),
        sa.Column("standing", sa.String(16), nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("release_by_site", "release", ["site", "received"])
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
        sa.Column("opened", sa.Float, nullable=False),
        sa.Column("asked", sa.Float, nullable=False),
        sa.Column("answered", sa.Float, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("served", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("figure", sa.Float, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("bytes_received", sa.BigInteger, nullable=False),
        sa.Column("bytes_sent", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_table(
        "trouble",
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), primary_key=True),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("figure", sa.Float, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
    )
    op.create_table(
        "witness",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
