"""What the weights owe to their condition: shuffled, emptied, drowned in noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.folds import stratified
from wg_client.fitting.linear_head import LinearHead
from wg_common.inference.posterior import no_evidence
from wg_core.privacy.statistics import NoisyStatistics
from wg_server.generator.evaluation import head_card
from wg_server.generator.prior import blup
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_generation import Generator, SiteRelease, generate

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LABELS = ("c0", "c1", "c2", "c3")
CONDITIONED = ("network",)


def _heads(
    generator: Generator, own: NoisyStatistics | None, others: list[SiteRelease]
) -> dict[str, LinearHead]:
    made = generate(generator, own, others, LABELS)
    return {
        c.name: LinearHead(
            c.tensors["head.weight"].astype(np.float64), c.tensors["head.bias"].astype(np.float64)
        )
        for c in made.candidates
        if c.source != "posterior"
    }


def _quiet(generator: Generator) -> Generator:
    """The generator with a small residual: the fixture's last layer is random."""
    codec = generator.parts.codec
    small = replace(codec, decode_matrix=0.1 * codec.decode_matrix)
    return replace(generator, parts=replace(generator.parts, codec=small))


def _right(world: World, family: int, head: LinearHead) -> float:
    x, y = world.records(family, 0, 4, 60, 2)
    return float((head.logits(x).argmax(axis=1) == y).mean())


def _others(world: World, family: int) -> list[SiteRelease]:
    return [
        SiteRelease(f"site-{s}", world.release(family, s, epsilon=4.0, shots=80)) for s in (1, 2, 3)
    ]


@pytest.mark.parametrize("name", ["network"])
def test_the_condition_of_another_plant_or_of_permuted_classes_loses(
    generator: Generator, world: World, name: str
) -> None:
    own, other, turned = [], [], []
    for family in range(20, 28):
        release = world.release(family, 0, epsilon=4.0, shots=40)
        made = _heads(_quiet(generator), release, _others(world, family))
        own.append(_right(world, family, made[name]))
        other.append(_right(world, family + 1 if family < 27 else 20, made[name]))
        order = np.roll(np.arange(4), 1)
        turned.append(
            _right(world, family, LinearHead(made[name].weight[order], made[name].bias[order]))
        )
    assert np.mean(own) > np.mean(other) + 0.2
    assert np.mean(own) > np.mean(turned) + 0.2


def test_without_memory_only_the_own_release_counts(generator: Generator, world: World) -> None:
    own = world.release(20, 0, epsilon=4.0, shots=40)
    alone = _heads(generator, own, [])
    silent = SiteRelease(
        "silent", replace(own, schema=replace(own.schema, labels=("w", "x", "y", "z")))
    )
    for name, head in _heads(generator, own, [silent]).items():
        np.testing.assert_array_equal(head.weight, alone[name].weight)
    assert any(
        not np.allclose(head.weight, alone[name].weight)
        for name, head in _heads(generator, own, _others(world, 20)).items()
    )


def test_memory_of_the_same_family_helps_and_its_loss_does_no_more_than_undo_that(
    generator: Generator, world: World
) -> None:
    gains = []
    for family in range(20, 28):
        own = world.release(family, 0, epsilon=1.0, shots=20)
        one = _heads(_quiet(generator), own, _others(world, family))["network"]
        two = _heads(_quiet(generator), own, [])["network"]
        gains.append(_right(world, family, one) - _right(world, family, two))
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("epsilon", [1e-2, 1e-3, 1e-4])
def test_weights_fall_back_to_the_base_as_epsilon_goes_to_zero(
    generator: Generator, world: World, epsilon: float
) -> None:
    strong = _heads(generator, world.release(20, 0, epsilon=None, shots=60), [])
    weak = _heads(generator, world.release(20, 0, epsilon=epsilon, shots=60), [])
    x, _ = world.records(20, 0, 4, 60, 2)
    for name in CONDITIONED:
        spread = [np.ptp(h.logits(x), axis=1).mean() for h in (weak[name], strong[name])]
        assert spread[0] < 0.1 * spread[1], name


def test_confidence_grows_with_evidence_from_nothing_to_at_most_one(
    generator: Generator, world: World
) -> None:
    priors = generator.parts.priors

    def confidence(*sites: object) -> float:
        return blup.confidence(priors, blup.predict(priors, list(sites)))  # type: ignore[arg-type]

    values = [confidence(no_evidence(4, 16))]
    for epsilon in (0.01, 0.3, 1.0, 4.0, 16.0, None):
        release = world.release(20, 0, epsilon=epsilon, shots=60)
        values.append(confidence(site_evidence(release, LABELS)))
    assert values[0] < 0.01
    assert values == sorted(values)
    assert 0.5 < values[-1] <= 1


def test_local_training_from_weights_of_pure_noise_is_no_worse_than_from_the_base(
    generator: Generator, world: World
) -> None:
    """Base and LP-FT against generated weights at epsilon 1/1000, within two standard errors."""
    gains = []
    zero = LinearHead(np.zeros((4, 16)), np.zeros(4))
    for family in range(20, 32):
        noise = _heads(generator, world.release(family, 0, epsilon=1e-3, shots=10), [])
        x, y = world.records(family, 0, 4, 10, 1)
        folds = stratified(y, np.random.default_rng(family))
        one, two = (
            _right(world, family, fit_finetuned(fixed(h), x, y, folds, unseen_mass=0.0).head)
            for h in (noise["network"], zero)
        )
        gains.append(one - two)
    assert np.mean(gains) > -2 * np.std(gains, ddof=1) / np.sqrt(len(gains)) - 0.005


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1.0, 20_000)
    right = rng.random(20_000) < confidence
    # Binomial noise over fifteen bins is about .004; .02 fails with probability below 1e-6.
    assert head_card.calibration_error(confidence, right) < 0.02
    assert head_card.calibration_error(np.full(100, 0.9), np.zeros(100, bool)) == pytest.approx(0.9)
    assert head_card.calibration_error(np.ones(10), np.ones(10, bool)) == 0
