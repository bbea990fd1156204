"""Interface of plants to the empirical audit: setup, records, questions and decoded releases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_core import number_parsers
from wg_core.errors import DecodeError
from wg_core.ledger import entries, log_sources
from wg_core.ledger.entries import Charge, Entry, Release
from wg_core.wire import bundle, statistics_file
from wg_core.wire.statistics_file import StatisticsManifest

UnitRule = Literal["record", "weight"]
FileLayout = Literal["npz", "folders", "table"]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
NoiseSampler = Callable[[Integers, float], Integers]

IMAGE_SIDE = 32  # Side of most images, in pixels
MACHINE_FEATURE_COUNT = 32  # Number of machine features per record, as in ``privacy.schema``
FIXED_UNIX_TIME = 1_700_000_000  # Unix time in seconds at which all audited plants start


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantSetup:
    """Configuration of an audited plant.

    Attributes:
        labels: Label domain of its records.
        unit_rule: Unit rule (how several records of one privacy unit count): ``record``, each
            alone; ``weight``, as their average.
        dimension: Number of features, which the audit writes as float32 into the first bytes of an
            image; 0: the plant computes features with a real encoder.
        cap_epsilon: Epsilon of its budget's cap, as a decimal string.
        acceptance_share: Share of its privacy units in the acceptance set, 0 to 1; None: no such
            set.
        file_layout: Layout of its records on disk: one ``.npz`` file, a folder per class, or one
            folder with a table, which also names units.
        declares_machine: True if it declares a machine. The machine features of a record are then
            the ``MACHINE_FEATURE_COUNT`` float32 values after the features in its image.
    """

    labels: tuple[str, ...]
    unit_rule: UnitRule = "record"
    dimension: int = 0
    cap_epsilon: str = "100000"
    acceptance_share: float | None = None
    file_layout: FileLayout = "npz"
    declares_machine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRecord:
    """Record that the audit writes to a plant's data set as an image file.

    Attributes:
        pixels: Image, uint8 ``[h, w]`` or ``[h, w, 3]``; all images of a data set have one shape.
        label: Index into the plant's labels, or -1 for none. The plant must set a record with an
            index outside of its labels aside.
        unit: Name of its privacy unit; ignored under the unit rule ``record``.
    """

    pixels: NDArray[np.uint8]
    label: int
    unit: str = "unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Request for statistics that the audit sends to a plant.

    Attributes:
        request_id: Id of the request, hex.
        epsilon: Epsilon as a decimal string; 0 asks for a public statement.
        delta: Delta as a decimal string.
        wants_machine_statistics: True for machine statistics, False for class statistics.
        changed_fields: New values of query fields, by name, for queries that the plant must refuse.
    """

    request_id: str
    epsilon: str
    delta: str
    wants_machine_statistics: bool = False
    changed_fields: Mapping[str, Any] = field(default_factory=dict)


Interruption = Literal["charged", "sampled", "recorded", "cosigned", "refusing", "forging"]
"""Failure during a release: the plant crashes right after the named step; or its witness refuses
to sign (``refusing``) or signs with a wrong key (``forging``)."""


class AuditedPlant(Protocol):
    """Plant that runs the installed release code for the audit, with a clock set by the audit."""

    @property
    def home(self) -> Path:
        """Home folder of the plant, which contains its ledger."""

    def freeze(self, records: Sequence[ImageRecord]) -> FrozenSnapshot:
        """Replace the plant's data set by files of these records, possibly none, and freeze it."""

    @property
    def setup(self) -> PlantSetup:
        """Configuration of the plant."""

    @property
    def witness_request_sizes(self) -> list[int]:
        """Sizes of all requests that the plant sent to its witness, in bytes."""

    def release(
        self,
        question: Question,
        sampler: NoiseSampler | None,
        interruption: Interruption | None = None,
    ) -> bytes:
        """Charge and release statistics of the frozen data set; return a ``.wgs`` file's bytes.

        The file proves that its entries are on the ledger. At epsilon 0 nothing is charged, and the
        file is a public statement.

        Args:
            question: Request to answer.
            sampler: Noise sampler to be used instead of the installed one; None: the installed one.
            interruption: Failure to cause; None for no failure.

        Raises:
            SimulatedCrash: The plant crashed as ``interruption`` requires.
            WgError: The plant refuses or fails to answer.
        """

    def rename_dataset(self) -> None:
        """Change the name of the data set in the plant's settings."""

    def advance_clock(self, seconds: int) -> None:
        """Advance the plant's clock by some seconds."""

    def replace_ledger(self) -> None:
        """Replace the plant's ledger and key as after a theft; the new one inherits all spend."""

    def copy_plant(self) -> AbstractContextManager[AuditedPlant]:
        """Open a temporary copy of the plant in its present state: keys, ledger and snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenSnapshot:
    """Result of freezing an audited plant's records, as reported by the plant.

    Attributes:
        salt: Random salt in the commitment to the records, hex.
        acceptance_rows: Indices of the records that the plant put into the acceptance set.
    """

    salt: str
    acceptance_rows: frozenset[int] = frozenset()


PlantFactory = Callable[[PlantSetup], AbstractContextManager[AuditedPlant]]
"""Function that opens a temporary plant with an empty ledger and new keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of one check of the empirical audit.

    Attributes:
        name: Property that is checked, as a sentence.
        passed: True if the property holds.
        detail: Extent of the check, or the errors found.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class DecodedRelease:
    """Release of an audited plant, decoded from its file.

    Attributes:
        data: Bytes of the ``.wgs`` file.
        manifest: Manifest of the release.
        charge: CHARGE entry that paid for the release.
        release_entry: RELEASE entry with the hash of the release.
        integers: All released integers in one array, int64.
    """

    data: bytes
    manifest: StatisticsManifest
    charge: Charge
    release_entry: Release
    integers: Integers

    @property
    def sigma(self) -> float:
        """Stated standard deviation of the noise, grid units."""
        return number_parsers.parse_hex_float(self.manifest.sigma)

    @property
    def is_machine_release(self) -> bool:
        """True if the release has machine statistics, False for class statistics."""
        return self.manifest.schema.features == "machine"

    def blocks(self) -> dict[str, slice]:
        """Return the positions of the release's nonempty blocks in ``integers``, by block name."""
        layout = self.manifest.schema.blocks
        return {b.name: slice(b.offset, b.offset + b.size) for b in layout if b.size}


class SimulatedCrash(Exception):
    """Error by which the audit simulates a plant's crash."""


class RecordingSampler:
    """Noise sampler that records its inputs and outputs, and each call that precedes the charge.

    A release calls the sampler once for each of its parts; the second part depends on the output
    for the first (docs/centred-release.md).

    Args:
        sampler: Sampler that adds the noise.
        home: Home folder of the plant, whose ledger is read from disk at each call.
        request_id: Id of the request whose charge must be on the ledger at each call.
    """

    def __init__(self, sampler: NoiseSampler, home: Path, request_id: str) -> None:
        self._sampler = sampler
        self._home = home
        self._request_id = request_id
        self.exact_parts: list[Integers] = []
        self.noisy_parts: list[Integers] = []
        self.sigmas: set[float] = set()
        self.uncharged_calls = 0

    def __call__(self, exact: Integers, sigma: float) -> Integers:
        """Return ``exact`` plus noise for the next part of a release; record both and ``sigma``."""
        request_ids = [charge.request_id for charge in ledger_charges(self._home)]
        self.uncharged_calls += self._request_id not in request_ids
        self.sigmas.add(sigma)
        self.exact_parts.append(exact.copy())
        self.noisy_parts.append(self._sampler(exact, sigma))
        return self.noisy_parts[-1].copy()


def join_parts_in_order(parts: Sequence[Integers], file: DecodedRelease) -> Integers:
    """Join integers recorded by ``RecordingSampler`` in the order of a release's integers.

    The sampler gets the counts and the total (sum over all records) first, then the class sums;
    a release has the class sums between counts and total.

    Args:
        parts: Counts and total as one array, then the class sums, if the release has any.
        file: The release that the sampler was called for.

    Returns:
        One array in the order of ``file.integers``; empty if the number of parts is wrong.
    """
    if len(parts) != 1 + ("sums" in file.blocks()):
        return np.zeros(0, dtype=np.int64)
    if len(parts) == 1:
        return parts[0]
    early, second = parts
    stop = file.blocks()["counts"].stop
    return np.concatenate([early[:stop], second, early[stop:]])


def ledger_entries(home: Path) -> list[Entry]:
    """Read all entries of a plant's ledger from disk, as another process sees them."""
    with closing(log_sources.open_source(home)) as source:
        return list(log_sources.decode_entries(source))


def ledger_charges(home: Path) -> list[Charge]:
    """Read the CHARGE entries of a plant's ledger, as another process sees them."""
    return [entry for entry in ledger_entries(home) if isinstance(entry, Charge)]


def decode_release(data: bytes) -> DecodedRelease:
    """Decode a ``.wgs`` file with a release, without checking its signature and proofs.

    Raises:
        DecodeError: The bytes are not a ``.wgs`` file with a release.
    """
    covered_file = bundle.decode_statistics(data)
    manifest, integers = statistics_file.read_unverified_release(covered_file.release)
    charge, entry = (
        entries.decode(covered_file.charge_entry),
        entries.decode(covered_file.release_entry),
    )
    if not (isinstance(charge, Charge) and isinstance(entry, Release)):
        raise DecodeError(f"entries: {charge.head.kind} and {entry.head.kind}")
    return DecodedRelease(data, manifest, charge, entry, integers)
