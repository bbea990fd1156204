"""The benchmark of unseen cameras: its parts, on made-up numbers."""

from __future__ import annotations

import numpy as np
import pytest
from bench import camera
from bench import camera_baselines as baselines
from bench import camera_latents as latents
from bench import camera_sets as sets
from bench import camera_space as space

from wg_common.modalities.cameras import Camera, draw_camera


@pytest.mark.parametrize("seed", range(20))
def test_a_camera_is_its_numbers(seed: int) -> None:
    drawn = draw_camera(np.random.default_rng(seed), strength=1.0, mounted=False)
    again = sets.camera_of(sets.described(drawn))
    for one, other in zip(sets.described(drawn), sets.described(again), strict=True):
        if drawn.emboss > 0.1 or drawn.emboss == 0:
            assert one == pytest.approx(other, abs=1e-9)
    assert sets.camera_of(sets.described(Camera())) == Camera(blur=1)


def test_a_setting_is_chosen_on_the_other_sets_only() -> None:
    found = {
        "a": {"r @1": [1.0, 0.0], "r @2": [0.0, 0.0]},
        "b": {"r @1": [0.2, 0.0], "r @2": [0.4, 0.0]},
        "c": {"r @1": [0.2, 0.0], "r @2": [0.4, 0.0]},
    }
    assert camera._chosen("a", found)["r"] == [0.0, 0.0]
    assert camera._chosen("b", found)["r"] == [0.2, 0.0]


def test_another_plants_condition_has_the_setting_of_the_right_one() -> None:
    wrong = f"r{baselines.WRONG}"
    found = {
        "a": {"r @1": [1.0, 0.0], "r @2": [0.0, 0.0], f"{wrong} @1": [0.1], f"{wrong} @2": [0.9]},
        "b": {"r @1": [1.0, 0.0], "r @2": [0.0, 0.0], f"{wrong} @1": [0.1], f"{wrong} @2": [0.9]},
    }
    assert camera._chosen("a", found)[wrong] == [0.1]


def test_no_plant_keeps_its_own_head() -> None:
    heads = [space.Head(np.full((2, 3), float(n)), np.zeros(2)) for n in range(7)]
    given = [int(head.weight[0, 0]) for head in baselines.another(heads)]
    assert all(own != other for own, other in enumerate(given))
    assert sorted(given[:6]) == list(range(6))


def test_records_that_the_family_head_knows_move_nothing_under_a_large_penalty() -> None:
    seen = _zoo(sites=1).together()
    head = space.around(space.Seen(seen.z, np.eye(2)[seen.y] * 9, seen.y), 100.0)
    assert np.abs(head.weight).max() < 1e-3


def test_latents_follow_the_condition_of_a_camera_that_turns_a_feature_about() -> None:
    zoo, turned = _zoo(sites=60), np.tile([-1.0, 1.0], 30)
    condition = space.Condition(
        name="which",
        clean=turned[:, None],
        noise=np.array([0.1]),
        turn=np.eye(1),
        plants=np.array([[1.0], [-1.0]]),
    )
    found = latents.learn(zoo, condition, 0.001, seed=0)
    one, other = (found.head(row, 2) for row in found.asked)
    for head, site in ((one, 1), (other, 0)):
        plant = zoo.only(np.array([site])).together()
        assert plant.right(head) > 0.9
    samples = latents.flow(found, condition, seed=0)
    assert samples.shape == (latents.SAMPLES, 2, latents.LATENTS)
    assert np.isfinite(samples).all()
    own = zoo.only(np.array([0])).together()
    moved = latents.tuned(found, own, found.asked[0], 1e-3)
    assert own.right(found.head(moved, 2)) > own.right(one)


def _zoo(sites: int) -> space.Seen:
    """Two classes that one feature tells apart, with its sign by the site; nothing known yet."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1] * 10, (sites, 1))
    z = rng.normal(0, 0.3, (sites, 20, 3))
    z[..., 0] += (2 * y - 1) * (np.arange(sites) % 2 * 2.0 - 1)[:, None]
    return space.Seen(z.astype(np.float32), np.zeros((sites, 20, 2)), y.astype(np.int64))
