"""Accuracy of the gains that ``simulate`` predicts. Run with ``python -m bench.simulate``.

*Cases.* Plants are cut from real data sets as in ``bench.acceptance``: other sites release, the
home's generator answers, the plant selects a model, and its gain over local-only is measured on
test records used nowhere else. Each line of ``--results`` is one plant, and an interrupted run
continues. ``--home`` may name two homes, one for images and one for windows.

*Published.* ``--publish FILE`` writes the cases as ``wg-client simulate`` reads them: what a plant
knows about itself before anything leaves, and its gain.

*Judged.* Each plant's gain is predicted by the client's own code from the cases of all *other* data
sets, and compared with its true gain. The table has the mean error (predicted minus true gain), the
mean absolute error, the coverage of the 80 % interval, and how often the verdict, ``join`` or not,
agrees with model selection: a delivered model, or the plant's own.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import installed
from bench.acceptance import pending_plants
from bench.methods import Cell, draw_plant
from bench.plants import Plants
from bench.rows import Row, Rows
from bench.selected import label_folds, plant_trunk
from bench.tables import markdown

from wg_client.fitting.local_models import fit_local_only
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.simulate import published_cases
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_core.errors import DataError, NotAcceptedError
from wg_server.generator.weights.head_generation import HeadGenerator
from wg_server.site.home import ServerHome

COMMAND = "python -m bench.simulate --home IMAGES WINDOWS --publish FILE"


@dataclass(frozen=True, slots=True)
class Setting:
    """Scenario, labels per class and epsilon of a plant, and number of other sites that release."""

    scenario: str
    shots: int
    epsilon: float
    sites: int

    @property
    def cell(self) -> Cell:
        """The same configuration in the form of ``bench.methods``."""
        return Cell(
            scenario=self.scenario,
            epsilon=self.epsilon,
            shots=self.shots,
            missing_share=0.3 if self.scenario == "S2" else 0.0,
            has_labels=self.scenario != "S3",
            same_family_sites=self.sites,
        )


SETTINGS = (
    *(
        Setting(s, n, e, 3)
        for s in ("S1", "S2")
        for n in (5, 20)
        for e in published_cases.PUBLISHED_EPSILONS
    ),
    *(Setting(s, n, 4.0, 1) for s in ("S1", "S2") for n in (5, 20)),
    *(Setting("S3", 20, e, 3) for e in published_cases.PUBLISHED_EPSILONS),
    Setting("S3", 20, 4.0, 1),
    *(Setting(s, 60, e, 3) for s in ("S1", "S2") for e in published_cases.PUBLISHED_EPSILONS),
)


def simulate_case(
    generator: HeadGenerator, encoder: Encoder, cut: Plants, setting: Setting, seed: int
) -> dict[str, Any]:
    """Simulate one plant: its knowledge before joining, and its gain."""
    one = draw_plant(generator, cut, setting.cell, seed)
    trunk = plant_trunk(encoder, one.x)
    found: dict[str, Any] = {
        "kind": encoder.modality,
        "classes": len(cut.labels),
        "unseen": len(one.unseen_classes),
        "labels": int((one.y >= 0).sum()),
        "records": len(one.y),
        "epsilon": setting.epsilon,
        "sites": setting.sites,
    }
    if len(one.y) and one.y.min() >= 0:
        started = time.process_time()
        folds = label_folds(one.y)
        blocks = trunk.block_sizes, trunk.trunk_block_counts
        alone = fit_local_only(trunk.features, one.y, len(cut.labels), folds, *blocks)
        found["local_seconds"] = time.process_time() - started
        judged = alone.out_of_fold
        if judged is not None:
            found["local_told"] = float((judged.predictions == judged.labels).mean())
    started = time.process_time()
    try:
        outcome = one.select(trunk, cut.dimension)
    except NotAcceptedError:
        return found | {"kept": ""}
    found["seconds"] = time.process_time() - started
    x, y = cut.test
    right = {
        name: model.head.logits(x).argmax(axis=1) == y
        for name, model in outcome.models.items()
        if name in (LOCAL_ONLY, outcome.kept_name)
    }
    found |= {"kept": outcome.kept_name, "accuracy": float(right[outcome.kept_name].mean())}
    if LOCAL_ONLY in right:
        found["local"] = float(right[LOCAL_ONLY].mean())
    return found


def evaluate_missing(home: Path, options: argparse.Namespace, rows: Rows) -> None:
    """Evaluate all plants that have no row yet."""
    server = ServerHome(home)
    generator, encoder = installed.head_generator(server), load_encoder(server.read_encoder())
    settings = {str(setting): setting for setting in SETTINGS}
    for here, key, name, seed, word in pending_plants(generator, encoder, options, rows, settings):
        setting = settings[word]
        found = simulate_case(generator, encoder, here, setting, seed)
        about = {"key": key, "dataset": name, "scenario": setting.scenario}
        rows.add({**about, "shots": setting.shots, "seed": seed} | found)


def plants_as_cases(rows: Sequence[Row]) -> list[published_cases.PublishedCase]:
    """Convert rows to the published cases; plants that refused every model are omitted."""
    found, curves = [], learning_curves(rows)
    for row in rows:
        if not row["kept"]:
            continue
        curve = curves[row["dataset"], row["seed"]]
        facts = published_cases.PlantFacts(
            kind=row["kind"],
            classes=row["classes"],
            unseen=row["unseen"],
            labels=row["labels"],
            local=_rounded(row.get("local_told")),
        )
        gain = row["accuracy"] - row.get("local", 0.0)
        found.append(
            published_cases.PublishedCase(
                dataset=row["dataset"],
                facts=facts,
                epsilon=row["epsilon"],
                sites=row["sites"],
                gain=round(gain, 4),
                saved=round(
                    equivalent_labels(curve, row["accuracy"])
                    - equivalent_labels(curve, row.get("local")),
                    2,
                ),
            )
        )
    return found


Curve = dict[int, float]
"""Accuracy of local-only on test records by number of labels per class, for one data set and
draw."""


def learning_curves(rows: Sequence[Row]) -> dict[tuple[str, int], Curve]:
    """Return the curve of each data set and draw whose classes all have labels."""
    found: dict[tuple[str, int], Curve] = defaultdict(dict)
    for row in rows:
        if row["scenario"] == "S1" and "local" in row:
            found[row["dataset"], row["seed"]][row["shots"]] = row["local"]
    return found


def equivalent_labels(curve: Curve, accuracy: float | None) -> float:
    """Labels per class with which local-only has an accuracy, from 1 to the most tried.

    Between tried numbers the logarithm of labels is interpolated; below them the first segment is
    extrapolated. If accuracy falls with more labels, the best accuracy so far counts.
    """
    if accuracy is None or len(curve) < 2:
        return 0.0
    shots = sorted(curve)
    best = np.maximum.accumulate([curve[n] for n in shots])
    logs = np.log2(shots)
    for number in range(1, len(shots)):
        rise = best[number] - best[number - 1]
        if accuracy <= best[number] and rise > 0:
            part = (accuracy - best[number - 1]) / rise
            log = logs[number - 1] + part * (logs[number] - logs[number - 1])
            return float(2 ** max(log, 0.0))
    return float(shots[-1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


PredictedCase = tuple[published_cases.PublishedCase, published_cases.ExpectedGain]


def predict_cases(cases: Sequence[published_cases.PublishedCase]) -> list[PredictedCase]:
    """Predict each case from the cases of all other data sets."""
    found = []
    for case in cases:
        others = [other for other in cases if _data_set(other) != _data_set(case)]
        try:
            told = published_cases.estimate_joining_gain(
                others, case.facts, case.epsilon, case.sites
            )
        except DataError:
            continue
        found.append((case, told))
    return found


def _data_set(case: published_cases.PublishedCase) -> str:
    """Name of the data set; its variants count as one."""
    return case.dataset.split("_")[0]


def table(found: Sequence[PredictedCase]) -> Iterator[str]:
    """Tabulate by question and kind, in percentage points, gains, errors and interval coverage."""
    heads = (
        "question",
        "records",
        "plants",
        "data sets",
        "gained",
        "predicted − gained",
        "mean absolute error",
        "80 % intervals that held",
        "mean width",
        "verdicts that agree with what was kept",
    )
    groups: dict[tuple[str, str], list[PredictedCase]] = {}
    for case, told in found:
        question = case.facts.label_situation
        for kind in (case.facts.kind, "all"):
            groups.setdefault((question, kind), []).append((case, told))
            if question != "S3":  # whose gain is an accuracy
                groups.setdefault(("S1 and S2", kind), []).append((case, told))
    rows = ((*name, *_summary(groups[name])) for name in sorted(groups))
    yield from markdown(heads, rows)


def _summary(found: Sequence[PredictedCase]) -> tuple[object, ...]:
    errors = 100 * np.array([told.gain - case.gain for case, told in found])
    return (
        len(found),
        len({_data_set(case) for case, _ in found}),
        f"{100 * np.mean([case.gain for case, _ in found]):+.1f}",
        f"{errors.mean():+.2f}",
        f"{np.abs(errors).mean():.2f}",
        f"{100 * interval_coverage(found):.0f} %",
        f"{100 * np.mean([told.high - told.low for _, told in found]):.1f}",
        f"{100 * np.mean([_advice_agrees(case, told) for case, told in found]):.0f} %",
    )


def _advice_agrees(
    case: published_cases.PublishedCase, expected_gain: published_cases.ExpectedGain
) -> bool:
    """Return whether the advice to join agrees with the selection of a delivered model."""
    is_join = (
        published_cases.advise_joining(expected_gain, case.facts)
        is published_cases.JoiningAdvice.JOIN
    )
    return is_join == (case.gain != 0)


def interval_coverage(found: Sequence[PredictedCase]) -> float:
    """Share of intervals that contain the true gain."""
    return float(np.mean([told.low <= case.gain <= told.high for case, told in found]))


def publish(
    path: Path, cases: Sequence[published_cases.PublishedCase], found: Sequence[PredictedCase]
) -> None:
    """Write the cases for ``wg-client simulate``, one per line."""
    about = {
        "version": published_cases.VERSION,
        "command": COMMAND,
        "held": round(interval_coverage(found), 3),
        "error": round(float(np.mean([abs(t.gain - c.gain) for c, t in found])), 4),
    }
    lines = ",\n".join(json.dumps(asdict(case), sort_keys=True) for case in cases)
    path.write_text(f'{json.dumps(about)[:-1]}, "cases": [\n{lines}\n]}}\n')


def main() -> None:
    """Evaluate, publish and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, nargs="*", default=[], help="servers' homes, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/simulate.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="data sets")
    parser.add_argument("--publish", type=Path, help="wg_client/simulate/published_cases.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows(options.results)
    for home in options.home:
        evaluate_missing(home, options, rows)
    known = plants_as_cases(rows.with_prefix())
    found = predict_cases(known)
    if options.publish:
        publish(options.publish, known, found)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
