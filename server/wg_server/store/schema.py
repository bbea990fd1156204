"""Tables of the server's store. Times are Unix seconds; hashes and ids are lower-case hex.

Values from plants are bounded by the same constants when they are decoded: SQLite would accept
longer ones, PostgreSQL fails. A new store gets these tables directly. A change here needs a
migration in ``wg_server.store.migrations`` for earlier stores, and a new program version; tests
compare the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from wg_core.text_grammars import NAME_CHARACTERS_LIMIT
from wg_core.wire import protocol

SCHEMA_VERSION = "0004"  # Newest migration; an earlier store is migrated when it is opened

metadata = MetaData()

site_table = Table(
    "site",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("state", String(16), nullable=False),  # invited, enrolled, revoked
    Column("node_key", Text, nullable=False, default=""),
    Column("signing_key", String(64), nullable=False, default=""),
    Column("ledger_origin", Text, nullable=False, default=""),
    Column("ledger_key", Text, nullable=False, default=""),
    Column("enrolled", Float, nullable=False, default=0.0),
    Column("last_seen", Float, nullable=False, default=0.0),
    Column("pins", Text, nullable=False, default=""),
)

join_token_table = Table(
    "join_token",
    metadata,
    Column("secret_sha256", String(64), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float),
    Column("keys_sha256", String(64), nullable=False, default=""),  # Keys enrolled with it
)

certificate_table = Table(
    "certificate",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), nullable=False),
    Column("expires", Float, nullable=False),
    Column("revoked", Float),
    Index("certificate_by_site", "site"),
)

cosigned_checkpoint_table = Table(
    "witness",
    metadata,
    Column("origin", String(protocol.ORIGIN_CHARACTERS_LIMIT), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("updated", Float, nullable=False),
)

log_table = Table(
    "log",
    metadata,
    Column("origin", String(protocol.ORIGIN_CHARACTERS_LIMIT), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), nullable=False),
    Column("key", Text, nullable=False),
    Column("genesis", String(64), nullable=False),
    Column("predecessor", Text, nullable=False),
    Column("predecessor_checkpoint", Text, nullable=False),
    Column("first_seen", Float, nullable=False),
    Index("log_by_site", "site", "first_seen"),
)

replaced_log_table = Table(
    "replaced_log",
    metadata,
    Column("origin", String(protocol.ORIGIN_CHARACTERS_LIMIT), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("replaced_log_by_site", "site"),
)

connection_trouble_table = Table(
    "trouble",
    metadata,
    Column("site", String(63), ForeignKey("site.name"), primary_key=True),
    Column("code", String(16), nullable=False),
    Column("figure", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

fork_evidence_table = Table(
    "evidence",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("origin", String(protocol.ORIGIN_CHARACTERS_LIMIT), nullable=False),
    Column("received", Float, nullable=False),
    Column("earlier", LargeBinary, nullable=False),
    Column("later", LargeBinary, nullable=False),
)

refused_file_table = Table(
    "refused_file",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("origin", String(protocol.ORIGIN_CHARACTERS_LIMIT), nullable=False),
    Column("received", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("refused_file_by_origin", "origin"),
)

release_table = Table(
    "release",
    metadata,
    Column("release_id", String(protocol.RELEASE_ID_DIGITS_LIMIT), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), nullable=False),
    Column("encoder", String(64), nullable=False),
    Column("epsilon", String(protocol.NUMBER_CHARACTERS_LIMIT), nullable=False),
    Column("delta", String(protocol.NUMBER_CHARACTERS_LIMIT), nullable=False),
    Column("received", Float, nullable=False),
    Column("signing_key", String(64), nullable=False),
    Column("standing", String(16), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("statistics", String(16), nullable=False),  # classes, machine
    Column("data", LargeBinary, nullable=False),  # last: SQLite then reads other columns without it
    Index("release_by_site", "site", "received"),
)

pool_table = Table(
    "pool",
    metadata,
    Column("generator", String(64), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("labels", Text, nullable=False),
    Column("sites", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("judged", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

pool_tree_table = Table(
    "pool_tree",
    metadata,
    Column("generator", String(64), primary_key=True),
    Column("root", String(64), primary_key=True),
    Column("sums", Text, nullable=False),
)

pooled_release_table = Table(
    "pooled",
    metadata,
    Column("generator", String(64), primary_key=True),
    Column("release_id", String(protocol.RELEASE_ID_DIGITS_LIMIT), primary_key=True),
    Column("added", BigInteger, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("site", String(63), nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("noise", Float, nullable=False),
    Column("used", Boolean, nullable=False),
    Column("behind", Text, nullable=False, server_default="[]"),
    Column("removed", BigInteger, nullable=False),
    Index("pooled_by_kind", "generator", "kind"),
    Index("pooled_by_site", "generator", "site"),
)

campaign_table = Table(
    "campaign",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created", Float, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("epsilon", String(protocol.NUMBER_CHARACTERS_LIMIT), nullable=False),
    Column("delta", String(protocol.NUMBER_CHARACTERS_LIMIT), nullable=False),
    Column("encoder", String(64), nullable=False),
    Column("collect_seconds", Float, nullable=False),
    Column("deliver_seconds", Float, nullable=False),
    Column("min_sites", Integer, nullable=False),
    Column("grace_seconds", Float, nullable=False),
    Column("started", Float, nullable=False, default=0.0),
    Column("paused_at", Float, nullable=False, default=0.0),
    Column("state", String(16), nullable=False, default="queued"),
    Column("reason", Text, nullable=False, default=""),
    Column("finished", Float),
    Column("generator", String(64), nullable=False, default=""),
    Column("statistics", String(16), nullable=False),  # classes, machine
)

task_table = Table(
    "task",
    metadata,
    Column("campaign", String(32), ForeignKey("campaign.id"), primary_key=True),
    Column("site", String(63), ForeignKey("site.name"), primary_key=True),
    Column("query_id", String(32), nullable=False, unique=True),
    Column("delivery_id", String(32), nullable=False, unique=True),
    Column("state", String(16), nullable=False, default="waiting"),
    Column("code", String(protocol.REFUSAL_CODE_CHARACTERS_LIMIT), nullable=False, default=""),
    Column("release_id", String(protocol.RELEASE_ID_DIGITS_LIMIT), nullable=False, default=""),
    Column("package_sha256", String(64), nullable=False, default=""),
    Column("opened", Float, nullable=False, default=0.0),
    Column("asked", Float, nullable=False, default=0.0),
    Column("answered", Float, nullable=False, default=0.0),
    Column("made", Float, nullable=False, default=0.0),
    Column("served", Integer, nullable=False, default=0),
    Column("tries", Integer, nullable=False, default=0),
    Column("figure", Float, nullable=False, default=0.0),
    Column("messages", Integer, nullable=False, default=0),
    Column("bytes_received", BigInteger, nullable=False, default=0),
    Column("bytes_sent", BigInteger, nullable=False, default=0),
    Column("updated", Float, nullable=False),
)

operator_table = Table(
    "operator",
    metadata,
    Column("name", String(NAME_CHARACTERS_LIMIT), primary_key=True),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("removed", Float),
)

operator_log_table = Table(
    "operator_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("operator", String(NAME_CHARACTERS_LIMIT), nullable=False),
    Column("through", String(16), nullable=False),  # console, command, server
    Column("action", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)
