"""Campaigns beside one another: spans instead of fixed ends, clocks of each site, pauses.

A campaign of before had two ends, counted from when it was queued. They become spans; a site that
was waiting keeps its end, since its clock is set to the time of queueing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_MIN_SITES = "2"
_GRACE_SECONDS = "600"


def upgrade() -> None:
    """Add what is new, fill it in, and drop the fixed ends."""
    for name in ("collect_seconds", "deliver_seconds", "started", "paused_at"):
        _add("campaign", name, sa.Float)
    _add("campaign", "min_sites", sa.Integer, _MIN_SITES)
    _add("campaign", "grace_seconds", sa.Float, _GRACE_SECONDS)
    op.execute(
        sa.text(
            "UPDATE campaign SET collect_seconds = collect_until - created,"
            " deliver_seconds = deliver_until - collect_until,"
            " started = CASE WHEN state = 'queued' THEN 0 ELSE created END"
        )
    )
    for name in ("collect_until", "deliver_until"):
        op.drop_column("campaign", name)
    for name in ("opened", "asked", "answered", "made", "figure"):
        _add("task", name, sa.Float)
    for name in ("tries", "served"):
        _add("task", name, sa.Integer)
    op.execute(
        sa.text(
            "UPDATE task SET tries = messages, opened = CASE WHEN state = 'waiting' THEN"
            " (SELECT created FROM campaign WHERE campaign.id = task.campaign) ELSE updated END,"
            " answered = CASE WHEN release_id = '' THEN 0 ELSE updated END,"
            " made = CASE WHEN package_sha256 = '' THEN 0 ELSE updated END,"
            " served = CASE WHEN state = 'delivered' THEN 1 ELSE 0 END"
        )
    )
    op.create_table(
        "trouble",
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), primary_key=True),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("figure", sa.Float, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
    )


def _add(table: str, name: str, kind: Any, value: str = "0") -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=sa.text(value)))
