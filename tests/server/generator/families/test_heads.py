"""Heads for plants of the operator's families: collected, packed, handed to the right plants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.client.families import ARCHITECTURES, beside

from wg_common.catalogue import SAME_FAMILY
from wg_common.inference import family_head
from wg_common.inference.family_head import FamilyHead, Layout
from wg_common.inference.hostile_tensors import apart
from wg_common.nets import family_network
from wg_core.errors import DecodeError
from wg_server.generator import container
from wg_server.generator.families import heads
from wg_server.generator.families.heads import OperatorFamilies, collect
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights import head_package as package
from wg_server.generator.weights.head_generation import Generator, generate
from wg_server.generator.weights.makers import GeneratedCandidate

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LOCAL = 24
LAYOUT = Layout(LOCAL, ())
LABELS = ("c0", "c1", "c2", "c3")
OWN = ("family-2", "family-5")
OUT_OF_FAMILY = 40


WORDS = {
    "family-2": ("hinge", "soup", "planet", "carpet"),
    "family-3": ("violin", "glacier", "tax", "goat"),
    "family-5": ("window", "river", "salt", "poem"),
    "unknown": ("piston", "honey", "verdict", "fog"),
}


def _names(family: str) -> tuple[str, ...]:
    return WORDS.get(family) or tuple(f"{family}-{name}" for name in LABELS)


@pytest.fixture(scope="module")
def tasks(zoo_tasks: list[ZooTask]) -> list[ZooTask]:
    """The zoo, with class names of each family's own."""
    return [replace(task, labels=_names(task.family)) for task in zoo_tasks]


def _head(family: str) -> FamilyHead:
    number = int(family.removeprefix("family-"))
    weight = np.zeros((4, LOCAL))
    weight[:, 0] = number + np.arange(4) / 10
    return FamilyHead(
        reference=np.zeros((2, LOCAL)),
        records=np.ones(1),
        weight=weight,
        bias=np.arange(4.0),
    )


HEADS = {family: (LAYOUT, _head(family)) for family in OWN}
"""The operator owns two of the families."""
NETWORKS = {OWN[0]: beside(4)}
"""Of one of them the zoo has a network."""


@pytest.fixture(scope="module")
def owner(generator: Generator, tasks: list[ZooTask]) -> Generator:
    return Generator(
        generator.id, replace(generator.parts, operator_families=collect(tasks, HEADS, NETWORKS))
    )


def _family_match(
    generator: Generator, world: World, family: int, names: tuple[str, ...]
) -> list[GeneratedCandidate]:
    release = world.release(family, 2, epsilon=4.0, shots=40, labels=names)
    made = generate(generator, release, [], names)
    found = [c for c in made.candidates if c.source == SAME_FAMILY]
    assert list(made.candidates[: len(found)]) == found  # the server would try them first
    return found


@pytest.mark.parametrize("family", [2, 5])
def test_a_plant_of_the_operators_family_gets_its_head_row_by_row(
    owner: Generator, world: World, family: int
) -> None:
    names = _names(f"family-{family}")[::-1]
    (found,) = _family_match(owner, world, family, names)
    own, network = apart(found.tensors, family_network.PREFIX)
    head = family_head.from_tensors(own, 4, LAYOUT)
    np.testing.assert_allclose(head.weight[:, 0], family + np.arange(4)[::-1] / 10, rtol=1e-5)
    np.testing.assert_allclose(head.bias, [3, 2, 1, 0])
    assert bool(network) == (f"family-{family}" in NETWORKS)
    if network:
        assert sum(value.nbytes for value in network.values()) < 1e6
        read = family_network.unpacked(network, ARCHITECTURES, 4)
        assert len(read) == len(NETWORKS[OWN[0]])
        for each in read:
            features = each.head.weight.shape[1]
            np.testing.assert_array_equal(each.head.weight, np.eye(4, features)[::-1])


def test_plants_of_rendered_or_unknown_families_get_none(owner: Generator, world: World) -> None:
    assert _family_match(owner, world, 3, _names("family-3")) == []
    assert _family_match(owner, world, OUT_OF_FAMILY, _names("unknown")) == []


def test_rendered_families_with_the_names_of_an_own_one_have_no_say(
    generator: Generator, tasks: list[ZooTask], world: World
) -> None:
    """Twenty rendered families have digits; no real plant is of one."""
    names = _names("family-2")
    alike = [replace(task, labels=names) for task in tasks]
    owner = Generator(
        generator.id, replace(generator.parts, operator_families=collect(alike, HEADS, NETWORKS))
    )
    assert len(_family_match(owner, world, 2, names)) == 1


def test_a_zoo_of_rendered_tasks_has_none_and_its_package_says_nothing(
    generator: Generator, zoo_tasks: list[ZooTask], world: World
) -> None:
    assert collect(zoo_tasks, {}, NETWORKS) is None
    assert collect(zoo_tasks, {"of-another-zoo": HEADS[OWN[0]]}, NETWORKS) is None
    assert b"own_kinds" not in package.pack(generator.parts)
    assert _family_match(generator, world, 2, LABELS) == []


def test_the_operators_families_go_through_the_package(owner: Generator) -> None:
    again = package.unpack(package.pack(owner.parts)).operator_families
    before = owner.parts.operator_families
    assert again is not None
    assert before is not None
    assert (again.names, again.families) == (before.names, before.families)
    assert (again.layout, again.heads.keys()) == (before.layout, before.heads.keys())
    for name, value in before.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"entry": np.zeros(120, np.int64)},
        {"entry": np.arange(30).repeat(4)[::-1]},
        {"deviations": np.zeros((3, 8))},
        {"names": ("one",)},
        {"families": ("one",)},
        {"owned": ("unknown",)},
        {"owned": OWN[::-1]},
        {"heads.0.weight": np.zeros((3, LOCAL), np.float32)},
        {"heads.0.more": np.zeros(1, np.float32)},
        {"heads.0.network.cnn-m.trunk.more": np.zeros(1, np.float32)},
        {"heads.1.network.cnn-m.bias": np.zeros(4, np.float32)},
        {"heads.1.network.lite0.bias": np.zeros(4, np.float32)},
        {"heads.2.bias": np.zeros(4, np.float32)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    tasks: list[ZooTask], wrong: dict[str, Any]
) -> None:
    good = collect(tasks, HEADS, NETWORKS)
    assert isinstance(good, OperatorFamilies)
    text: dict[str, Any] = {"names": good.names, "families": good.families, "owned": OWN}
    given = {**good.arrays(), **text, **wrong}
    names, families, owned = (given.pop(name) for name in text)
    with pytest.raises(
        DecodeError, match=r"operator's families|family head|networks? of the family"
    ):
        heads.read(given, names, families, owned, LAYOUT, ARCHITECTURES)


@pytest.mark.parametrize("before", [("families", "names"), ("network", "names", "owned")])
def test_heads_of_other_fields_are_refused(owner: Generator, before: tuple[str, ...]) -> None:
    packed = package.pack(owner.parts)
    tensors, document = container.unpack(packed, "generator")
    document["own_kinds"] = dict.fromkeys(before, "cnn-m")
    with pytest.raises(DecodeError, match="does not hold together"):
        package.unpack(container.pack(tensors, "generator", document))
