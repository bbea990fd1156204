"""Files that a server received, held against the charges that paid for them.

The manifest is read here by its own few fields, not by the record that the client writes, and what
it implies is derived by ``rederive``. A file that is not covered, or that was made with less noise,
a larger sensitivity or for another purpose than its charge says, is refused.
"""

import io
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import rfc8785

from wg_common import atomic, typed
from wg_common.audit import rederive
from wg_common.audit.rederive import Layout
from wg_common.errors import DecodeError, VerificationError
from wg_common.ledger import entries, merkle
from wg_common.ledger.entries import Charge
from wg_common.ledger.history import History
from wg_common.ledger.statement import BlockShare
from wg_common.wire import canonical, contribution_file, quality_file, statistics_file, tensors
from wg_common.wire.protocol import QUALITY_LIMIT, STATISTICS_LIMIT
from wg_common.wire.statistics_file import CoveredStatistics

CONTRIBUTION_SUFFIX = ".wgc"
QUALITY_SUFFIX = ".wgq"
SUFFIXES = (".wgs", CONTRIBUTION_SUFFIX, QUALITY_SUFFIX)

_SCHEMA_VERSION = 1
_NO_RECORD = (
    msgspec.MsgspecError,
    rfc8785.CanonicalizationError,
    UnicodeDecodeError,
    RecursionError,
)

T = TypeVar("T")
Charges = Callable[[int], Charge]
Row = tuple[str, object, object]
"""What is compared: its name, as the ledger has it, as the file has it."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file that the server received, and the RELEASE entry that covers it."""

    file: str
    sha256: str
    release: int


class _Schema(msgspec.Struct):
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
    unit_cap: int

    @property
    def layout(self) -> Layout:
        """The layout that the schema implies."""
        classes = len(self.labels)
        return Layout(
            blocks=(
                BlockShare("counts", classes + 1, self.count_weight),
                BlockShare("sums", classes * self.dimension, self.sum_weight),
                BlockShare("moments", self.dimension, self.moment_weight),
            ),
            labels=classes,
            bits=self.bits,
            dimension=self.dimension,
            cap=self.unit_cap,
        )


class _Statistics(msgspec.Struct):
    schema: _Schema
    site: str
    dataset: str
    request_id: str
    epsilon: str
    delta: str
    sigma: str
    sensitivity_squared: str
    purpose: str
    integers_sha256: str


class _Answers(msgspec.Struct):
    candidates: int
    weight: int
    unit_rule: str
    unit_cap: int

    @property
    def layout(self) -> Layout:
        """The layout that the counts imply."""
        return Layout(
            blocks=(
                BlockShare("labelled", 1, self.weight),
                BlockShare("right", self.candidates, self.weight),
            ),
            labels=0,
            bits=0,
            dimension=0,
            cap=self.unit_cap,
        )


class _Quality(msgspec.Struct):
    layout: _Answers
    site: str
    dataset: str
    request_id: str
    encoder: str
    package_sha256: str
    candidates: list[str]
    epsilon: str
    delta: str
    sigma: str
    sensitivity_squared: str
    purpose: str
    integers_sha256: str


class _Contribution(msgspec.Struct):
    site: str
    dataset: str
    request_id: str
    encoder: str
    labels: list[str]
    event: dict[str, str | int]
    sampler: str
    epsilon: str
    delta: str
    purpose: str
    tensors_sha256: str


def files(paths: Iterable[Path]) -> list[Path]:
    """Each file, and what a folder holds of files that plants send."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(x for x in path.iterdir() if x.suffix in SUFFIXES)
        else:
            found.append(path)
    return found


def match(
    history: History,
    charges: Charges,
    paths: Iterable[Path],
    *,
    others: Collection[str] = (),
) -> tuple[list[Received], list[Path]]:
    """Match each file with the one RELEASE entry that covers it, and with that entry's charge.

    Args:
        history: The verified log.
        charges: Gives the CHARGE entry of an index.
        paths: Covered statistics (``.wgs``), quality reports (``.wgq``), contributions (``.wgc``).

    Returns:
        Files that this log covers, and files that belong to an earlier log: statistics that say
        so, and, if there is one, contributions that this log does not cover.

    Raises:
        DecodeError: A file is neither.
        VerificationError: A file is not covered by exactly one release, or differs from its charge.
    """
    by_hash: dict[str, list[int]] = {}
    for state in history.state.charges.values():
        if state.release is not None:
            by_hash.setdefault(state.payload_sha256, []).append(state.seq)
    matched, left = [], []
    for path in paths:
        try:
            found = _match(history, charges, by_hash, path, others)
            if found is None:
                left.append(path)
            else:
                matched.append(found)
        except DecodeError as error:
            raise DecodeError(f"{path}: {error}") from error
        except VerificationError as error:
            raise VerificationError(f"{path}: {error}") from error
    return matched, left


def _match(
    history: History,
    charges: Charges,
    by_hash: dict[str, list[int]],
    path: Path,
    others: Collection[str],
) -> Received | None:
    covered: CoveredStatistics | None = None
    if path.suffix == CONTRIBUTION_SUFFIX:
        data = atomic.read_bytes(path, limit=contribution_file.CONTRIBUTION_LIMIT)
    elif path.suffix == QUALITY_SUFFIX:
        data = atomic.read_bytes(path, limit=QUALITY_LIMIT)
        covered = quality_file.decode_covered(data)
    else:
        data = atomic.read_bytes(path, limit=STATISTICS_LIMIT)
        covered = statistics_file.decode_covered(data)
    payload = data if covered is None else covered.release
    digest = canonical.sha256_hex(payload)
    found = by_hash.get(digest, [])
    if not found and others and (covered is None or _origin(covered.charge_entry) in others):
        return None
    if len(found) != 1:
        raise VerificationError(f"covered by {len(found)} RELEASE entries, expected exactly one")
    state = history.state.charges[found[0]]
    release = state.release if state.release is not None else -1
    charge = charges(state.seq)
    try:
        if covered is None:
            _check_contribution(payload, charge, history.state.site)
        else:
            leaves = history.state.leaves
            for name, entry, seq in (
                ("charge", covered.charge_entry, state.seq),
                ("release", covered.release_entry, release),
            ):
                if merkle.leaf_hash(entry) != leaves[seq]:
                    raise VerificationError(f"carries another {name} entry than entry {seq}")
            check = _check_quality if path.suffix == QUALITY_SUFFIX else _check_statistics
            check(payload, charge, history.state.site)
    except VerificationError as error:
        raise VerificationError(f"entry {state.seq}: {error}") from error
    return Received(path.name, digest, release)


def _origin(entry: bytes) -> str:
    return entries.decode(entry, what="charge entry").head.origin


def _check_statistics(payload: bytes, charge: Charge, site: str) -> None:
    sections = statistics_file.FILE.sections(payload)
    manifest = _manifest(_Statistics, sections["manifest"], statistics_file.MANIFEST_LIMIT)
    schema, mechanism = manifest.schema, charge.mechanism
    if schema.version != _SCHEMA_VERSION:
        raise VerificationError(
            f"file: schema version {schema.version}, this auditor reads {_SCHEMA_VERSION}"
        )
    noise = _noise(manifest, charge, schema)
    length = sum(block.length for block in schema.layout.blocks)
    if len(sections["integers"]) != 8 * length:
        raise VerificationError(
            f"file: {len(sections['integers'])} bytes of integers, its schema has {8 * length}"
        )
    _same(
        *noise,
        ("encoder", mechanism.encoder, schema.encoder),
        ("bits", mechanism.bits, schema.bits),
        ("clip radius", mechanism.clip_radius, schema.clip_radius),
        ("dimension", mechanism.dimension, schema.dimension),
        ("labels", charge.guarantee.labels, tuple(schema.labels)),
        ("hash of integers", canonical.sha256_hex(sections["integers"]), manifest.integers_sha256),
        *_common(manifest, charge, site),
    )


def _check_quality(payload: bytes, charge: Charge, site: str) -> None:
    sections = quality_file.FILE.sections(payload)
    manifest = _manifest(_Quality, sections["manifest"], quality_file.MANIFEST_LIMIT)
    found, mechanism = manifest.layout, charge.mechanism
    _same(
        *_noise(manifest, charge, found),
        ("encoder", mechanism.encoder, manifest.encoder),
        ("package", mechanism.name.rpartition(" of package ")[2], manifest.package_sha256),
        ("number of candidates", found.candidates, len(manifest.candidates)),
        ("bytes of integers", 8 * (1 + found.candidates), len(sections["integers"])),
        ("hash of integers", canonical.sha256_hex(sections["integers"]), manifest.integers_sha256),
        *_common(manifest, charge, site),
    )


def _check_contribution(payload: bytes, charge: Charge, site: str) -> None:
    sections = contribution_file.FILE.sections(payload)
    manifest = _manifest(_Contribution, sections["manifest"], contribution_file.MANIFEST_LIMIT)
    mechanism, event = charge.mechanism, charge.event
    run = f"{manifest.sampler}, q = {event.sampling_probability}, {event.steps} steps"
    _same(
        ("event", canonical.to_builtins(event), manifest.event),
        ("subsampling", mechanism.subsampling, run),
        ("encoder", mechanism.encoder, manifest.encoder),
        ("labels", charge.guarantee.labels, tuple(manifest.labels)),
        ("hash of tensors", canonical.sha256_hex(sections["tensors"]), manifest.tensors_sha256),
        *_common(manifest, charge, site),
    )
    blocks = {block.name: block.length for block in mechanism.blocks}
    _same(("tensors", blocks, _tensors(sections["tensors"])))


def _tensors(data: bytes) -> dict[str, int]:
    """Names of a safetensors file's tensors, and how many numbers each holds; no more is in it."""
    found = tensors.places(io.BytesIO(data), 0, len(data), what="tensors")
    return {name: place.count for name, place in found.items()}


def _noise(
    manifest: _Statistics | _Quality, charge: Charge, found: _Schema | _Answers
) -> tuple[Row, ...]:
    """What a release with Gaussian noise says of it, and what its layout implies."""
    mechanism, layout = charge.mechanism, found.layout
    sensitivity = rederive.sensitivity_squared(layout)
    if found.unit_rule != "cap" and found.unit_cap != 1:
        raise VerificationError(f"file: unit cap {found.unit_cap}, expected 1")
    rule = rederive.RULES.get(found.unit_rule, "").format(cap=found.unit_cap)
    return (
        ("mechanism", charge.event.mechanism, "gaussian"),
        ("sigma", rederive.sigma(mechanism.sigma), rederive.sigma(manifest.sigma)),
        ("squared sensitivity", mechanism.sensitivity_squared, str(sensitivity)),
        ("squared sensitivity", mechanism.sensitivity_squared, manifest.sensitivity_squared),
        ("blocks", mechanism.blocks, layout.blocks),
        ("rule of units", charge.guarantee.records_per_unit, rule),
    )


def _common(
    manifest: _Statistics | _Quality | _Contribution, charge: Charge, site: str
) -> tuple[Row, ...]:
    return (
        ("site", site, manifest.site),
        ("request id", charge.request_id, manifest.request_id),
        ("data set", charge.dataset, manifest.dataset),
        ("epsilon", charge.epsilon, manifest.epsilon),
        ("delta", charge.delta, manifest.delta),
        ("purpose", charge.use.purpose, manifest.purpose),
    )


def _same(*rows: Row) -> None:
    for name, stated, found in rows:
        if stated != found:
            raise VerificationError(
                f"{name} is {_short(stated)} on the ledger, {_short(found)} in the file"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _manifest(kind: type[T], data: bytes, limit: int) -> T:
    """Read the fields that are compared; the document must be canonical, so that it is unique."""
    if len(data) > limit:
        raise DecodeError(f"manifest: {len(data)} bytes, at most {limit} are accepted")
    try:
        document = typed.decode_json(data, object)
        if canonical.encode(document) != data:
            raise DecodeError("manifest: not canonical (RFC 8785)")
        return typed.convert(document, kind)
    except _NO_RECORD as error:
        raise DecodeError(f"manifest: {error}") from error
