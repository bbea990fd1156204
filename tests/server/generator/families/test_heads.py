"""Heads for plants of the operator's families: collected, packed, handed to the right plants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT, SAME_FAMILY
from wg_common.errors import DecodeError
from wg_server.generator.families import heads
from wg_server.generator.families.heads import OperatorFamilies, collect
from wg_server.generator.families.match import SHIFT_LIKELY, match_family
from wg_server.generator.heads import package
from wg_server.generator.heads.generate import GeneratedCandidate, Generator, generate
from wg_server.generator.prior.zoo_tasks import ZooTask

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LOCAL = 24
LABELS = ("c0", "c1", "c2", "c3")
OWN = ("family-2", "family-5")
OUT_OF_FAMILY = 40


def _names(family: str) -> tuple[str, ...]:
    return tuple(f"{family}-{name}" for name in LABELS)


@pytest.fixture(scope="module")
def tasks(zoo_tasks: list[ZooTask]) -> list[ZooTask]:
    """The zoo, with class names of each family's own; the operator owns two of the families."""
    found = []
    for task in zoo_tasks:
        number = int(task.family.removeprefix("family-"))
        local = None
        if task.family in OWN:
            weight = np.zeros((2, 4, LOCAL), np.float32)
            weight[:, :, 0] = number + np.arange(4) / 10
            weight[1] += 100
            local = weight, np.tile(np.arange(4, dtype=np.float32), (2, 1))
        found.append(replace(task, labels=_names(task.family), local=local))
    return found


@pytest.fixture(scope="module")
def owner(generator: Generator, tasks: list[ZooTask]) -> Generator:
    return Generator(generator.id, replace(generator.parts, operator_families=collect(tasks)))


def _family_match(
    generator: Generator, world: World, family: int, names: tuple[str, ...]
) -> list[GeneratedCandidate]:
    release = world.release(family, 2, epsilon=4.0, shots=40, labels=names)
    made = generate(generator, release, [], names, samples=1, seed=1)
    found = [c for c in made.candidates if c.source == SAME_FAMILY]
    assert list(made.candidates[: len(found)]) == found  # the server would try them first
    return found


@pytest.mark.parametrize("family", [2, 5])
def test_a_plant_of_the_operators_family_gets_its_heads_row_by_row(
    owner: Generator, world: World, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shifted(monkeypatch, SHIFT_LIKELY / 2)
    names = _names(f"family-{family}")[::-1]
    here, augmented = _family_match(owner, world, family, names)
    assert here.tensors[HEAD_WEIGHT].shape == (4, LOCAL)
    rows = family + np.arange(4)[::-1] / 10
    np.testing.assert_allclose(here.tensors[HEAD_WEIGHT][:, 0], rows, rtol=1e-5)
    np.testing.assert_allclose(augmented.tensors[HEAD_WEIGHT][:, 0], rows + 100, rtol=1e-5)
    np.testing.assert_allclose(here.tensors[HEAD_BIAS], [1.5, 0.5, -0.5, -1.5], atol=1e-6)


def _shifted(monkeypatch: pytest.MonkeyPatch, probability: float) -> None:
    """Fix the probability of domain shift."""

    def shifted(*given: object, **more: object) -> object:
        found = match_family(*given, **more)  # type: ignore[arg-type]
        assert found is not None
        return replace(found, shifted=probability)

    monkeypatch.setattr(heads, "match_family", shifted)


def test_plants_of_rendered_or_unknown_families_get_none(owner: Generator, world: World) -> None:
    assert _family_match(owner, world, 3, _names("family-3")) == []
    assert _family_match(owner, world, OUT_OF_FAMILY, _names("unknown")) == []


def test_a_shifted_mean_puts_the_augmented_head_first(
    owner: Generator, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shifted(monkeypatch, 2 * SHIFT_LIKELY)
    first, second = _family_match(owner, world, 2, _names("family-2"))
    assert first.tensors[HEAD_WEIGHT][0, 0] > 100 > second.tensors[HEAD_WEIGHT][0, 0]


def test_a_zoo_of_rendered_tasks_has_none_and_its_package_says_nothing(
    generator: Generator, zoo_tasks: list[ZooTask], world: World
) -> None:
    assert collect(zoo_tasks) is None
    assert b"own_kinds" not in package.pack(generator.parts)
    assert _family_match(generator, world, 2, LABELS) == []


def test_the_operators_families_go_through_the_package(owner: Generator) -> None:
    again = package.unpack(package.pack(owner.parts)).operator_families
    before = owner.parts.operator_families
    assert again is not None
    assert before is not None
    assert (again.names, again.families) == (before.names, before.families)
    for name, value in before.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"head": np.full(120, 99)},
        {"head": np.full(120, -2)},
        {"entry": np.zeros(120, np.int64)},
        {"entry": np.arange(30).repeat(4)[::-1]},
        {"names": ("one",)},
        {"families": ("one",)},
        {"weight": np.zeros((24, LOCAL), np.float32)},
        {"bias": np.zeros((2, 3), np.float32)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    tasks: list[ZooTask], wrong: dict[str, object]
) -> None:
    good = collect(tasks)
    assert isinstance(good, OperatorFamilies)
    given: dict[str, object] = {**good.arrays(), "names": good.names, "families": good.families}
    given |= wrong
    names, families = given.pop("names"), given.pop("families")
    with pytest.raises(DecodeError, match="operator's families"):
        heads.read(given, names, families)  # type: ignore[arg-type]
