"""A plant of the audit's own, what it is asked, and what leaves it, taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_core import numbers
from wg_core.errors import DecodeError
from wg_core.ledger import entries, sources
from wg_core.ledger.entries import Charge, Entry, Release
from wg_core.wire import statistics_file
from wg_core.wire.statistics_file import StatisticsManifest

UnitRule = Literal["record", "weight"]
Layout = Literal["npz", "folders", "table"]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Sampler = Callable[[Integers, float], Integers]

SIDE = 32  # Pixels of a side of most pictures
MACHINE_NUMBERS = 32  # Of a release for a machine, as ``privacy.schema`` says


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Configuration of a probed plant.

    Attributes:
        labels: Label domain of its records.
        unit_rule: How the records of a privacy unit count, as of ``StatisticsSchema``.
        dimension: Number of features, each a float32 that stands in the first bytes of a picture,
            so that the audit chooses them; 0: those of the plant's own encoder.
        cap: Most epsilon that its budget pays in all, decimal string.
        acceptance: Share of its privacy units that judge models and are never released; None: no
            record does.
        layout: How its records lie on the disk: as one ``.npz`` file, in folders of classes, or in
            one folder with a table, which alone of the two names units.
        machine: It states a machine, at which a record reads as the ``MACHINE_NUMBERS`` float32
            that stand in its picture behind the features.
    """

    labels: tuple[str, ...]
    unit_rule: UnitRule = "record"
    dimension: int = 0
    cap: str = "100000"
    acceptance: float | None = None
    layout: Layout = "npz"
    machine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """A picture to be written to a file.

    Attributes:
        pixels: uint8 ``[h, w]`` or ``[h, w, 3]``; all of a data set have one shape.
        label: Index into the plant's labels, or -1; beyond them, the record is to be set aside.
        unit: Privacy unit; where each record is one it is not used.
    """

    pixels: NDArray[np.uint8]
    label: int
    unit: str = "unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request of its own.

    Attributes:
        epsilon: Decimal string; 0 asks for a statement.
        delta: Decimal string.
        machine: It asks for statistics of the stated machine, and not of classes.
        changes: Fields of a query that are not those of the plant's server, by name.
    """

    request_id: str
    epsilon: str
    delta: str
    machine: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)


Trouble = Literal["charged", "sampled", "recorded", "cosigned", "refusing", "forging"]
"""Trouble on the way of a release: the plant dies right after a step; its witness refuses, or signs
with another key than its own."""


class AuditedPlant(Protocol):
    """A plant of the audit's own, which runs the installed code on a fixed clock."""

    @property
    def home(self) -> Path:
        """Home folder, with the ledger."""

    def freeze(self, records: Sequence[Record]) -> Frozen:
        """Make these records the plant's data set, also none: written to a file, then frozen."""

    @property
    def setup(self) -> Setup:
        """Configuration."""

    @property
    def body_sizes(self) -> list[int]:
        """Sizes of what its witness was shown, bytes."""

    def release(
        self, question: Question, sampler: Sampler | None, trouble: Trouble | None = None
    ) -> bytes:
        """Charge and release statistics of the frozen data set; a covered ``.wgs`` file.

        ``sampler`` stands in for the installed one; with None, nothing does. At epsilon 0 nothing
        is charged, and the file is a covered statement.

        Raises:
            Interrupted: The plant died of the trouble.
            WgError: It answers nothing.
        """

    def rename(self) -> None:
        """Call the data set by another name in the settings."""

    def wait(self, seconds: int) -> None:
        """Let time pass."""

    def replace_ledger(self) -> None:
        """Give up the ledger as after a theft of its key: another inherits what was spent."""

    def twin(self) -> AbstractContextManager[AuditedPlant]:
        """Make a copy of the plant as it is now, keys, ledger and snapshot included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A snapshot, as its plant describes it.

    Attributes:
        salt: Salt of its commitment, hex.
        judges: Places of the records in the acceptance set.
    """

    salt: str
    judges: frozenset[int] = frozenset()


Fresh = Callable[[Setup], AbstractContextManager[AuditedPlant]]
"""Makes a plant with an empty ledger and keys of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer.

    Attributes:
        name: What was asked, as the property that is to hold.
        passed: Whether it holds.
        detail: What was looked at, or what is wrong.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A release, taken apart.

    Attributes:
        data: The file that would travel.
        manifest: Manifest of the release.
        charge: CHARGE entry that paid for it.
        entry: RELEASE entry that fixes its bytes.
        integers: int64 ``[L]``.
    """

    data: bytes
    manifest: StatisticsManifest
    charge: Charge
    entry: Release
    integers: Integers

    @property
    def sigma(self) -> float:
        """Standard deviation that the manifest states, grid units."""
        return numbers.hex_float(self.manifest.sigma)

    @property
    def of_machine(self) -> bool:
        """Tell a release for a machine from one of classes."""
        return self.manifest.schema.features == "machine"

    def blocks(self) -> dict[str, slice]:
        """Where each block lies."""
        layout = self.manifest.schema.blocks
        return {b.name: slice(b.offset, b.offset + b.size) for b in layout if b.size}


class Interrupted(Exception):
    """Stands for a crash of a plant."""


class Watch:
    """A sampler that notes what it is asked, what it answers, and whether that was charged.

    A release asks once for each of its parts; what the second part is about depends on the answer
    to the first (docs/centred-release.md).

    Args:
        sampler: Answers; noise that the audit chooses is known to the last bit.
        home: Home folder of the plant, whose ledger another process reads.
        request_id: The request that is to be charged.
    """

    def __init__(self, sampler: Sampler, home: Path, request_id: str) -> None:
        self._sampler = sampler
        self._home = home
        self._request_id = request_id
        self.parts: list[Integers] = []
        self.answers: list[Integers] = []
        self.sigmas: set[float] = set()
        self.unpaid = 0

    def __call__(self, exact: Integers, sigma: float) -> Integers:
        """Answer for the next part."""
        request_ids = [charge.request_id for charge in charges(self._home)]
        self.unpaid += self._request_id not in request_ids
        self.sigmas.add(sigma)
        self.parts.append(exact.copy())
        self.answers.append(self._sampler(exact, sigma))
        return self.answers[-1].copy()


def in_file_order(parts: Sequence[Integers], file: Opened) -> Integers:
    """Join a release's parts, ``[L]``: two where it has sums; empty if they are not so many."""
    if len(parts) != 1 + ("sums" in file.blocks()):
        return np.zeros(0, dtype=np.int64)
    if len(parts) == 1:
        return parts[0]
    early, second = parts
    stop = file.blocks()["counts"].stop
    return np.concatenate([early[:stop], second, early[stop:]])


def ledger_entries(home: Path) -> list[Entry]:
    """Every entry that another process sees on the disk."""
    with closing(sources.open_source(home)) as source:
        return list(sources.stored_entries(source))


def charges(home: Path) -> list[Charge]:
    """The CHARGE entries that another process sees on the disk."""
    return [entry for entry in ledger_entries(home) if isinstance(entry, Charge)]


def read_release(data: bytes) -> Opened:
    """Take a covered release apart. Signature and proofs are not this audit's matter.

    Raises:
        DecodeError: The bytes are no covered release.
    """
    covered_file = statistics_file.decode_covered(data)
    manifest, integers = statistics_file.read_unverified(covered_file.release)
    charge, entry = (
        entries.decode(covered_file.charge_entry),
        entries.decode(covered_file.release_entry),
    )
    if not (isinstance(charge, Charge) and isinstance(entry, Release)):
        raise DecodeError(f"entries: {charge.head.kind} and {entry.head.kind}")
    return Opened(data, manifest, charge, entry, integers)
