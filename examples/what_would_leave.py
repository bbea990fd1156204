"""What would leave the plant, and what would it cost? Sends nothing, charges nothing.

    python examples/what_would_leave.py [plant]

Without a plant's home: what would leave of pictures that are drawn here.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import weightgate
from wg_client.cli.main import group as wg_client


def of_drawn_pictures(folder: Path) -> None:
    """What ``wg-client simulate`` says of ten bright and ten dark pictures."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 120, (20, 32, 32)) + 60 * (np.arange(20) % 2)[:, None, None]
    np.savez(
        folder / "x.npz", x=x.astype(np.uint8), y=np.arange(20) % 2, classes=["dark", "bright"]
    )
    wg_client.main(["simulate", "--data", str(folder / "x.npz")], standalone_mode=False)


def of_plant(home: str) -> None:
    """What would leave a plant, at three prices."""
    plant = weightgate.Plant.open(home)
    print(f"{plant.site}: {', '.join(plant.labels)}")
    for epsilon in ("1", "2", "4"):
        found = plant.check(epsilon=epsilon)
        blocks = {block.name: block.noise_std for block in found.would_leave.blocks}
        left = found.cost.releases_left
        print(
            f"epsilon {epsilon}: noise {blocks['counts']} on each count; {left} of these would fit"
        )
    for hint in plant.check().hints:
        print(f"hint: {hint}")


if len(sys.argv) > 1:
    of_plant(sys.argv[1])
else:
    with tempfile.TemporaryDirectory() as folder:
        of_drawn_pictures(Path(folder))
