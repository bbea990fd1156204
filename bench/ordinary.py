"""Rival models for the operator's kinds: fixed models trained with ordinary augmentation.

``python -m bench.ordinary --home HOME --plan PLAN`` is ``wg-server zoo build``, but the operator's
records are augmented by torchvision's random crops, colour jitter and blur in place of the
product's augmentation. All else is the same, so plants standardise these models in the same way.
Run ``wg-server train`` next, then ``bench.known_kinds`` with this home as the rival. ``--steps``
shortens the training of networks; ``--product`` keeps the product's augmentation, for a comparison
with as few steps.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2

from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_server.site.home import ServerHome
from wg_server.zoo import build, networks, sources
from wg_server.zoo.plan import read_plan

_AUGMENTATION = v2.Compose(
    [
        v2.RandomResizedCrop((96, 96), scale=(0.5, 1.0), ratio=(0.8, 1.25), antialias=True),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], 0.3),
    ]
)


def augment_site(
    records: list[Record], modality: str, site_number: int, rng: np.random.Generator
) -> list[Record]:
    """Augment each record; every tenth site is unchanged, as in ``simulate_site``."""
    if site_number % 10 == 0:
        return records
    torch.manual_seed(int(rng.integers(2**31)))
    return [_augment_image(np.asarray(record)) for record in records]


def augment_retakes(
    self: Images, records: Sequence[Record], rng: np.random.Generator
) -> list[Record]:
    """Augment each record for the training of a network."""
    del self
    return augment_site(list(records), Images.name, 1, rng)


def _augment_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    result = (
        _AUGMENTATION(torch.from_numpy(colours.copy()).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    )
    return np.asarray(result if image.ndim == 3 else result.mean(axis=2).round().astype(np.uint8))


def main() -> None:
    """Build the zoo."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=networks.TRAINING_STEP_COUNT)
    parser.add_argument("--product", action="store_true", help="the product's augmentation")
    options = parser.parse_args()
    networks.TRAINING_STEP_COUNT = options.steps
    if not options.product:
        sources.simulate_site = augment_site
        Images.augment_retakes = augment_retakes  # type: ignore[method-assign]
    home, plan = ServerHome(options.home), read_plan(options.plan)
    print(build.build_zoo(home, plan, workers=1, progress=print))


if __name__ == "__main__":
    main()
