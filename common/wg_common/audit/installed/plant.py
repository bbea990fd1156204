"""A plant of the audit's own, what it is asked, and what leaves it, taken apart."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_common import numbers
from wg_common.errors import DecodeError, VerificationError
from wg_common.ledger import entries
from wg_common.ledger.entries import Charge
from wg_common.wire import statistics_file
from wg_common.wire.statistics_file import StatisticsManifest

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Sampler = Callable[[Integers, float], Integers]

SIDE = 32  # Pixels of a side of the pictures that are drawn

SIGMAS = 6.0
"""Standard errors that a statistic may be off: two in 10^9, for a few hundred statistics."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """A picture to be written to a file.

    Attributes:
        name: Name of the file, without its ending.
        pixels: uint8 ``[SIDE, SIDE]``.
        label: One of the plant's labels, or None.
    """

    name: str
    pixels: NDArray[np.uint8]
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the plant: a request of its own, and the guarantee, as decimal strings."""

    request_id: str
    epsilon: str
    delta: str


class AuditedPlant(Protocol):
    """A plant of the audit's own, which runs the installed code on a fixed clock."""

    @property
    def home(self) -> Path:
        """Its home folder, with its ledger."""

    def freeze(self, records: Sequence[Record]) -> None:
        """Make these records the plant's data set: written as files, then frozen."""

    def release(self, question: Question, sampler: Sampler | None) -> bytes:
        """Charge and release statistics of the frozen data set; a covered ``.wgs`` file.

        ``sampler`` stands in for the installed one; with None, that one is used.
        """


Fresh = Callable[[tuple[str, ...]], AbstractContextManager[AuditedPlant]]
"""Makes a plant with this label domain, with an empty ledger and keys of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer: what was asked, whether it holds, and what was found."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A release, taken apart.

    Attributes:
        data: The file that would travel.
        manifest: Its manifest.
        charge: Its CHARGE entry.
        integers: int64 ``[L]``.
    """

    data: bytes
    manifest: StatisticsManifest
    charge: Charge
    integers: Integers

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    @property
    def sigma(self) -> float:
        """Standard deviation that the manifest states, grid units."""
        return numbers.hex_float(self.manifest.sigma)

    def blocks(self) -> dict[str, slice]:
        """Where each block lies."""
        found = self.manifest.schema.blocks
        return {b.name: slice(b.offset, b.offset + b.size) for b in found if b.size}


class Watch:
    """A sampler that notes what it is asked to add noise to, and what it answers.

    A release asks once for each of its parts; what a later part is about depends on the answer to
    the first (docs/centred-release.md).
    """

    def __init__(self, sampler: Sampler, *, first: Integers | None = None) -> None:
        """With ``first``, that is the answer to the first part."""
        self._sampler = sampler
        self._first = first
        self.asked: list[Integers] = []
        self.answered: list[Integers] = []
        self.sigmas: list[float] = []

    def __call__(self, exact: Integers, sigma: float) -> Integers:
        """Answer for the next part."""
        fixed = self._first if not self.asked else None
        answer = self._sampler(exact, sigma) if fixed is None else fixed
        self.asked.append(exact.copy())
        self.answered.append(answer.copy())
        self.sigmas.append(sigma)
        return answer


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A release, and what its sampler was asked and answered, in the file's order, ``[L]`` each.

    Attributes:
        file: The release.
        exact: What noise was added to. Private at a plant; these records are made up.
        answered: The same with noise.
        parts: What noise was added to, part by part as it was asked for.
        sigmas: Standard deviation of the noise of each part, grid units.
    """

    file: Opened
    exact: Integers
    answered: Integers
    parts: tuple[Integers, ...]
    sigmas: tuple[float, ...]

    @property
    def noise(self) -> Floats:
        """What the file has beyond the exact integers, over the stated standard deviation."""
        return (self.file.integers - self.exact) / self.file.sigma


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """The releases of one frozen data set.

    Attributes:
        exact: Without noise; its first part was answered with the same integers in every data set,
            so that further parts are about the same centre.
        noisy: With it.
    """

    exact: Watched
    noisy: tuple[Watched, ...]


def watched(file: Opened, watch: Watch) -> Watched:
    """Put the parts in the file's order: the sums of a centred release are asked for last.

    Raises:
        VerificationError: The release left without asking for noise.
    """
    if not watch.asked:
        raise VerificationError("audit: a release left without asking its sampler for noise")
    return Watched(
        file=file,
        exact=_in_order(file, watch.asked),
        answered=_in_order(file, watch.answered),
        parts=tuple(watch.asked),
        sigmas=tuple(watch.sigmas),
    )


def _in_order(file: Opened, parts: Sequence[Integers]) -> Integers:
    if len(parts) != 2:
        return np.concatenate(parts)
    first, second = parts
    stop = file.blocks()["counts"].stop
    return np.concatenate([first[:stop], second, first[stop:]])


def opened(data: bytes) -> Opened:
    """Take a covered release apart. Signature and proofs are not this audit's matter.

    Raises:
        DecodeError: The bytes are no covered release.
    """
    covered = statistics_file.decode_covered(data)
    manifest, integers = statistics_file.read_unverified(covered.release)
    charge = entries.decode(covered.charge_entry)
    if not isinstance(charge, Charge):
        raise DecodeError(f"charge entry: is a {charge.head.kind} entry")
    return Opened(data, manifest, charge, integers)


def check(name: str, wrong: Sequence[str], right: str) -> Check:
    """A check that holds if nothing is wrong; else it names the first few things."""
    return Check(name=name, passed=not wrong, found="; ".join(wrong[:3]) or right)
