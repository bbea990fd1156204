"""Data sets of torchvision that are on this machine already. Nothing is downloaded.

Only sets that torchvision reads without unpickling are taken: no file of a zoo may become code.
"""

import functools
from typing import Any

import numpy as np

from wg_common.modalities.base import DAMAGE
from wg_core.errors import ConfigError, DataError
from wg_server.zoo.archives import Archive, Collector, smaller

KNOWN: dict[str, dict[str, Any]] = {
    "Caltech101": {},
    "Country211": {"split": "train"},
    "DTD": {"split": "train"},
    "EMNIST": {"split": "balanced"},
    "EuroSAT": {},
    "FGVCAircraft": {"split": "trainval"},
    "FashionMNIST": {},
    "Flowers102": {"split": "train"},
    "Food101": {"split": "train"},
    "GTSRB": {"split": "train"},
    "Imagenette": {"split": "train"},
    "KMNIST": {},
    "MNIST": {},
    "OxfordIIITPet": {"split": "trainval"},
    "QMNIST": {},
    "RenderedSST2": {"split": "train"},
    "STL10": {"split": "train"},
    "SVHN": {"split": "train"},
    "USPS": {},
}
"""Class names, and what makes each its training part with labels."""


def check_name(name: str) -> None:
    """Refuse a set that is not ``KNOWN``.

    Raises:
        ConfigError: It is not; the message says which are.
    """
    if name not in KNOWN:
        raise ConfigError(
            f"source torchvision: name {name!r}, expected one of {', '.join(KNOWN)}; sets that"
            " torchvision unpickles (CIFAR) are not read: convert them to npz"
        )


def check_present(name: str, root: str) -> None:
    """Refuse a set that is not on this machine.

    Raises:
        ConfigError: It is not at its root, or torchvision has no such set.
    """
    check_name(name)
    try:
        _open(name, root)
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"source {name}: torchvision finds no such data set at {root}; nothing is downloaded:"
            " put it there, or take the source out of the plan"
        ) from error


@functools.lru_cache(maxsize=2)
def read(name: str, root: str) -> Archive:
    """All labelled pictures of a set's training part.

    Raises:
        ConfigError: Torchvision has no such set.
        DataError: It is not there, or cannot be read.
    """
    check_name(name)
    what = f"torchvision {name} at {root}"
    found = Collector(what)
    from PIL import Image

    try:
        dataset = _open(name, root)
        names = [str(c) for c in getattr(dataset, "classes", None) or ()]
        for row in range(len(dataset)):
            picture, label = dataset[row]
            small = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
            word = names[label] if names else str(label)
            found.add(word, f"{row:09d}", smaller(np.asarray(small, dtype=np.uint8)))
    except DataError:
        raise
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"{what}: {error}") from error
    return found.archive()


def _open(name: str, root: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)(root, download=False, **KNOWN[name])
