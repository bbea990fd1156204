"""What stands on a ledger: one frozen record for each kind of entry, and their decoding.

An entry is canonical JSON (RFC 8785) of one record. Every record begins with a ``Head``: its
index, the leaf hash of the entry before it, the log's origin. Fields of a charge follow the
OpenDP Deployments Registry schema and the layers of NIST SP 800-226: identity, guarantee,
mechanism, implementation, use, state, assurance. Nothing here depends on private data: no count
of records, no clip rate, no plain hash of the data. Times are the site's own clock and prove
nothing; order is by index.

A field's meaning never changes: a new meaning is a new kind. A little over 500 lines: one list of
what can stand on a ledger.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

import msgspec

from wg_common import numbers, typed
from wg_common.errors import DecodeError
from wg_common.privacy.events import PrivacyEvent
from wg_common.wire import canonical

VERSION = 1
ENTRY_LIMIT = 1 << 20
NEVER = "never"
"""Refresh rule: a spent budget never comes back."""

GENESIS = "genesis"
DATASET = "dataset"
CHARGE = "charge"
RELEASE = "release"
WITNESS = "witness"
ROTATION = "rotation"
AUDIT = "audit"

_HASH = re.compile(r"[0-9a-f]{64}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_INTEGER_LIMIT = 1 << 53

_Count = Annotated[int, msgspec.Meta(ge=0, lt=_INTEGER_LIMIT)]


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
    kind: str
    seq: _Count
    prev: str
    origin: str
    key_id: str
    time: Annotated[int, msgspec.Meta(gt=-_INTEGER_LIMIT, lt=_INTEGER_LIMIT)]

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise DecodeError(f"entry: version {self.version}, this program reads {VERSION}")
        if self.prev if self.seq == 0 else not _HASH.fullmatch(self.prev):
            raise DecodeError(f"entry {self.seq}: prev {self.prev[:80]!r} is not a hash in hex")
        if not _KEY_ID.fullmatch(self.key_id):
            raise DecodeError(f"entry {self.seq}: key id {self.key_id[:40]!r}, expected 8 hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class InheritedSpend:
    """What one lineage had spent on the log before this one.

    Attributes:
        lineage: Lineage ID.
        names: Names of its data sets.
        commitments: Commitments of its data sets, hex.
        cap_epsilon: Its cap, decimal string.
        cap_delta: Delta of its cap, decimal string.
        events: All its charges, composed: one Gaussian, and one entry for each (q, sigma).
        charges: Number of charges.
    """

    lineage: str
    names: tuple[str, ...]
    commitments: tuple[str, ...]
    cap_epsilon: str
    cap_delta: str
    events: tuple[PrivacyEvent, ...]
    charges: _Count

    def __post_init__(self) -> None:
        check_cap(self.cap_epsilon, self.cap_delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """The log that this one replaces, after its key was lost or stolen.

    Attributes:
        origin: Origin of the old log.
        key: Its last public key, hex.
        checkpoint: Its last checkpoint with all signatures, as text.
        reason: Why it was given up, in a few words.
        spends: What it had spent.
    """

    origin: str
    key: str
    checkpoint: str
    reason: str
    spends: tuple[InheritedSpend, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """First entry: whose log it is, and the key that signs it.

    Attributes:
        site: Name of the site.
        ledger_key: Raw Ed25519 public key, hex.
        software: Program and version that made the log.
        predecessor: The log that this one replaces, if any.
    """

    head: Head
    site: str
    ledger_key: str
    software: str
    predecessor: Predecessor | None


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
    name: str
    commitment: str
    lineage: str
    inherits: tuple[str, ...]
    cap_epsilon: str
    cap_delta: str
    refresh_rule: str

    def __post_init__(self) -> None:
        check_hash(self.commitment, "commitment")
        check_cap(self.cap_epsilon, self.cap_delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """What is promised, about what.

    Attributes:
        unit: Privacy unit: what may be added or removed without being noticed.
        adjacency: Neighbouring relation: ``add-remove`` or ``replace-one``.
        variant: Variant of differential privacy.
        records_per_unit: How units with several records are treated.
        unprotected: Quantities that are taken as public.
        labels: Public label domain.
    """

    unit: str
    adjacency: str
    variant: str
    records_per_unit: str
    unprotected: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockShare:
    """One block of a joint release: name, number of integers, public weight."""

    name: str
    length: _Count
    weight: _Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """How noise is added; everything that the guarantee's arithmetic needs.

    Attributes:
        name: Name of the mechanism.
        encoder: SHA-256 of the public feature encoder, hex; empty if there is none.
        blocks: Blocks and weights of a joint release.
        bits: Grid: ``2^bits`` steps to a clip radius.
        clip_radius: Clip radius R, decimal string.
        dimension: Number of features.
        sensitivity_squared: Squared L2 sensitivity in squared grid units, integer or fraction.
        sigma: Standard deviation of the noise in grid units, decimal string.
        rho: Zero-concentrated DP parameter ``mu^2 / 2``, decimal string; empty if not Gaussian.
        accountant: Accountant and version that converted it to (epsilon, delta).
        subsampling: ``none``, or the sampler.
    """

    name: str
    encoder: str
    blocks: tuple[BlockShare, ...]
    bits: _Count
    clip_radius: str
    dimension: _Count
    sensitivity_squared: str
    sigma: str
    rho: str
    accountant: str
    subsampling: str

    def __post_init__(self) -> None:
        numbers.decimal(self.clip_radius, what="mechanism: clip radius")
        numbers.fraction(self.sensitivity_squared, what="mechanism: squared sensitivity")
        numbers.either_float(self.sigma, what="mechanism: sigma")
        if self.rho:
            numbers.decimal(self.rho, what="mechanism: rho")


@dataclass(frozen=True, slots=True)
class Library:
    """A library and its version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """Which program did it.

    Attributes:
        software: Program and version.
        code_sha256: SHA-256 over its installed code, hex, as ``wg-audit digest`` of that version
            prints it.
        libraries: Libraries that it rests on.
        randomness: Source of randomness.
        floating_point: Measure against floating-point attacks.
        timing: Measure against timing attacks.
    """

    software: str
    code_sha256: str
    libraries: tuple[Library, ...]
    randomness: str
    floating_point: str
    timing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the release is for: purpose, recipient, and what is done with it afterwards."""

    purpose: str
    recipient: str
    post_processing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """The lineage's budget before and after a charge.

    Attributes:
        cap_epsilon: Cap on the composed epsilon, decimal string.
        cap_delta: Reference delta, at which every epsilon here is given, decimal string.
        refresh_rule: When the budget comes back.
        charges_before: Number of charges before this one.
        mu_squared_before: Sum of mu^2 of Gaussian charges before, units of 2^-40, integer string.
        mu_squared_after: The same with this charge.
        epsilon_before: Composed epsilon of all charges before, decimal string, rounded up.
        epsilon_after: The same with this charge.
        anchored_size: Size of the newest cosigned checkpoint; zero if there is none.
        anchored_root: Its root, hex; empty if there is none.
    """

    cap_epsilon: str
    cap_delta: str
    refresh_rule: str
    charges_before: _Count
    mu_squared_before: str
    mu_squared_after: str
    epsilon_before: str
    epsilon_after: str
    anchored_size: _Count
    anchored_root: str

    def __post_init__(self) -> None:
        check_cap(self.cap_epsilon, self.cap_delta)
        for name in ("mu_squared_before", "mu_squared_after"):
            numbers.integer(getattr(self, name), what=f"budget state: {name}")
        for name in ("epsilon_before", "epsilon_after"):
            numbers.decimal(getattr(self, name), what=f"budget state: {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assurance:
    """What was tested: the last audit run of this code, and the lower bound on epsilon it found.

    Attributes:
        audit_run: Where the run is recorded (index of an ``audit`` entry), or empty.
        empirical_lower_bound: Lower bound on epsilon, decimal string, or empty.
    """

    audit_run: str = ""
    empirical_lower_bound: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The budget is charged, before anything is sampled. It covers exactly one release.

    Attributes:
        request_id: Logical request.
        dataset: Name of the data set.
        commitment: Its keyed commitment at the time, hex.
        lineage: The lineage that pays.
        fingerprint: SHA-256 of what is released under which guarantee, hex: an equal request on
            equal data has an equal fingerprint and gets the stored bytes.
        event: What is charged.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Its delta, decimal string.
    """

    head: Head
    request_id: str
    dataset: str
    commitment: str
    lineage: str
    fingerprint: str
    event: PrivacyEvent
    epsilon: str
    delta: str
    guarantee: Guarantee
    mechanism: Mechanism
    implementation: Implementation
    use: Use
    state: BudgetState
    assurance: Assurance

    def __post_init__(self) -> None:
        check_cap(self.epsilon, self.delta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The bytes of a charge's one release are fixed and stored.

    Attributes:
        charge: Index of the charge.
        request_id: Its request.
        payload_sha256: SHA-256 of the released bytes, hex.
        payload_size: Their number; fixed by the schema.
    """

    head: Head
    charge: _Count
    request_id: str
    payload_sha256: str
    payload_size: _Count

    def __post_init__(self) -> None:
        check_hash(self.payload_sha256, "payload hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness is known from here: key name and raw Ed25519 public key, hex."""

    head: Head
    name: str
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The signing key changes; old and new key both sign that it does.

    Attributes:
        new_key: Raw Ed25519 public key, hex.
        old_signature: Signature of the old key over ``rotation_statement``, hex.
        new_signature: Signature of the new key over it, hex.
    """

    head: Head
    new_key: str
    old_signature: str
    new_signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """An empirical audit of the installed release code was run on this site.

    Attributes:
        code_sha256: SHA-256 over the audited code, hex.
        claimed_epsilon: Epsilon that the code claimed.
        lower_bound: Clopper-Pearson lower bound on epsilon that was found.
        parametric_bound: Parametric lower bound that was found.
        canaries: Number of canaries.
    """

    head: Head
    code_sha256: str
    claimed_epsilon: str
    lower_bound: str
    parametric_bound: str
    canaries: _Count


Entry = Genesis | Dataset | Charge | Release | Witness | Rotation | Audit

KINDS: dict[str, type[Entry]] = {
    GENESIS: Genesis,
    DATASET: Dataset,
    CHARGE: Charge,
    RELEASE: Release,
    WITNESS: Witness,
    ROTATION: Rotation,
    AUDIT: Audit,
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


def decode(data: bytes, *, what: str = "entry") -> Entry:
    """Decode an entry, or refuse it.

    Checks canonical form with msgspec's sorted encoder, 20 times faster than ``rfc8785``; for
    records without real numbers and with integers below 2^53 the two give the same bytes, which
    a property test holds.

    Raises:
        DecodeError: Not a known kind, wrong types, unknown fields, or not canonical.
    """
    if len(data) > ENTRY_LIMIT:
        raise DecodeError(f"{what}: {len(data)} bytes, at most {ENTRY_LIMIT} are accepted")
    try:
        kind = _PEEK.decode(data).head.kind
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise DecodeError(f"{what}: unknown kind {kind[:40]!r}")
        entry: Entry = decoder.decode(data)
        again = _SORTED.encode(entry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"{what}: {error}") from error
    if again != data:
        raise DecodeError(f"{what}: unknown or repeated fields, or not canonical (RFC 8785)")
    return entry


def rotation_statement(head: Head, old_key: str, new_key: str) -> bytes:
    """What both keys sign at a rotation: log, position and the two keys."""
    return "\n".join((head.origin, str(head.seq), head.prev, old_key, new_key)).encode()


def lineage_id(origin: str, seq: int) -> str:
    """ID of the lineage that an entry founds."""
    return hashlib.sha256(f"weightgate lineage\n{origin}\n{seq}".encode()).hexdigest()[:16]


def check_hash(text: str, what: str) -> str:
    """Return a SHA-256 in lower-case hex, or refuse it.

    Raises:
        DecodeError: It is none.
    """
    if not _HASH.fullmatch(text):
        raise DecodeError(f"{what}: {text[:80]!r} is not 64 lower-case hex digits")
    return text


def check_cap(epsilon: str, delta: str) -> tuple[float, float]:
    """Return a cap's epsilon and delta as numbers, or refuse them.

    Raises:
        DecodeError: Not decimals, or outside ``0 < epsilon``, ``0 < delta < 1``.
    """
    found = (
        numbers.decimal(epsilon, what="budget cap: epsilon"),
        numbers.decimal(delta, what="budget cap: delta"),
    )
    if not (found[0] > 0 and 0 < found[1] < 1):
        raise DecodeError(f"budget cap: epsilon {epsilon}, delta {delta} out of range")
    return found
