"""The generator against baselines on real plants: ``python -m bench.generator --home HOME``.

Every data set under ``--datasets`` is cut into a plant, same-family sites under other cameras, and
test records that nobody else sees; groups stay on one side. Nothing is fitted on any of these data
sets: encoder, priors and generator come from the home's zoo. Releases are simulated with the code
and the scale of real ones.

Finished cells are kept in ``--results`` (JSON lines), so that a run goes on where it stopped.
Differences are paired; standard errors are clustered by data set. The configuration and the machine
stand beside the results.
"""

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path

import torch
from bench import installed, jobs, s6k, tables
from bench.measure import machine
from bench.methods import cells
from bench.plants import DATASETS, QUICK
from bench.rows import Rows, write_table

from wg_server.site.home import ServerHome

VERSION = 8  # Of the methods and cells; results of another version are not used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/generator.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", help="data sets with commas; all if left out")
    parser.add_argument("--cells", default="", help="cells whose name ends in one of these")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--quick", action="store_true", help="six data sets, one seed, fewer cells")
    parser.add_argument("--only-table", action="store_true", help="judge nothing, only write")
    parser.add_argument("--against", type=Path, help="results of before: print the differences")
    parser.add_argument("--scenario", choices=("S6k",), help="known kinds, unseen cameras alone")
    parser.add_argument("--windows-home", type=Path, help="S6k: a home of sensor windows")
    parser.add_argument("--family-sets", type=Path, help="S6k: folder of bench.family_sets")
    options = parser.parse_args()
    if options.scenario == "S6k":
        s6k.run(options)
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    generator = installed.heads(ServerHome(options.home))
    rows = Rows(options.results)
    prefix = f"v{VERSION} {generator.id[:16]}"
    if not options.only_table:
        _run(options, generator.id, prefix, rows)
    found = rows.of(prefix)
    command = "python -m bench.generator --home HOME" + (" --quick" if options.quick else "")
    title = f"Generator {generator.id[:16]}; `{command}`"
    write_table("\n".join(tables.table(found, title)), options.table)
    if options.against:
        before = [r for r in Rows(options.against).of() if not r["key"].startswith(prefix)]
        print("\n".join(tables.against(found, before)))


def _run(options: argparse.Namespace, identity: str, prefix: str, rows: Rows) -> None:
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{what} after {time.monotonic() - started:.0f} s", flush=True)

    seeds = 1 if options.quick else options.seeds
    settings = {
        "generator": identity,
        "version": VERSION,
        "quick": options.quick,
        "seeds": seeds,
        "workers": options.workers,
        "machine": machine(),
    }
    options.results.with_suffix(".config.json").write_text(json.dumps(settings, indent=2) + "\n")
    chosen = options.sets.split(",") if options.sets else QUICK if options.quick else DATASETS
    # All data sets for one seed before the next, so that a run that is cut short is balanced.
    groups = [
        group
        for seed in range(seeds)
        for name in chosen
        for group in jobs.grouped(
            name,
            seed,
            [
                cell
                for cell in cells(quick=options.quick)
                if cell.name.endswith(tuple(options.cells.split(",")))
                and f"{prefix} {name} {seed} {cell.name}" not in rows
            ],
        )
    ]
    setting = jobs.Setting(home=options.home, datasets=options.datasets, cache=options.cache)
    left = Counter((group.dataset, group.seed) for group in groups)
    for group, found in jobs.judged(setting, groups, options.workers, say):
        plant = group.dataset, group.seed
        left[plant] -= 1
        if found is None:
            if not left[plant]:
                print(f"{group.dataset}: not here, left out")
            continue
        for cell, scores in zip(group.cells, found, strict=True):
            key = f"{prefix} {group.dataset} {group.seed} {cell.name}"
            rows.add({"key": key, "dataset": group.dataset, "cell": cell.name, "scores": scores})
        if not left[plant]:
            say(f"{group.dataset}, seed {group.seed}: all cells")


if __name__ == "__main__":
    main()
