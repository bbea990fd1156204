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


def prepare_staging_folder(staging_folder: Path, fill_folder: Callable[[Path], None]) -> None:
    """Create a folder with the files that ``fill_folder`` writes, unless the folder exists already.

    Raises:
        StorageError: The disk cannot be written.
    """
    if staging_folder.is_dir():
        return
    with reraise_os_errors(StorageError, f"{staging_folder}: cannot be made"):
        stage = Path(tempfile.mkdtemp(prefix=".next.", dir=staging_folder.parent))
    try:
        fill_folder(stage)
        atomic.rename_file(stage, staging_folder)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def install_staged_files(staging_folder: Path, file_names: Sequence[str]) -> None:
    """Move files from a folder to its parent in the given order, skipping those already moved.

    Raises:
        StorageError: The disk cannot be written.
    """
    for name in file_names:
        if (staging_folder / name).exists():
            atomic.rename_file(staging_folder / name, staging_folder.parent / name)


def discard_staging_folder(staging_folder: Path) -> None:
    """Remove the folder of new files after the change is complete.

    Raises:
        StorageError: The disk cannot be written.
    """
    with reraise_os_errors(StorageError, f"{staging_folder}: cannot be removed"):
        shutil.rmtree(staging_folder)
