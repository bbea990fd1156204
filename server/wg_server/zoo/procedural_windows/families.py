"""Families of window tasks and their sites: what the zoo asks this source for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities import sensors
from wg_common.modalities.windows import Windows
from wg_common.streams import Stream
from wg_server.zoo.procedural_windows import process, rotating
from wg_server.zoo.procedural_windows.machine import Floats

MODALITY = Windows.name
Machine = rotating.Rotor | process.Plant
KINDS: Mapping[str, Callable[[np.random.Generator], Machine]] = {
    "rotating": rotating.draw,
    "process": process.draw,
}
_ODDS = (0.57, 0.43)
_LENGTHS = {"rotating": (256, 512, 1024, 1024, 2048), "process": (16, 24, 32, 64, 128)}


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One kind of machine.

    Attributes:
        name: Unique by seed, for provenance.
        kind: One of ``KINDS``.
        machine: Machine: its classes and their sounds.
        mixing: How its sources reach channels, ``[C, S]``.
        length: Samples of a window.
        unit: A factor on all values: the unit that such plants record in.
        seed: What it was drawn from.
    """

    name: str
    kind: str
    machine: Machine
    mixing: Floats
    length: int
    unit: float
    seed: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.machine.labels


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One machine of the kind behind its own sensors.

    Attributes:
        machine: The machine.
        sensors: Measuring chain of the machine.
        step: Time between samples, 1 is the family's.
        length: Samples of its windows.
    """

    machine: Machine
    sensors: sensors.Sensors
    step: float
    length: int


def draw_family(seed: tuple[int, ...], kind: str | None = None) -> Family:
    """The family of a seed."""
    rng = streams.rng(Stream.FAMILY, *seed)
    family_kind = kind or str(rng.choice(list(KINDS), p=_ODDS))
    machine = KINDS[family_kind](rng)
    if family_kind == "process":  # each variable has a sensor
        mixing = np.eye(machine.sources)
    else:
        channels = int(rng.choice([1, 1, 1, 2, 3]))
        mixing = rng.dirichlet(np.ones(machine.sources), channels) * rng.uniform(0.5, 1.5)
    return Family(
        name=f"{family_kind}-{'-'.join(str(s) for s in seed)}",
        kind=family_kind,
        machine=machine,
        mixing=mixing,
        length=int(rng.choice(_LENGTHS[family_kind])),
        unit=float(10 ** rng.uniform(-1, 1) * rng.choice([1.0, 1.0, 1e3])),
        seed=seed,
    )


def draw_site(family: Family, number: int, *, strength: float) -> Site:
    """Site ``number`` of a family, ``strength`` (0 to 1) away from the nominal one."""
    rng = streams.rng(Stream.SITE, *family.seed, then=(number,))
    machine = family.machine.at_another_site(rng, strength)
    direct = family.kind == "process"
    chain = sensors.draw(rng, family.mixing, family.unit, strength, direct=direct)
    step = float(np.exp(rng.uniform(-0.25, 0.25) * strength))
    length = family.length
    if family.kind == "rotating" and rng.random() < 0.3 * strength:
        length = int(rng.choice((512, 1024, 2048)))
    return Site(machine, chain, step, length)


def render(
    family: Family, site: Site, labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Windows of one site.

    Args:
        labels: Class of each window, ``[n]``.
        rng: Source of what differs from window to window.

    Returns:
        float32 ``[n, C, T]``.
    """
    signals = site.machine.windows(rng, labels, site.length, site.step)
    return sensors.observe(rng, signals, site.sensors).reshape(len(labels), len(family.mixing), -1)
