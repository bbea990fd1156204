"""Heads for plants of the operator's families. Run with ``python -m bench.operator_families``.

``--home`` is a home whose zoo has the training part of each data set, as ``bench.family_sets``
writes them. The plant is cut from the other part and releases alone. Judged on its test records:
local-only, LP-FT from the base, what the server delivers, and what the plant's selector keeps; and
the last two again from the same generator without the operator's heads, which is what a plant gets
that no data of its kind exist for. All by the plant's own code, from the same release.

Rows are kept in ``--results``; a run goes on where it stopped. Differences are paired, errors
clustered by data set.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench import networks, plants
from bench.rows import Row, Rows, judged, write_table
from bench.selected import SELECTOR, right, selected, trained_on, zeros
from bench.tables import Results, markdown

from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.fitting.standardised import family_view
from wg_client.methods.names import GENERATED_FINETUNED, LOCAL
from wg_common.catalogue import SAME_FAMILY
from wg_common.errors import NotAcceptedError
from wg_common.inference import family_head
from wg_common.inference.family_head import Layout
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator.heads.generate import Generator, generate, load_generator
from wg_server.site.home import ServerHome

WITHOUT = ", no data of its kind"
"""Of the same generator without the operator's heads."""
CHOSEN_ON = ("elpv_mono", "deeppcb_a", "trashnet", "neu_det", "mnist10k", "cifar10")
"""Data sets that the heads before decisions/0158 were chosen on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(networks.Cell):
    """One configuration, beyond what cells of networks say."""

    missing: float = 0.0  # Share of classes that the plant has never seen
    labelled: bool = True  # Whether it has labels


def _cell(scenario: str, epsilon: float, shots: int, **rest: float | bool) -> Cell:
    name = f"{scenario} eps={epsilon:g} n={shots}"
    return Cell(name=name, epsilon=epsilon, shots=shots, same_family=True, **rest)  # type: ignore[arg-type]


CELLS = (
    _cell("S1 few labels", 4, 5),
    _cell("S1 few labels", 1, 5),
    _cell("S1 few labels", 4, 20),
    _cell("S1 few labels, names hidden", 4, 5, named=False),
    _cell("S2 classes never seen", 4, 5, missing=0.3),
    _cell("S3 no labels", 4, 5, labelled=False),
    _cell("S6 new camera", 4, 5, camera=1.0),
    _cell("S6 new camera, no labels", 4, 5, camera=1.0, labelled=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, required=True, help="from bench.family_sets")
    parser.add_argument(
        "--results", type=Path, default=Path("bench/results/operator_families.jsonl")
    )
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cells", default="", help="run only cells whose name has this in it")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    identity = load_generator(ServerHome(options.home).generator).id[:16]
    jobs = [
        (f"{identity} {name} {seed} {cell.name}", options.home, options.datasets, name, seed, cell)
        for name in plants.DATASETS
        for seed in range(options.seeds)
        for cell in CELLS
        if options.cells in cell.name
    ]
    found = judged(Rows(options.results), _job, jobs, options.processes)
    mine = [row for row in found if row["key"].startswith(identity)]
    write_table("\n".join(table(mine)), options.table)


def _job(job: tuple[str, Path, Path, str, int, Cell]) -> Row:
    key, folder, datasets, name, seed, cell = job
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    row: Row = {"key": key, "dataset": name, "cell": cell.name, "scores": {}}
    if not (datasets / name / "data.npz").is_file():
        return row
    home = ServerHome(folder)
    generator = load_generator(home.generator)
    own = generator.parts.operator_families
    if own is None or not any(family.startswith(name) for family in own.families):
        return row  # the operator has none of this kind
    data = networks.cut(datasets, name, seed, cell)
    if len(data.labels) > 1:
        row["scores"] = judge(generator, load_encoder(home.read_encoder()), data, cell, seed)
    return row


def judge(
    generator: Generator, encoder: Encoder, data: networks.Cut, cell: Cell, seed: int
) -> dict[str, float]:
    """Accuracy of each model on the plant's test records, and what was delivered."""
    rng = np.random.default_rng((seed, 71))
    records, y = networks.labelled(data, cell)
    x = encoder.encode_local(records).astype(np.float64)
    test = encoder.encode_local(data.test[0]).astype(np.float64)
    k, d = len(data.labels), encoder.dimension
    gone = rng.permutation(k)[: round(cell.missing * k)]
    keep = ~np.isin(y, gone)
    x, y = x[keep], y[keep] if cell.labelled else np.full(int(keep.sum()), -1)
    release = plants.release(encoder.id, x[:, :d], y, data.labels, cell.epsilon, rng)
    scores = {}
    trunk = encoder_trunk(x, d, encoder.scaled_dimension, encoder.local_blocks)
    layout = Layout(encoder.scaled_dimension, encoder.local_blocks)

    def family(tensors: Tensors) -> tuple[Trunk, LinearHead]:
        return family_view(family_head.from_tensors(tensors, k, layout), x, layout, trunk, d)

    def accuracy(head: LinearHead) -> float:
        return right(head.padded(x.shape[1]), (test, data.test[1]))

    for end, parts in (
        ("", generator.parts),
        (WITHOUT, replace(generator.parts, operator_families=None)),
    ):
        made = generate(Generator("", parts), release, [], data.labels, samples=4, seed=seed)
        first = made.candidates[0]
        if first.source == SAME_FAMILY:
            own, head = family(first.tensors)
            scores[f"delivered{end}"] = accuracy(own.outward(head))
        else:
            scores[f"delivered{end}"] = accuracy(head_from_tensors(first.tensors))
        try:
            outcome = selected(made, trunk, y, d, own=True, others=False, family=family)
        except NotAcceptedError:  # no label, and nobody knows its kind: nothing is kept
            continue
        heads = {name: model.head for name, model in outcome.models.items()}
        scores[f"{SELECTOR}{end}"] = accuracy(heads[outcome.kept])
        if not end:
            scores["found"] = float(first.source == SAME_FAMILY)
            if LOCAL in heads:
                scores[LOCAL] = accuracy(heads[LOCAL])
            if GENERATED_FINETUNED in heads:
                scores["delivered, then local"] = accuracy(heads[GENERATED_FINETUNED])
    closed = next(c for c in made.candidates if c.source == "closed-form")
    scores["closed-form"] = accuracy(head_from_tensors(closed.tensors))
    if cell.labelled:
        scores["lp-ft"] = accuracy(trained_on(zeros(k, x.shape[1]), x, y, gone))
    return scores


METHODS = (
    "local-only",
    "lp-ft",
    "closed-form",
    f"delivered{WITHOUT}",
    f"selector{WITHOUT}",
    "delivered",
    "delivered, then local",
    "selector",
)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Accuracy of each model, and the selector against local-only, or without labels the rest."""
    for title, some in (
        ("All data sets", rows),
        (
            "Data sets that nothing was chosen on",
            [r for r in rows if r["dataset"] not in CHOSEN_ON],
        ),
    ):
        results, found = Results(some), []
        for cell in (cell for cells in results.scenarios.values() for cell in cells):
            bar = LOCAL if results.paired(cell, SELECTOR, LOCAL) else f"{SELECTOR}{WITHOUT}"
            shown = [f"{results.accuracy(cell, m)[0]:.3f}".replace("nan", "") for m in METHODS]
            count = "{}, {}".format(*results.size(cell))
            share = f"{results.accuracy(cell, 'found')[0]:.2f}"
            found.append((cell, count, share, *shown, str(results.paired(cell, SELECTOR, bar))))
        yield from (f"### {title}", "")
        heads = ("cell", "plants, sets", "found", *METHODS, "selector minus bar")
        yield from markdown(heads, found)
        yield ""
    yield "The bar is local-only, and without labels what is kept where nobody has such data."


if __name__ == "__main__":
    main()
