"""What stands on a ledger: one frozen record for each kind of entry, and their decoding.

An entry is canonical JSON (RFC 8785) of one record. Every record begins with a ``Head``: its
index, the leaf hash of the entry before it, the log's origin. What a charge states is in
``statement``. Nothing here depends on private data: no count of records, no clip rate, no plain
hash of the data. Times are the site's own clock and prove nothing; order is by index.

A field's meaning never changes: a new meaning is a new kind.
"""

import hashlib
import re
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from wg_core import grammar, typed
from wg_core.errors import DecodeError
from wg_core.grammar import SHA256
from wg_core.ledger import statement
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import ReleaseMark
from wg_core.wire import canonical
from wg_core.wire.canonical import Count, Time
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.handover import Handover

VERSION = 1
ENTRY_LIMIT = 1 << 20
NEVER = "never"  # Refresh rule: a spent budget never comes back

GENESIS = "genesis"
DATASET = "dataset"
CHARGE = "charge"
RELEASE = "release"
WITNESS = "witness"
HANDOVER = "handover"
ROTATION = "rotation"
DECISION = "decision"
REUSE = "reuse"
STATEMENT = "statement"

_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where an entry stands.

    Attributes:
        version: Version of the record.
        kind: Kind of the record.
        seq: Index in the log, from zero.
        prev: Leaf hash of the entry before, hex; empty for the first.
        origin: Origin of the log.
        key_id: Key ID of the key that signs the log from here, hex (c2sp.org/signed-note).
        time: Unix time in seconds by the site's clock. Proves nothing.
    """

    version: int = VERSION
    kind: grammar.Identifier
    seq: Count
    prev: grammar.OptionalDigest
    origin: grammar.Origin
    key_id: grammar.Identifier
    time: Time

    def __post_init__(self) -> None:
        grammar.check(self)
        if self.version != VERSION:
            raise DecodeError(f"entry: version {self.version}, this program reads {VERSION}")
        if self.prev if self.seq == 0 else not SHA256.fullmatch(self.prev):
            raise DecodeError(f"entry {self.seq}: prev {self.prev[:80]!r} is not a hash in hex")
        if not _KEY_ID.fullmatch(self.key_id):
            raise DecodeError(f"entry {self.seq}: key id {self.key_id[:40]!r}, expected 8 hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class InheritedSpend:
    """Spending of one lineage on the log before this one.

    Attributes:
        lineage: Lineage ID.
        names: Names of its data sets.
        commitments: Commitments of its data sets, hex.
        cap_epsilon: Epsilon of the cap, decimal string.
        cap_delta: Delta of its cap, decimal string.
        events: All its charges, composed to one Gaussian.
        charges: Number of charges.
    """

    lineage: grammar.Identifier
    names: tuple[grammar.Name, ...]
    commitments: tuple[grammar.Digest, ...]
    cap_epsilon: grammar.Number
    cap_delta: grammar.Number
    events: tuple[PrivacyEvent, ...]
    charges: Count

    def __post_init__(self) -> None:
        grammar.check(self)
        statement.check_cap(self.cap_epsilon, self.cap_delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """The log that this one replaces, after its key was lost or stolen.

    Attributes:
        origin: Origin of the old log.
        key: Last public key, hex.
        checkpoint: Last checkpoint with all signatures, as text.
        reason: Why it was given up, in a few words.
        spends: What it had spent.
    """

    origin: grammar.Origin
    key: grammar.Hex
    checkpoint: grammar.Note
    reason: grammar.Sentence
    spends: tuple[InheritedSpend, ...]

    def __post_init__(self) -> None:
        grammar.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """First entry: whose log it is, and the key that signs it.

    Attributes:
        site: Name of the site.
        ledger_key: Raw public key, hex.
        software: Program and version that made the log.
        predecessor: The log that this one replaces, if any.
    """

    head: Head
    site: grammar.SiteName
    ledger_key: grammar.Hex
    software: grammar.Software
    predecessor: Predecessor | None

    def __post_init__(self) -> None:
        grammar.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A data set is named, or its content changed; it joins a lineage, which owns the budget.

    Attributes:
        name: Name on site.
        commitment: ``HMAC-SHA-256(site secret, data)``, hex.
        lineage: Lineage that it belongs to from here.
        inherits: Lineages that are merged into ``lineage`` here: all that they spent is added.
        cap_epsilon: Cap on the composed epsilon, decimal string.
        cap_delta: Delta at which the cap holds, decimal string.
        refresh_rule: When the budget comes back: ``never``.
    """

    head: Head
    name: grammar.Name
    commitment: grammar.Digest
    lineage: grammar.Identifier
    inherits: tuple[grammar.Identifier, ...]
    cap_epsilon: grammar.Number
    cap_delta: grammar.Number
    refresh_rule: grammar.Identifier

    def __post_init__(self) -> None:
        grammar.check(self)
        statement.check_cap(self.cap_epsilon, self.cap_delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The budget is charged, before anything is sampled. It covers exactly one release.

    Attributes:
        request_id: Logical request.
        dataset: Name of the data set.
        commitment: Keyed commitment at the time, hex.
        lineage: The lineage that pays.
        fingerprint: SHA-256 of what is released under which guarantee, hex: an equal request on
            equal data has an equal fingerprint and gets the stored bytes.
        event: What is charged.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of the guarantee, decimal string.
    """

    head: Head
    request_id: grammar.Identifier
    dataset: grammar.Name
    commitment: grammar.Digest
    lineage: grammar.Identifier
    fingerprint: grammar.Digest
    event: PrivacyEvent
    epsilon: grammar.Number
    delta: grammar.Number
    guarantee: statement.Guarantee
    mechanism: statement.Mechanism
    implementation: statement.Implementation
    use: statement.Use
    state: statement.BudgetState

    def __post_init__(self) -> None:
        grammar.check(self)
        statement.check_cap(self.epsilon, self.delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The bytes of a charge's one release are fixed and stored.

    Attributes:
        charge: Index of the charge.
        request_id: Id of the request.
        payload_sha256: SHA-256 of the released bytes, hex.
        payload_size: Their number; fixed by the schema.
    """

    head: Head
    charge: Count
    request_id: grammar.Identifier
    payload_sha256: grammar.Digest
    payload_size: Count

    def __post_init__(self) -> None:
        grammar.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness is known from here: key name and raw public key, hex."""

    head: Head
    name: grammar.Origin
    public_key: grammar.Hex

    def __post_init__(self) -> None:
        grammar.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHandover:
    """A key of the server or of a witness is another one from here, as the one before signed.

    Attributes:
        handover: Which, and that word. A witness's new key is known to the log from here, as by a
            ``Witness`` entry.
    """

    head: Head
    handover: Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The signing key changes; old and new key both sign that it does.

    Attributes:
        new_key: Raw public key, hex.
        old_signature: Signature of the old key over ``rotation_statement``, hex.
        new_signature: Signature of the new key over it, hex.
    """

    head: Head
    new_key: grammar.Hex
    old_signature: grammar.Hex
    new_signature: grammar.Hex

    def __post_init__(self) -> None:
        grammar.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person decided on a request before it was charged; the newest one counts.

    Attributes:
        request_id: The request.
        dataset: Name of the data set that it asks.
        epsilon: What it asks, decimal string.
        delta: What it asks, decimal string.
        purpose: What it is for.
        recipient: Who asks.
        approved: Whether it may be charged.
        name: Who decided, or in which role.
        statistics: ``machine``: it asks for machine statistics; ``gradients``: for a private head;
            absent: for class statistics.
    """

    head: Head
    request_id: grammar.Identifier
    dataset: grammar.Name
    epsilon: grammar.Number
    delta: grammar.Number
    purpose: grammar.Sentence
    recipient: grammar.Name
    approved: bool
    name: grammar.Name
    statistics: ReleaseMark = UNSET

    def __post_init__(self) -> None:
        grammar.check(self)
        statement.check_cap(self.epsilon, self.delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """A release that was made before is handed out again, for another use. It costs nothing.

    Attributes:
        charge: Index of the charge that paid for it.
        purpose: What it is for this time.
        recipient: Who gets it this time.
    """

    head: Head
    charge: Count
    purpose: grammar.Sentence
    recipient: grammar.Name

    def __post_init__(self) -> None:
        grammar.check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicStatement:
    """Statement of the plant about itself in public, free of charge: nothing of its records.

    Attributes:
        site: Name of the site.
        dataset: Name of the data set.
        encoder: SHA-256 of the public feature encoder, hex.
        labels: Public label domain, in the order of class rows.
        data_sheet: Data sheet of the source of the records; None: not stated.
        recipient: Whom it is said to.
    """

    head: Head
    site: grammar.SiteName
    dataset: grammar.Name
    encoder: grammar.Digest
    labels: tuple[grammar.Name, ...]
    data_sheet: DataSheet | None
    recipient: grammar.Name

    def __post_init__(self) -> None:
        grammar.check(self)
        if not self.labels or len(set(self.labels)) != len(self.labels) or not all(self.labels):
            raise DecodeError("statement: labels: expected unique names that are not empty")


Entry = (
    Genesis
    | Dataset
    | Charge
    | Release
    | Witness
    | KeyHandover
    | Rotation
    | Decision
    | Reuse
    | PublicStatement
)

KINDS: dict[str, type[Entry]] = {
    GENESIS: Genesis,
    DATASET: Dataset,
    CHARGE: Charge,
    RELEASE: Release,
    WITNESS: Witness,
    HANDOVER: KeyHandover,
    ROTATION: Rotation,
    DECISION: Decision,
    REUSE: Reuse,
    STATEMENT: PublicStatement,
}


class _PeekHead(msgspec.Struct):
    kind: str


class _Peek(msgspec.Struct):
    head: _PeekHead


_PEEK = typed.json_decoder(_Peek)
_DECODERS = {kind: typed.json_decoder(record) for kind, record in KINDS.items()}
_SORTED = msgspec.json.Encoder(order="sorted")


def encode(entry: Entry) -> bytes:
    """Encode an entry as RFC 8785 canonical JSON."""
    return canonical.encode(entry)


def decode(data: bytes, *, subject: str = "entry") -> Entry:
    """Decode an entry, or refuse it.

    Checks canonical form with msgspec's sorted encoder, 20 times faster than ``rfc8785``; for
    records without real numbers and with integers below 2^53 the two give the same bytes, which
    a property test holds.

    Raises:
        DecodeError: Not a known kind, wrong types, unknown fields, or not canonical.
    """
    if len(data) > ENTRY_LIMIT:
        raise DecodeError(f"{subject}: {len(data)} bytes, at most {ENTRY_LIMIT} are accepted")
    try:
        kind = _PEEK.decode(data).head.kind
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise DecodeError(f"{subject}: unknown kind {kind[:40]!r}")
        entry: Entry = decoder.decode(data)
        again = _SORTED.encode(entry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"{subject}: {error}") from error
    if again != data:
        raise DecodeError(f"{subject}: unknown or repeated fields, or not canonical (RFC 8785)")
    return entry


def rotation_statement(head: Head, old_key: str, new_key: str) -> bytes:
    """Return the bytes that both keys sign at a rotation: log, position and the two keys."""
    return "\n".join((head.origin, str(head.seq), head.prev, old_key, new_key)).encode()


def lineage_id(origin: str, seq: int) -> str:
    """ID of the lineage that an entry founds."""
    return hashlib.sha256(f"weightgate lineage\n{origin}\n{seq}".encode()).hexdigest()[:16]


def check_hash(text: str, subject: str) -> str:
    """Return a SHA-256 in lower-case hex, or refuse it: ``DecodeError``."""
    if not SHA256.fullmatch(text):
        raise DecodeError(f"{subject}: {text[:80]!r} is not 64 lower-case hex digits")
    return text
