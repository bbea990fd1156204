"""The generator against its rivals on real plants. Run with ``python -m bench.generator``.

Every data set under ``--datasets`` is cut into a plant, sister plants under other cameras, and
test records that nobody else sees; groups stay on one side. Nothing is fitted on any of these data
sets: encoder, priors, generator and every trained rival come from the home's zoo, so each set is
left out of everything that is judged on it. Releases are simulated with the code and the scale of
real ones.

Finished cells are kept in ``--results`` (JSON lines), and trained rivals by content in ``--cache``,
so that a run goes on where it stopped. Differences to each rival are paired; standard errors are
clustered by data set. The configuration and the machine stand beside the results.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from bench import tables
from bench.measure import machine
from bench.methods import TUNED, TUNED_QUICK, Cell, Methods, cells, judge
from bench.plants import DATASETS, QUICK, Plants, cut
from bench.reference.d2nwg import d2nwg
from bench.reference.deepsets import set_network
from bench.reference.ground import Course, course

from wg_common.nets.encoder import Encoder, load_encoder
from wg_server.generator import rivals
from wg_server.generator.generate import Generator, load_generator
from wg_server.generator.train import _episodes
from wg_server.home import ServerHome

VERSION = 1
"""Of the methods and cells; results of another version are not used."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/generator.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--plots", type=Path, help="folder for one plot a scenario")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", help="data sets with commas, to spread a run over processes")
    parser.add_argument("--quick", action="store_true", help="six data sets, one seed, fewer cells")
    parser.add_argument("--only-table", action="store_true", help="judge nothing, only write")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = ServerHome(options.home)
    generator = load_generator(home.generator)
    done = _read(options.results)
    prefix = f"v{VERSION} {generator.id[:16]}"
    if not options.only_table:
        _run(home, generator, options, done, prefix)
    rows = [row for key, row in done.items() if key.startswith(prefix)]
    command = "python -m bench.generator --home HOME" + (" --quick" if options.quick else "")
    text = "\n".join(tables.table(rows, f"Generator {generator.id[:16]}; `{command}`"))
    print(text)
    if options.table:
        options.table.write_text(text + "\n")
    if options.plots:
        tables.plots(rows, options.plots)


def _run(
    home: ServerHome,
    generator: Generator,
    options: argparse.Namespace,
    done: dict[str, tables.Row],
    prefix: str,
) -> None:
    started = time.monotonic()
    methods = _methods(course(home, options.cache), generator, quick=options.quick)
    print(f"rivals are ready after {time.monotonic() - started:.0f} s", flush=True)
    encoder = load_encoder(home.read_encoder())
    options.results.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "generator": generator.id,
        "version": VERSION,
        "quick": options.quick,
        "seeds": 1 if options.quick else options.seeds,
        "machine": machine(),
    }
    options.results.with_suffix(".config.json").write_text(json.dumps(settings, indent=2) + "\n")
    all_sets = QUICK if options.quick else DATASETS
    # All data sets for one seed before the next, so that a run that is cut short is balanced.
    for seed in range(1 if options.quick else options.seeds):
        for name in options.sets.split(",") if options.sets else all_sets:
            left = [
                cell
                for cell in cells(quick=options.quick)
                if f"{prefix} {name} {seed} {cell.name}" not in done
            ]
            plants = _plants(encoder, generator, options, name, seed, left)
            for cell in left:
                if cell.camera not in plants:
                    continue
                row: tables.Row = {
                    "key": f"{prefix} {name} {seed} {cell.name}",
                    "dataset": name,
                    "cell": cell.name,
                    "scores": judge(methods, plants[cell.camera], cell, seed),
                }
                with options.results.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                done[str(row["key"])] = row
            passed = time.monotonic() - started
            print(f"{name}, seed {seed}: {len(left)} cells, {passed:.0f} s", flush=True)


def _methods(found: Course, generator: Generator, *, quick: bool) -> Methods:
    episodes, steps = (600, 400) if quick else (3000, 1500)
    plan = found.plan

    def meta() -> dict[str, torch.Tensor]:
        ground = found.ground
        trained = rivals.train_rivals(
            generator.parts.priors,
            [task for task in ground.tasks if task.family in set(ground.split.train)],
            _episodes(ground.train, 4 * plan.episodes, (plan.seed, 19)),
            seed=plan.seed,
        )
        return {
            "reptile": torch.from_numpy(trained.reptile.matrix),
            "meta_base": torch.from_numpy(trained.meta_base.matrix),
        }

    kept = found.keep("meta", {"episodes": 4 * plan.episodes, "version": 2}, meta)
    return Methods(
        generator,
        rivals.Trained(
            rivals.Metric(kept["reptile"].numpy()), rivals.Metric(kept["meta_base"].numpy())
        ),
        set_network(found, episodes=episodes, steps=steps),
        d2nwg(found, episodes=episodes, steps=2 * steps),
        TUNED_QUICK if quick else TUNED,
    )


def _plants(
    encoder: Encoder,
    generator: Generator,
    options: argparse.Namespace,
    name: str,
    seed: int,
    left: list[Cell],
) -> dict[float, Plants]:
    found = {}
    for strength in sorted({cell.camera for cell in left}):
        identity = generator.parts.encoder
        plants = cut(encoder, identity, options.datasets, name, seed, strength, options.cache)
        if plants is None:
            print(f"{name}: not here, left out")
            return {}
        found[strength] = plants
    return found


def _read(path: Path) -> dict[str, tables.Row]:
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {str(row["key"]): row for row in rows}


if __name__ == "__main__":
    main()
