"""A steel surface, drawn by the product's own picture library: the kind that the operator knows.

The operator and two plants look at it, each at a sheet of its own through a camera of its own.
"""

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities.cameras import Pictures
from wg_server.zoo.procedural import families, surfaces

PAINTERS = {
    "good": "",
    "scratch": "scratch",
    "pits": "pits",
    "inclusion": "inclusion",
    "scale": "scale",
    "patches": "patches",
}
"""What draws each class."""
CLASSES = tuple(PAINTERS)
_STRENGTH = 0.7
"""How far cameras are from a clean one, as in the zoo's plans."""


def steel(seed: int) -> families.Family:
    """The kind of plant: its classes and how they look, before any camera."""
    rng = np.random.default_rng(seed)
    return families.Family(
        name="steel",
        kind="defects",
        classes=tuple(
            families.Class(name, painter, tuple(rng.uniform(0, 1, 8)))
            for name, painter in PAINTERS.items()
        ),
        recipe=surfaces.draw_recipe(rng, "rolled"),
        style=tuple(rng.uniform(0, 1, 8)),
        seed=(seed,),
    )


def pictures(
    family: families.Family, site: int, per_class: int, rng: np.random.Generator
) -> tuple[Pictures, NDArray[np.int64]]:
    """Pictures of one site and their classes.

    Args:
        family: What is seen.
        site: 0 is the operator's own, with a clean camera; others are plants.
        per_class: Pictures of each class.
        rng: Source of what differs from picture to picture.
    """
    labels = np.repeat(np.arange(len(family.classes)), per_class)
    seen = families.draw_site(family, site, strength=_STRENGTH if site else 0.0)
    return families.render(family, seen, labels, rng), labels
