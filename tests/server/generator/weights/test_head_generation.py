from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference.posterior import posterior_from_tensors, posterior_head
from wg_core.errors import ConfigError, DataError, DecodeError
from wg_core.wire import canonical
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.evidence_pools import EvidencePool
from wg_server.generator.weights import head_package as package
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.head_generation import (
    HeadGenerator,
    generate_heads,
    load_head_generator,
)

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LABELS = ("c0", "c1", "c2", "c3")


def _by_name(candidates: Sequence[GeneratedCandidate]) -> dict[str, GeneratedCandidate]:
    return {candidate.name: candidate for candidate in candidates}


def _others(
    generator: HeadGenerator, world: World, epsilon: float | None = 4.0
) -> list[EvidencePool]:
    releases = [world.release(20, s, epsilon=epsilon, shots=80) for s in (1, 2, 3)]
    return evidence_pools.pools_of_releases(generator.package.priors, None, releases)


def test_the_documented_candidates_are_there_and_fit_the_architecture(
    generator: HeadGenerator, world: World
) -> None:
    made = generate_heads(generator, _others(generator, world), LABELS)
    assert {POSTERIOR_SOURCE} == set(_by_name(made))
    for candidate in made:
        assert posterior_from_tensors(candidate.tensors, 4, 16).classes == 4


def _right(
    generator: HeadGenerator, world: World, family: int, others: list[EvidencePool]
) -> float:
    """Right answers without a label, finished with what others know."""
    x, y = world.records(family, 0, 4, 5, 3)
    tx, ty = world.records(family, 0, 4, 50, 2)
    made = _by_name(generate_heads(generator, others, LABELS))
    posterior = posterior_from_tensors(made[POSTERIOR_SOURCE].tensors, 4, 16)
    weight, bias = posterior_head(posterior, x.astype(np.float64), np.full(len(y), -1))
    return float(((tx @ weight.T + bias).argmax(axis=1) == ty).mean())


def test_what_others_know_tells_classes_without_a_label(
    generator: HeadGenerator, world: World
) -> None:
    gains = []
    for family in (20, 21, 22, 23):
        releases = [world.release(family, s, epsilon=1.0, shots=40) for s in (1, 2)]
        others = evidence_pools.pools_of_releases(generator.package.priors, None, releases)
        gains.append(
            _right(generator, world, family, others) - _right(generator, world, family, [])
        )
    assert np.mean(gains) > 0.2


def test_a_class_never_seen_is_filled_from_memory(generator: HeadGenerator, world: World) -> None:
    x, y = world.records(20, 0, 4, 30, 1)
    tx, ty = world.records(20, 0, 4, 50, 2)
    made = _by_name(generate_heads(generator, _others(generator, world, None), LABELS))
    posterior = posterior_from_tensors(made[POSTERIOR_SOURCE].tensors, 4, 16)
    weight, bias = posterior_head(posterior, x[y != 1].astype(np.float64), y[y != 1])
    logits = tx[ty == 1] @ weight.T + bias
    assert (logits.argmax(axis=1) == 1).mean() > 0.8


def test_memory_is_matched_by_label_name(generator: HeadGenerator, world: World) -> None:
    release = world.release(20, 1, epsilon=4.0, shots=80)
    renamed = replace(release, schema=replace(release.schema, labels=("w", "x", "y", "z")))
    others = evidence_pools.pools_of_releases(generator.package.priors, None, [renamed])
    none, strange, known = (
        _by_name(generate_heads(generator, pools, LABELS))[POSTERIOR_SOURCE].tensors["weighted"]
        for pools in ([], others, _others(generator, world))
    )
    assert np.array_equal(none, strange) and not np.array_equal(none, known)
    assert np.isfinite(none).all()


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "a")])
def test_a_label_domain_needs_two_names(generator: HeadGenerator, labels: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="labels"):
        generate_heads(generator, [], labels)


def test_a_package_survives_the_disk(
    generator: HeadGenerator, world: World, tmp_path: Path
) -> None:
    data = package.pack_heads(generator.package)
    path = tmp_path / "generator.safetensors"
    path.write_bytes(data)
    loaded = load_head_generator(path)
    assert loaded.id == canonical.sha256_hex(data)
    others = _others(generator, world)
    one, two = (_by_name(generate_heads(g, others, LABELS)) for g in (generator, loaded))
    for name, candidate in one.items():
        for key, value in candidate.tensors.items():
            assert np.array_equal(value, two[name].tensors[key])


def test_a_damaged_or_missing_package_is_refused(generator: HeadGenerator, tmp_path: Path) -> None:
    data = package.pack_heads(generator.package)
    path = tmp_path / "generator.safetensors"
    with pytest.raises(ConfigError):
        load_head_generator(path)
    for damaged in (b"", data[:50], data[:-8]):
        path.write_bytes(damaged)
        with pytest.raises(DecodeError):
            load_head_generator(path)


def test_generation_leaves_the_global_random_state_alone(
    generator: HeadGenerator, world: World
) -> None:
    before = torch.random.get_rng_state()
    generate_heads(generator, _others(generator, world), LABELS)
    assert torch.equal(before, torch.random.get_rng_state())


def test_more_classes_than_a_posterior_can_have_are_refused(
    generator: HeadGenerator, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wg_server.generator.weights.head_generation.MAX_POSTERIOR_CLASSES", 3)
    with pytest.raises(DataError, match="4 names, expected at most 3"):
        generate_heads(generator, _others(generator, world), LABELS)
