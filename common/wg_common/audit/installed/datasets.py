"""Made-up data sets of pictures: neighbours that differ in one respect each, and canaries."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wg_common.audit.installed.plant import SIDE, Record

COMPANY = "company"  # Name of the data set that the others differ from
_SIZE = 10  # Records that are there beside a record that is added


def picture(rng: np.random.Generator, number: int) -> NDArray[np.uint8]:
    """Stripes of a random direction, width and contrast under grain."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    turn, pitch, phase = rng.uniform(0, np.pi), rng.uniform(1, 10), rng.uniform(0, 2 * np.pi)
    wave = np.sin(2 * np.pi * pitch * (x * np.cos(turn) + y * np.sin(turn)) + phase)
    grey = rng.uniform(60, 190) + rng.uniform(10, 70) * wave + rng.normal(0, 12, (SIDE, SIDE))
    found: NDArray[np.uint8] = np.clip(grey, 0, 255).astype(np.uint8)
    found[0, 0] = number  # no two pictures have the same content
    return found


def neighbours(
    rng: np.random.Generator, labels: tuple[str, ...]
) -> Mapping[str, tuple[Record, ...]]:
    """Data sets that differ in one respect each, by name."""
    used = labels[: _SIZE // 2]

    def company(prefix: str) -> tuple[Record, ...]:
        return tuple(
            Record(
                name=f"{prefix}-{n}",
                pixels=picture(rng, n),
                label=used[int(rng.integers(len(used)))] if n else used[0],
            )
            for n in range(_SIZE)
        )

    one, other = company("a"), company("b")
    added = Record(name="added", pixels=picture(rng, 100), label=used[0])
    without = Record(name="added", pixels=picture(rng, 101), label=None)
    bright = Record(
        name="added", pixels=255 * (picture(rng, 102) > 120).astype(np.uint8), label=labels[-1]
    )
    renamed = [
        Record(name=f"z{len(one) - n}", pixels=r.pixels, label=r.label) for n, r in enumerate(one)
    ]
    turned = [
        Record(name=r.name, pixels=r.pixels, label=turned_label(r.label, labels)) for r in one
    ]
    twice = Record(name="copy", pixels=one[0].pixels, label=one[0].label)
    return {
        COMPANY: one,
        "company with one more": (*one, added),
        "company with one more, unlabelled": (*one, without),
        "company with one more, bright": (*one, bright),
        "company without one": one[1:],
        "company with a copy": (*one, twice),
        "company, renamed": tuple(renamed),
        "company, labels permuted": tuple(turned),
        "other company": other,
        "other company with one more": (*other, added),
        "other company with one more, unlabelled": (*other, without),
        "other company with one more, bright": (*other, bright),
    }


def turned_label(label: str | None, labels: tuple[str, ...]) -> str | None:
    """The label that stands opposite in the domain."""
    return None if label is None else labels[len(labels) - 1 - labels.index(label)]


def canaries(rng: np.random.Generator, labels: tuple[str, ...]) -> tuple[Record, ...]:
    """One picture for each label."""
    return tuple(
        Record(name=f"canary-{n}", pixels=picture(rng, n), label=label)
        for n, label in enumerate(labels)
    )
