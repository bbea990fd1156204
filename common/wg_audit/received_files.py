"""Comparison of release files that a server received with the charges that paid for them.

A file's manifest is decoded into the auditor's own types, not the client's, and
``charge_derivation`` computes the sensitivity and cost that it implies. A file is refused if no
given log has a RELEASE entry for it, or if its noise, sensitivity, purpose or another field differs
from its charge. A release counts once, however many copies of its file there are.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import rfc8785

from wg_audit import charge_derivation
from wg_audit.charge_derivation import ReleaseLayout
from wg_audit.stated_texts import StatedTexts
from wg_core import atomic, text_grammars, typed_records
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import entries, merkle
from wg_core.ledger.charge_parts import BlockShare
from wg_core.ledger.entries import Charge, PublicStatement
from wg_core.ledger.lineage import ChargeState
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.wire import bundle, canonical, container, protocol
from wg_core.wire.bundle import StatisticsBundle
from wg_core.wire.data_sheet import DataSheet

_SCHEMA_VERSION = 1
_FILE_VERSION = 1
MANIFEST_LIMIT = 4 << 20  # Largest manifest, in bytes
_SCHEMA_FEATURES = {
    charge_derivation.CLASS_MECHANISM: "",
    charge_derivation.MACHINE_MECHANISM: "machine",
}
"""Value of a schema's ``features`` for each mechanism; empty for the encoder's features."""
STATISTICS_SUFFIX = ".wgs"  # Suffix of files that are compared
_Manifest = TypeVar("_Manifest", bound=msgspec.Struct)
_DECODING_ERRORS = (
    msgspec.MsgspecError,
    rfc8785.CanonicalizationError,
    UnicodeDecodeError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """Release file that the server received, and that agrees with its charge.

    Attributes:
        file: Name of the file.
        sha256: SHA-256 of the released bytes in the file, hex.
        origin: Origin of the log with its RELEASE entry.
        release: Index of the RELEASE entry.
    """

    file: str
    sha256: str
    origin: str
    release: int


@dataclass(frozen=True, slots=True)
class GivenLog:
    """Verified log to compare received files with.

    Attributes:
        history: The verified log.
        charge_at: Function that returns the CHARGE entry with a given entry index.
        texts: Free texts and class names in its entries.
    """

    history: VerifiedLog
    charge_at: Callable[[int], Charge]
    texts: StatedTexts


@dataclass(slots=True)
class FileComparison:
    """Result of comparing received files with logs.

    Attributes:
        received_by_release: Compared files, by (origin of the log, index of the RELEASE entry).
        charges_of_missing_logs: Charges in files of logs that were not given, by origin and by
            entry index.
        entry_indices_of_missing_logs: Indices of all entries in such files, by origin.
    """

    received_by_release: dict[tuple[str, int], ReceivedFile] = field(default_factory=dict)
    charges_of_missing_logs: dict[str, dict[int, Charge]] = field(default_factory=dict)
    entry_indices_of_missing_logs: dict[str, set[int]] = field(default_factory=dict)


class _SchemaFields(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    encoder: str
    dimension: int
    labels: list[str]
    clip_radius: str
    bits: int
    count_weight: int
    sum_weight: int
    moment_weight: int
    unit_rule: str
    features: str = ""

    @property
    def layout(self) -> ReleaseLayout:
        """Blocks, grid and dimension of the release that the schema describes."""
        classes = len(self.labels)
        return ReleaseLayout(
            blocks=(
                BlockShare("counts", classes + 1, self.count_weight),
                BlockShare("sums", classes * self.dimension, self.sum_weight),
                BlockShare("moments", self.dimension, self.moment_weight),
            ),
            label_count=classes,
            grid_bits=self.bits,
            dimension=self.dimension,
        )


class _ReleaseFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    version: int
    site: str
    dataset: str
    request_id: str
    epsilon: str
    delta: str
    sigma: str
    sensitivity_squared: str
    purpose: str
    software: text_grammars.Software


class ManifestFields(_ReleaseFields, kw_only=True):
    """Manifest of a received file; fields that no charge has are only checked for their grammar."""

    schema: _SchemaFields
    integers_sha256: str
    release_id: text_grammars.Identifier
    data_sheet: DataSheet | None
    labels: tuple[text_grammars.Name, ...] = ()


class _HeadSchemaFields(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    encoder: str
    dimension: int
    labels: list[str]
    steps: int
    unit_rule: str
    bits: int
    clip_radius: str


class _HeadManifestFields(_ReleaseFields, kw_only=True):
    schema: _HeadSchemaFields
    head_sha256: str


def list_statistics_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the sorted paths of a folder's ``.wgs`` files, and of everything else in it."""
    files: list[Path] = []
    unread: list[Path] = []
    for path in sorted(folder.iterdir()):
        (files if path.suffix == STATISTICS_SUFFIX and path.is_file() else unread).append(path)
    return files, unread


def match_files(
    logs: Sequence[GivenLog], paths: Iterable[Path], missing_origins: Collection[str]
) -> FileComparison:
    """Compare each received file with its RELEASE entry and its charge.

    Args:
        logs: Verified logs of the site.
        paths: Received files (``.wgs``): releases, or public statements.
        missing_origins: Origins of known logs of the site that were not given.

    Raises:
        ConfigError: A file cannot be read, or is not a regular file.
        DecodeError: A file is not a release with proofs or a statement.
        VerificationError: A file has no RELEASE entry or several, or differs from its charge; or a
            public statement is not on its log.
    """
    logs_given = _GivenLogsIndex(missing_origins)
    for log in logs:
        logs_given.leaves_by_origin[log.history.state.origin] = log.history.state.leaf_hashes
        for state in log.history.state.charges.values():
            if state.release_seq is not None:
                logs_given.charges_by_payload_hash.setdefault(state.payload_sha256, []).append(
                    (log, state)
                )
    comparison = FileComparison()
    for path in paths:
        try:
            data = atomic.read_bytes(path, limit=protocol.STATISTICS_BYTES_LIMIT)
            if container.stated_kind(data) == bundle.STATEMENT_BUNDLE_KIND:
                _match_statement(data, logs_given.leaves_by_origin, missing_origins)
                continue
            _match_file(comparison, logs_given, path, data)
        except DecodeError as error:
            raise DecodeError(f"{path}: {error}") from error
        except VerificationError as error:
            raise VerificationError(f"{path}: {error}") from error
    return comparison


@dataclass(frozen=True, slots=True)
class _GivenLogsIndex:
    """Verified logs to compare received files with.

    Attributes:
        missing_origins: Origins of the site's known logs that were not given.
        charges_by_payload_hash: States of charges, each with its log, by the SHA-256 of their
            release.
        leaves_by_origin: Leaf hashes of each log's entries, by origin.
    """

    missing_origins: Collection[str]
    charges_by_payload_hash: dict[str, list[tuple[GivenLog, ChargeState]]] = field(
        default_factory=dict
    )
    leaves_by_origin: dict[str, Sequence[bytes]] = field(default_factory=dict)


def _match_file(
    comparison: FileComparison, given_logs: _GivenLogsIndex, path: Path, data: bytes
) -> None:
    covered_file = bundle.decode_statistics(data)
    payload = covered_file.release
    digest = canonical.sha256_hex(payload)
    covering = given_logs.charges_by_payload_hash.get(digest, [])
    if (
        not covering
        and given_logs.missing_origins
        and _record_missing_log_file(comparison, covered_file, given_logs.missing_origins)
    ):
        return
    if len(covering) != 1:
        raise VerificationError(
            f"covered by {len(covering)} RELEASE entries, expected exactly one"
            f"{_explain_missing_entry(covered_file, given_logs.leaves_by_origin)}"
        )
    log, state = covering[0]
    release = -1 if state.release_seq is None else state.release_seq
    try:
        _check_file_entries(covered_file, log.history, state)
        charge = log.charge_at(state.seq)
        site = log.history.state.site
        if container.stated_kind(payload) == protocol.HEAD_FILE_KIND:
            _check_private_head(payload, charge, site)
        else:
            manifest = _check_statistics(payload, charge, site)
            if charge.mechanism.name == charge_derivation.MACHINE_MECHANISM:
                place = release, charge.dataset, charge.use.recipient
                _check_machine_manifest(manifest, log.texts.statements_before(*place))
    except VerificationError as error:
        raise VerificationError(f"entry {state.seq}: {error}") from error
    origin = log.history.state.origin
    comparison.received_by_release.setdefault(
        (origin, release), ReceivedFile(path.name, digest, origin, release)
    )


def _match_statement(
    data: bytes, leaves: Mapping[str, Sequence[bytes]], missing_origins: Collection[str]
) -> None:
    """Check that a received public statement is an entry of its log, unless that log is missing."""
    entry = bundle.decode_statement(data).entry
    statement = entries.decode(entry, input_name="statement entry")
    origin, seq = statement.head.origin, statement.head.seq
    if origin in missing_origins:
        return
    known_leaves = leaves.get(origin, ())
    if (
        not isinstance(statement, PublicStatement)
        or merkle.leaf_hash(entry) not in known_leaves[seq:][:1]
    ):
        raise VerificationError(f"a public statement, entry {seq}, which the log {origin} has not")


def _record_missing_log_file(
    comparison: FileComparison, covered_file: StatisticsBundle, missing_origins: Collection[str]
) -> bool:
    """Record a file whose log is known but was not given; return False for any other file."""
    charge = entries.decode(covered_file.charge_entry, input_name="charge entry")
    origin = charge.head.origin
    if origin not in missing_origins or not isinstance(charge, Charge):
        return False
    release = entries.decode(covered_file.release_entry, input_name="release entry")
    comparison.charges_of_missing_logs.setdefault(origin, {})[charge.head.seq] = charge
    shown_entries = comparison.entry_indices_of_missing_logs.setdefault(origin, set())
    shown_entries |= {charge.head.seq, release.head.seq}
    return True


def _explain_missing_entry(
    covered_file: StatisticsBundle, leaves: Mapping[str, Sequence[bytes]]
) -> str:
    """Return the reason why a file's RELEASE entry is not on the given log, or an empty string."""
    head = entries.decode(covered_file.release_entry, input_name="release entry").head
    known_leaves = leaves.get(head.origin)
    if known_leaves is None:
        return ""
    if head.seq >= len(known_leaves):
        return (
            f": it is entry {head.seq} of log {head.origin}, and the log given has"
            f" {len(known_leaves)}: what was spent in between is left out"
        )
    if known_leaves[head.seq] == merkle.leaf_hash(covered_file.release_entry):
        return ""
    return (
        f": it is entry {head.seq} of log {head.origin}, which is another one in the log given:"
        " there are two histories"
    )


def _check_file_entries(
    covered_file: StatisticsBundle, history: VerifiedLog, state: ChargeState
) -> None:
    leaves = history.state.leaf_hashes
    for name, entry, seq in (
        ("charge", covered_file.charge_entry, state.seq),
        ("release", covered_file.release_entry, state.release_seq),
    ):
        if seq is None or merkle.leaf_hash(entry) != leaves[seq]:
            raise VerificationError(f"carries another {name} entry than entry {seq}")


def _check_statistics(payload: bytes, charge: Charge, site: str) -> ManifestFields:
    sections = container.decode(
        payload,
        kind=protocol.STATISTICS_FILE_KIND,
        version=_FILE_VERSION,
        section_names=("manifest", "signature", "integers"),
        max_bytes=protocol.STATISTICS_BYTES_LIMIT,
    )
    manifest, body = read_manifest(sections["manifest"]), sections["integers"]
    schema, mechanism = manifest.schema, charge.mechanism
    if schema.version != _SCHEMA_VERSION:
        raise VerificationError(
            f"file: schema version {schema.version}, this auditor reads {_SCHEMA_VERSION}"
        )
    layout = schema.layout
    sensitivity = charge_derivation.sensitivity_squared(layout)
    length = 8 * sum(block.length for block in layout.blocks)
    if len(body) != length:
        raise VerificationError(f"file: {len(body)} bytes of integers, its schema has {length}")
    _check_equal(
        *_common_comparison_rows(charge, manifest, layout.blocks, str(sensitivity)),
        ("features", _SCHEMA_FEATURES.get(mechanism.name), schema.features),
        (
            "class names",
            mechanism.name == charge_derivation.MACHINE_MECHANISM,
            bool(manifest.labels),
        ),
        ("hash of integers", canonical.sha256_hex(body), manifest.integers_sha256),
        ("site", site, manifest.site),
    )
    return manifest


def _check_private_head(payload: bytes, charge: Charge, site: str) -> None:
    """Compare a file with a privately trained head with its charge."""
    sections = container.decode(
        payload,
        kind=protocol.HEAD_FILE_KIND,
        version=_FILE_VERSION,
        section_names=("manifest", "signature", "head"),
        max_bytes=protocol.STATISTICS_BYTES_LIMIT,
    )
    manifest, body = (
        _decode_canonical_manifest(sections["manifest"], _HeadManifestFields),
        sections["head"],
    )
    schema, mechanism = manifest.schema, charge.mechanism
    per_step = len(schema.labels) * (schema.dimension + 1)
    blocks = (BlockShare("gradients", schema.steps * per_step, 1),)
    layout = ReleaseLayout(
        blocks=blocks,
        label_count=len(schema.labels),
        grid_bits=schema.bits,
        dimension=schema.dimension,
    )
    sensitivity = str(charge_derivation.sensitivity_squared(layout))
    _check_equal(
        ("mechanism", mechanism.name, charge_derivation.GRADIENT_MECHANISM),
        ("schema version", _SCHEMA_VERSION, schema.version),
        ("bytes of the head", 4 * per_step, len(body)),
        ("hash of the head", canonical.sha256_hex(body), manifest.head_sha256),
        *_common_comparison_rows(charge, manifest, blocks, sensitivity),
        ("site", site, manifest.site),
    )


def _common_comparison_rows(
    charge: Charge,
    manifest: ManifestFields | _HeadManifestFields,
    blocks: tuple[BlockShare, ...],
    sensitivity_squared: str,
) -> tuple[tuple[str, object, object], ...]:
    """Return the rows (name, charge's value, file's value) that all kinds of files share."""
    mechanism, schema = charge.mechanism, manifest.schema
    return (
        (
            "sigma",
            charge_derivation.parse_sigma(mechanism.sigma),
            charge_derivation.parse_sigma(manifest.sigma),
        ),
        ("squared sensitivity", mechanism.sensitivity_squared, sensitivity_squared),
        ("squared sensitivity", mechanism.sensitivity_squared, manifest.sensitivity_squared),
        ("blocks", mechanism.blocks, blocks),
        (
            "rule of units",
            charge.guarantee.records_per_unit,
            charge_derivation.UNIT_RULE_TEXTS.get(schema.unit_rule, ""),
        ),
        ("encoder", mechanism.encoder, schema.encoder),
        ("bits", mechanism.bits, schema.bits),
        ("clip radius", mechanism.clip_radius, schema.clip_radius),
        ("dimension", mechanism.dimension, schema.dimension),
        ("labels", charge.guarantee.labels, tuple(schema.labels)),
        ("request id", charge.request_id, manifest.request_id),
        ("data set", charge.dataset, manifest.dataset),
        ("epsilon", charge.epsilon, manifest.epsilon),
        ("delta", charge.delta, manifest.delta),
        ("purpose", charge.use.purpose, manifest.purpose),
    )


def _check_machine_manifest(
    manifest: ManifestFields, statements: Sequence[PublicStatement]
) -> None:
    """Compare class names and data sheet of machine statistics with earlier public statements.

    A charge for machine statistics has neither. The class names must be those of the newest
    statement. The data sheet may be that of an older one, because an interrupted release is
    completed with the data sheet from which its numbers were computed.
    """
    if not statements:
        raise VerificationError("no public statement to its recipient names classes and machine")
    sheets = [statement.data_sheet for statement in statements]
    sheet = manifest.data_sheet if manifest.data_sheet in sheets else sheets[-1]
    _check_equal(
        ("class names", statements[-1].labels, manifest.labels),
        ("data sheet", sheet, manifest.data_sheet),
    )


def _check_equal(*rows: tuple[str, object, object]) -> None:
    """Check that ledger and file agree in each row (name, ledger's value, file's value)."""
    for name, ledger_value, file_value in rows:
        if ledger_value != file_value:
            raise VerificationError(
                f"{name} is {_excerpt(ledger_value)} on the ledger,"
                f" {_excerpt(file_value)} in the file"
            )


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def read_manifest(data: bytes) -> ManifestFields:
    """Decode a received file's manifest; ``DecodeError`` if it is not canonical."""
    return _decode_canonical_manifest(data, ManifestFields)


def _decode_canonical_manifest(data: bytes, manifest_type: type[_Manifest]) -> _Manifest:
    if len(data) > MANIFEST_LIMIT:
        raise DecodeError(f"manifest: {len(data)} bytes, at most {MANIFEST_LIMIT} are accepted")
    try:
        document = typed_records.decode_json(data, object)
        if canonical.encode(document) != data:
            raise DecodeError("manifest: not canonical (RFC 8785)")
        manifest = typed_records.convert_to_record(document, manifest_type)
    except _DECODING_ERRORS as error:
        raise DecodeError(f"manifest: {error}") from error
    text_grammars.check_text_fields(manifest)
    return manifest
