"""Rendered steel surfaces, of which both the operator and one plant have pictures.

The operator and the plant have pictures of different sheets, taken by different cameras. The
pictures are drawn by the product's own picture library.
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
"""Name of the zoo's defect renderer for each class; empty: a surface without defect."""
CLASSES = tuple(PAINTERS)
_STRENGTH = 0.7
"""Strength of the differences between cameras, as in the zoo's plans."""


def steel(seed: int) -> families.ImageFamily:
    """Return the family of steel surfaces: its classes, and their looks before any camera."""
    rng = np.random.default_rng(seed)
    return families.ImageFamily(
        name="steel",
        kind="defects",
        classes=tuple(
            families.ImageClass(name, painter, tuple(rng.uniform(0, 1, 8)))
            for name, painter in PAINTERS.items()
        ),
        surface_recipe=surfaces.draw_recipe(rng, "rolled"),
        style=tuple(rng.uniform(0, 1, 8)),
        seed=(seed,),
    )


def pictures(
    family: families.ImageFamily, site: int, per_class: int, rng: np.random.Generator
) -> tuple[Pictures, NDArray[np.int64]]:
    """Render one site's pictures, and return them with their class indices ``[n]``.

    Args:
        family: The family of steel surfaces.
        site: 0 is the operator, with a clean camera; others are plants.
        per_class: Number of pictures of each class.
        rng: Source of the variation between pictures.
    """
    labels = np.repeat(np.arange(len(family.classes)), per_class)
    seen = families.draw_site(family, site, strength=_STRENGTH if site else 0.0)
    return families.render_records(family, seen, labels, rng), labels
