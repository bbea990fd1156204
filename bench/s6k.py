"""Scenario S6k: known kinds of plant under cameras, or behind sensors, that nobody has seen.

``python -m bench.generator --scenario S6k --home HOME`` calls this, which calls
``bench.known_kinds`` for images and, where a home of windows is given, for windows. It needs homes
whose zoos have the training part of data sets, as ``bench.family_sets`` cuts them, and that folder.
"""

import argparse
from pathlib import Path

from bench import known_kinds

NEW_CAMERA = "new camera"  # In the names of cells of images
NEW_SENSORS = "new sensors"


def run(options: argparse.Namespace) -> None:
    """All parts for which ``options`` has what they need.

    Args:
        options: Those of ``bench.generator``: ``home``, ``windows_home``, ``family_sets``,
            ``sets``, ``table``, ``seeds``.
    """
    if options.family_sets is None:
        raise SystemExit("--scenario S6k needs --family-sets, a folder of bench.family_sets")
    own = [f"--datasets={options.family_sets}", f"--seeds={options.seeds}"]
    images = [f"--home={options.home}", f"--cells={NEW_CAMERA}", f"--sets={options.sets or ''}"]
    known_kinds.main([*own, *images, *_table(options.table, "product-images")])
    if options.windows_home is not None:
        windows = [f"--home={options.windows_home}", f"--cells={NEW_SENSORS}"]
        known_kinds.main([*own, *windows, *_table(options.table, "product-windows")])


def _table(path: Path | None, part: str) -> list[str]:
    """Where a part's table goes: beside ``path``, with the part in its name."""
    return [] if path is None else [f"--table={path.with_stem(f'{path.stem}-{part}')}"]
