"""Tables of the generator's benchmark, from rows of results."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bench.rows import Row
from bench.selected import AS_DELIVERED, SELECTOR, THEN_LOCAL

from wg_client.methods import method_names
from wg_client.methods.registry import METHODS
from wg_server.generator.evaluation.method_scores import cluster_mean_and_error

DELIVERED = ("closed-form", "closed-form-own", "closed-form-others", "cosine-no-counts")
_CLOSED = f"closed-form{THEN_LOCAL}"
OURS = (SELECTOR, method_names.POOLED, method_names.POOLED_FINETUNED)
LOCAL_BASELINES = (method_names.LOCAL_ONLY, "lp-ft", _CLOSED, "closed-form-others, then local")
_MORE = tuple(
    name
    for name in (_CLOSED, *(method.name for method in METHODS))
    if name not in (*OURS, *LOCAL_BASELINES, *AS_DELIVERED)
)
LOCAL = (*LOCAL_BASELINES[:2], *OURS, *_MORE, *LOCAL_BASELINES[2:])
UNSEEN = " (unseen)"
_CELL = re.compile(r"(?P<scenario>.+) eps=(?P<epsilon>\S+) n=(?P<shots>\d+)")


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of the data sets' mean paired differences, its standard error, and number of sets."""

    mean: float
    error: float
    sets: int

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ± {100 * self.error:.1f}"


class Results:
    """Scores of methods by cell."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._cells: dict[str, list[tuple[str, Mapping[str, float]]]] = defaultdict(list)
        for row in rows:
            self._cells[row["cell"]].append((row["dataset"], row["scores"]))

    @property
    def cells(self) -> list[str]:
        """Return the names of all cells."""
        return list(self._cells)

    @property
    def scenarios(self) -> dict[str, list[str]]:
        """Return the cells of each scenario, in order of epsilon and labels."""
        found: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
        for cell in self._cells:
            match = _CELL.fullmatch(cell)
            if match:
                place = float(match["epsilon"]), int(match["shots"]), cell
                found[match["scenario"]].append(place)
        return {name: [c for *_, c in sorted(found[name])] for name in sorted(found)}

    def size(self, cell: str) -> tuple[int, int]:
        """Return the numbers of runs and of data sets of a cell."""
        return len(self._cells[cell]), len({name for name, _ in self._cells[cell]})

    def accuracy(self, cell: str, method: str) -> tuple[float, float]:
        """Mean over data sets and its standard error; NaN if the method has no scores."""
        found = [(n, s[method]) for n, s in self._cells[cell] if method in s]
        if not found:
            return float("nan"), float("nan")
        return cluster_mean_and_error(np.array([v for _, v in found]), [n for n, _ in found])

    def paired_difference(self, cell: str, method: str, baseline: str) -> PairedDifference | None:
        """Accuracy of one method minus another's on the same plants; None without common plants."""
        return self.pooled_difference([cell], method, baseline)

    def pooled_difference(
        self, cells: Sequence[str], method: str, baseline: str
    ) -> PairedDifference | None:
        """Accuracy of one method minus another's over the runs of several cells."""
        rows = [row for cell in cells for row in self._cells[cell]]
        found = [(n, s[method] - s[baseline]) for n, s in rows if method in s and baseline in s]
        if not found:
            return None
        names = [n for n, _ in found]
        mean, error = cluster_mean_and_error(np.array([v for _, v in found]), names)
        return PairedDifference(mean, error, len(set(names)))

    def best_method(self, cell: str, methods: Sequence[str]) -> str | None:
        """The method with the highest mean accuracy."""
        found = {m: self.accuracy(cell, m)[0] for m in methods}
        found = {m: value for m, value in found.items() if np.isfinite(value)}
        return max(found, key=lambda m: found[m]) if found else None


def plain(text: str) -> str:
    """Words for readers: `S1 few labels eps=4 n=5` becomes `few labels, ε 4, n 5`."""
    text = re.sub(r"\bS\d\w? (?=[a-z])", "", text).replace(SELECTOR, "kept")
    return re.sub(r" eps=(\S+) n=(\d+)", r", ε \1, n \2", text)


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table in plain words; None is an empty cell."""
    yield "| " + " | ".join(map(plain, header)) + " |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield "| " + " | ".join("" if entry is None else plain(str(entry)) for entry in row) + " |"


def accuracy_by_data_set(rows: Sequence[Row], cell: str, methods: Sequence[str]) -> Iterator[str]:
    """Tabulate the accuracy of methods in one cell by data set, with the mean over data sets."""
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
    """Write Markdown tables of delivered heads, heads after local training, and the selector."""
    results = Results(rows)
    yield title
    for scenario, cells in results.scenarios.items():
        yield from _accuracies(results, scenario, cells, DELIVERED, "as delivered (S4)")
        if any(np.isfinite(results.accuracy(c, SELECTOR)[0]) for c in cells):
            yield from _accuracies(results, scenario, cells, LOCAL, "after local training")
        if any(np.isfinite(results.accuracy(c, f"closed-form{UNSEEN}")[0]) for c in cells):
            unseen = [m + UNSEEN for m in (*DELIVERED, *LOCAL)]
            yield from _accuracies(results, scenario, cells, unseen, "on classes never seen")
    yield from _selector(results)
    yield from _whole_scenarios(results)


def compare_runs(rows: Sequence[Row], earlier_rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate scores minus those of other rows for the same plants, by cell and by scenario.

    Args:
        rows: Rows of one generator and version of the benchmark.
        earlier_rows: Rows to compare with. A plant is a data set, a draw and a cell.
    """
    known = {_plant(row): row["scores"] for row in earlier_rows}
    both = [
        row | {"scores": row["scores"] | {f"{m} before": v for m, v in known[_plant(row)].items()}}
        for row in rows
        if _plant(row) in known
    ]
    results, methods = Results(both), ("closed-form", method_names.LOCAL_ONLY, SELECTOR)
    kept = [
        (SELECTOR, method_names.LOCAL_ONLY),
        (f"{SELECTOR} before", f"{method_names.LOCAL_ONLY} before"),
    ]
    pairs = [(method, f"{method} before") for method in methods] + kept

    def row(what: str, cells: Sequence[str]) -> Sequence[object]:
        runs = [results.size(cell) for cell in cells]
        size = f"{sum(run for run, _ in runs)}, {max(sets for _, sets in runs)}"
        return what, size, *(results.pooled_difference(cells, *pair) for pair in pairs)

    yield from _paired("Minus the same plants of other rows")
    header = ("cell", "runs, sets", *methods, "kept − local-only", "kept − local-only before")
    lines = [row(c, [c]) for cells in results.scenarios.values() for c in cells]
    lines += [row(f"all of {name}", cells) for name, cells in results.scenarios.items()]
    yield from markdown(header, lines)


def _plant(row: Row) -> str:
    """Data set, draw and cell of a row; the draw follows the data set in the key."""
    return f"{row['dataset']} {row['key'].split()[3]} {row['cell']}"


def _accuracies(
    results: Results, scenario: str, cells: Sequence[str], methods: Sequence[str], title: str
) -> Iterator[str]:
    sizes = sorted({results.size(cell) for cell in cells})
    counts = ", ".join(f"{n} of {s}" for n, s in sizes)
    yield from ("", f"### {scenario}: accuracy {title}", "")
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


def _paired(title: str) -> Iterator[str]:
    yield from ("", f"### {title}, points, paired; errors clustered by data set", "")


def _selector(results: Results) -> Iterator[str]:
    pairs = [(one, method_names.LOCAL_ONLY) for one in OURS] + [
        (method_names.POOLED, "closed-form")
    ]
    rows = []
    worst: tuple[float, str] = (np.inf, "")
    for cell in (cell for found in results.scenarios.values() for cell in found):
        best = results.best_method(cell, LOCAL_BASELINES) or results.best_method(cell, DELIVERED)
        last = results.paired_difference(cell, SELECTOR, best or "")
        rows.append(
            (cell, *(results.paired_difference(cell, *pair) for pair in pairs), str(best), last)
        )
        if last is not None:
            worst = min(worst, (last.mean, cell))
    heads = [" − ".join(pair) for pair in pairs]
    last_heads = (f"{heads[-1]} as delivered", "best other method", "kept − best other method")
    yield from _paired("The kept model minus each method")
    yield from markdown(("cell", *heads[:-1], *last_heads), rows)
    yield ""
    place = f"{100 * worst[0]:+.1f} points ({plain(worst[1])})"
    yield f"Worst cell, kept model minus the best other method: {place}."


def _whole_scenarios(results: Results) -> Iterator[str]:
    pairs = (
        (method_names.POOLED, "closed-form"),
        (SELECTOR, "closed-form"),
        (SELECTOR, method_names.LOCAL_ONLY),
        (method_names.POOLED_FINETUNED, method_names.LOCAL_ONLY),
    )
    rows = []
    for scenario, cells in results.scenarios.items():
        noisy = [cell for cell in cells if " eps=inf " not in cell]
        rows.append(
            (scenario, len(noisy), *(results.pooled_difference(noisy, *pair) for pair in pairs))
        )
    yield from _paired("All noisy cells of a scenario")
    yield from markdown(("scenario", "cells", *(" − ".join(pair) for pair in pairs)), rows)
