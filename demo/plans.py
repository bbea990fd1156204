"""Plans of the demo's zoos and trainings: the packaged plans, made smaller.

The operator's own records are a source of the picture zoo, as in ``docs/examples/own-data.yaml``.
The machines are bearings, the process units heat exchangers.
"""

import json
from dataclasses import replace
from pathlib import Path

from demo.plants import DemoData
from wg_common.machines import bearing, exchanger
from wg_core import atomic
from wg_core.wire import canonical
from wg_server.generator.plan import read_plan as read_training
from wg_server.zoo.plan import EncoderPlan, SourcePlan, read_plan


def write_plans(folder: Path, data: DemoData) -> tuple[Path, Path, Path]:
    """Write plans for the picture zoo, the window zoo, and both trainings; return their files.

    Args:
        folder: Output folder.
        data: Records of the demo, including the operator's.
    """
    zoo, training = read_plan(Path("demo")), read_training(Path("demo"))
    own = SourcePlan(
        kind="npz",
        name=data.operator_source_name,
        path=str(data.operator_records.resolve()),
        licence=data.licence,
        families=1,
        sites=1,
        per_class=1000,
        strength=0.0,
    )
    # A quarter of the families with fewer records, so that the demo takes four minutes.
    sources = tuple(
        replace(one, families=max(2, one.families // 4), sites=2, per_class=10)
        for one in zoo.sources
    )
    encoder = EncoderPlan(records=700)
    zoo = replace(zoo, encoder=encoder, sources=(*sources, own), own_sites=15)
    windows = read_plan(Path("windows-quick"))
    windows = replace(
        windows,
        encoder=EncoderPlan(records=600),
        sources=tuple(replace(one, families=8, per_class=8) for one in windows.sources),
        machine_steps=140,
        machines=(bearing.MACHINE_KIND.name, exchanger.PROCESS_UNIT.name),
    )
    training = replace(training, episodes=30, machine_steps=280)
    paths = folder / "pictures.json", folder / "windows.json", folder / "training.json"
    for path, plan in zip(paths, (zoo, windows, training), strict=True):
        atomic.write_bytes(path, json.dumps(canonical.to_builtins(plan), indent=1).encode())
    return paths
