"""Other rules of selection on the runs of ``bench.acceptance``. ``python -m bench.rules RESULTS``.

A run has the out-of-fold log loss and right answers of each judged record, of local-only and of
each model, and what came true on test records. So a rule is judged without a fit, and all of them
on the same runs. The estimate is the plant's own (``wg_client.selection.gain``).
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.acceptance import HARM
from bench.rows import Row, Rows
from bench.tables import markdown

from wg_client.fitting.leave_class_out import LeaveClassOut
from wg_client.methods.names import LOCAL
from wg_client.selection.gain import Gain, Unseen, estimated_gain

Rule = Callable[[Gain, float], float]
"""(estimated gain, labels a class) -> what counts for the model; local-only is kept at zero."""


def _errors(asked: float) -> Rule:
    return lambda gain, _: gain.above(asked) if gain.shown(asked) else 0.0


RULES: Mapping[str, Rule] = {
    **{f"{asked:g} standard errors": _errors(asked) for asked in (0.5, 1.0, 1.5, 2.0)},
    "1, right answers not asked": lambda gain, _: gain.above(1.0),
    "1, right answers by 1 fewer allowed": lambda gain, _: (
        gain.above(1.0) if gain.mean + gain.sd > 0 else 0.0
    ),
    "1, and of right answers too": lambda gain, _: gain.above(1.0) if gain.mean > gain.sd else 0.0,
    "1, none below 10 labels a class": lambda gain, labels: (
        gain.above(1.0) if labels >= 10 and gain.shown(1.0) else 0.0
    ),
}


def estimate(evidence: Mapping[str, Any], name: str) -> Gain:
    """The plant's estimate for a model, from what a run has of it."""
    one, local = evidence["models"][name], evidence["models"][LOCAL]
    mass = evidence["unseen_mass"]
    return estimated_gain(
        np.mean(local["losses"], axis=0) - np.mean(one["losses"], axis=0),
        np.mean(one["right"], axis=0) - np.mean(local["right"], axis=0),
        np.unique(evidence["groups"], return_inverse=True)[1],
        int(np.max(evidence["folds"])) + 1,
        Unseen(mass=mass, classes=evidence["classes"] - len(set(evidence["labels"]))),
        LeaveClassOut(*(np.array(values) for values in one["unseen"])),
    )


def kept(evidence: Mapping[str, Any], rule: Rule) -> str:
    """Name of the model that a rule keeps."""
    labels = len(evidence["labels"]) / len(set(evidence["labels"]))
    names = [name for name in evidence["models"] if name not in (LOCAL, *evidence["blocked"])]
    above = {name: rule(estimate(evidence, name), labels) for name in names}
    best = max(above, key=lambda name: above[name], default=LOCAL)
    return best if best != LOCAL and above[best] > 0 else LOCAL


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Each rule, S1 and S2 apart: points over local-only, the worst set, keeps and harm."""
    lines = []
    for title, rule in RULES.items():
        for scenario in ("S1", "S2"):
            sets: dict[str, list[float]] = {}
            keeps = harm = 0
            for row in rows:
                if not row["setting"].startswith(scenario) or "mislead" in row["setting"]:
                    continue
                models = row["evidence"]["models"]
                name = kept(row["evidence"], rule)
                gain = models[name]["test"] - models[LOCAL]["test"]
                sets.setdefault(row["dataset"], []).append(gain)
                keeps += name != LOCAL
                harm += gain < -HARM
            means = {name: 100 * float(np.mean(values)) for name, values in sets.items()}
            if not means:
                continue
            worst = min(means, key=lambda name: means[name])
            mean = f"{np.mean(list(means.values())):+.2f}"
            runs = sum(map(len, sets.values()))
            lines.append((title, scenario, runs, mean, f"{worst} {means[worst]:+.1f}", keeps, harm))
    heads = ("rule", "", "runs", "kept − local-only", "worst set", "keeps", "harm")
    yield from markdown(heads, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="*", help="data sets")
    options = parser.parse_args()
    rows = [row for row in Rows(options.results).of() if row.get("evidence", {}).get("models")]
    rows = [row for row in rows if not options.only or row["dataset"] in options.only]
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
