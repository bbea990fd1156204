"""Families of procedural window tasks, and their sites."""

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
MachineModel = rotating.RotatingMachineModel | process.ProcessModel
FAMILY_KINDS: Mapping[str, Callable[[np.random.Generator], MachineModel]] = {
    "rotating": rotating.draw_rotating_machine,
    "process": process.draw_process_model,
}
_KIND_PROBABILITIES = (0.57, 0.43)
_WINDOW_LENGTHS = {"rotating": (256, 512, 1024, 1024, 2048), "process": (16, 24, 32, 64, 128)}


@dataclass(frozen=True, slots=True, eq=False)
class WindowFamily:
    """Simulated kind of plant: a machine, and the classes of its states.

    Attributes:
        name: Name in zoo entries; it contains the seed.
        kind: One of ``FAMILY_KINDS``.
        machine: Model of a machine, which simulates the signals of each class.
        channel_mixing: Weights of the machine's S signals in each of C channels, ``[C, S]``.
        window_samples: Number of samples of a window.
        unit_factor: Factor on all values, for the unit in which such plants record.
        seed: Seed from which the family was drawn.
    """

    name: str
    kind: str
    machine: MachineModel
    channel_mixing: Floats
    window_samples: int
    unit_factor: float
    seed: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the family's classes."""
        return self.machine.labels


@dataclass(frozen=True, slots=True, eq=False)
class WindowSite:
    """Site of a window family: a machine, and the sensors that measure it.

    Attributes:
        machine: Model of the site's machine.
        sensors: Sensors, from signals to recorded channels.
        relative_interval: Time between samples, relative to that of the family.
        window_samples: Number of samples of its windows.
    """

    machine: MachineModel
    sensors: sensors.SensorChain
    relative_interval: float
    window_samples: int


def draw_family(seed: tuple[int, ...], kind: str | None = None) -> WindowFamily:
    """Draw the window family of a seed; ``kind`` is in ``FAMILY_KINDS``, or None: a random one."""
    rng = streams.stream_generator(Stream.FAMILY, *seed)
    family_kind = kind or str(rng.choice(list(FAMILY_KINDS), p=_KIND_PROBABILITIES))
    machine = FAMILY_KINDS[family_kind](rng)
    if family_kind == "process":  # each variable has a sensor
        mixing = np.eye(machine.signal_count)
    else:
        channels = int(rng.choice([1, 1, 1, 2, 3]))
        mixing = rng.dirichlet(np.ones(machine.signal_count), channels) * rng.uniform(0.5, 1.5)
    return WindowFamily(
        name=f"{family_kind}-{'-'.join(str(s) for s in seed)}",
        kind=family_kind,
        machine=machine,
        channel_mixing=mixing,
        window_samples=int(rng.choice(_WINDOW_LENGTHS[family_kind])),
        unit_factor=float(10 ** rng.uniform(-1, 1) * rng.choice([1.0, 1.0, 1e3])),
        seed=seed,
    )


def draw_site(family: WindowFamily, site_number: int, *, strength: float) -> WindowSite:
    """Draw the site with a number, which deviates from its family by ``strength``, 0 to 1."""
    rng = streams.stream_generator(Stream.SITE, *family.seed, indices=(site_number,))
    machine = family.machine.vary_for_site(rng, strength)
    direct = family.kind == "process"
    chain = sensors.draw_sensor_chain(
        rng, family.channel_mixing, family.unit_factor, strength, is_direct=direct
    )
    step = float(np.exp(rng.uniform(-0.25, 0.25) * strength))
    length = family.window_samples
    if family.kind == "rotating" and rng.random() < 0.3 * strength:
        length = int(rng.choice((512, 1024, 2048)))
    return WindowSite(machine, chain, step, length)


def render_records(
    family: WindowFamily, site: WindowSite, labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Simulate sensor windows as they are recorded at one site.

    Args:
        family: The family.
        site: The site.
        labels: Class of each window, ``[n]``.
        rng: Random generator of the differences between windows.

    Returns:
        Windows, float32 ``[n, C, T]``.
    """
    signals = site.machine.simulate_windows(
        rng, labels, site.window_samples, site.relative_interval
    )
    return sensors.measure_signals(rng, signals, site.sensors).reshape(
        len(labels), len(family.channel_mixing), -1
    )
