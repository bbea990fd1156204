from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_common.errors import ConfigError
from wg_common.nets import registry, whole
from wg_server.generator.networks.weight_plan import RANK, weight_plan

Arrays = dict[str, np.ndarray]


def _delta(architecture: str, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = whole.trunk_shapes(architecture)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("architecture", whole.KINDS)
@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=5, deadline=None)
def test_whole_delta_round_trips_exactly(architecture: str, seed: int) -> None:
    plan = weight_plan(architecture, "whole")
    delta = _delta(architecture, seed)
    again = plan.delta(plan.tokens(delta))
    assert list(again) == list(delta)
    assert all(np.array_equal(again[name], delta[name]) for name in delta)


@pytest.mark.parametrize("name", registry.NETWORK_PLANS)
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


@pytest.mark.parametrize("name", registry.NETWORK_PLANS)
@pytest.mark.parametrize("architecture", ["cnn-s", "cnn1d-s"])
def test_what_is_not_planned_stays_the_base(architecture: str, name: str) -> None:
    plan = weight_plan(architecture, name)
    planned = {tensor for part in plan.parts for tensor, _ in part.tensors}
    delta = plan.delta(plan.tokens(_delta(architecture, 1)))
    assert all(value.any() == (tensor in planned) for tensor, value in delta.items())


@pytest.mark.parametrize("architecture", whole.KINDS)
def test_plans_are_nested(architecture: str) -> None:
    def names(plan: str) -> set[str]:
        return {part.name for part in weight_plan(architecture, plan).parts}

    assert names("head") == set()
    assert names("norm") < names("whole")
    assert names("layers") < names("whole")
    assert names("low-rank") == names("whole")


def test_low_rank_deltas_have_low_rank() -> None:
    delta = weight_plan("cnn-s", "low-rank")
    found = delta.delta(delta.tokens(_delta("cnn-s", 2)))
    matrix = found["trunk.blocks.4.conv.weight"].reshape(32, -1)
    assert np.linalg.matrix_rank(matrix, tol=1e-3) == RANK


@pytest.mark.parametrize("kind", [whole.IMAGES, whole.WINDOWS])
def test_sizes_of_a_kind_share_their_parts(kind: whole.Kind) -> None:
    for name in registry.NETWORK_PLANS:
        found = {tuple(p.name for p in weight_plan(a, name).parts) for a in kind.widths}
        assert len(found) == 1


@pytest.mark.parametrize(("architecture", "name"), [("lite0-head", "head"), ("cnn-s", "half")])
def test_unknown_plans_are_refused(architecture: str, name: str) -> None:
    with pytest.raises(ConfigError, match="weight plan"):
        weight_plan(architecture, name)
