"""Heads for plants of the operator's families: packed, and offered by names to the right plants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.client.families import ARCHITECTURE, beside, likeness

from wg_common.catalogue import ANY_FAMILY_SOURCE, SAME_FAMILY_SOURCE
from wg_common.inference import family_head
from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_common.inference.family_likeness import TENSOR_PREFIX
from wg_common.inference.hostile_tensors import split_prefix
from wg_common.nets import family_network
from wg_core.errors import DecodeError
from wg_server.generator import tensor_file
from wg_server.generator.families import heads
from wg_server.generator.families.heads import OperatorFamilies, OperatorFamily
from wg_server.generator.weights import head_package as package
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads

LOCAL, RELEASED = 24, 16
LAYOUT = FeatureLayout(LOCAL, ())
WORDS = {
    "family-2": ("hinge", "soup", "planet", "carpet"),
    "family-5": ("window", "river", "salt", "poem"),
}
HIDDEN = ("class-0", "class-1", "class-2")


def _family(name: str) -> OperatorFamily:
    number = int(name.removeprefix("family-"))
    weight = np.zeros((4, LOCAL))
    weight[:, 0] = number + np.arange(4) / 10
    head = FamilyHead(np.zeros((2, LOCAL)), np.ones(1), weight, np.arange(4.0))
    network = beside(4) if number == 2 else None
    return OperatorFamily(WORDS[name], head, likeness(RELEASED), network)


FAMILIES = OperatorFamilies(LAYOUT, {name: _family(name) for name in WORDS})
"""The operator's; of one of them the zoo has a network."""


@pytest.fixture(scope="module")
def owner(generator: HeadGenerator) -> HeadGenerator:
    return HeadGenerator(generator.id, replace(generator.package, operator_families=FAMILIES))


def _offered(generator: HeadGenerator, names: tuple[str, ...]) -> list[GeneratedCandidate]:
    """What a plant gets that has released nothing."""
    made = generate_heads(generator, [], names)
    found = [c for c in made if c.source in (SAME_FAMILY_SOURCE, ANY_FAMILY_SOURCE)]
    assert list(made[: len(found)]) == found, "the server would try them first"
    return found


def _read(tensors: dict[str, Any]) -> tuple[FamilyHead, dict[str, Any]]:
    own, network = split_prefix(tensors, family_network.TENSOR_PREFIX)
    own, _ = split_prefix(own, TENSOR_PREFIX)
    return family_head.family_head_from_tensors(own, len(own["bias"]), LAYOUT), network


@pytest.mark.parametrize("family", [2, 5])
def test_a_plant_of_the_operators_family_gets_its_head_row_by_row(
    owner: HeadGenerator, family: int
) -> None:
    (found,) = _offered(owner, WORDS[f"family-{family}"][::-1])
    assert found.source == SAME_FAMILY_SOURCE
    head, network = _read(found.tensors)
    np.testing.assert_allclose(head.weight[:, 0], family + np.arange(4)[::-1] / 10, rtol=1e-5)
    np.testing.assert_allclose(head.bias, [3, 2, 1, 0])
    assert bool(network) == (family == 2)
    if network:
        assert sum(value.nbytes for value in network.values()) < 1e6
        read = family_network.unpack_network(network, ARCHITECTURE, 4)
        assert read is not None
        features = read.head.weight.shape[1]
        np.testing.assert_array_equal(read.head.weight, np.eye(4, features)[::-1])


def test_a_plant_of_some_of_its_classes_gets_their_rows(owner: HeadGenerator) -> None:
    (found,) = _offered(owner, ("planet", "HINGE"))
    np.testing.assert_allclose(_read(found.tensors)[0].bias, [2, 0])


def test_a_plant_whose_names_say_nothing_is_offered_all_as_they_are(owner: HeadGenerator) -> None:
    found = _offered(owner, HIDDEN)
    assert [c.source for c in found] == [ANY_FAMILY_SOURCE] * 2
    assert len({c.name for c in found}) == 2
    for candidate in found:
        np.testing.assert_allclose(_read(candidate.tensors)[0].bias, np.arange(4))


def test_a_family_of_fewer_classes_is_no_plant_s(owner: HeadGenerator) -> None:
    assert _offered(owner, (*WORDS["family-2"], "one more")) == []
    assert _offered(owner, (*HIDDEN, "class-3", "class-4")) == []


def test_a_zoo_of_rendered_tasks_has_none_and_its_package_says_nothing(
    generator: HeadGenerator,
) -> None:
    assert b"own_kinds" not in package.pack_heads(generator.package)
    assert _offered(generator, WORDS["family-2"]) == []


def test_the_operators_families_go_through_the_package(owner: HeadGenerator) -> None:
    again = package.unpack_heads(package.pack_heads(owner.package)).operator_families
    assert again is not None
    assert again.layout == LAYOUT
    assert {n: f.labels for n, f in again.families.items()} == WORDS
    for name, value in FAMILIES.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"0.weight": np.zeros((3, LOCAL), np.float32)},
        {"0.more": np.zeros(1, np.float32)},
        {"0.likeness.weight": np.zeros(3, np.float32)},
        {"0.likeness.width": np.full(1, 2, np.float32)},
        {"0.network.lite0-low.trunk.more": np.zeros(1, np.float32)},
        {"1.network.lite0-low.bias": np.zeros(4, np.float32)},
        {"1.network.lite0.bias": np.zeros(4, np.float32)},
        {"2.bias": np.zeros(4, np.float32)},
        {"bias": np.zeros(4, np.float32)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(wrong: dict[str, Any]) -> None:
    given = {**FAMILIES.arrays(), **wrong}
    with pytest.raises(
        DecodeError, match=r"operator's families|family head|likeness|networks? of the family"
    ):
        heads.families_from_arrays(given, WORDS, LAYOUT, RELEASED, ARCHITECTURE)


@pytest.mark.parametrize("before", [("families", "names"), ("network", "names", "owned")])
def test_heads_of_other_fields_are_refused(owner: HeadGenerator, before: tuple[str, ...]) -> None:
    packed = package.pack_heads(owner.package)
    tensors, document = tensor_file.unpack_tensors(
        packed,
        "generator",
        format_name=package.FORMAT_NAME,
        version=package.FORMAT_VERSION,
        limit_bytes=len(packed),
    )
    document["own_kinds"] = dict.fromkeys(before, "lite0-low")
    with pytest.raises(DecodeError, match="does not hold together"):
        package.unpack_heads(tensor_file.pack_tensors(tensors, "generator", document))
