"""Baselines of the family's head in scenario S6k (``bench.camera``), each as a row of heads.

A row is a name and a head for each plant. What follows ``@`` in a name is a setting. Baselines that
know no camera come first. Then, by what they ask a condition for: weights that are linear in it;
the principal components of heads that are fitted at each of the zoo's sites; the sites nearest to
it, whose heads are averaged or whose records a head is trained on; the camera itself, under which
the operator's records are seen anew and a head is trained on demand; and latents
(``bench.camera_latents``).
"""

from collections.abc import Iterator, Sequence
from itertools import chain, product

import numpy as np
from bench import camera_latents
from bench.camera_latents import SAMPLES, Latents
from bench.camera_sets import CameraSet, camera_of, photographed
from bench.camera_space import (
    EXACT,
    Condition,
    Floats,
    Head,
    Ints,
    Seen,
    Space,
    around,
    conditions,
    head_of,
    linear_in,
    ridge,
)
from sklearn.ensemble import ExtraTreesRegressor

from wg_common.nets.encoder.module import Encoder

Row = tuple[str, list[Head]]
ORACLE, BAR = "the very camera (ceiling)", "family head, tuned by a ridge"
MEAN, LINEAR, PRINCIPAL = "mean of heads", "linear in the condition", "PCA of heads, ridge"
AVERAGED, ANEW = "nearest cameras, heads averaged", "nearest cameras, trained anew"
DEMAND, LATENT, FLOW = "on demand", "latents", "flow over latents"
TUNED, IN_LATENTS = ", all weights tuned", ", latents tuned"
WRONG, SHOWN = ", another plant's", "ε=4"
_TUNING = (0.003, 0.01, 0.03, 0.1, 0.3)
_SITE = (0.1, 0.3)
"""Penalties of a head that is fitted at one site, or anew."""
_PRECISIONS = (0.003, 0.03, 0.3, 3.0)
_COMPONENTS, _EFFECTS, _DRAWS = 32, 24, 8
_NEAR = 20
_DEMANDED = "ε=4", "ε=1"  # Rendering anew takes long


class Plants:
    """What the plants of one set and the operator see. Made once, used by all baselines."""

    def __init__(self, cut: CameraSet, space: Space) -> None:
        self.cut, self.space, self.k = cut, space, space.classes
        self.zoo = space.zoo(cut)
        self.own = [space.seen(x, cut.own_y, x) for x in cut.own]
        self.tests = [
            space.seen(x, cut.test_y, own) for x, own in zip(cut.test, cut.own, strict=True)
        ]
        self.very = [space.seen(x, cut.very_y) for x in cut.very if len(x)]
        sites = [self.zoo.only(site) for site in range(len(cut.zoo))]  # type: ignore[arg-type]
        self.heads = {p: np.stack([around(s, p).flat() for s in sites]) for p in _SITE}


def baselines(encoder: Encoder, seen: Plants) -> Iterator[Row]:
    """All of them."""
    yield from _without(seen)
    for condition in conditions(seen.cut, encoder):
        name, _, setting = condition.name.partition(" @")
        asked = [_linear(seen, condition), _principal(seen, condition), _averaged(seen, condition)]
        if setting or name == EXACT:
            asked += [_anew(seen, condition), _latents(seen, condition)]
        if setting and name in _DEMANDED:
            asked.append(_demand(seen, condition, encoder))
        for row, heads in chain.from_iterable(asked):
            stem, _, more = row.partition(" @")
            baseline, comma, shots = stem.partition(", n=")
            settings = ",".join(filter(None, (more, setting)))
            end = f" @{settings}" if settings else ""
            yield f"{baseline}, {name}{comma}{shots}{end}", heads
            if name == SHOWN and not shots:
                yield f"{baseline}, {name}{WRONG}{end}", another(heads)


def another(heads: Sequence[Head]) -> list[Head]:
    """Each plant under a camera gets the head of another one; the last one that of the first."""
    return [heads[n] for n in (*np.roll(np.arange(len(heads) - 1), 3), 0)]


def _without(seen: Plants) -> Iterator[Row]:
    """Baselines without a condition, and the ceiling."""
    none = head_of(np.zeros(seen.heads[_SITE[0]].shape[1]), seen.k)
    count = len(seen.own)
    yield from _tuned(seen, BAR, [none] * count, (5, 20))
    for penalty, heads in seen.heads.items():
        yield f"{MEAN} @{penalty}", [head_of(heads.mean(axis=0), seen.k)] * count
    for penalty in (0.03, *_SITE):
        very = [around(records, penalty) for records in seen.very]
        yield f"{ORACLE} @{penalty}", very
        if penalty == _SITE[0]:
            yield from _tuned(seen, ORACLE, very, (5,))


def _tuned(seen: Plants, row: str, heads: Sequence[Head], shots: Sequence[int]) -> Iterator[Row]:
    """Heads that a plant's labels train on, all weights of them."""
    for count in shots:
        few = [own.few(count) for own in seen.own]
        for penalty in _TUNING:
            found = [around(own, penalty, head) for own, head in zip(few, heads, strict=True)]
            yield f"{row}, n={count} @{penalty}", found


def _linear(seen: Plants, condition: Condition) -> Iterator[Row]:
    given = condition.draw(np.random.default_rng(6))
    for penalty in (0.1, 0.3, 1.0):
        heads = linear_in(seen.zoo, given, penalty, condition.plants)
        yield f"{LINEAR} @{penalty}", heads


def _principal(seen: Plants, condition: Condition) -> Iterator[Row]:
    given = condition.draw(np.random.default_rng(6), _DRAWS)
    for penalty in _SITE:
        heads = seen.heads[penalty]
        mean = heads.mean(axis=0)
        _, _, turn = np.linalg.svd(heads - mean, full_matrices=False)
        turn = turn[:_COMPONENTS]
        scores = np.tile((heads - mean) @ turn.T, (_DRAWS, 1))
        for weighs in (0.03, 0.3):
            slope, constant = ridge(given, scores, weighs)
            found = (condition.plants @ slope + constant) @ turn + mean
            yield f"{PRINCIPAL} @{penalty},{weighs}", [head_of(row, seen.k) for row in found]


def _nearest(seen: Plants, condition: Condition) -> dict[str, list[Ints]]:
    """Sites of the zoo by distance for each plant: of conditions, and of effects on class means."""
    given = condition.draw(np.random.default_rng(6), _DRAWS)
    hot = np.eye(seen.k)[seen.zoo.y]
    means = np.einsum("cnk,cnq->ckq", hot / hot.sum(axis=1, keepdims=True), seen.zoo.z)
    means = (means - means.mean(axis=0)).reshape(len(means), -1)
    _, _, turn = np.linalg.svd(means, full_matrices=False)
    effects = means @ turn[:_EFFECTS].T
    slope, constant = ridge(given, np.tile(effects, (_DRAWS, 1)), 0.1)
    spaces = {
        "conditions": (condition.draw(np.random.default_rng(7)), condition.plants),
        "effects": (effects, condition.plants @ slope + constant),
    }
    return {
        name: [np.argsort(((zoo - row) ** 2).sum(axis=1)) for row in asked]
        for name, (zoo, asked) in spaces.items()
    }


def _averaged(seen: Plants, condition: Condition) -> Iterator[Row]:
    for name, order in _nearest(seen, condition).items():
        for penalty, count in product(_SITE, (10, 30)):
            found = [seen.heads[penalty][near[:count]].mean(axis=0) for near in order]
            yield f"{AVERAGED} @{penalty},{count},{name}", [head_of(row, seen.k) for row in found]


def _anew(seen: Plants, condition: Condition) -> Iterator[Row]:
    for name, order in _nearest(seen, condition).items():
        shown = [seen.zoo.only(near[:_NEAR]).together() for near in order]
        yield f"{ANEW} @{name}", [around(records, 0.03) for records in shown]


def _demand(seen: Plants, condition: Condition, encoder: Encoder) -> Iterator[Row]:
    """Trees estimate a camera; the operator's records are seen under it, and a head is trained."""
    given = condition.draw(np.random.default_rng(6), _DRAWS)
    known = seen.cut.cameras
    mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    trees = ExtraTreesRegressor(200, min_samples_leaf=_DRAWS, max_features=0.5, random_state=0)
    trees.fit(given, np.tile((known - mean) / spread, (_DRAWS, 1)))
    estimates = trees.predict(condition.plants) * spread + mean
    shown = [_rendered(seen, encoder, estimate) for estimate in estimates]
    for penalty in (*_SITE, 1.0):
        heads = [around(records, penalty) for records in shown]
        yield f"{DEMAND} @{penalty}", heads
        if penalty == _SITE[-1]:
            yield from _tuned(seen, DEMAND + TUNED, heads, (5,))


def _rendered(seen: Plants, encoder: Encoder, numbers: Floats) -> Seen:
    """The operator's records under a camera that is told in numbers ``[j]``."""
    camera, rng = camera_of(numbers), np.random.default_rng(11)
    records = photographed(rng, list(seen.cut.few), camera)
    return seen.space.seen(encoder.encode_batched(records), seen.cut.very_y)


def _latents(seen: Plants, condition: Condition) -> Iterator[Row]:
    for penalty in (0.03, 0.1):
        found = camera_latents.learn(seen.zoo, condition, penalty, seed=1)
        heads = [found.head(row, seen.k) for row in found.asked]
        yield f"{LATENT} @{penalty}", heads
        if penalty == 0.1:
            yield from _by_labels(seen, found, heads)
            yield from _flow(seen, condition, found)


def _by_labels(seen: Plants, found: Latents, heads: Sequence[Head]) -> Iterator[Row]:
    """Latents that a plant's labels move, beside all weights."""
    yield from _tuned(seen, LATENT + TUNED, heads, (5, 20))
    for shots in (5, 20):
        few = [own.few(shots) for own in seen.own]
        for precision in _PRECISIONS:
            moved = [
                found.head(camera_latents.tuned(found, own, row, precision), seen.k)
                for own, row in zip(few, found.asked, strict=True)
            ]
            yield f"{LATENT}{IN_LATENTS}, n={shots} @{precision}", moved
            if precision == _PRECISIONS[1]:
                yield from _tuned(seen, f"{LATENT}{IN_LATENTS}, then all", moved, (shots,))


def _flow(seen: Plants, condition: Condition, found: Latents) -> Iterator[Row]:
    """The mean of samples, and the one that a plant's labels like best."""
    samples = camera_latents.flow(found, condition, seed=2)
    yield f"{FLOW}, mean of {SAMPLES}", [found.head(row, seen.k) for row in samples.mean(axis=0)]
    for shots in (5,):
        chosen = []
        for plant, own in enumerate(seen.own):
            heads = [found.head(row, seen.k) for row in samples[:, plant]]
            chosen.append(min(heads, key=own.few(shots).loss))
        yield f"{FLOW}, chosen of {SAMPLES}, n={shots}", chosen
        yield from _tuned(seen, f"{FLOW}, chosen of {SAMPLES}{TUNED}", chosen, (shots,))
