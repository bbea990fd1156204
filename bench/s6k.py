"""Scenario S6k, all of it: known kinds of plant under cameras, or behind sensors, nobody has seen.

``python -m bench.generator --scenario S6k --home HOME`` calls this. Each part is a benchmark of its
own, which can be run alone, and of which rows that are done are kept:

* ``bench.known_kinds``: heads through the whole product;
* ``bench.networks``: ``cnn-m``;
* ``bench.window_networks``: ``cnn1d-m``.

They need a home whose zoo has the training part of data sets, as ``bench.family_sets`` cuts them,
and that folder.
"""

import argparse
from pathlib import Path

from bench import known_kinds, networks, window_networks

from wg_core.errors import ConfigError
from wg_server.generator import versions
from wg_server.site.home import ServerHome

NEW_CAMERA = "new camera"  # In the names of cells of images
NEW_SENSORS = "new sensors"
_OTHER_SENSORS = "other sensors"  # The same in ``bench.window_networks``
_STEPS = "0,20,200"


def run(options: argparse.Namespace) -> None:
    """All parts for which ``options`` has what they need.

    Args:
        options: Those of ``bench.generator``: ``home``, ``windows_home``, ``family_sets``,
            ``datasets``, ``cache``, ``sets``, ``table``, ``seeds``.
    """
    if options.family_sets is None:
        raise SystemExit("--scenario S6k needs --family-sets, a folder of bench.family_sets")
    sets, seeds = options.sets or "", f"--seeds={options.seeds}"
    own = [f"--datasets={options.family_sets}", seeds]
    behind = [*own, f"--cells={NEW_CAMERA}"]
    product = [*behind, f"--home={options.home}", f"--sets={sets}"]
    known_kinds.main([*product, *_table(options.table, "product-images")])
    if _has_networks(options.home):
        whole = [*behind, f"--family-home={options.home}", "--architecture=cnn-m", "--brief"]
        networks.main([*whole, f"--steps={_STEPS}", *_table(options.table, "cnn-m")])
    if options.windows_home is None:
        return
    product = [*own, f"--home={options.windows_home}", f"--cells={NEW_SENSORS}"]
    known_kinds.main([*product, *_table(options.table, "product-windows")])
    if _has_networks(options.windows_home):
        whole = [f"--family-home={options.windows_home}", f"--family-sets={options.family_sets}"]
        other = [f"--datasets={options.datasets}", seeds, f"--cells={_OTHER_SENSORS}"]
        window_networks.main([*whole, *other, *_table(options.table, "cnn1d-m")])


def _has_networks(home: Path) -> bool:
    """Whether a home's generator makes whole networks; says so where it does not."""
    try:
        found = versions.installed(ServerHome(home)).summary.networks is not None
    except ConfigError:  # it has no generator at all
        found = False
    if not found:
        print(f"{home}: makes no whole networks; they are left out")
    return found


def _table(path: Path | None, part: str) -> list[str]:
    """Where a part's table goes: beside ``path``, with the part in its name."""
    return [] if path is None else [f"--table={path.with_stem(f'{path.stem}-{part}')}"]
