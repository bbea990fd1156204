"""Every ledger that a site enrolled with, not only the one in use.

What a store of before knows: the ledger in use of each site, and checkpoints of earlier ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, and fill in what is known."""
    table = op.create_table(
        "log",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("site", sa.String(63), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("genesis", sa.String(64), nullable=False),
        sa.Column("predecessor", sa.Text, nullable=False),
        sa.Column("predecessor_checkpoint", sa.Text, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
    )
    op.create_index("log_by_site", "log", ["site", "first_seen"])
    connection = op.get_bind()
    sites = connection.execute(
        sa.text("SELECT name, ledger_origin, ledger_key, enrolled FROM site")
    ).all()
    seen = connection.execute(sa.text("SELECT origin, site, updated FROM witness")).all()
    in_use = {row.ledger_origin for row in sites}
    rows = [
        (row.ledger_origin, row.name, row.ledger_key, row.enrolled)
        for row in sites
        if row.ledger_origin
    ]
    rows += [(row.origin, row.site, "", row.updated) for row in seen if row.origin not in in_use]
    if rows:
        blank = {"genesis": "", "predecessor": "", "predecessor_checkpoint": ""}
        op.bulk_insert(
            table,
            [
                {"origin": origin, "site": site, "key": key, "first_seen": first, **blank}
                for origin, site, key, first in rows
            ],
        )
