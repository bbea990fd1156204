"""Released features against those that stood before: ``python -m bench.encoder --cache DIR``.

On each development set 60 records a class are released as a plant releases them, and the closed
form (``prior.blup``) makes a head of that one release and of nothing else. So the figure is that of
the features alone: no other site, no local label. Two encoders of the same number of features, both
fitted on the plan's public records and each with priors of its own:

- *plain*: the leading principal directions of the coarse scale (images) or of all raw features
  (windows): what stood before docs/decisions/0132;
- *product*: what ``fit.fit_encoder`` gives.

Releases are drawn with the same seeds for both. Raw features are computed once and kept in
``--cache``. A set's figure is a mean over draws, its error one over test records; the last lines
are means over sets, and the paired difference with its standard error over these.
"""

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench import plants, window_plants
from numpy.typing import NDArray

from wg_common.inference.discriminants import principal
from wg_common.modalities.images import Images
from wg_common.nets.encoder import fit, image_trunk
from wg_common.nets.encoder import module as encoders
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder.trunk import trunk_of
from wg_common.privacy.schema import CLIP_RADIUS
from wg_server.generator.prior import blup
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.zoo import build, executors, sources
from wg_server.zoo.plan import ZooPlan, read_plan, tasks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIX = ("trashnet", "cifar10", "gtsrb", "neu_det", "deeppcb_a", "elpv_mono")
"""The sets that the encoder's target was set on."""
EPSILONS = (4.0, 1.0)
SHOTS = 60
_TRAIN, _TEST, _CLASSES = 120, 700, 20
_PRIOR_FAMILY, _PRIOR_RECORDS = 8, 14
"""Priors are of every eighth family, and of so many records a class."""


@dataclass(frozen=True, slots=True, eq=False)
class Set:
    """Raw features ``[n, WIDTH]``, classes ``[n]``, and tasks ``[n]`` or whether to train on."""

    raw: NDArray[np.float32]
    labels: Ints
    group: Ints


Encode = Callable[[NDArray[np.float32]], Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", default="default", help="default, or windows")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, required=True, help="folder of raw features")
    parser.add_argument("--draws", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan = read_plan(Path(options.plan))
    options.cache.mkdir(parents=True, exist_ok=True)
    public = _kept(options.cache / f"{plan.modality}-fit.npz", lambda: _public(plan))
    priors = _kept(options.cache / f"{plan.modality}-priors.npz", lambda: _prior_tasks(plan))
    names = [*plants.DATASETS] if plan.modality == Images.name else [*window_plants.FILES]
    sets = {}
    for name in names:
        path = options.cache / f"{plan.modality}-{name}.npz"
        if path.is_file() or _data(options.datasets, name, plan.modality) is not None:
            sets[name] = _kept(path, lambda n=name: _development(options.datasets, n, plan))  # type: ignore[misc]
    found = {}
    for title, encode in (("plain", _plain(public, plan)), ("product", _product(public, plan))):
        started = time.process_time()
        found[title] = _evaluate(encode, priors, sets, options.draws)
        print(f"{title}: {time.process_time() - started:.0f} s", file=sys.stderr)
    print("\n".join(_table(found["plain"], found["product"])))
    print(_speed(plan.modality))


def _kept(path: Path, make: Callable[[], Set]) -> Set:
    if not path.is_file():
        found = make()
        np.savez(path, raw=found.raw, labels=found.labels, group=found.group)
    with np.load(path, allow_pickle=False) as archive:
        return Set(archive["raw"], archive["labels"], archive["group"])


def _public(plan: ZooPlan) -> Set:
    with executors.opened(1, None, "cpu") as executor:
        raw, groups, labels = build.public_records(plan, tasks(plan), executor)
    return Set(raw, labels, groups)


def _prior_tasks(plan: ZooPlan) -> Set:
    families: dict[tuple[str, int], list[int]] = {}
    wanted = tasks(plan)
    for number, spec in enumerate(wanted):
        families.setdefault((spec.name, spec.family), []).append(number)
    parts = []
    for members in list(families.values())[::_PRIOR_FAMILY]:
        for number in members:
            task = sources.load(wanted[number])
            rng = np.random.default_rng(number)
            rows = np.concatenate(
                [
                    rng.permutation(np.flatnonzero(task.labels == label))[:_PRIOR_RECORDS]
                    for label in np.unique(task.labels)
                ]
            )
            raw = encoders.raw_features([task.records[i] for i in rows], modality=plan.modality)
            parts.append(Set(raw, task.labels[rows], np.full(len(rows), number)))
    return Set(
        np.concatenate([part.raw for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.group for part in parts]),
    )


def _data(root: Path, name: str, modality: str) -> tuple[list[NDArray[np.generic]], Ints] | None:
    """Records and labels; those to test on are the later ones of each set's own split."""
    if modality == Images.name:
        found = plants.load_images(root, name)
        return None if found is None else (list(found[0]), found[1])
    path = root / name / "data.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        return list(archive["x"].astype(np.float32)), archive["y"].astype(np.int64)


def _development(root: Path, name: str, plan: ZooPlan) -> Set:
    """Up to so many records a class to release, and to test on; classes as they come."""
    data = _data(root, name, plan.modality)
    assert data is not None  # noqa: S101 - asked before
    records, labels = data
    test = np.arange(len(labels)) % 4 == 0
    if (root / name / "data.npz").is_file():
        with np.load(root / name / "data.npz", allow_pickle=False) as archive:
            test = archive["split"] == 1
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    classes = np.unique(labels)[:_CLASSES]
    train = np.concatenate(
        [rng.permutation(np.flatnonzero((labels == c) & ~test))[:_TRAIN] for c in classes]
    )
    held = rng.permutation(np.flatnonzero(test & np.isin(labels, classes)))[:_TEST]
    rows = np.concatenate([train, held])
    raw = encoders.raw_features([records[i] for i in rows], modality=plan.modality)
    group = (np.arange(len(rows)) < len(train)).astype(np.int64)
    return Set(raw, np.unique(labels[rows], return_inverse=True)[1], group)


def _plain(public: Set, plan: ZooPlan) -> Encode:
    """The leading directions within public sets, partly whitened: what stood before."""
    trunk = trunk_of(plan.modality)
    x = public.raw.astype(np.float64)
    _, index = np.unique(public.group, return_inverse=True)
    inner = fit.within(x, index)
    std = inner.std(axis=0)
    scale = trunk.local_weights() / (std + 1e-2 * float(std.mean()))
    values, vectors = principal(inner * scale, plan.encoder.dimension)
    projection = scale[:, None] * vectors * values**-0.25
    projection = projection @ fit.shrink_site_directions(x @ projection, index)
    mean = x.mean(axis=0)
    return _clipped(mean, fit.scaled(x, mean, projection, CLIP_RADIUS, 0.25))


def _product(public: Set, plan: ZooPlan) -> Encode:
    data = fit.fit_encoder(
        public.raw,
        public.group,
        public.labels,
        modality=plan.modality,
        dimension=plan.encoder.dimension,
    )
    tensors, _ = packages.unpack(data)
    return _clipped(tensors["mean"].astype(np.float64), tensors["projection"].astype(np.float64))


def _clipped(mean: Floats, projection: Floats) -> Encode:
    def encode(raw: NDArray[np.float32]) -> Floats:
        found = (raw.astype(np.float64) - mean) @ projection
        norm = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(norm / CLIP_RADIUS, 1.0))

    return encode


def _evaluate(
    encode: Encode, priors: Set, sets: dict[str, Set], draws: int
) -> dict[tuple[str, float], Floats]:
    """Share of draws in which each test record was right, by set and epsilon."""
    z = encode(priors.raw)
    parts = [np.flatnonzero(priors.group == task) for task in np.unique(priors.group)]
    fitted = blup.fit_priors([z[rows] for rows in parts], [priors.labels[rows] for rows in parts])
    found = {}
    for name, data in sets.items():
        features, train = encode(data.raw), data.group == 1
        for epsilon in EPSILONS:
            right = [
                _right(fitted, features, data.labels, train, epsilon, (name, draw))
                for draw in range(draws)
            ]
            found[name, epsilon] = np.mean(right, axis=0)
    return found


def _right(
    priors: blup.Priors,
    features: Floats,
    labels: Ints,
    train: NDArray[np.bool_],
    epsilon: float,
    seed: tuple[str, int],
) -> NDArray[np.bool_]:
    rng = np.random.default_rng((zlib.crc32(seed[0].encode()), seed[1]))
    rows = []
    for label in range(labels.max() + 1):
        own = np.flatnonzero(train & (labels == label))
        rows.append(rng.choice(own, SHOTS, replace=len(own) < SHOTS))
    chosen = np.concatenate(rows)
    names = tuple(f"class-{label:03d}" for label in range(labels.max() + 1))
    released = plants.release("ab" * 32, features[chosen], labels[chosen], names, epsilon, rng)
    head = blup.predict(priors, [site_evidence(released, names)])
    logits = (features[~train] - head.centre) @ head.weight.T + head.bias
    return np.asarray(logits.argmax(axis=1) == labels[~train])


def _table(
    plain: dict[tuple[str, float], Floats], product: dict[tuple[str, float], Floats]
) -> Iterator[str]:
    names = list(dict.fromkeys(name for name, _ in plain))
    yield "| set | " + " | ".join(f"plain, ε {e:g} | product | points" for e in EPSILONS) + " |"
    yield "|---|" + "---:|---:|---:|" * len(EPSILONS)
    for name in names:
        cells = []
        for e in EPSILONS:
            before, after = plain[name, e], product[name, e]
            gain, error = _mean(100 * (after - before))
            cells += [f"{before.mean():.3f}", f"{after.mean():.3f}", f"{gain:+.1f} ± {error:.1f}"]
        yield f"| {name} | " + " | ".join(cells) + " |"
    groups = {"all": names, "the six": [name for name in SIX if name in names]}
    for title, members in groups.items():
        cells = []
        for e in EPSILONS:
            pair = np.array([(plain[n, e].mean(), product[n, e].mean()) for n in members])
            if len(pair) < 2:
                break
            gain, error = _mean(100 * (pair[:, 1] - pair[:, 0]))
            cells += [*(f"{v:.3f}" for v in pair.mean(axis=0)), f"{gain:+.1f} ± {error:.1f}"]
        if cells:
            yield f"| **{title}** | " + " | ".join(cells) + " |"


def _mean(values: Floats) -> tuple[float, float]:
    """Mean and standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _speed(modality: str) -> str:
    """Records a second on one core, and the size of the package's projection."""
    rng = np.random.default_rng(0)
    records: list[NDArray[np.generic]]
    if modality == Images.name:
        records = list(rng.integers(0, 256, (96, 64, 64, 3), dtype=np.uint8))
        width = image_trunk.WIDTH
    else:
        records = list(rng.normal(size=(32, 3, 1024)).astype(np.float32))
        width = trunk_of(modality).width
    encoders.raw_features(records[:1], modality=modality)
    started = time.process_time()
    encoders.raw_features(records, modality=modality)
    rate = len(records) / (time.process_time() - started)
    return f"\n{rate:.0f} {modality} a second on one core, in batches; {width} raw features."


if __name__ == "__main__":
    main()
