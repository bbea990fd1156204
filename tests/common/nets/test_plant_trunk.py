"""Trunks that are fitted on a plant's windows."""

import itertools

import numpy as np
import pytest
import torch

from wg_common.nets.encoder.minirocket import KERNEL_COUNT, MiniRocket
from wg_common.nets.encoder.plant_trunk import PlantTrunk
from wg_common.nets.encoder.projected_trunk import plant_features
from wg_core.errors import DataError


def _windows(count: int, channels: int, time: int) -> np.ndarray:
    rng = np.random.default_rng((channels, time))
    return rng.normal(size=(count, channels, time)).cumsum(axis=2).astype(np.float32)


def _slow(rocket: MiniRocket, window: np.ndarray, number: int, kernel: int) -> list[float]:
    """Shares of one kernel at one dilation, place by place."""
    places = list(itertools.combinations(range(9), 3))[kernel]
    weights = [2.0 if j in places else -1.0 for j in range(9)]
    mixed = rocket.mixes[number, kernel].numpy() @ window
    dilation, time = rocket._dilations[number], len(mixed)
    answers = []
    for place in range(time):
        at = [place + (j - 4) * dilation for j in range(9)]
        answers.append(sum(w * mixed[t] for w, t in zip(weights, at, strict=True) if 0 <= t < time))
    if (number + kernel) % 2:
        answers = answers[4 * dilation : time - 4 * dilation]
    start = sum(rocket._counts[:number])
    thresholds = rocket.thresholds[start : start + rocket._counts[number], kernel].numpy()
    return [float(np.mean(np.array(answers) > level)) for level in thresholds]


@pytest.mark.parametrize(("channels", "time"), [(1, 40), (3, 150)])
def test_shares_are_those_of_the_paper(channels: int, time: int) -> None:
    windows = _windows(6, channels, time)
    rocket = MiniRocket.fit(windows, np.random.default_rng(0), 40 * KERNEL_COUNT)
    shares, start = rocket.features(windows[:1])[0], 0
    for number, count in enumerate(rocket._counts):
        block = shares[start : start + KERNEL_COUNT * count].reshape(2, count, KERNEL_COUNT // 2)
        for kernel in (0, 17, 83):
            turn = (kernel + number) % 2
            expected = _slow(rocket, windows[0], number, kernel)
            np.testing.assert_allclose(block[turn, :, kernel // 2], expected, atol=0.03)
        start += KERNEL_COUNT * count
    assert start == len(shares)


def test_what_is_stored_gives_the_same_features() -> None:
    windows = list(_windows(5, 2, 64))
    fitted = PlantTrunk.fit(windows)
    again = PlantTrunk.from_tensors(fitted.tensors())
    features = plant_features(fitted, "windows", windows)
    assert features.shape == (5, fitted.width) and np.ptp(features, axis=0).any()
    np.testing.assert_array_equal(plant_features(again, "windows", windows), features)


def test_the_level_of_a_channel_stands_in_a_block_of_its_own() -> None:
    windows = _windows(5, 2, 64)
    fitted = PlantTrunk.fit(list(windows))
    window, shares = windows[0], fitted.local_block_sizes[0]
    features = plant_features(
        fitted, "windows", [window, window + np.array([[1], [0]], np.float32)]
    )
    moments, spectra = np.split(features[:, shares:], [fitted.local_block_sizes[1]], axis=1)
    mean = moments[1] - moments[0]
    assert mean[0] == pytest.approx(1, abs=1e-5) and not mean[len(mean) // 2 :].any()
    np.testing.assert_allclose(spectra[1], spectra[0], atol=1e-3)


def test_windows_of_other_shapes_have_features() -> None:
    fitted = PlantTrunk.fit(list(_windows(5, 2, 64)))
    others = [_windows(1, 1, 64)[0], _windows(1, 3, 20)[0], 1e13 * _windows(1, 2, 300)[0]]
    features = np.concatenate([plant_features(fitted, "windows", [one]) for one in others])
    assert np.isfinite(features).all() and (np.abs(features).max(axis=1) > 0).all()
    with pytest.raises(DataError):
        plant_features(fitted, "windows", [np.full((2, 64), np.nan, np.float32)])


def test_a_plant_of_silent_windows_can_be_fitted() -> None:
    fitted = PlantTrunk.fit([np.zeros((1, 12), np.float32)] * 2)
    assert torch.isfinite(fitted.prepare([np.zeros((1, 12), np.float32)])).all()
    assert not np.isnan(plant_features(fitted, "windows", [np.zeros((1, 12), np.float32)])).any()
