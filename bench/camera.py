"""Scenario S6k: a known kind of plant under a camera that nobody has seen. Heads.

Run with ``python -m bench.camera --home HOME``. The home's encoder is used, and nothing else of it;
a home of windows gets sets of windows, whose sites have sensors of their own.
The operator's records (``bench.camera_sets``) are seen at made-up sites, and the family's head is
fitted by the zoo's own code; plants use the plant's. Beside them stand the ways to say more of the
camera: weights that are linear in a condition, and heads of the nearest cameras. The condition is
what a plant could release (the mean of its features, with or without picture statistics, with
noise), or its features' means and spreads, which it knows exactly and need not release. These are
for images. Two heads lack a part of the family's: one is fitted on records as they are, one on
features that are standardised alike at all sites.

Settings of a baseline are those that were best on the other sets. Differences are paired, errors
over data sets. Plants are cut from other groups of records than the operator's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench import camera_sets, plants
from bench.camera_sets import CameraSet
from bench.rows import write_table
from bench.selected import own_folds, right
from bench.tables import markdown
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from wg_client.fitting.backbone import encoder_trunk
from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.local_models import fit_local
from wg_client.fitting.standardised import family_view
from wg_common.inference.block_scale import block_scale
from wg_common.inference.discriminants import principal
from wg_common.inference.family_head import FamilyHead, Layout, moments
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.site.home import ServerHome
from wg_server.zoo.family_heads import Sites, fit
from wg_server.zoo.heads import fit_head

Floats = NDArray[np.float64]
Scores = dict[str, list[float]]
"""Right answers by row of the table, plant after plant; the last plant has no camera."""
LOCAL, FAMILY, ON = "local-only", "family head", "family head + local training"
NEAREST, ORACLE = "nearest cameras, trained anew", "the very camera (ceiling)"
OLD = "head with two views, not standardised (as before)"
ONE, ALIKE = "standardised, no made-up cameras", "made-up cameras, standardised alike"
WRONG = ", another plant's"
_DIRECTIONS, _SHARED = 128, 0.01
_PENALTIES = (0.1, 0.3, 1.0)
_NEAR = 30
_STATISTICS_NOISE = 0.7
"""Noise on picture statistics, in that on features: they have a share of the release."""


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
            print(f"{name}: not here, left out")
            continue
        found[name] = judge(encoder, cut)
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}: done", flush=True)
    write_table("\n".join(table(found)), options.table)


def judge(encoder: Encoder, cut: CameraSet) -> Scores:
    """Right answers of everything at each plant of one data set."""
    layout = Layout(encoder.scaled_dimension, encoder.local_blocks)
    scores: Scores = {}
    _product(encoder, cut, layout, scores)
    _baselines(cut, layout, scores, encoder.id)
    return scores


def _product(encoder: Encoder, cut: CameraSet, layout: Layout, scores: Scores) -> None:
    """What the zoo makes, and what plants make of it."""
    zoo, labels, k = cut.zoo.astype(np.float32), cut.zoo_y.astype(np.int64), len(cut.names)
    family, _ = fit(Sites(zoo, labels), k, layout)
    one, alike = _lacking(zoo, labels, k, layout)
    old = _old(zoo, labels, k, layout) if cut.zoo_s.shape[2] else None
    for own, test in _plants(cut):
        trunk = encoder_trunk(own, encoder.dimension, layout.scaled, layout.blocks)
        view, head = family_view(family, own, layout, trunk, encoder.dimension)
        judged = view.inward(test), cut.test_y
        _put(scores, FAMILY, right(head, judged))
        if old is not None:
            _put(scores, OLD, right(old, (test[:, : layout.scaled], cut.test_y)))
        for row, head_of in ((ONE, one), (ALIKE, alike)):
            _put(scores, row, right(LinearHead(*head_of.at(own, layout)), (test, cut.test_y)))
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
    one, _ = fit(Sites(zoo[::10], labels[::10]), classes, layout)
    # Records that are dealt anew make sites that are all alike.
    order = np.random.default_rng(4).permutation(labels.size)
    dealt = zoo.reshape(labels.size, -1)[order].reshape(zoo.shape)
    alike, _ = fit(Sites(dealt, labels.ravel()[order].reshape(labels.shape)), classes, layout)
    return one, replace(alike, records=np.array([np.inf]))


def _baselines(cut: CameraSet, layout: Layout, scores: Scores, encoder: str) -> None:
    """Heads that know more of the camera, without a label; on directions of one kind."""
    k, sites = len(cut.names), len(cut.zoo)
    x = np.stack([_standard(site, site, layout) for site in cut.zoo])
    flat = x.reshape(-1, x.shape[2])
    rows = np.linspace(0, len(flat) - 1, min(len(flat), 2000)).astype(np.int64)
    values, vectors = principal(flat[rows].astype(np.float64), min(_DIRECTIONS, len(rows)))
    basis = (vectors / np.sqrt(values.mean())).astype(np.float32)
    z, labels = x @ basis, cut.zoo_y.astype(np.int64)
    tests = [_standard(test, own, layout) @ basis for own, test in _plants(cut)]
    very = [_standard(seen, seen, layout) @ basis for seen in cut.very if len(seen)]
    one = np.ones((sites, 1))
    base = _logistic(z, labels, one, k, 0.0)

    def score(row: str, heads: Callable[[int], tuple[Floats, Floats]]) -> None:
        for number, test in enumerate(tests):
            _put(scores, row, right(LinearHead(*heads(number)), (test, cut.test_y)))

    score("standardised, one head", lambda _: (base[0][0], base[1][0]))
    start = base[0][0], base[1][0]
    for penalty in (0.03, 0.1, 0.3) if cut.very.shape[1] else ():
        found = [_around(start, v, cut.very_y.astype(np.int64), penalty) for v in very]
        score(f"{ORACLE} @{penalty}", lambda n, found=found: found[n])
    conditions = _conditions(cut, encoder) if cut.zoo_s.shape[2] else {}
    for name, (given, asked) in conditions.items():
        mean, spread = given.mean(axis=0), given.std(axis=0) + 1e-9
        u, (left, sizes, turn) = (asked - mean) / spread, _svd((given - mean) / spread)
        count = min(64, sites - 2)
        scale = np.sqrt(sites) / sizes[0]
        c, p = left[:, :count] * sizes[:count] * scale, u @ turn[:count].T * scale
        for penalty in _PENALTIES:
            w, b = _logistic(z, labels, np.hstack([one, c]), k, penalty)
            made = [
                (np.tensordot(row, w, axes=1), row @ b)
                for row in np.hstack([np.ones((len(p), 1)), p])
            ]
            score(f"condition: {name} @{penalty}", lambda n, made=made: made[n])
            others = [*np.roll(np.arange(len(made) - 1), 3), 0]
            wrong = [made[n] for n in others]
            score(f"condition: {name}{WRONG} @{penalty}", lambda n, wrong=wrong: wrong[n])
        if name == EXACT:
            near = [np.argsort(((c - row) ** 2).sum(axis=1))[:_NEAR] for row in p]
            found = [
                _around(start, z[n].reshape(-1, z.shape[2]), labels[n].ravel(), 0.03) for n in near
            ]
            score(NEAREST, lambda n, found=found: found[n])


EXACT = "own means and spreads, exact"


def _conditions(cut: CameraSet, encoder: str) -> Mapping[str, tuple[Floats, Floats]]:
    """Conditions of the zoo's sites ``[C, j]`` and of the plants ``[P, j]``, by name."""
    scaled = Layout(512, ())
    public = lambda x: moments(x[:, :512].astype(np.float32), scaled).ravel()  # noqa: E731
    found = {
        EXACT: (np.stack([public(s) for s in cut.zoo]), np.stack([public(s) for s in cut.own]))
    }
    names = tuple(str(name) for name in cut.names)
    mean = cut.zoo[..., :64].astype(np.float64).mean(axis=1)
    pictures = cut.zoo_s.astype(np.float64).mean(axis=1)
    for epsilon in (1.0, 4.0):
        rng = np.random.default_rng(5)
        rows, more = [], []
        for own, seen in zip(cut.own, cut.own_s, strict=True):
            released = plants.release(
                encoder,
                own[:, :64].astype(np.float64),
                cut.own_y.astype(np.int64),
                names,
                epsilon,
                rng,
            )
            site = site_evidence(released, names)
            rows.append(site.domain)
            noise = float(np.sqrt(site.domain_noise))
            more.append(seen.mean(axis=0) + _STATISTICS_NOISE * rng.normal(0, noise, seen.shape[1]))
        # What is learnt from has the noise of a release too.
        given = mean + rng.normal(0, noise, mean.shape)
        shown = pictures + _STATISTICS_NOISE * rng.normal(0, noise, pictures.shape)
        found[f"released mean, eps={epsilon:g}"] = given, np.array(rows)
        found[f"released mean and picture statistics, eps={epsilon:g}"] = (
            np.hstack([given, shown]),
            np.hstack([rows, more]),
        )
    return found


def _standard(local: NDArray[np.floating], site: NDArray[np.floating], layout: Layout) -> Floats:
    """Features standardised by a site's own records, ``[n, B]``."""
    own = moments(site.astype(np.float32), layout)
    scale = block_scale(np.exp(own[1]), layout.sizes)
    return np.asarray(((local[:, layout.start :] - own[0]) * scale).astype(np.float32))


def _logistic(
    z: Floats, labels: NDArray[np.int64], given: Floats, classes: int, penalty: float
) -> tuple[Floats, Floats]:
    """Logistic regression with weights linear in what is given of a site, a one first.

    Args:
        z: Features ``[C, n, q]``.
        labels: ``[C, n]``.
        given: ``[C, 1 + J]``.
        classes: K.
        penalty: Of squared weights that are not shared.

    Returns:
        Weight ``[1 + J, K, q]`` and bias ``[1 + J, K]``.
    """
    sites, n, q = z.shape
    j, hot = given.shape[1], np.eye(classes, dtype=np.float32)[labels]
    few = given.astype(np.float32)
    ridge = np.full((j, 1, q + 1), penalty)
    ridge[0], ridge[..., q] = _SHARED, 0.0
    x = np.concatenate([z, np.ones((sites, n, 1))], axis=2).astype(np.float32)

    def objective(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(j, classes, q + 1)
        heads = np.tensordot(few, theta.astype(np.float32), axes=1)  # [C, K, q + 1]
        logits = np.matmul(x, heads.transpose(0, 2, 1))  # [C, n, K]
        total = logsumexp(logits, axis=2, keepdims=True)
        loss = float((total[..., 0] - (logits * hot).sum(axis=2)).mean())
        slope = np.matmul((np.exp(logits - total) - hot).transpose(0, 2, 1), x) / (sites * n)
        gradient = np.tensordot(few.T, slope, axes=1) + 2 * ridge * theta
        return loss + float((ridge * theta**2).sum()), gradient.ravel()

    start = np.zeros(j * classes * (q + 1))
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    theta = theta.reshape(j, classes, q + 1)
    return theta[..., :q], theta[..., q]


def _around(
    start: tuple[Floats, Floats], x: Floats, y: NDArray[np.int64], penalty: float
) -> tuple[Floats, Floats]:
    """Logistic regression around a head: what is added is penalised."""
    k, q = start[0].shape
    hot, given = np.eye(k)[y], x @ start[0].T + start[1]

    def objective(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(k, q + 1)
        logits = given + x @ theta[:, :q].T + theta[:, q]
        total = logsumexp(logits, axis=1, keepdims=True)
        slope = (np.exp(logits - total) - hot) / len(x)
        loss = float((total[:, 0] - (logits * hot).sum(axis=1)).mean())
        gradient = np.hstack([slope.T @ x + 2 * penalty * theta[:, :q], slope.sum(axis=0)[:, None]])
        return loss + penalty * float((theta[:, :q] ** 2).sum()), gradient.ravel()

    theta = minimize(objective, np.zeros(k * (q + 1)), jac=True, method="L-BFGS-B").x
    theta = theta.reshape(k, q + 1)
    return start[0] + theta[:, :q], start[1] + theta[:, q]


def _svd(rows: Floats) -> tuple[Floats, Floats, Floats]:
    return np.linalg.svd(rows, full_matrices=False)


def _plants(cut: CameraSet) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Own and test features of each plant."""
    for own, test in zip(cut.own, cut.test, strict=True):
        yield own.astype(np.float32), test.astype(np.float32)


def _few(labels: NDArray[np.generic], shots: int) -> NDArray[np.intp]:
    return np.concatenate([np.flatnonzero(labels == c)[:shots] for c in np.unique(labels)])


def _put(scores: Scores, row: str, value: float) -> None:
    scores.setdefault(row, []).append(float(value))


def table(found: Mapping[str, Scores]) -> Iterator[str]:
    """A row for each way, averaged over plants; differences over sets with their errors."""
    chosen = {name: _chosen(name, found) for name in found}
    rows = dict.fromkeys(row for scores in chosen.values() for row in scores)
    yield "### Known kind, unseen camera (S6k): heads, right answers"
    yield ""
    body = []
    for row in rows:
        each = [
            np.mean(scores[row][:-1]) if row in scores else np.nan for scores in chosen.values()
        ]
        same = np.mean([scores[row][-1] for scores in chosen.values() if row in scores])
        bar = f"{LOCAL}, n=20" if "n=20" in row else f"{LOCAL}, n=5"
        body.append(
            (
                row,
                *(f"{value:.3f}".replace("nan", "") for value in each),
                f"{np.nanmean(each):.3f}",
                _paired(chosen, row, bar),
                _paired(chosen, row, FAMILY),
                f"{same:.3f}",
            )
        )
    heads = ("", *found, "mean", "minus local-only", "minus family head", "no camera")
    yield from markdown(heads, body)
    yield ""
    yield "Minus local-only: at as many labels; rows without labels against five labels a class."
    yield "A row that not all sets have is averaged over those that have it."


def _chosen(name: str, found: Mapping[str, Scores]) -> Scores:
    """A set's rows with the setting, after ``@``, that was best on the other sets."""
    kept: Scores = {}
    for row in found[name]:
        stem = row.split(" @")[0]
        same = [r for r in found[name] if r.split(" @")[0] == stem]
        means = [
            np.mean([np.mean(found[other][r][:-1]) for other in found if other != name] or [0.0])
            for r in same
        ]
        kept[stem] = found[name][same[int(np.argmax(means))]]
    return kept


def _paired(chosen: Mapping[str, Scores], row: str, bar: str) -> str:
    """Mean difference over sets in points, with its standard error."""
    both = [scores for scores in chosen.values() if row in scores]
    each = [100 * (np.mean(s[row][:-1]) - np.mean(s[bar][:-1])) for s in both]
    error = np.std(each, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
    return f"{np.mean(each):+.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()
