"""A rival of the operator's kinds: fixed models trained on ordinary augmentation.

``python -m bench.ordinary --home HOME --plan PLAN`` is ``wg-server zoo build``, but records of the
operator's are seen under random crops, jitter of colours, RandAugment (Cubuk et al., NeurIPS 2020)
and blur in place of simulated cameras. All else is the same, so plants standardise these models as
they do ours. ``wg-server train`` follows, then ``bench.known_kinds`` with this home as the rival.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2

from wg_common.modalities.base import Modality, Record
from wg_common.modalities.images import Images
from wg_server.site.home import ServerHome
from wg_server.zoo import build, sources
from wg_server.zoo.plan import read_plan

_AUGMENTED = v2.Compose(
    [
        v2.RandomResizedCrop((96, 96), scale=(0.5, 1.0), ratio=(0.8, 1.25), antialias=True),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandAugment(2, 9),
        v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], 0.3),
    ]
)


def at_site(
    records: list[Record], modality: str, site: int, rng: np.random.Generator
) -> list[Record]:
    """Each record augmented; each tenth site sees them as they are, as in ``sources.at_site``."""
    if site % 10 == 0:
        return records
    torch.manual_seed(int(rng.integers(2**31)))
    return [_augmented(np.asarray(record)) for record in records]


def _augmented(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    result = _AUGMENTED(torch.from_numpy(colours.copy()).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    return np.asarray(result if image.ndim == 3 else result.mean(axis=2).round().astype(np.uint8))


def main() -> None:
    """Build the zoo."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    home, plan = ServerHome(options.home), read_plan(options.plan)
    print(build.build(home, plan, workers=options.workers, progress=print))


if __name__ in ("__main__", "__mp_main__"):  # The latter in worker processes
    sources.at_site = at_site
    Images.augment_record = Modality.augment_record  # type: ignore[method-assign]
if __name__ == "__main__":
    main()
