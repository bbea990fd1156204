from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_common import catalogue
from wg_common.nets import lite0, network
from wg_core.errors import ConfigError
from wg_server.generator.weights.weight_plan import RANK, weight_plan

Arrays = dict[str, np.ndarray]


def _delta(architecture: str, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = network.own_shapes(architecture)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("architecture", list(catalogue.NETWORKS))
@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=5, deadline=None)
def test_widest_delta_round_trips_exactly(architecture: str, seed: int) -> None:
    plan = weight_plan(architecture, catalogue.known(architecture).widest("whole"))
    delta = _delta(architecture, seed)
    again = plan.delta(plan.tokens(delta))
    assert list(again) == list(delta)
    assert all(np.array_equal(again[name], delta[name]) for name in delta)


@pytest.mark.parametrize("name", catalogue.WEIGHT_PLANS)
@pytest.mark.parametrize("architecture", ["cnn-s", "cnn1d-s"])
@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=3, deadline=None)
def test_tokens_round_trip(architecture: str, name: str, seed: int) -> None:
    plan = weight_plan(architecture, name)
    tokens = plan.tokens(_delta(architecture, seed))
    again = plan.tokens(plan.delta(tokens))
    assert list(again) == list(tokens)
    for part in tokens:
        # Exact, but for the rounding of a second singular value decomposition.
        tolerance = 1e-5 if name == "low-rank" else 0.0
        np.testing.assert_allclose(again[part], tokens[part], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", catalogue.WEIGHT_PLANS)
@pytest.mark.parametrize("architecture", ["cnn-s", "cnn1d-s"])
def test_what_is_not_planned_stays_the_base(architecture: str, name: str) -> None:
    plan = weight_plan(architecture, name)
    planned = {tensor for part in plan.parts for tensor, _ in part.tensors}
    delta = plan.delta(plan.tokens(_delta(architecture, 1)))
    assert all(value.any() == (tensor in planned) for tensor, value in delta.items())


@pytest.mark.parametrize("architecture", ["cnn-s", "cnn-m", "cnn-l", "cnn1d-s", "cnn1d-m"])
def test_plans_are_nested(architecture: str) -> None:
    def names(plan: str) -> set[str]:
        return {part.name for part in weight_plan(architecture, plan).parts}

    assert names("head") == set()
    assert names("norm") < names("whole")
    assert names("layers") < names("whole")
    assert names("low-rank") == names("whole")


def test_lite0_has_norms_and_mixtures_of_its_last_blocks() -> None:
    def names(plan: str) -> set[str]:
        return {part.name for part in weight_plan("lite0", plan).parts}

    assert names("head") == set()
    mixtures = names("low-rank") - names("norm")
    assert all(name.endswith("norm") for name in names("norm"))
    assert mixtures == {
        *(f"blocks.{number}.{layer}" for number in range(8, 16) for layer in ("expand", "project")),
        "last",
    }
    sizes = {part.size for part in weight_plan("lite0", "low-rank").parts if part.name in mixtures}
    assert sizes == {lite0.RANK**2}


@pytest.mark.parametrize("name", ["head", "norm", "low-rank"])
@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=5, deadline=None)
def test_frozen_networks_tokens_round_trip_exactly(name: str, seed: int) -> None:
    plan = weight_plan("lite0", name)
    delta = _delta("lite0", seed)
    again = plan.delta(plan.tokens(delta))
    planned = {tensor for part in plan.parts for tensor, _ in part.tensors}
    for tensor, value in again.items():
        np.testing.assert_array_equal(value, delta[tensor] if tensor in planned else 0)


@pytest.mark.parametrize(
    ("architecture", "asked", "got"),
    [
        ("lite0", "whole", "low-rank"),
        ("lite0", "layers", "low-rank"),
        ("lite0", "norm", "norm"),
        ("cnn-m", "whole", "whole"),
    ],
)
def test_a_wider_plan_than_there_is_means_the_widest(
    architecture: str, asked: str, got: str
) -> None:
    assert catalogue.known(architecture).widest(asked) == got


def test_a_plan_that_nobody_knows_has_no_widest() -> None:
    with pytest.raises(ConfigError, match="weight plan 'nothing': expected one of head, norm"):
        catalogue.known("cnn-m").widest("nothing")


def test_low_rank_deltas_have_low_rank() -> None:
    delta = weight_plan("cnn-s", "low-rank")
    found = delta.delta(delta.tokens(_delta("cnn-s", 2)))
    matrix = found["trunk.blocks.4.conv.weight"].reshape(32, -1)
    assert np.linalg.matrix_rank(matrix, tol=1e-3) == RANK


@pytest.mark.parametrize("sizes", [("cnn-s", "cnn-m", "cnn-l"), ("cnn1d-s", "cnn1d-m")])
def test_sizes_of_a_kind_share_their_parts(sizes: tuple[str, ...]) -> None:
    for name in catalogue.WEIGHT_PLANS:
        found = {tuple(p.name for p in weight_plan(a, name).parts) for a in sizes}
        assert len(found) == 1


@pytest.mark.parametrize(("architecture", "name"), [("lite0-head", "head"), ("cnn-s", "half")])
def test_unknown_plans_are_refused(architecture: str, name: str) -> None:
    with pytest.raises(ConfigError, match="weight plan"):
        weight_plan(architecture, name)
