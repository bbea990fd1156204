"""Cut data sets into records for a zoo and records for plants of the same family.

The data sets are images, and sensor windows, which become float32 as a zoo requires.

Run with ``python -m bench.family_sets --out DIR``. In several data sets a group (a tile, a board, a
file) has records on both sides of the original split, and a plant's group must never be in the zoo.
Such groups are assigned alternately to the zoo and to the plants; their records on the other side
are omitted. ``DIR/NAME/data.npz`` has ``split`` 0 for the zoo and 1 for plants: ``npz`` sources of
a zoo plan read the former, ``bench.known_kinds --datasets DIR`` the latter.
"""

import argparse
from pathlib import Path

import numpy as np
from bench import plants, window_plants
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name in (*plants.DATASETS, *window_plants.FILES):
        path = options.datasets / name / "data.npz"
        if not path.is_file():
            continue
        with np.load(path, allow_pickle=False) as archive:
            found = separate_groups(dict(archive))
        if name in window_plants.FILES:
            found["x"] = found["x"].astype(np.float32)
        target = options.out / name
        target.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target / "data.npz", **found)  # type: ignore[arg-type]
        split = found["split"]
        print(
            f"{name}: {int((split == 0).sum())} for the zoo, {int((split == 1).sum())} for plants"
        )


def separate_groups(arrays: Arrays) -> Arrays:
    """Select records so that each group is on one side of the data set's split.

    Args:
        arrays: ``x``, ``y``, ``classes``, ``split`` (0 or 1), and perhaps ``group``.
    """
    split = arrays["split"]
    keep = np.ones(len(split), bool)
    if "group" in arrays:
        group = arrays["group"]
        for turn, both in enumerate(np.intersect1d(group[split == 0], group[split == 1])):
            keep &= ~((group == both) & (split != turn % 2))
    rows = {name: arrays[name][keep] for name in ("x", "y", "split")}
    rest = {"group": arrays["group"][keep]} if "group" in arrays else {}
    return {**rows, **rest, "classes": arrays["classes"]}


if __name__ == "__main__":
    main()
