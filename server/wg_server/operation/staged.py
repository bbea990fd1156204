"""New keys that are made beside the old ones, and then take their place one by one.

All that is new lies in one folder, which is whole or not there. Then each piece is moved to the
folder above, in a fixed order. A change that was cut off is finished by moving what is left.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wg_core import atomic
from wg_core.errors import StorageError, raised_as


def prepare(folder: Path, make: Callable[[Path], None]) -> None:
    """Let ``make`` fill a folder, unless it was filled before.

    Raises:
        StorageError: The disk cannot be written.
    """
    if folder.is_dir():
        return
    with raised_as(StorageError, f"{folder}: cannot be made"):
        stage = Path(tempfile.mkdtemp(prefix=".next.", dir=folder.parent))
    try:
        make(stage)
        atomic.move(stage, folder)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def install(folder: Path, names: Sequence[str]) -> None:
    """Move pieces to the folder above, in this order; those that are moved already are not there.

    Raises:
        StorageError: The disk cannot be written.
    """
    for name in names:
        if (folder / name).exists():
            atomic.move(folder / name, folder.parent / name)


def discard(folder: Path) -> None:
    """Remove the folder: the change is done.

    Raises:
        StorageError: The disk cannot be written.
    """
    with raised_as(StorageError, f"{folder}: cannot be removed"):
        shutil.rmtree(folder)
