"""What the operator of the demo builds: a packaged plan, with records of its own added to the zoo.

As ``docs/examples/own-data.yaml`` shows it to operators, and small enough for a demo.
"""

import json
from dataclasses import replace
from pathlib import Path

from demo.plants import Cut
from wg_core import atomic
from wg_core.wire import canonical
from wg_server.generator.plan import read_plan as read_training
from wg_server.zoo.plan import SourcePlan, read_plan


def write_plans(folder: Path, cut: Cut) -> tuple[Path, Path]:
    """Write the plan of the zoo and that of the training; JSON is YAML too.

    Args:
        folder: Where to.
        cut: Has the operator's records.
    """
    zoo, training = read_plan(Path("demo")), read_training(Path("demo"))
    own = SourcePlan(
        kind="npz",
        name=cut.kind,
        path=str(cut.own.resolve()),
        licence=cut.licence,
        families=1,
        sites=1,
        per_class=1000,
        strength=0.0,
    )
    # Half the families, since the demo is to end in four minutes.
    sources = tuple(replace(one, families=(one.families + 1) // 2) for one in zoo.sources)
    zoo = replace(zoo, sources=(*sources, own), own_sites=30)
    training = replace(training, episodes=30)
    paths = folder / "zoo.json", folder / "training.json"
    for path, plan in zip(paths, (zoo, training), strict=True):
        atomic.write_bytes(path, json.dumps(canonical.to_builtins(plan), indent=1).encode())
    return paths
