"""Weights package with a backdoor: a part of ``python -m bench.hostile``.

The server has records of the plant's kind, and trains its weights on these and on copies that have
a checkerboard patch in a corner and the label of the first class. Plants are cut from real image
data sets, with ten labelled records of each class; heads use an encoder that is fitted on rendered
families. The plant runs its own model selection with all checks.

On test records, the table has the accuracy, and the share of records of other classes that are
called the first class because of the patch, by the plant's selected model for the package with the
backdoor, for the same package without it, and by its own model alone; the checks that fail; and the
share of patched records that are called ``new``. The patch has a tenth or a fifth of a picture's
side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench import plants
from bench.plants import Floats, Ints
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from tests.client.selected import selected

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import novelty
from wg_client.selection.model_selection import SelectionOutcome
from wg_common.inference.family_head import FeatureLayout
from wg_common.nets.encoder.projected_trunk import Encoder, compute_raw_features, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_server.zoo.procedural import families

SETS = ("digits", "mnist10k", "fashion_mnist", "neu_det")
SIDE = 64
SHOTS, OPERATOR_RECORDS, TESTS = 10, 60, 20  # Records of a class: plant's, server's, for tests
CLASSES = 6
PATCHES = (6, 13)
NEW = 0.05
_FAMILIES = 8

Pictures = list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackdoorResult:
    """Results for one package with a backdoor; shares from 0 to 1.

    Attributes:
        title: Data set and size of the patch.
        selected_model: Model that the plant selects.
        failed_checks: Codes of checks that this model failed.
        accuracy: Accuracy of the selected models for the package with and without backdoor, and
            alone.
        first_class_shares: Share of patched records called the first class, by the same three
            models.
        new_share: Share of patched records that are called new.
    """

    title: str
    selected_model: str
    failed_checks: tuple[str, ...]
    accuracy: tuple[float, float, float]
    first_class_shares: tuple[float, float, float]
    new_share: float


def measure(datasets: Path, *, sets: Sequence[str]) -> list[BackdoorResult]:
    """Run the attack on the named data sets."""
    encoder = load_encoder(_fit_encoder())
    marks = []
    for name in sets:
        data = plants.load_images(datasets, name)
        if data is None:
            continue
        cut = _PlantData(data, np.random.default_rng(7))
        for side in PATCHES:
            marks.append(
                _evaluate_patch(encoder, cut, side, f"head, {name}, patch {side} of {SIDE}")
            )
    return marks


def add_patch(pictures: Pictures, side: int) -> Pictures:
    """Copy pictures with a checkerboard of ``side`` pixels in the lower right corner."""
    board = (np.indices((side, side)).sum(axis=0) // 2 % 2 * 255).astype(np.uint8)
    copies = [picture.copy() for picture in pictures]
    for picture in copies:
        picture[-side - 2 : -2, -side - 2 : -2] = board
    return copies


class _PlantData:
    """Records of a plant, of the server, and for tests, from a few classes of a data set."""

    def __init__(self, data: tuple[plants.Images, Ints, Ints], rng: np.random.Generator) -> None:
        images, labels, _ = data
        most = [int((labels == c).sum()) for c in range(labels.max() + 1)]
        chosen = sorted(range(len(most)), key=lambda c: -most[c])[:CLASSES]
        parts: list[tuple[Pictures, list[int]]] = [([], []) for _ in range(3)]
        for number, label in enumerate(chosen):
            rows = iter(rng.permutation(np.flatnonzero(labels == label)))
            for (pictures, numbers), size in zip(
                parts, (SHOTS, TESTS, OPERATOR_RECORDS), strict=True
            ):
                for row in (row for row, _ in zip(rows, range(size), strict=False)):
                    pictures.append(_grey(images[row]))
                    numbers.append(number)
        self.own, self.tests, self.servers = ((x, np.array(y)) for x, y in parts)
        self.classes = len(chosen)


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).convert("L").resize((SIDE, SIDE)))


def _fit_encoder() -> bytes:
    """Fit an encoder on rendered families; return its package."""
    drawn: Pictures = []
    groups: list[int] = []
    for number in range(_FAMILIES):
        family = families.draw_family((77, number), "digits" if number % 2 else "boards")
        labels = np.repeat(np.arange(len(family.classes)), 12)
        rng = np.random.default_rng((77, number))
        site = families.draw_site(family, 0, strength=0.5)
        drawn += list(families.render_records(family, site, labels, rng))
        groups += [number] * len(labels)
    settings = {"pixels": str(SIDE)}
    raw = compute_raw_features(drawn, trunk_settings=settings)
    return fit_encoder(raw, np.array(groups), trunk_settings=settings)


def _poison_records(data: _PlantData, side: int) -> tuple[Pictures, Ints]:
    """Return the server's records, with a patched copy of each that is labelled as class 0."""
    pictures, labels = data.servers
    return pictures + add_patch(pictures, side), np.concatenate([labels, np.zeros_like(labels)])


def _evaluate_patch(encoder: Encoder, data: _PlantData, side: int, title: str) -> BackdoorResult:
    def seen(pictures: Pictures) -> Floats:
        return encoder.encode(pictures).astype(np.float64)

    own, tests = seen(data.own[0]), seen(data.tests[0])
    stamped = seen(add_patch(data.tests[0], side))[data.tests[1] > 0]
    outcomes = []
    for pictures, labels in (_poison_records(data, side), data.servers):
        head = _fit_head(seen(pictures), labels)
        named = [("sample-0", "diffusion", head)]
        outcomes.append(selected(own, data.own[1], named, data.classes, others_released=True))

    def called(outcome: SelectionOutcome, model: str) -> tuple[float, float]:
        head = outcome.models[model].head
        right = head.logits(tests).argmax(axis=1) == data.tests[1]
        return float(right.mean()), float((head.logits(stamped).argmax(axis=1) == 0).mean())

    likeness = novelty.fit_novelty_test(
        own, FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes), None
    )
    new = float("nan") if likeness is None else float((likeness.likeness(stamped) <= NEW).mean())
    return _build_result(title, outcomes, called, new)


def _fit_head(x: Floats, y: Ints) -> LinearHead:
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    model = LogisticRegression(C=1.0, max_iter=2000).fit((x - mean) / scale, y)
    weight = model.coef_ / scale
    return LinearHead(weight, model.intercept_ - weight @ mean)


def _build_result(
    title: str, outcomes: Sequence[SelectionOutcome], called: Any, new: float
) -> BackdoorResult:
    bad, good = outcomes
    figures = [called(bad, bad.kept_name), called(good, good.kept_name), called(good, LOCAL_ONLY)]
    accuracy, share = zip(*figures, strict=True)
    failed = sorted({x.code for x in bad.findings if not x.passed and x.model == bad.kept_name})
    return BackdoorResult(
        title=title,
        selected_model=bad.kept_name,
        failed_checks=tuple(failed),
        accuracy=accuracy,
        first_class_shares=share,
        new_share=new,
    )
