from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.client.families import network_head
from tests.server.generator.conftest import World
from tests.server.generator.weights.conftest import SIZES

from wg_common.catalogue import SAME_FAMILY
from wg_common.inference import family_head
from wg_common.inference.hostile_tensors import apart
from wg_common.nets import family_network, tensor_set
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_server.generator.weights import network_package as package
from wg_server.generator.weights.head_generation import Generated, SiteRelease
from wg_server.generator.weights.neighbours import build_index
from wg_server.generator.weights.network_episodes import NetworkZoo
from wg_server.generator.weights.network_generation import NetworkGenerator, generate_networks

LABELS = ("c0", "c1", "c2", "c3")
OUT_OF_FAMILY = 40
"""A family that is not in the zoo."""


def _make(
    generator: NetworkGenerator,
    world: World,
    *,
    architecture: str = "cnn-s",
    labels: tuple[str, ...] = LABELS,
    family: int = 1,
    others: bool = True,
) -> Generated:
    own = world.release(family, 0, epsilon=4.0, shots=20)
    found = (
        [SiteRelease("other", world.release(family, 1, epsilon=4.0, shots=40))] if others else []
    )
    return generate_networks(generator, architecture, own, found, labels, samples=3, seed=5)


def _tensors(made: Generated, name: str) -> dict[str, np.ndarray]:
    return next(c.tensors for c in made.candidates if c.name == name)


@pytest.mark.parametrize("architecture", SIZES)
def test_one_generator_serves_every_size(
    network_generator: NetworkGenerator, world: World, architecture: str
) -> None:
    made = _make(network_generator, world, architecture=architecture)
    names = [candidate.name for candidate in made.candidates]
    assert names[:3] == ["network", "sample-mean", "closed-form"]
    assert names[-2:] == ["retrieval", "base"]
    for candidate in made.candidates:
        tensor_set.check_tensors(architecture, candidate.tensors, 4, 64)


def test_permuting_labels_permutes_rows_and_leaves_the_trunk(
    network_generator: NetworkGenerator, world: World
) -> None:
    order = [2, 0, 3, 1]
    straight = _make(network_generator, world)
    turned = _make(network_generator, world, labels=tuple(LABELS[i] for i in order))
    for one, two in zip(straight.candidates, turned.candidates, strict=True):
        for name, value in one.tensors.items():
            expected = value[order] if name.startswith("head.") else value
            np.testing.assert_allclose(two.tensors[name], expected, atol=2e-4, rtol=1e-3)


def test_base_is_the_base_without_a_preference(
    network_generator: NetworkGenerator, world: World
) -> None:
    made = _make(network_generator, world)
    base = network_generator.parts.bundles["cnn-s"].decoder.base
    found = _tensors(made, "base")
    assert all(np.array_equal(found[name], value) for name, value in base.items())
    assert not found["head.weight"].any()
    closed = _tensors(made, "closed-form")
    assert all(np.array_equal(closed[name], value) for name, value in base.items())
    assert closed["head.weight"].any()


def test_condition_decides_what_is_generated(
    network_generator: NetworkGenerator, world: World
) -> None:
    one = _tensors(_make(network_generator, world, family=OUT_OF_FAMILY), "network")
    two = _tensors(_make(network_generator, world, family=2), "network")
    three = _tensors(_make(network_generator, world, family=OUT_OF_FAMILY, others=False), "network")
    for other in (two, three):
        assert not np.allclose(one["head.weight"], other["head.weight"], atol=1e-3)
        assert not np.allclose(
            one["trunk.project.weight"], other["trunk.project.weight"], atol=1e-4
        )


def test_same_seed_gives_the_same_bytes(network_generator: NetworkGenerator, world: World) -> None:
    one, two = (_make(network_generator, world) for _ in range(2))
    for a, b in zip(one.candidates, two.candidates, strict=True):
        assert all(np.array_equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def test_a_site_that_released_nothing_gets_networks(
    network_generator: NetworkGenerator, world: World
) -> None:
    made = generate_networks(network_generator, "cnn-s", None, [], LABELS, samples=1, seed=1)
    assert made.report.unseen_labels == LABELS
    assert all(np.isfinite(v).all() for c in made.candidates for v in c.tensors.values())


def test_copies_of_the_zoo_are_told_from_new_networks(
    network_generator: NetworkGenerator, world: World
) -> None:
    bundle = network_generator.parts.bundles["cnn-s"]
    index = bundle.fitted_priors.index
    planted = [bundle.novelty(latents) for latents in index.latents]
    assert max(planted) < 1e-6
    made = _make(network_generator, world, family=OUT_OF_FAMILY)
    new = [c.nearest_zoo_distance for c in made.candidates if c.source == "diffusion"]
    assert min(new) > 0.1
    family_match = _make(network_generator, world)
    taken = {c.name: c.nearest_zoo_distance for c in family_match.candidates}
    assert taken["network"] < 0.1  # a zoo's network, and the report says so


def test_weights_out_of_bounds_are_refused(
    network_generator: NetworkGenerator, world: World
) -> None:
    parts = network_generator.parts
    wild = package.unpack(package.pack(parts), network_generator.heads.parts.priors).denoiser
    with torch.no_grad():
        wild.latent_out.bias.fill_(1e3)
    broken = replace(network_generator, parts=replace(parts, denoiser=wild))
    with pytest.raises(VerificationError, match="times as long"):
        _make(broken, world, family=OUT_OF_FAMILY)
    with torch.no_grad():
        wild.latent_out.bias.fill_(float("nan"))
    for family in (1, OUT_OF_FAMILY):
        with pytest.raises(VerificationError, match="not finite"):
            _make(broken, world, family=family)


def test_a_network_of_the_zoo_may_be_as_long_as_it_was_trained(
    network_generator: NetworkGenerator, world: World
) -> None:
    """A network that saw its records through more cameras: fifty times as far from the base."""
    parts = network_generator.parts
    bundle = parts.bundles["cnn-s"]
    index = bundle.fitted_priors.index
    longer = replace(index, latents=50 * index.latents)
    unlike = replace(bundle, fitted_priors=replace(bundle.fitted_priors, augmented=longer))
    there = replace(
        network_generator, parts=replace(parts, bundles={**parts.bundles, "cnn-s": unlike})
    )
    lengths = [
        np.linalg.norm(_tensors(_make(g, world), "network")["trunk.project.weight"])
        for g in (network_generator, there)
    ]
    assert lengths[1] > 5 * lengths[0]


def test_unknown_architectures_are_named(network_generator: NetworkGenerator, world: World) -> None:
    with pytest.raises(ConfigError, match="cnn-m, cnn-s"):
        _make(network_generator, world, architecture="cnn-l")


def test_package_round_trips(network_generator: NetworkGenerator, world: World) -> None:
    parts = network_generator.parts
    data = package.pack(parts)
    again = package.unpack(data, network_generator.heads.parts.priors)
    assert package.pack(again) == data
    made = [_make(replace(network_generator, parts=p), world) for p in (parts, again)]
    for one, two in zip(made[0].candidates, made[1].candidates, strict=True):
        assert all(np.array_equal(one.tensors[n], two.tensors[n]) for n in one.tensors)


@pytest.mark.parametrize("by_site", [False, True])
def test_networks_of_made_up_sites_are_packed_and_come_first(
    network_generator: NetworkGenerator,
    world: World,
    zoos: dict[str, NetworkZoo],
    by_site: bool,
) -> None:
    bundle, zoo = network_generator.parts.bundles["cnn-s"], zoos["cnn-s"]
    mine = [replace(n, rows=-n.rows) for n in zoo.networks if n.task.family == "family-1"]
    fitted_priors = replace(
        bundle.fitted_priors,
        augmented=build_index(mine, bundle.decoder.codec),
        site_heads={n.task.key: network_head("cnn-s", 4) for n in mine if by_site},
    )
    parts = replace(
        network_generator.parts, bundles={"cnn-s": replace(bundle, fitted_priors=fitted_priors)}
    )
    data = package.pack(parts)
    again = package.unpack(data, network_generator.heads.parts.priors)
    assert package.pack(again) == data
    first = _tensors(_make(network_generator, world), "network")["head.weight"].ravel()
    made = _make(replace(network_generator, parts=again), world)
    sites = [apart(c.tensors, family_head.SITE)[1] for c in made.candidates]
    assert bool(sites[0]) == by_site
    assert not any(sites[1:])
    if by_site:
        site = family_network.head_from_tensors(sites[0], "cnn-s", 4)
        assert (site.weight.argmax(axis=1) == np.arange(4)).all()
    assert np.corrcoef(first, _tensors(made, "network")["head.weight"].ravel())[0, 1] < -0.5


def test_networks_of_the_plant_s_family_say_so(
    network_generator: NetworkGenerator, world: World
) -> None:
    for others in (True, False):
        known, unknown = (
            _make(network_generator, world, family=family, others=others)
            for family in (1, OUT_OF_FAMILY)
        )
        assert (known.candidates[0].name, known.candidates[0].source) == ("network", SAME_FAMILY)
        assert [c.source for c in known.candidates].count(SAME_FAMILY) == 1
        assert SAME_FAMILY not in {c.source for c in unknown.candidates}


def test_a_network_of_the_family_has_nothing_of_the_plant_s_class_sums(
    network_generator: NetworkGenerator, world: World
) -> None:
    """So that the plant's labels may judge it where nobody else has released."""
    made = [
        generate_networks(
            network_generator,
            "cnn-s",
            world.release(1, 0, epsilon=None, shots=shots),
            [],
            LABELS,
            samples=1,
            seed=5,
        )
        for shots in (20, 30)
    ]
    one, two = made
    np.testing.assert_allclose(
        _tensors(one, "network")["head.weight"], _tensors(two, "network")["head.weight"], atol=1e-6
    )
    closed = [_tensors(which, "closed-form")["head.weight"] for which in made]
    assert np.abs(closed[0] - closed[1]).max() > 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": ("nobody",)},
        {"names": ("w", "x", "y", "z")},
        {"entry": np.ones(4, np.int64)},
        {"entry": np.zeros(3, np.int64)},
    ],
)
def test_shelves_that_do_not_hold_together_are_refused(
    network_generator: NetworkGenerator, zoos: dict[str, NetworkZoo], wrong: dict[str, object]
) -> None:
    bundle, zoo = network_generator.parts.bundles["cnn-s"], zoos["cnn-s"]
    index = build_index(zoo.networks[:1], bundle.decoder.codec)
    fitted_priors = replace(bundle.fitted_priors, augmented=replace(index, **wrong))  # type: ignore[arg-type]
    parts = replace(
        network_generator.parts, bundles={"cnn-s": replace(bundle, fitted_priors=fitted_priors)}
    )
    with pytest.raises(DecodeError, match="not hold together"):
        package.unpack(package.pack(parts), network_generator.heads.parts.priors)


def test_codecs_of_other_parts_or_kinds_are_refused(network_generator: NetworkGenerator) -> None:
    data = package.pack(network_generator.parts)
    priors = network_generator.heads.parts.priors
    with pytest.raises(DecodeError, match="train the generator anew"):
        package.unpack(data.replace(b'\\"codec\\":\\"pca\\"', b'\\"codec\\":\\"vae\\"'), priors)
    with pytest.raises(DecodeError, match="weighs"):
        package.unpack(data.replace(b'\\"trust\\":\\"1.0\\"', b'\\"trust\\":\\"2.0\\"'), priors)


@pytest.mark.parametrize("cut", [0, 7, 100, 5000, -1])
def test_damaged_packages_are_refused(network_generator: NetworkGenerator, cut: int) -> None:
    data = package.pack(network_generator.parts)
    with pytest.raises(DecodeError):
        package.unpack(data[:cut], network_generator.heads.parts.priors)
