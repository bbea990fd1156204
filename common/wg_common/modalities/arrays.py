"""Arrays of a ``.npz`` file, read strictly: object arrays, and with them pickle, never load."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from wg_common.errors import DataError
from wg_common.modalities.base import DAMAGE, Record

NPZ_LIMIT = 8 << 30
"""Largest sum of a ``.npz`` file's arrays, unpacked, in bytes."""


def read_arrays(path: Path, wanted: Collection[str]) -> dict[str, Record]:
    """Arrays of these names, as far as they are there.

    Raises:
        DataError: It cannot be read, unpacks to too much, or holds anything but plain arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > NPZ_LIMIT:
            raise DataError(f"{path}: {size} bytes unpacked, at most {NPZ_LIMIT} are read")
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name in wanted}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DAMAGE as error:
        raise DataError(f"{path}: not a .npz file of plain arrays: {error}") from error
    for name, value in found.items():
        if not isinstance(value, np.ndarray):  # a member that is no .npy file comes back as bytes
            raise DataError(f"{path}: not a .npz file of plain arrays: {name} is none")
    return found
