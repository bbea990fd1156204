"""Scenario S6k: a known kind of plant under a camera that nobody has seen. Heads.

Run with ``python -m bench.camera --home HOME``. The home's encoder is used, and nothing else of it;
a home of windows gets sets of windows, whose sites have sensors of their own.
The operator's records (``bench.camera_sets``) are seen at made-up sites, and the family's head is
fitted by the zoo's own code; plants use the plant's. Beside them stand its baselines
(``bench.camera_baselines``), which say more of the camera, for images. They are told of it the
mean of features that a plant could release, with or without picture statistics, with noise; or its
features' means and spreads, which it knows exactly and need not release. Two heads lack a part of
the family's: one is fitted on records as they are, one on features that are standardised alike at
all sites.

Settings of a baseline are those that were best on the other sets. Differences are paired, errors
over data sets. Plants are cut from other groups of records than the operator's.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench import camera_sets
from bench.camera_baselines import BAR, FLOW, LATENT, SHOWN, WRONG, Plants, baselines
from bench.camera_latents import SAMPLES
from bench.camera_sets import CameraSet
from bench.camera_space import EPSILONS, EXACT, space_of
from bench.rows import write_table
from bench.selected import own_folds, right
from bench.tables import markdown
from numpy.typing import NDArray

from wg_client.fitting.backbone import encoder_trunk
from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.local_models import fit_local
from wg_client.fitting.standardised import family_view
from wg_common.inference.family_head import FamilyHead, Layout
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.site.home import ServerHome
from wg_server.zoo.family_heads import Sites, fit
from wg_server.zoo.heads import fit_head

Scores = dict[str, list[float]]
"""Right answers by row of the table, plant after plant; the last plant has no camera."""
LOCAL, FAMILY, ON = "local-only", "family head", "family head + local training"
OLD = "head with two views, not standardised (as before)"
ONE, ALIKE = "standardised, no made-up cameras", "made-up cameras, standardised alike"


def main(words: Sequence[str] | None = None) -> None:
    """Judge and print; the words of the command line unless others are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home with an encoder")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--results", type=Path, help="camera.json, or camera_windows.json")
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--sets", default="", help="with commas; all if left out")
    parser.add_argument("--sites", type=int, default=200, help="made-up sites of a family")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    encoder = load_encoder(ServerHome(options.home).read_encoder())
    windows = encoder.modality == Windows.name
    results = options.results or Path(f"bench/results/camera{'_windows' if windows else ''}.json")
    sets = camera_sets.WINDOW_SETS if windows else camera_sets.SETS
    found: dict[str, Scores] = {}
    if results.is_file():
        found = json.loads(results.read_text())
    for name in options.sets.split(",") if options.sets else sets:
        if name in found:
            continue
        cut = camera_sets.load(encoder, options.datasets, name, options.cache, options.sites)
        if cut is None:
            print(f"{name}: not here, or too few records; left out")
            continue
        found[name] = judge(encoder, cut)
        results.parent.mkdir(parents=True, exist_ok=True)
        _write(results, found)
        print(f"{name}: done", flush=True)
    write_table("\n".join(table(found)), options.table)


def _write(path: Path, found: Mapping[str, Scores]) -> None:
    """As JSON, a row of scores a line."""
    sets = [
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(
            f"  {json.dumps(row, ensure_ascii=False)}: {json.dumps([round(v, 4) for v in values])}"
            for row, values in scores.items()
        )
        + "\n }"
        for name, scores in found.items()
    ]
    path.write_text("{\n" + ",\n".join(sets) + "\n}\n")


def judge(encoder: Encoder, cut: CameraSet) -> Scores:
    """Right answers of everything at each plant of one data set."""
    layout = Layout(encoder.scaled_dimension, encoder.local_blocks)
    scores: Scores = {}
    zoo, labels = cut.zoo.astype(np.float32), cut.zoo_y.astype(np.int64)
    family = fit(Sites(list(zoo), list(labels)), len(cut.names), layout)
    _product(encoder, cut, layout, family, scores)
    if not len(cut.few):  # Windows
        return scores
    seen = Plants(cut, space_of(family, cut, layout))
    for row, heads in baselines(encoder, seen):
        for test, head in zip(seen.tests, heads, strict=True):
            _put(scores, row, test.right(head))
    return scores


def _product(
    encoder: Encoder, cut: CameraSet, layout: Layout, family: FamilyHead, scores: Scores
) -> None:
    """What the zoo makes, and what plants make of it."""
    zoo, labels, k = cut.zoo.astype(np.float32), cut.zoo_y.astype(np.int64), len(cut.names)
    one, alike = _lacking(zoo, labels, k, layout)
    old = _old(zoo, labels, k, layout) if cut.zoo_s.shape[2] else None
    for own, test in _plants(cut):
        trunk = encoder_trunk(own, encoder.dimension, layout.scaled, layout.blocks)
        view, head = family_view(family, own, layout, trunk, encoder.dimension)
        judged, plain = (view.inward(test), cut.test_y), test.astype(np.float64)
        _put(scores, FAMILY, right(head, judged))
        if old is not None:
            _put(scores, OLD, right(old, (plain[:, : layout.scaled], cut.test_y)))
        for row, head_of in ((ONE, one), (ALIKE, alike)):
            _put(scores, row, right(LinearHead(*head_of.at(own, layout)), (plain, cut.test_y)))
        for shots in (5, 20):
            rows = _few(cut.own_y, shots)
            y, folds = cut.own_y[rows], own_folds(cut.own_y[rows])
            alone = fit_local(trunk.features[rows], y, k, folds).head
            _put(scores, f"{LOCAL}, n={shots}", right(alone, (trunk.inward(test), cut.test_y)))
            tuned = fit_finetuned(fixed(head), view.features[rows], y, folds, unseen_mass=0.0)
            _put(scores, f"{ON}, n={shots}", right(tuned.head, judged))


def _old(
    zoo: NDArray[np.float32], labels: NDArray[np.int64], classes: int, layout: Layout
) -> LinearHead:
    """Two views of each record, on features of public scale."""
    seen = [*range(0, len(zoo), 10), *(n for n in range(1, 60) if n % 10)][: len(zoo)]
    flat = zoo[seen][..., : layout.scaled].reshape(-1, layout.scaled)
    return LinearHead(*fit_head(flat, labels[seen].ravel(), classes, penalty=100.0))


def _lacking(
    zoo: NDArray[np.float32], labels: NDArray[np.int64], classes: int, layout: Layout
) -> tuple[FamilyHead, FamilyHead]:
    """The family's head without made-up cameras, and without standardising by site."""
    one = fit(Sites(list(zoo[::10]), list(labels[::10])), classes, layout)
    # Records that are dealt anew make sites that are all alike.
    order = np.random.default_rng(4).permutation(labels.size)
    dealt = zoo.reshape(labels.size, -1)[order].reshape(zoo.shape)
    mixed = labels.ravel()[order].reshape(labels.shape)
    alike = fit(Sites(list(dealt), list(mixed)), classes, layout)
    return one, replace(alike, records=np.array([np.inf]))


def _plants(cut: CameraSet) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Own and test features of each plant."""
    for own, test in zip(cut.own, cut.test, strict=True):
        yield own.astype(np.float32), test.astype(np.float32)


def _few(labels: NDArray[np.generic], shots: int) -> NDArray[np.intp]:
    return np.concatenate([np.flatnonzero(labels == c)[:shots] for c in np.unique(labels)])


def _put(scores: Scores, row: str, value: float) -> None:
    scores.setdefault(row, []).append(float(value))


def table(found: Mapping[str, Scores]) -> Iterator[str]:
    """Rows averaged over plants, set by set, and differences over sets for each condition."""
    chosen = {name: _chosen(name, found) for name in found}
    rows = list(dict.fromkeys(row for scores in chosen.values() for row in scores))
    yield "### Known kind, unseen camera (S6k): heads, right answers"
    yield ""
    body = []
    for row in rows:
        if _condition(row) not in ("", SHOWN):
            continue
        each = [
            float(np.mean(scores[row][:-1])) if row in scores else np.nan
            for scores in chosen.values()
        ]
        same = np.mean([scores[row][-1] for scores in chosen.values() if row in scores])
        values = [*each, np.nanmean(each)]
        bars = _with_labels(LOCAL, row) or f"{LOCAL}, n=5", _bar(row, rows), _product_row(row)
        differences = [_paired(chosen, row, bar) for bar in bars]
        shown = [f"{value:.3f}".replace("nan", "") for value in values]
        body.append((row, *shown, *differences, f"{same:.3f}"))
    minus = "minus local-only", "minus family head", "minus the product"
    heads = ("", *found, "mean", *minus, "no camera")
    yield from markdown(heads, body)
    yield ""
    yield "Minus local-only: at as many labels; rows without labels against five labels a class."
    yield "Minus family head: at as many labels, tuned by a ridge."
    yield "Minus the product: family head, or with labels family head + local training."
    yield "A row that not all sets have is averaged over those that have it."
    if not any(_condition(row) for row in rows):
        return
    yield ""
    yield from _by_condition(chosen, rows)


def _by_condition(chosen: Mapping[str, Scores], rows: Sequence[str]) -> Iterator[str]:
    """Differences of each baseline that is told something, by what it is told."""
    yield "### Minus the family head, by what is told of the camera"
    yield ""
    names = (EXACT, *(f"ε={epsilon:g}" for epsilon in EPSILONS))
    body = []
    for row in rows:
        if _condition(row) != SHOWN or WRONG in row:
            continue
        of = {name: row.replace(f", {SHOWN}", f", {name}") for name in names}
        wrong = f"{row}{WRONG}"
        body.append(
            (
                row.replace(f", {SHOWN}", ""),
                *(_paired(chosen, told, _bar(row, rows)) for told in of.values()),
                _paired(chosen, of["ε=1"], row),
                _paired(chosen, wrong, row),
            )
        )
    heads = ("", *names, "ε=1 minus ε=4", "another plant's minus its own, ε=4")
    yield from markdown(heads, body)
    yield ""
    for kind in (f"{FLOW}, mean of {SAMPLES}", f"{FLOW}, chosen of {SAMPLES}"):
        end = ", n=5" if "chosen" in kind else ""
        each = [
            f"{_paired(chosen, f'{kind}, {name}{end}', f'{LATENT}, {name}')} ({name})"
            for name in names
        ]
        yield f"{kind}{end}, minus the latents that a condition says: {', '.join(each)}."


def _condition(row: str) -> str:
    """What a row's baseline is told of the camera; nothing: an empty word."""
    names = (EXACT, *(f"ε={epsilon:g}" for epsilon in EPSILONS))
    return next((name for name in names if name in row.split(" @")[0].split(", ")), "")


def _with_labels(stem: str, row: str) -> str:
    """A row with as many labels as another one has; none: an empty word."""
    counts = [shots for shots in (5, 20) if f"n={shots}" in row.split(", ")]
    return f"{stem}, n={counts[0]}" if counts else ""


def _bar(row: str, rows: Sequence[str]) -> str:
    """The family's head, with a row's labels."""
    tuned = _with_labels(BAR, row)
    return tuned if tuned in rows else FAMILY


def _product_row(row: str) -> str:
    return _with_labels(ON, row) or FAMILY


def _chosen(name: str, found: Mapping[str, Scores]) -> Scores:
    """A set's rows with the setting, after ``@``, that was best on the other sets.

    A baseline with another plant's condition has the setting that it has with the right one.
    """
    others = [scores for other, scores in found.items() if other != name]
    settings: dict[str, list[str]] = {}
    for row in found[name]:
        stem, _, setting = row.partition(" @")
        settings.setdefault(stem, []).append(setting)

    def worth(row: str) -> float:
        each = [float(np.mean(scores[row][:-1])) for scores in others if row in scores]
        return float(np.mean(each or [0.0]))

    kept: Scores = {}
    for stem, many in settings.items():
        right_one = stem.replace(WRONG, "")
        worths = {setting: worth(_row(right_one, setting)) for setting in many}
        best = max(worths, key=worths.__getitem__)
        kept[stem] = found[name][_row(stem, best)]
    return kept


def _row(stem: str, setting: str) -> str:
    return f"{stem} @{setting}" if setting else stem


def _paired(chosen: Mapping[str, Scores], row: str, bar: str) -> str:
    """Mean difference over sets in points, with its standard error."""
    both = [scores for scores in chosen.values() if row in scores]
    if not both:
        return ""
    each = [100 * (np.mean(s[row][:-1]) - np.mean(s[bar][:-1])) for s in both]
    error = np.std(each, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
    return f"{np.mean(each):+.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()
