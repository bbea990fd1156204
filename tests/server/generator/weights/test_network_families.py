"""The family that a plant is of: found, bounded, and handed on as it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.server.generator.conftest import World

from wg_common.inference.posterior import no_evidence
from wg_server.generator.families.match import SHIFT_LIKELY, FamilyMatch, match_family
from wg_server.generator.prior import blup
from wg_server.generator.prior.conditioning import condition
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_generation import Generator
from wg_server.generator.weights.neighbours import build_index
from wg_server.generator.weights.network_condition import (
    NetworkPriors,
    final_weights,
    find_family,
    network_condition,
)
from wg_server.generator.weights.network_episodes import NetworkZoo

LABELS = ("c0", "c1", "c2", "c3")
OUT_OF_FAMILY = 40


@pytest.fixture(scope="module")
def known(zoos: dict[str, NetworkZoo]) -> NetworkPriors:
    return zoos["cnn-s"].fitted_priors


def _estimate(
    known: NetworkPriors, world: World, family: int, labels: tuple[str, ...] = LABELS
) -> blup.Prediction:
    release = world.release(family, 2, epsilon=None, shots=30)
    order = tuple(name for name in labels if name in LABELS)
    sites = [site_evidence(release, order)] if order else [no_evidence(len(labels), 16)]
    return blup.predict(known.priors, sites)


def _family_match(
    known: NetworkPriors, estimate: blup.Prediction, labels: tuple[str, ...] = LABELS
) -> FamilyMatch:
    found = match_family(known.index, known.spread, known.priors, estimate, labels)
    assert found is not None
    return found


def test_families_of_the_zoo_are_found_and_no_others(known: NetworkPriors, world: World) -> None:
    right, shares = [], []
    for family in range(10):
        family_match = _family_match(known, _estimate(known, world, family))
        right.append(known.index.families[family_match.entries[0]] == f"family-{family}")
        shares.append(family_match.share)
        assert family_match.weights.sum() == pytest.approx(1)
        assert len({known.index.families[n] for n in family_match.entries}) == 1
    others = [
        _family_match(known, _estimate(known, world, OUT_OF_FAMILY + i)).share for i in range(10)
    ]
    assert np.mean(right) > 0.8  # a tenth is chance
    assert np.mean(shares) > 0.7
    assert np.mean(others) < 0.3


def test_without_evidence_no_family_matches(known: NetworkPriors) -> None:
    estimate = blup.predict(known.priors, [no_evidence(4, 16)])
    assert _family_match(known, estimate, ("w", "x", "y", "z")).share < 0.1
    assert _family_match(known, estimate).share < 0.2  # all ten families have these names


def test_names_of_one_family_count_and_names_of_many_do_not(
    known: NetworkPriors, world: World
) -> None:
    estimate = blup.predict(known.priors, [no_evidence(4, 16)])
    rows = known.index.entry == 3
    names = tuple(
        f"own-{name}" if mine else name for name, mine in zip(known.index.names, rows, strict=True)
    )
    special = replace(known, index=replace(known.index, names=names))
    family_match = _family_match(special, estimate, tuple(f"own-{name}" for name in LABELS))
    assert 3 in family_match.entries
    assert family_match.share > 0.9


def test_similar_classes_alone_are_no_match(known: NetworkPriors, world: World) -> None:
    own = ("w", "x", "y", "z")
    for family in range(4):
        release = world.release(family, 2, epsilon=None, shots=30, labels=own)
        estimate = blup.predict(known.priors, [site_evidence(release, own)])
        # No evidence on the site's mean: the spread of what is known of it is the prior's.
        blind = replace(estimate, centre=0 * estimate.centre, centre_spread=known.priors.site)
        assert _family_match(known, blind, own).share < 0.2


def test_permuting_labels_permutes_matches(known: NetworkPriors, world: World) -> None:
    order = (2, 0, 3, 1)
    turned = tuple(LABELS[i] for i in order)
    one = _family_match(known, _estimate(known, world, 4))
    two = _family_match(known, _estimate(known, world, 4, turned), turned)
    np.testing.assert_array_equal(one.matched[:, list(order)], two.matched)
    assert one.share == pytest.approx(two.share)


def test_what_may_not_be_found_is_not(known: NetworkPriors, world: World) -> None:
    estimate, index = _estimate(known, world, 4), known.index
    gone = [n for n, family in enumerate(index.families) if family == "family-4"]
    family_match = match_family(index, known.spread, known.priors, estimate, LABELS, without=gone)
    assert family_match is not None
    assert index.families[family_match.entries[0]] != "family-4"
    everything = range(len(index.families))
    assert (
        match_family(index, known.spread, known.priors, estimate, LABELS, without=everything)
        is None
    )


def test_a_sure_match_hands_on_the_networks_as_they_were_trained(
    zoos: dict[str, NetworkZoo], generator: Generator, world: World
) -> None:
    zoo = zoos["cnn-s"]
    known, index = zoo.fitted_priors, zoo.fitted_priors.index
    site = site_evidence(world.release(6, 2, epsilon=None, shots=30), LABELS)
    tokens, estimate = condition(generator.parts.fitted_priors, [site])
    family_match = _family_match(known, estimate)
    found, _ = network_condition(known, tokens, estimate, LABELS)
    assert found.family is not None
    sure = replace(found, family=replace(found.family, share=1.0))
    wild = torch.full((4, 65), 9.0), torch.full(index.latents.shape[1:], 9.0)
    network = final_weights(sure, *wild)
    trunk = zoo.decoder.trunk(network.latents, network.residual)
    deltas = [zoo.decoder.plan.delta(zoo.networks[n].tokens) for n in family_match.entries]
    for name, base in zoo.decoder.base.items():
        mean = np.tensordot(family_match.weights, np.stack([d[name] for d in deltas]), axes=1)
        np.testing.assert_allclose(trunk[name], base + mean, atol=2e-3)
    out_of_family = final_weights(replace(found, family=None), *wild)
    assert out_of_family.residual is None
    assert torch.equal(out_of_family.rows, wild[0])


def test_a_family_of_the_operators_own_goes_before_rendered_ones_of_the_same_names(
    zoos: dict[str, NetworkZoo], known: NetworkPriors, world: World
) -> None:
    zoo = zoos["cnn-s"]
    mine = [n for n in zoo.networks if n.task.family == "family-6"]
    own = replace(known, augmented=build_index(mine, zoo.decoder.codec))
    # Nothing is known but the names, which all ten families have.
    unseen = blup.predict(known.priors, [no_evidence(4, 16)])
    rendered, found = (find_family(priors, unseen, LABELS, set()) for priors in (known, own))
    assert rendered is not None and rendered.share < 0.2
    assert found is not None and found.share > 0.5
    assert {own.index.families[entry] for entry in found.entries} == {"family-6"}
    # Without the names, what the classes are like says that it is of another family.
    entries = np.flatnonzero([family == "family-6" for family in known.index.families])
    of_it = np.isin(known.index.entry, entries)
    names = tuple(
        f"own-{name}" if its else name for name, its in zip(known.index.names, of_it, strict=True)
    )
    own = replace(own, index=replace(known.index, names=names))
    found = find_family(own, _estimate(known, world, 1), LABELS, set())
    assert found is not None and found.share > 0.5
    assert {own.index.families[entry] for entry in found.entries} == {"family-1"}


def test_domain_shift_decides_which_of_a_family_s_networks_are_taken(
    zoos: dict[str, NetworkZoo], generator: Generator, world: World
) -> None:
    zoo = zoos["cnn-s"]
    codec = zoo.decoder.codec
    mine = [n for n in zoo.networks if n.task.family in ("family-3", "family-6")]
    others = [replace(n, rows=n.rows + 1, tokens=_doubled(n.tokens)) for n in reversed(mine)]
    everywhere = replace(zoo.fitted_priors, augmented=build_index(others, codec))
    known = replace(everywhere, everywhere=False)
    site = site_evidence(world.release(6, 2, epsilon=None, shots=30), LABELS)
    tokens, estimate = condition(generator.parts.fitted_priors, [site])
    centres = known.index.centres[[f == "family-6" for f in known.index.families]]
    here = replace(estimate, centre=centres[0], centre_spread=0 * estimate.centre_spread)
    assert _family_match(known, here).shifted < SHIFT_LIKELY
    usual, _ = network_condition(known, tokens, here, LABELS)
    same, _ = network_condition(zoo.fitted_priors, tokens, here, LABELS)
    assert usual.family is not None and same.family is not None
    np.testing.assert_array_equal(usual.family.latents, same.family.latents)
    always, _ = network_condition(everywhere, tokens, here, LABELS)
    assert always.family is not None
    np.testing.assert_allclose(always.family.latents, 2 * same.family.latents, atol=1e-4)
    away = replace(here, centre=here.centre + 3.0)
    assert _family_match(known, away).shifted > SHIFT_LIKELY
    found, _ = network_condition(known, tokens, away, LABELS)
    unshifted, _ = network_condition(zoo.fitted_priors, tokens, away, LABELS)
    assert found.family is not None and unshifted.family is not None
    np.testing.assert_allclose(found.family.latents, 2 * unshifted.family.latents, atol=1e-4)
    whole, doubled = (
        zoo.decoder.trunk(torch.from_numpy(one.latents), torch.from_numpy(one.residual))
        for one in (unshifted.family, found.family)
    )
    for name, base in zoo.decoder.base.items():
        np.testing.assert_allclose(doubled[name] - base, 2 * (whole[name] - base), atol=4e-3)
    # A family without such networks has one kind, whatever its camera.
    site = site_evidence(world.release(1, 2, epsilon=None, shots=30), LABELS)
    tokens, estimate = condition(generator.parts.fitted_priors, [site])
    away = replace(estimate, centre=estimate.centre + 3.0)
    usual, _ = network_condition(known, tokens, away, LABELS)
    same, _ = network_condition(zoo.fitted_priors, tokens, away, LABELS)
    assert usual.family is not None and same.family is not None
    np.testing.assert_array_equal(usual.family.latents, same.family.latents)


def _doubled(tokens: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {name: 2 * values for name, values in tokens.items()}
