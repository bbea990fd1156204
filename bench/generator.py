"""Compare the generator with baselines on real plants: ``python -m bench.generator --home HOME``.

Every data set in ``--datasets`` is cut into a plant, same-family sites with other cameras, and test
records used nowhere else; all records of a group are on one side. Nothing is fitted on any of these
data sets: encoder, priors and generator come from the home's zoo. Releases are simulated with the
code and the noise scale of real ones.

Finished plants are stored in ``--results`` (JSON lines), so that an interrupted run continues, and
their features in ``--cache``. Differences are paired; standard errors are clustered by data set.
The configuration and the machine are stored beside the results.
"""

import argparse
import dataclasses
import os
from pathlib import Path

import torch
from bench import installed, tables
from bench.measure import save_settings
from bench.methods import Cell, evaluate_methods, scenario_cells
from bench.plants import DATASETS, QUICK, cut_data_set
from bench.rows import Row, Rows, evaluate_jobs, split_by_cell, write_table

VERSION = 10  # Of the methods and cells; results of another version are not used

Job = tuple[str, argparse.Namespace, str, int]


def main() -> None:
    """Evaluate, and write the table."""
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
    parser.add_argument("--against", type=Path, help="results of before: print the differences")
    options = parser.parse_args()
    generator, _ = installed.load_cached(options.home)
    rows = Rows(options.results)
    prefix = f"v{VERSION} {generator.id[:16]}"
    seeds = 1 if options.quick else options.seeds
    settings = {"version": VERSION, "quick": options.quick, "seeds": seeds}
    save_settings(options.results, generator=generator.id, workers=options.workers, **settings)
    sets = options.sets.split(",") if options.sets else QUICK if options.quick else DATASETS
    # All data sets for one seed before the next, so that a run that is cut short is balanced.
    jobs: list[Job] = [
        (f"{prefix} {name} {seed} {options.cells}", options, name, seed)
        for seed in range(seeds)
        for name in sets
    ]
    cell_rows = list(split_by_cell(evaluate_jobs(rows, _job, jobs, options.workers)))
    command = "python -m bench.generator --home HOME" + (" --quick" if options.quick else "")
    title = f"Generator {generator.id[:16]}; `{command}`"
    write_table("\n".join(tables.table(cell_rows, title)), options.table)
    if options.against:
        before = [r for r in Rows(options.against).with_prefix() if not r["key"].startswith(prefix)]
        print("\n".join(tables.compare_runs(cell_rows, list(split_by_cell(before)))))


def _job(job: Job) -> Row | None:
    key, options, name, seed = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    generator, encoder = installed.load_cached(options.home)
    scores: dict[str, dict[str, float]] = {}
    for group in _grouped(options):
        identity, camera = generator.package.encoder_sha256, group[0].camera_strength
        plants = cut_data_set(
            encoder, identity, options.datasets, name, seed, camera, options.cache
        )
        if plants is None:
            return None
        results = evaluate_methods(generator, plants, group, seed)
        scores |= {cell.name: each for cell, each in zip(group, results, strict=True)}
    return {"key": key, "dataset": name, "cell": "", "scores": scores}


def _grouped(options: argparse.Namespace) -> list[list[Cell]]:
    """Group the requested cells that differ only in epsilon, whose label-only fits are shared."""
    groups: dict[Cell, list[Cell]] = {}
    for cell in scenario_cells(quick=options.quick):
        if cell.name.endswith(tuple(options.cells.split(","))):
            groups.setdefault(dataclasses.replace(cell, epsilon=0.0), []).append(cell)
    return list(groups.values())


if __name__ == "__main__":
    main()
