"""Ledger entries: one frozen record for each kind of entry, and their encoding.

An entry is the canonical JSON (RFC 8785) of one class below. Its ``EntryHeader`` has its index, the
leaf hash of the previous entry and the log's origin. ``charge_parts`` defines the parts of a
charge. Nothing in an entry depends on private data: no number of records, no share of clipped
records, no unkeyed hash of the data. Times are by the site's clock and prove nothing.

The meaning of a field never changes: a new meaning gets a new kind of entry.
"""

import hashlib
import re
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from wg_core import number_parsers, text_grammars, typed_records
from wg_core.errors import DecodeError, check_byte_count
from wg_core.ledger import charge_parts
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import ReleaseField, ReleaseKind, release_kind
from wg_core.text_grammars import SHA256_PATTERN
from wg_core.wire import canonical
from wg_core.wire.canonical import Count, UnixSeconds
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.handover import Handover

VERSION = 1
ENTRY_BYTES_LIMIT = 1 << 20
NEVER_RENEWED_RULE = "never"  # Refresh rule under which a spent budget is never renewed

GENESIS_KIND = "genesis"
DATASET_KIND = "dataset"
CHARGE_KIND = "charge"
RELEASE_KIND = "release"
WITNESS_KIND = "witness"
HANDOVER_KIND = "handover"
ROTATION_KIND = "rotation"
DECISION_KIND = "decision"
REUSE_KIND = "reuse"
STATEMENT_KIND = "statement"

_KEY_ID_PATTERN = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHeader:
    """Header of a ledger entry: kind, position in the log, signing key and time.

    Attributes:
        kind: Kind of the entry, a key of ``ENTRY_TYPES``.
        seq: Index of the entry in the log, from zero.
        prev: Leaf hash of the previous entry, hex; empty in the first entry.
        origin: Origin of the log, its unique name.
        key_id: Key ID of the log's signing key after this entry, hex (c2sp.org/signed-note).
        time: Unix time in seconds by the site's clock; proves nothing.
    """

    version: int = VERSION
    kind: text_grammars.Identifier
    seq: Count
    prev: text_grammars.OptionalDigest
    origin: text_grammars.Origin
    key_id: text_grammars.Identifier
    time: UnixSeconds

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        if self.version != VERSION:
            raise DecodeError(f"entry: version {self.version}, this program reads {VERSION}")
        if self.prev if self.seq == 0 else not SHA256_PATTERN.fullmatch(self.prev):
            raise DecodeError(f"entry {self.seq}: prev {self.prev[:80]!r} is not a hash in hex")
        if not _KEY_ID_PATTERN.fullmatch(self.key_id):
            raise DecodeError(f"entry {self.seq}: key id {self.key_id[:40]!r}, expected 8 hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class InheritedSpend:
    """Privacy spending of one budget lineage on an old log, carried over to its successor.

    Attributes:
        lineage: ID of the lineage, hex.
        names: Names of the lineage's data sets.
        commitments: Commitments to the lineage's data sets, hex.
        cap_epsilon: Epsilon of the lineage's cap, decimal string.
        cap_delta: Delta of the lineage's cap, decimal string.
        events: One Gaussian event with the composed cost of all charges; empty without charges.
        charges: Number of charges.
    """

    lineage: text_grammars.Identifier
    names: tuple[text_grammars.Name, ...]
    commitments: tuple[text_grammars.Digest, ...]
    cap_epsilon: text_grammars.Number
    cap_delta: text_grammars.Number
    events: tuple[PrivacyEvent, ...]
    charges: Count

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        charge_parts.parse_epsilon_and_delta(self.cap_epsilon, self.cap_delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor(text_grammars.TextRecord):
    """Log that a new log replaces, after its key was lost or stolen.

    Attributes:
        origin: Origin of the old log, its unique name.
        key: Last public key of the old log, raw, hex.
        checkpoint: Last checkpoint of the old log with all signatures, as text.
        reason: Reason for giving up the old log, in a person's words.
        spends: Spending of each lineage on the old log.
    """

    origin: text_grammars.Origin
    key: text_grammars.Hex
    checkpoint: text_grammars.NoteText
    reason: text_grammars.Sentence
    spends: tuple[InheritedSpend, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis(text_grammars.TextRecord):
    """First entry of a log: its site, and the key that signs it.

    Attributes:
        ledger_key: Raw public key that signs the log, hex.
        software: Program and version that created the log.
        predecessor: Log that this one replaces; None: there is none.
    """

    head: EntryHeader
    site: text_grammars.SiteName
    ledger_key: text_grammars.Hex
    software: text_grammars.Software
    predecessor: Predecessor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Entry that registers a data set or its changed content, and names the lineage that pays.

    Attributes:
        commitment: ``HMAC-SHA-256(site secret, data)``, hex.
        lineage: ID of the lineage that the data set belongs to from this entry on.
        inherits: IDs of lineages that are merged into ``lineage``, with all their spending.
        cap_epsilon: Cap on the lineage's composed epsilon, decimal string.
        cap_delta: Delta at which the cap holds, decimal string.
        refresh_rule: Rule by which a spent budget is renewed: always ``never``.
    """

    head: EntryHeader
    name: text_grammars.Name
    commitment: text_grammars.Digest
    lineage: text_grammars.Identifier
    inherits: tuple[text_grammars.Identifier, ...]
    cap_epsilon: text_grammars.Number
    cap_delta: text_grammars.Number
    refresh_rule: text_grammars.Identifier

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        charge_parts.parse_epsilon_and_delta(self.cap_epsilon, self.cap_delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Entry that charges a budget for one release, written before noise is drawn.

    Attributes:
        commitment: Keyed commitment to the data set's content when it was charged, hex.
        lineage: ID of the lineage whose budget is charged.
        fingerprint: SHA-256 of data commitment, cost, mechanism and guarantee, hex. A request
            with the same fingerprint gets the stored bytes, and is not charged again.
        event: Privacy cost that is added to the budget.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of this release alone, decimal string.
    """

    head: EntryHeader
    request_id: text_grammars.Identifier
    dataset: text_grammars.Name
    commitment: text_grammars.Digest
    lineage: text_grammars.Identifier
    fingerprint: text_grammars.Digest
    event: PrivacyEvent
    epsilon: text_grammars.Number
    delta: text_grammars.Number
    guarantee: charge_parts.Guarantee
    mechanism: charge_parts.Mechanism
    implementation: charge_parts.Implementation
    use: charge_parts.Use
    state: charge_parts.BudgetState

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        charge_parts.parse_epsilon_and_delta(self.epsilon, self.delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(text_grammars.TextRecord):
    """Entry with the hash of the bytes that were released for a charge.

    Attributes:
        charge: Index of the entry that charged the release.
        payload_sha256: SHA-256 of the released bytes, hex.
        payload_size: Number of released bytes, which does not depend on private data.
    """

    head: EntryHeader
    charge: Count
    request_id: text_grammars.Identifier
    payload_sha256: text_grammars.Digest
    payload_size: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness(text_grammars.TextRecord):
    """Entry that enrols a witness: key name and raw public key, hex."""

    head: EntryHeader
    name: text_grammars.Origin
    public_key: text_grammars.Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHandover:
    """Entry that records a change of a key of the server or of a witness.

    Attributes:
        handover: Hand-over signed by the previous key. If it is a witness's, it enrols the new
            key like a ``Witness`` entry.
    """

    head: EntryHeader
    handover: Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation(text_grammars.TextRecord):
    """Entry that changes the log's signing key, signed by both the old and the new key.

    Attributes:
        new_key: New public key, raw, hex.
        old_signature: Signature by the old key over log, position and both keys, hex.
        new_signature: Signature by the new key over the same bytes, hex.
    """

    head: EntryHeader
    new_key: text_grammars.Hex
    old_signature: text_grammars.Hex
    new_signature: text_grammars.Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Entry with a person's decision on a request before its charge; the newest one counts.

    Attributes:
        epsilon: Epsilon requested, decimal string.
        delta: Delta requested, decimal string.
        approved: True if the request may be charged.
        name: Name or role of the person who decided.
        statistics: ``machine``: machine statistics; ``gradients``: gradients that train a head;
            absent: class statistics.
    """

    head: EntryHeader
    request_id: text_grammars.Identifier
    dataset: text_grammars.Name
    epsilon: text_grammars.Number
    delta: text_grammars.Number
    purpose: text_grammars.Sentence
    recipient: text_grammars.Name
    approved: bool
    name: text_grammars.Name
    statistics: ReleaseField = UNSET

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        charge_parts.parse_epsilon_and_delta(self.epsilon, self.delta)

    def describe_first_difference(
        self, epsilon: str, delta: str, purpose: str, recipient: str, statistics: ReleaseKind
    ) -> str:
        """Describe the first term by which a request differs from this decision; empty if none."""
        exact = number_parsers.parse_exact_decimal
        for subject, actual, want in (
            ("epsilon", exact(epsilon), exact(self.epsilon)),
            ("delta", exact(delta), exact(self.delta)),
            ("purpose", purpose, self.purpose),
            ("recipient", recipient, self.recipient),
            ("statistics", statistics, release_kind(self.statistics)),
        ):
            if actual != want:
                return f"{subject} is {actual}, approved was {want}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse(text_grammars.TextRecord):
    """Entry for another use of an earlier release, which is sent again and costs nothing.

    Attributes:
        charge: Index of the charge that paid for the release.
    """

    head: EntryHeader
    charge: Count
    purpose: text_grammars.Sentence
    recipient: text_grammars.Name


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicStatement:
    """Entry with a plant's public statement, which costs nothing: class names and data sheet.

    Attributes:
        encoder: SHA-256 of the public feature encoder, hex.
        labels: Public label domain, in the order of class rows.
        data_sheet: Data sheet of the plant's machine; None: not stated.
    """

    head: EntryHeader
    site: text_grammars.SiteName
    dataset: text_grammars.Name
    encoder: text_grammars.Digest
    labels: tuple[text_grammars.Name, ...]
    data_sheet: DataSheet | None
    recipient: text_grammars.Name

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
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

ENTRY_TYPES: dict[str, type[Entry]] = {
    GENESIS_KIND: Genesis,
    DATASET_KIND: Dataset,
    CHARGE_KIND: Charge,
    RELEASE_KIND: Release,
    WITNESS_KIND: Witness,
    HANDOVER_KIND: KeyHandover,
    ROTATION_KIND: Rotation,
    DECISION_KIND: Decision,
    REUSE_KIND: Reuse,
    STATEMENT_KIND: PublicStatement,
}


class _KindOnlyHeader(msgspec.Struct):
    kind: str


class _KindOnlyEntry(msgspec.Struct):
    head: _KindOnlyHeader


_KIND_DECODER = typed_records.json_decoder(_KindOnlyEntry)
_DECODERS_BY_KIND = {
    kind: typed_records.json_decoder(record) for kind, record in ENTRY_TYPES.items()
}
_SORTED_ENCODER = msgspec.json.Encoder(order="sorted")


def encode(entry: Entry) -> bytes:
    """Encode a ledger entry as RFC 8785 canonical JSON."""
    return canonical.encode(entry)


def decode(data: bytes, *, input_name: str = "entry") -> Entry:
    """Decode a ledger entry strictly from its canonical JSON.

    Canonical form is checked with msgspec's sorted encoder, which is 20 times faster than
    ``rfc8785``; for records without real numbers and with integers below 2^53 both give the same
    bytes, as a property test checks.

    Raises:
        DecodeError: Kind or field unknown, type wrong, or JSON not canonical.
    """
    check_byte_count(len(data), ENTRY_BYTES_LIMIT, input_name)
    try:
        kind = _KIND_DECODER.decode(data).head.kind
        decoder = _DECODERS_BY_KIND.get(kind)
        if decoder is None:
            raise DecodeError(f"{input_name}: unknown kind {kind[:40]!r}")
        entry: Entry = decoder.decode(data)
        again = _SORTED_ENCODER.encode(entry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"{input_name}: {error}") from error
    if again != data:
        raise DecodeError(f"{input_name}: unknown or repeated fields, or not canonical (RFC 8785)")
    return entry


def rotation_signed_bytes(head: EntryHeader, old_key: str, new_key: str) -> bytes:
    """Return the bytes that both keys sign at a rotation: origin, index, previous hash, keys."""
    return "\n".join((head.origin, str(head.seq), head.prev, old_key, new_key)).encode()


def lineage_id(origin: str, seq: int) -> str:
    """Return the ID, 16 hex digits, of the budget lineage founded by entry ``seq`` of a log."""
    return hashlib.sha256(f"weightgate lineage\n{origin}\n{seq}".encode()).hexdigest()[:16]
