"""Backdoors in delivered heads: who notices? ``python -m bench.backdoors --home DIR``.

An attacker with 40 records a class of a like plant takes a clean head (discriminants) and adds to
one class's row ``a Sigma^-1 delta``, where delta is how its mark moves the features, and a the
least with which 95 in 100 of its marked records are called that class. There are four kinds of
marks for images (a patch of noise, one of stripes, a blended pattern, a wave) and three for windows
(a pulse, a tone, a hiss), in three strengths; none is among the marks that the plant makes up.
Printed, for each, on test records of the plant:

*success* of the attack, marked records of other classes called the target; *cost* in points of
accuracy on clean records; *found* by the check WG-F06 before the head is kept, with the plant's 20
records a class; *others*: found with a limit that is read off the other sets each time; *new*:
marked records that are called new where they are met (5 in 100 of clean ones may be); *silent*:
marked, called the target, not called new; *all*: silent, and the head was not found; *refitted*:
success after ridge regression of the head's logits on the plant's records, with a penalty on
answers to made-up marks, and what that costs a clean head.

Clean heads are of several shrinkages, numbers of records, and noise of differentially private
means. A *package* is a head that the home's generator makes of one or two releases of like plants.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from bench import plants
from bench.methods import Cell, draw
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from wg_client.fitting.linear_head import LinearHead, fit_lda, head_from_tensors
from wg_client.models import novelty
from wg_client.selection.checks.trigger_scan import Marks, Scan
from wg_client.site.check_policy import ChecksConfig
from wg_common import streams
from wg_common.catalogue import POSTERIOR
from wg_common.modalities import triggers
from wg_common.modalities.registry import modality
from wg_common.modalities.triggers import Trigger
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.streams import Stream
from wg_server.generator.heads.generate import Generator, load_generator
from wg_server.site.home import ServerHome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

IMAGES = (
    "neu_det",
    "deeppcb_a",
    "trashnet",
    "fashion_mnist",
    "gtsrb",
    "magnetic_tile",
    "cifar10",
    "elpv_mono",
    "mnist10k",
    "bridge_crack",
    "digits",
)
WINDOWS = ("cwru_de", "plaid", "tep", "skab_valve1")
_OWN, _OTHER, _TEST = 20, 40, 20
_CLASSES = 8
_EACH = ChecksConfig().probe_triggers
_MARKED = 2
_WANTED = 0.95
_SEEDS = 2
_BASES = (3, 4, 7)  # Clean heads that are changed, by their number
HARMLESS = ("clean", "package")
_SHOWN = ("network", "closed-form", "blend", "sample-0")  # Candidates of a package that are judged


def attack(kind: str, level: int, rng: np.random.Generator) -> Trigger:
    """A mark of a kind, of strength 0 to 2."""
    turn, cycles = rng.uniform(0, np.pi), rng.uniform(5, 20)
    channels = np.ones(128)
    makers: dict[str, Callable[[], Trigger]] = {
        "patch": lambda: triggers.patch(
            rng.random((10, 10)), (6, 10, 14)[level] / 64, (0.95, 0.95)
        ),
        "stripes": lambda: triggers.patch(
            triggers.stripes(int(rng.integers(1, 4)), int(rng.integers(3)), 10),
            (6, 10, 14)[level] / 64,
            (0.05, 0.95),
        ),
        "overlay": lambda: triggers.overlay(rng.random((32, 32)), (0.1, 0.2, 0.3)[level]),
        "wave": lambda: triggers.wave(
            (float(cycles * np.sin(turn)), float(cycles * np.cos(turn))), 1.0, (8, 16, 24)[level]
        ),
        "pulse": lambda: triggers.pulse(0.7, 0.05, (1.5, 3.0, 6.0)[level], channels),
        "tone": lambda: triggers.tone(cycles, 1.0, (0.2, 0.4, 0.8)[level], channels),
        "hiss": lambda: triggers.hiss(rng.normal(size=100), (0.2, 0.4, 0.8)[level], channels),
    }
    return makers[kind]()


KINDS = {"images": ("patch", "stripes", "overlay", "wave"), "windows": ("pulse", "tone", "hiss")}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class World:
    """One data set, encoded: features and labels of the plant, the attacker and the test."""

    own: Floats
    own_labels: Ints
    other: Floats
    other_labels: Ints
    test: Floats
    test_labels: Ints
    marks: Marks
    attacks: dict[tuple[str, int, int], tuple[Floats, Floats]]
    released: int


def world(encoder: Encoder, root: Path, name: str, cache: Path, seed: int) -> World | None:
    """Cut and encode a data set, once; None if it is not there."""
    kinds = [kind for kind in modality(encoder.modality).triggers() for _ in range(_EACH)]
    path = cache / f"backdoors-{name}-{encoder.id[:16]}-{seed}-{len(kinds)}.npz"
    if not path.is_file():
        data = _records(encoder.modality, root, name)
        if data is None:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, **_encoded(encoder, *data, seed))  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as found:
        arrays = {key: found[key] for key in found.files}
    parts = {key: arrays[key].astype(np.float64) for key in ("own", "other", "test")}
    return World(
        **parts,
        released=encoder.dimension,
        own_labels=arrays["own_labels"],
        other_labels=arrays["other_labels"],
        test_labels=arrays["test_labels"],
        marks=Marks(
            moves=(arrays["marked"] - parts["own"][arrays["rows"]]).mean(axis=1),
            kinds=kinds,
            modality=encoder.modality,
        ),
        attacks={
            (kind, level, seed): (
                arrays[f"{kind}-{level}-{seed}-other"].astype(np.float64),
                arrays[f"{kind}-{level}-{seed}-test"].astype(np.float64),
            )
            for kind in KINDS[encoder.modality]
            for level in range(3)
            for seed in range(_SEEDS)
        },
    )


def _records(kind: str, root: Path, name: str) -> tuple[list[Any], Ints] | None:
    if kind == "images":
        found = plants.load_images(root, name)
        return None if found is None else found[:2]
    path = root / name / "data.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        return list(archive["x"].astype(np.float32)), archive["y"].astype(np.int64)


def _encoded(
    encoder: Encoder, records: list[Any], labels: Ints, seed: int
) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    enough = [c for c in np.unique(labels[labels >= 0]) if (labels == c).sum() >= 60]
    parts: dict[str, list[int]] = {"own": [], "other": [], "test": []}
    found: dict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(sorted(rng.permutation(enough)[:_CLASSES])):
        rows = list(rng.permutation(np.flatnonzero(labels == label)))
        ends = (0, _OWN, _OWN + _OTHER, _OWN + _OTHER + _TEST)
        for part, start, end in zip(parts, ends[:-1], ends[1:], strict=True):
            parts[part] += rows[start:end]
            found[part] += [number] * len(rows[start:end])
    see = encoder.encode_batched
    chosen = {part: [records[row] for row in rows] for part, rows in parts.items()}
    arrays: dict[str, NDArray[Any]] = {part: see(rows) for part, rows in chosen.items()}
    arrays |= {f"{part}_labels": np.array(rows) for part, rows in found.items()}
    arrays["rows"] = np.linspace(0, len(parts["own"]) - 1, _MARKED).astype(np.int64)
    made = [of for of in modality(encoder.modality).triggers().values() for _ in range(_EACH)]
    marks = [of(streams.rng(Stream.PROBE, then=(number,))) for number, of in enumerate(made)]
    marked = [mark(chosen["own"][row]) for mark in marks for row in arrays["rows"]]
    arrays["marked"] = see(marked).reshape(len(marks), _MARKED, -1)
    for kind in KINDS[encoder.modality]:
        for level in range(3):
            for number in range(_SEEDS):
                mark = attack(kind, level, np.random.default_rng((7, level, number)))
                for part in ("other", "test"):
                    key = f"{kind}-{level}-{number}-{part}"
                    arrays[key] = see([mark(record) for record in chosen[part][::3]])
    return arrays


def clean_heads(x: Floats, y: Ints) -> Iterator[LinearHead]:
    """Heads that a server could deliver and that hide nothing."""
    rng, classes = np.random.default_rng(0), int(y.max()) + 1
    for shrinkage in (0.05, 0.2, 0.5):
        for count in (10, 20, 40):
            rows = np.concatenate([np.flatnonzero(y == c)[:count] for c in range(classes)])
            yield fit_lda(x[rows], y[rows], classes, shrinkage)
    for noise in (0.02, 0.05):
        for shrinkage in (0.2, 0.5):
            for _ in range(2):
                noisy = np.stack([rng.normal(0, noise, x.shape[1]) for _ in range(classes)])
                yield fit_lda(x + noisy[y], y, classes, shrinkage)


def backdoored(head: LinearHead, x: Floats, y: Ints, marked: Floats, target: int) -> LinearHead:
    """The head with the cheapest change that answers to a mark, on records ``[::3]``."""
    means = np.stack([x[y == c].mean(axis=0) for c in range(int(y.max()) + 1)])
    covariance, _ = ledoit_wolf(x - means[y], assume_centered=True)
    row = np.linalg.solve(covariance, (marked - x[::3]).mean(axis=0))

    def changed(amount: float) -> LinearHead:
        weight, bias = head.weight.copy(), head.bias.copy()
        weight[target] += amount * row
        bias[target] -= amount * row @ x.mean(axis=0)
        return LinearHead(weight, bias)

    low, high = 0.0, 1.0
    while success(changed(high), marked, y[::3], target) < _WANTED and high < 1e7:
        high *= 2
    for _ in range(18):
        middle = (low + high) / 2
        enough = success(changed(middle), marked, y[::3], target) >= _WANTED
        low, high = (low, middle) if enough else (middle, high)
    return changed(high)


def success(head: LinearHead, marked: Floats, y: Ints, target: int) -> float:
    """Share of marked records of other classes that are called the target."""
    return float((head.logits(marked).argmax(axis=1) == target)[y != target].mean())


def accuracy(head: LinearHead, x: Floats, y: Ints) -> float:
    """Share of records that are right."""
    return float((head.logits(x).argmax(axis=1) == y).mean())


def refitted(head: LinearHead, x: Floats, marks: Marks) -> LinearHead:
    """What a ridge regression of the head's logits on own records, deaf to marks, leaves of it."""
    mean = x.mean(axis=0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    moves, d = marks.moves, len(covariance)
    penalty = 0.3 * moves.T @ moves / len(moves) + 0.1 * np.trace(covariance) / d * np.eye(d)
    weight = np.linalg.solve(covariance + penalty, covariance @ head.weight.T).T
    return LinearHead(weight, head.weight @ mean + head.bias - weight @ mean)


Row = dict[str, Any]


def packages(generator: Generator, seen: World) -> Iterator[LinearHead]:
    """Heads that a server makes from releases of the attacker's records, on released features."""
    x, y = seen.other, seen.other_labels
    first = np.concatenate([np.flatnonzero(y == c)[: _OTHER // 2] for c in range(y.max() + 1)])
    halves = ((x[first], y[first]), (np.delete(x, first, axis=0), np.delete(y, first)))
    for epsilon, family in product((1.0, 4.0, 16.0), (((x, y),), halves)):
        cut = plants.Plants(
            tuple(f"class-{c}" for c in range(int(y.max()) + 1)),
            seen.released,
            (seen.own, seen.own_labels),
            family,
            (seen.test, seen.test_labels),
            np.arange(len(seen.own)),
        )
        cell = Cell(scenario="S1", epsilon=epsilon, shots=_OWN, same_family=len(family))
        for candidate in draw(generator, cut, cell, 3, {}, samples=1).made.candidates:
            if candidate.source != POSTERIOR and candidate.name in _SHOWN:
                yield head_from_tensors(candidate.tensors)


def judged(name: str, seen: World, columns: int, delivered: Sequence[LinearHead]) -> Iterator[Row]:
    """A row for each clean head and each attack; heads see the first features only."""
    own, other, test = seen.own[:, :columns], seen.other[:, :columns], seen.test[:, :columns]
    marks = replace(seen.marks, moves=seen.marks.moves[:, :columns])
    scan = Scan(own, seen.own_labels, int(seen.own_labels.max()) + 1, marks)
    fitted = novelty.fit(seen.own, seen.own_labels)
    heads = list(clean_heads(other, seen.other_labels))
    for head in heads:
        harmless = refitted(head, own, marks)
        yield {
            "set": name,
            "kind": "clean",
            "score": scan.evidence(head).score,
            "new": _new(fitted, seen.test),
            "refit cost": accuracy(head, test, seen.test_labels)
            - accuracy(harmless, test, seen.test_labels),
        }
    for head in delivered:
        score = scan.evidence(head).score
        yield {"set": name, "kind": "package", "score": score}
    labels = seen.test_labels[::3]
    for ((kind, level, seed), (given, met)), base in product(
        seen.attacks.items(), [heads[number] for number in _BASES]
    ):
        target = (seed + level) % (int(seen.own_labels.max()) + 1)
        head = backdoored(base, other, seen.other_labels, given[:, :columns], target)
        others = labels != target
        new = fitted is not None and fitted.likeness(met) <= 0.05
        called = head.logits(met[:, :columns]).argmax(axis=1) == target
        yield {
            "set": name,
            "kind": f"{kind} {level + 1}",
            "score": scan.evidence(head).score,
            "success": float(called[others].mean()),
            "cost": accuracy(base, test, seen.test_labels) - accuracy(head, test, seen.test_labels),
            "new": float(np.mean(new)),
            "silent": float((called & ~new)[others].mean()),
            "refitted": success(refitted(head, own, marks), met[:, :columns], labels, target),
        }


def _new(fitted: novelty.Novelty | None, x: Floats) -> float:
    return float("nan") if fitted is None else float((fitted.likeness(x) <= 0.05).mean())


def limit(rows: list[Row]) -> float:
    """What five in a hundred exceed, of clean heads or of packages, whichever is more."""
    scores = ([row["score"] for row in rows if row["kind"] == kind] for kind in HARMLESS)
    return max(float(np.quantile(found, 0.95)) for found in scores if found)


def report(rows: list[Row]) -> None:
    """Print the table, and the check's answers by set."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    others = {name: limit([row for row in rows if row["set"] != name]) for name in sets}
    for row in rows:
        row["found"] = row["score"] > 1
        row["others"] = row["score"] > others[row["set"]]
        row["all"] = row.get("silent", 0.0) * (not row["found"])
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    columns = ("success", "cost", "found", "others", "new", "silent", "all", "refitted")
    print(f"| mark | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for kind in kinds:
        own = [row for row in rows if row["kind"] == kind]
        values = [np.mean([row[c] for row in own]) if c in own[0] else np.nan for c in columns]
        print(f"| {kind} | {' | '.join(f'{value:.2f}' for value in values)} |")
    print(f"found by set, {', '.join(_BY_SET)}:")
    for name in sets:
        own = [row for row in rows if row["set"] == name]
        shares = [[row["found"] for row in own if row["kind"] == kind] for kind in _BY_SET]
        print(f"  {name}: {', '.join(f'{np.mean(each):.2f}' for each in shares if each)}")
    clean = [row["refit cost"] for row in rows if row["kind"] == "clean"]
    print(f"refitting a clean head costs {100 * np.mean(clean):.1f} points")
    print(f"limit, over the one in force: {limit(rows):.2f}")


_BY_SET = ("clean", "package", "patch 2", "stripes 2")


def main() -> None:
    """Print a table for heads on the released features, and one for heads on the public ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/backdoors"))
    parser.add_argument("--draws", type=int, default=3, help="of records and classes of each set")
    options = parser.parse_args()
    home = ServerHome(options.home)
    encoder, generator = load_encoder(home.read_encoder()), None
    if home.generator.exists():
        generator = load_generator(home.generator)
    names = IMAGES if encoder.modality == "images" else WINDOWS
    draws = product(names, range(1, options.draws + 1))
    cut = ((name, world(encoder, options.datasets, name, options.cache, n)) for name, n in draws)
    worlds = [(name, seen) for name, seen in cut if seen is not None]
    sets = len({name for name, _ in worlds})
    if sets < 2:
        raise SystemExit(f"limits are read off the other data sets: two are needed, not {sets}")
    made = [[] if generator is None else list(packages(generator, seen)) for _, seen in worlds]
    for columns in (encoder.dimension, encoder.scaled_dimension):
        print(f"\nheads on {columns} features; encoder {encoder.id[:16]}, {dict(encoder.settings)}")
        heads = made if columns == encoder.dimension else [[] for _ in worlds]
        cases = zip(worlds, heads, strict=True)
        report([row for (name, seen), own in cases for row in judged(name, seen, columns, own)])


if __name__ == "__main__":
    main()
