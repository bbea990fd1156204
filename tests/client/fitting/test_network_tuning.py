"""Fine-tuning of whole networks: small networks, few images, few steps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.conftest import pictures

from wg_client.fitting import network_tuning
from wg_client.fitting.backbone import Tensors, network_trunk
from wg_client.fitting.folds import Folds, stratified
from wg_client.fitting.linear_head import NEVER, Ints, LinearHead, log_loss
from wg_client.fitting.local_models import fit_local
from wg_client.fitting.network_tuning import NetworkTuner, Snapshot, fine_tune, lengths_for
from wg_common.nets import network
from wg_core.privacy.schema import DIMENSION

Records = tuple[NDArray[np.uint8], Ints]


def _records(per_class: int, seed: int, classes: tuple[int, ...] = (0, 1, 2)) -> Records:
    rng = np.random.default_rng(seed)
    images = np.concatenate([pictures(rng, label, per_class) for label in classes])
    return network.prepared("cnn-m", images), np.repeat(
        np.array(classes, dtype=np.int64), per_class
    )


def _base() -> Tensors:
    return network.draw_trunk("cnn-m", np.random.default_rng(3))


def _head(classes: int = 3) -> LinearHead:
    weight = np.random.default_rng(4).normal(size=(classes, DIMENSION)) / 8
    return LinearHead(weight, np.zeros(classes))


def _run(records: Records, stops: tuple[int, ...], seed: int = 5) -> list[Snapshot]:
    rng = np.random.default_rng(seed)
    return list(fine_tune("cnn-m", _base(), _head(), *records, stops, rng))


def _loss(snapshot: Snapshot, records: Records) -> float:
    features = network_trunk("cnn-m", snapshot.trunk, records[0]).features
    return float(log_loss(snapshot.head.logits(features), records[1]).mean())


def test_no_step_changes_nothing_and_steps_lower_the_training_loss() -> None:
    records = _records(8, 1)
    start, end = _run(records, (0, 25))
    for name, value in _base().items():
        np.testing.assert_array_equal(start.trunk[name], value)
        assert not np.array_equal(end.trunk[name], value), name
    np.testing.assert_allclose(start.head.weight, _head().weight, atol=1e-6)
    assert _loss(end, records) < _loss(start, records)


def test_the_same_seed_gives_the_same_bits_whatever_the_stops() -> None:
    records = _records(5, 2)
    (direct,) = _run(records, (6,))
    *_, looked_at = _run(records, (0, 2, 4, 6))
    (other,) = _run(records, (6,), seed=6)
    np.testing.assert_array_equal(direct.head.weight, looked_at.head.weight)
    for name, value in direct.trunk.items():
        np.testing.assert_array_equal(value, looked_at.trunk[name])
    assert not np.array_equal(direct.head.weight, other.head.weight)


def test_rows_of_classes_without_records_are_left_alone() -> None:
    *_, end = _run(_records(5, 3, classes=(0, 2)), (3,))
    head = _head()
    np.testing.assert_array_equal(end.head.weight[1], head.weight[1])
    assert end.head.bias[1] == head.bias[1]
    assert not np.allclose(end.head.weight[[0, 2]], head.weight[[0, 2]])


def test_one_record_can_be_trained_on() -> None:
    *_, end = _run(_records(1, 3, classes=(1,)), (2,))
    assert all(np.isfinite(value).all() for value in end.trunk.values())


def test_more_records_are_trained_on_for_longer_within_bounds() -> None:
    few, some, many = lengths_for(10), lengths_for(800), lengths_for(10**6)
    assert few == tuple(network_tuning.LENGTHS) and few[0] == some[0] == many[0] == 0
    assert some[-1] == 2 * few[-1] and many[-1] == 4 * few[-1]


def _tune(records: Records, classes: int, progress: list[tuple[int, int]]) -> tuple[Tensors, Folds]:
    images, labels = records
    folds = stratified(labels, np.random.default_rng(1))
    trunk = network_trunk("cnn-m", _base(), images)
    fitted = fit_local(trunk.features, labels, classes, folds)
    tuner = NetworkTuner(
        architecture="cnn-m",
        inputs=images,
        labels=labels,
        seed=7,
        progress=lambda done, total: progress.append((done, total)),
    )
    tensors, tuned = tuner.tune(trunk.tensors, fitted, folds)
    _, again = tuner.tune(trunk.tensors, fitted, folds)
    np.testing.assert_array_equal(tuned.head.weight, again.head.weight)
    assert tuned.predictions.shape == tuned.losses.shape == (1, len(labels))
    assert set(np.unique(tuned.predictions)) <= set(labels)
    assert int(tuned.settings["steps"]) in lengths_for(len(labels))
    assert "learner" in tuned.settings
    unseen = np.setdiff1d(np.arange(classes), labels)
    assert (tuned.head.bias[unseen] < NEVER * 1e-3).all()  # still never predicted
    return tensors, folds


def test_the_length_is_chosen_and_progress_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 2: -1e6})
    told: list[tuple[int, int]] = []
    trunk, folds = _tune(_records(6, 8), 4, told)
    assert any(not np.array_equal(value, _base()[name]) for name, value in trunk.items())
    total = 2 * (folds.count * (folds.count + 1) // 2 + 1)
    assert told[-1] == (total, total)
    assert all(done <= total for done, _ in told)


def test_no_training_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 2: 1e6})
    trunk, _ = _tune(_records(6, 8), 3, [])
    for name, value in trunk.items():
        np.testing.assert_array_equal(value, _base()[name])


def test_without_two_folds_the_head_is_kept_as_it_is() -> None:
    images, labels = _records(1, 9, classes=(1,))
    folds = stratified(labels, np.random.default_rng(1))
    trunk = network_trunk("cnn-m", _base(), images)
    fitted = fit_local(trunk.features, labels, 3, folds)
    tuner = NetworkTuner(architecture="cnn-m", inputs=images, labels=labels, seed=7)
    assert tuner.tune(trunk.tensors, fitted, folds) == (trunk.tensors, fitted)


def test_networks_on_envelope_spectra_are_tuned_and_exported_as_others() -> None:
    rng = np.random.default_rng(8)
    windows = [rng.normal(size=(1, 1200)) ** (1 + 2 * (row % 2)) for row in range(12)]
    batch, labels = network.prepared("spectrum-lines", windows), np.arange(12) % 2
    trunk = network.draw_trunk("spectrum-lines", rng)
    snapshots = list(fine_tune("spectrum-lines", trunk, _head(2), batch, labels, (0, 20), rng))
    losses = [
        log_loss(
            s.head.logits(network_trunk("spectrum-lines", s.trunk, batch).features), labels
        ).mean()
        for s in snapshots
    ]
    assert losses[1] < losses[0]
