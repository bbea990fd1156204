"""Staged replacement of files: new ones are prepared in a folder, then moved into place.

The folder is complete or does not exist. Its files are then moved to the parent folder in a fixed
order. An interrupted change is completed by moving the remaining files.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wg_core import atomic
from wg_core.errors import StorageError, reraise_os_errors


def prepare_files(folder: Path, fill_folder: Callable[[Path], None]) -> None:
    """Create a folder with the files that ``fill_folder`` writes, unless the folder exists already.

    Raises:
        StorageError: The disk cannot be written.
    """
    if folder.is_dir():
        return
    with reraise_os_errors(StorageError, f"{folder}: cannot be made"):
        stage = Path(tempfile.mkdtemp(prefix=".next.", dir=folder.parent))
    try:
        fill_folder(stage)
        atomic.rename_file(stage, folder)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def install_files(folder: Path, names: Sequence[str]) -> None:
    """Move files from a folder to its parent in the given order, skipping those already moved.

    Raises:
        StorageError: The disk cannot be written.
    """
    for name in names:
        if (folder / name).exists():
            atomic.rename_file(folder / name, folder.parent / name)


def discard_folder(folder: Path) -> None:
    """Remove the folder of new files after the change is complete.

    Raises:
        StorageError: The disk cannot be written.
    """
    with reraise_os_errors(StorageError, f"{folder}: cannot be removed"):
        shutil.rmtree(folder)
