"""Tables and plots of the generator's benchmark, from its rows."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.rows import Row
from bench.selected import AS_DELIVERED, SELECTOR, THEN_LOCAL

from wg_client.methods import names
from wg_client.methods.registry import METHODS
from wg_server.generator.statistics import clustered

DELIVERED = (
    "network",
    "blend",
    "closed-form",
    "closed-form-own",
    "meta-base",
    "reptile",
    "deepsets",
    "d2nwg-sample",
    "d2nwg-mean",
    "retrieval-5nn",
    "cosine-no-counts",
)
BASELINES = tuple(m for m in DELIVERED if not m.startswith(("network", "sample", "blend")))
_NETWORK, _CLOSED = f"network{THEN_LOCAL}", f"closed-form{THEN_LOCAL}"
OURS = (SELECTOR, names.POSTERIOR_HEAD, names.ENSEMBLE, _NETWORK)
LOCAL_BASELINES = (
    names.LOCAL,
    "lp-ft",
    _CLOSED,
    "closed-form-others, then local",
    "meta-base, then local",
    "reptile, then local",
    "deepsets, then local",
    "d2nwg-mean, then local",
    "retrieval-5nn, then local",
)
_MORE = tuple(
    name
    for name in (_NETWORK, _CLOSED, *(method.name for method in METHODS))
    if name not in (*OURS, *LOCAL_BASELINES, *AS_DELIVERED)
)
LOCAL = (*LOCAL_BASELINES[:2], *OURS, *_MORE, *LOCAL_BASELINES[2:])
UNSEEN = " (unseen)"
_CELL = re.compile(r"(?P<scenario>.+) eps=(?P<epsilon>\S+) n=(?P<shots>\d+)")


@dataclass(frozen=True, slots=True)
class Paired:
    """A paired difference: mean over data sets' means, its standard error, and the data sets."""

    mean: float
    error: float
    sets: int

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ± {100 * self.error:.1f}"


class Results:
    """Scores by cell."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._cells: dict[str, list[tuple[str, Mapping[str, float]]]] = defaultdict(list)
        for row in rows:
            self._cells[row["cell"]].append((row["dataset"], row["scores"]))

    @property
    def cells(self) -> list[str]:
        """All cells."""
        return list(self._cells)

    @property
    def scenarios(self) -> dict[str, list[str]]:
        """Cells of each scenario, in order of epsilon and labels."""
        found: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
        for cell in self._cells:
            match = _CELL.fullmatch(cell)
            if match:
                place = float(match["epsilon"]), int(match["shots"]), cell
                found[match["scenario"]].append(place)
        return {name: [c for *_, c in sorted(found[name])] for name in sorted(found)}

    def size(self, cell: str) -> tuple[int, int]:
        """Runs and data sets of a cell."""
        return len(self._cells[cell]), len({name for name, _ in self._cells[cell]})

    def accuracy(self, cell: str, method: str) -> tuple[float, float]:
        """Mean over data sets and its standard error; NaN if the method has none."""
        found = [(n, s[method]) for n, s in self._cells[cell] if method in s]
        if not found:
            return float("nan"), float("nan")
        return clustered(np.array([v for _, v in found]), [n for n, _ in found])

    def paired(self, cell: str, one: str, two: str) -> Paired | None:
        """Accuracy of one method minus another's on the same plants."""
        return self.pooled([cell], one, two)

    def pooled(self, cells: Sequence[str], one: str, two: str) -> Paired | None:
        """The same over the runs of several cells."""
        rows = [row for cell in cells for row in self._cells[cell]]
        found = [(n, s[one] - s[two]) for n, s in rows if one in s and two in s]
        if not found:
            return None
        names = [n for n, _ in found]
        mean, error = clustered(np.array([v for _, v in found]), names)
        return Paired(mean, error, len(set(names)))

    def best(self, cell: str, methods: Sequence[str]) -> str | None:
        """The method with the highest mean accuracy."""
        found = {m: self.accuracy(cell, m)[0] for m in methods}
        found = {m: value for m, value in found.items() if np.isfinite(value)}
        return max(found, key=lambda m: found[m]) if found else None


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table; nothing is shown for None."""
    yield "| " + " | ".join(header) + " |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield "| " + " | ".join("" if entry is None else str(entry) for entry in row) + " |"


def set_by_set(rows: Sequence[Row], cell: str, methods: Sequence[str]) -> Iterator[str]:
    """Accuracy of methods in one cell, data set by data set, and the mean over data sets."""
    names = dict.fromkeys(row["dataset"] for row in rows)
    parts = {name: Results([row for row in rows if row["dataset"] == name]) for name in names}
    yield from markdown(
        ("data set", *methods),
        (
            (name, *(f"{results.accuracy(cell, method)[0]:.3f}" for method in methods))
            for name, results in (parts | {"mean": Results(rows)}).items()
        ),
    )


def table(rows: Sequence[Row], title: str) -> Iterator[str]:
    """Markdown: what is delivered, what local training makes of it, and the selector."""
    results = Results(rows)
    yield title
    for scenario, cells in results.scenarios.items():
        yield from _accuracies(results, scenario, cells, DELIVERED, "as delivered (S4)")
        if any(np.isfinite(results.accuracy(c, SELECTOR)[0]) for c in cells):
            yield from _accuracies(results, scenario, cells, LOCAL, "after local training")
        if any(np.isfinite(results.accuracy(c, f"network{UNSEEN}")[0]) for c in cells):
            unseen = [m + UNSEEN for m in (*DELIVERED, *LOCAL)]
            yield from _accuracies(results, scenario, cells, unseen, "on classes never seen")
    yield from _differences(results)
    yield from _selector(results)
    yield from _whole_scenarios(results)


def against(rows: Sequence[Row], before: Sequence[Row]) -> Iterator[str]:
    """Scores minus those of other rows for the same plants, by cell and by scenario.

    Args:
        rows: Of one generator and version of the benchmark.
        before: Of any other one. A plant is a data set, a draw and a cell.
    """
    known = {_plant(row): row["scores"] for row in before}
    both = [
        row | {"scores": row["scores"] | {f"{m} before": v for m, v in known[_plant(row)].items()}}
        for row in rows
        if _plant(row) in known
    ]
    results, methods = Results(both), ("network", "closed-form", names.LOCAL, SELECTOR)
    kept = [(SELECTOR, names.LOCAL), (f"{SELECTOR} before", f"{names.LOCAL} before")]
    pairs = [(method, f"{method} before") for method in methods] + kept

    def row(what: str, cells: Sequence[str]) -> Sequence[object]:
        runs = [results.size(cell) for cell in cells]
        size = f"{sum(run for run, _ in runs)}, {max(sets for _, sets in runs)}"
        return what, size, *(results.pooled(cells, *pair) for pair in pairs)

    yield from _paired("Minus the same plants of other rows")
    header = ("cell", "runs, sets", *methods, "selector − local-only", "the same before")
    lines = [row(c, [c]) for cells in results.scenarios.values() for c in cells]
    lines += [row(f"all of {name}", cells) for name, cells in results.scenarios.items()]
    yield from markdown(header, lines)


def _plant(row: Row) -> str:
    """Data set, draw and cell: the key without version and generator."""
    return str(row["key"]).split(" ", 2)[2]


def _accuracies(
    results: Results, scenario: str, cells: Sequence[str], methods: Sequence[str], what: str
) -> Iterator[str]:
    sizes = sorted({results.size(cell) for cell in cells})
    counts = ", ".join(f"{n} of {s}" for n, s in sizes)
    yield from ("", f"### {scenario}: accuracy {what}", "")
    yield from (f"Runs and data sets a cell: {counts}.", "")
    heads = [cell.removeprefix(scenario).strip().replace("eps", "ε") for cell in cells]
    found = {m: [results.accuracy(cell, m)[0] for cell in cells] for m in methods}
    yield from markdown(
        ("method", *heads),
        (
            (method, *(None if np.isnan(v) else f"{v:.3f}" for v in values))
            for method, values in found.items()
            if any(np.isfinite(v) for v in values)
        ),
    )


def _paired(what: str) -> Iterator[str]:
    yield from ("", f"### {what}, points, paired; errors clustered by data set", "")


def _differences(results: Results) -> Iterator[str]:
    baselines = (
        "closed-form",
        "meta-base",
        "deepsets",
        "d2nwg-mean",
        "retrieval-5nn",
        "cosine-no-counts",
    )

    def row(cell: str) -> Iterator[object]:
        best = results.best(cell, BASELINES)
        yield cell
        yield from (results.paired(cell, "network", name) for name in baselines)
        yield from (str(best), results.paired(cell, "network", best or ""))

    yield from _paired("Network minus rival as delivered")
    cells = [cell for found in results.scenarios.values() for cell in found]
    header = ("cell", *baselines, "best rival", "network minus it")
    yield from markdown(header, (list(row(cell)) for cell in cells))


def _selector(results: Results) -> Iterator[str]:
    pairs = [(one, names.LOCAL) for one in OURS] + [(names.POSTERIOR_HEAD, "closed-form")]
    rows = []
    worst: tuple[float, str] = (np.inf, "")
    for cell in (cell for found in results.scenarios.values() for cell in found):
        best = results.best(cell, LOCAL_BASELINES) or results.best(cell, BASELINES)
        last = results.paired(cell, SELECTOR, best or "")
        rows.append((cell, *(results.paired(cell, *pair) for pair in pairs), str(best), last))
        if last is not None:
            worst = min(worst, (last.mean, cell))
    heads = [" − ".join(pair) for pair in pairs]
    last_heads = (f"{heads[-1]} as delivered", "best rival after local training", "selector − it")
    yield from _paired("With the plant's selector on")
    yield from markdown(("cell", *heads[:-1], *last_heads), rows)
    yield ""
    yield f"Worst cell, selector minus the best rival: {100 * worst[0]:+.1f} points ({worst[1]})."


def _whole_scenarios(results: Results) -> Iterator[str]:
    pairs = (
        ("network", "closed-form"),
        (names.POSTERIOR_HEAD, "closed-form"),
        (SELECTOR, "closed-form"),
        (SELECTOR, names.LOCAL),
        (names.ENSEMBLE, names.LOCAL),
    )
    rows = []
    for scenario, cells in results.scenarios.items():
        noisy = [cell for cell in cells if " eps=inf " not in cell]
        rows.append((scenario, len(noisy), *(results.pooled(noisy, *pair) for pair in pairs)))
    yield from _paired("All noisy cells of a scenario")
    yield from markdown(("scenario", "cells", *(" − ".join(pair) for pair in pairs)), rows)


def plots(rows: Sequence[Row], folder: Path) -> None:
    """One plot a scenario."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "weightgate"
    results = Results(rows)
    folder.mkdir(parents=True, exist_ok=True)
    for scenario, cells in results.scenarios.items():
        name = scenario.split()[0].lower()
        _lines(results, scenario, cells, folder / f"generator-{name}.svg")


_SHOWN = (
    ("network", "tab:blue", "-"),
    ("closed-form", "tab:orange", "-"),
    ("deepsets", "tab:green", "-"),
    ("d2nwg-mean", "tab:red", "-"),
    ("retrieval-5nn", "tab:purple", "-"),
    ("cosine-no-counts", "tab:brown", "-"),
    ("local-only", "black", "--"),
    ("network, then local", "tab:blue", "--"),
    ("completed", "tab:olive", "--"),
    ("completed-finetuned", "tab:pink", "--"),
    ("selector", "tab:cyan", "--"),
)


def _lines(results: Results, scenario: str, cells: Sequence[str], path: Path) -> None:
    from matplotlib import pyplot as plt

    by_epsilon: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for cell in cells:
        match = _CELL.fullmatch(cell)
        if match:
            by_epsilon[match["epsilon"]].append((int(match["shots"]), cell))
    width = 1.2 + 2.7 * len(by_epsilon)
    figure, axes = plt.subplots(
        1, len(by_epsilon), figsize=(width, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (epsilon, found) in zip(axes[0], by_epsilon.items(), strict=True):
        ticks = [shots for shots, _ in found]
        for number, (method, colour, style) in enumerate(_SHOWN):
            values = [results.accuracy(cell, method) for _, cell in found]
            if not any(np.isfinite(v) for v, _ in values):
                continue
            place = np.arange(len(found)) + 0.03 * (number - len(_SHOWN) / 2)
            axis.errorbar(
                place,
                [v for v, _ in values],
                [e for _, e in values],
                color=colour,
                linestyle=style,
                marker="o",
                markersize=3,
                linewidth=1.2,
                elinewidth=0.6,
                label=method,
            )
        axis.set_xticks(np.arange(len(found)), [str(tick) for tick in ticks])
        axis.set_title("no noise" if epsilon == "inf" else f"ε = {epsilon}")
        axis.set_xlabel("records a class" if "no labels" in scenario else "labels a class")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy on test records")
    handles, names = axes[0][-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(scenario + ": solid as delivered, dashed after local training", fontsize=10)
    _save(figure, path)


def _save(figure: object, path: Path) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    if isinstance(figure, Figure):
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
