"""DP-SGD: charged first, sampled as charged, bounded per unit, and still able to learn."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from wg_client.release import dp_training as dp
from wg_core.errors import BudgetExceeded, ConfigError, DataError, InternalError, PolicyRefused
from wg_core.privacy import accounting
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.mechanism import opendp_sampler
from wg_core.privacy.simulate import simulate_release

K, D = 3, 6


def plan(**changes: Any) -> dp.DpTrainingPlan:
    fields: dict[str, Any] = {
        "sampling_probability": 0.2,
        "noise_multiplier": 1.0,
        "steps": 40,
        "clip_norm": 1.0,
        "learning_rate": 1.0,
        "expected_batch": 40.0,
    }
    return dp.DpTrainingPlan(**(fields | changes))


def seeded(seed: int) -> Callable[[int], bytes]:
    rng = np.random.default_rng(seed)
    return lambda count: rng.bytes(count)


def noise(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return lambda exact, sigma: simulate_release(exact, sigma, rng)


def silent(exact: NDArray[np.int64], _: float) -> NDArray[np.int64]:
    return exact


def blobs(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, n)
    x = 2.0 * np.eye(K, D)[y] + rng.normal(0, 0.5, size=(n, D))
    return x.astype(np.float32), y.astype(np.int64)


def free(_: PrivacyEvent) -> None:
    """A ledger that takes everything."""


def trained(**changes: Any) -> dp.DpCheckpoint:
    x, y = blobs(200)
    arguments: dict[str, Any] = {"charge": free, "random": seeded(1), "sampler": noise(2)}
    return dp.train(changes.pop("plan", plan()), x, y, K, **(arguments | changes))


def log_of(batches: list[NDArray[np.int64]], units: int) -> dp.SamplingLog:
    inclusions = np.zeros(units, dtype=np.int64)
    for batch in batches:
        np.add.at(inclusions, batch, 1)
    return dp.SamplingLog(dp.SAMPLER, units, tuple(len(batch) for batch in batches), inclusions)


def test_the_charge_comes_before_any_record_is_touched() -> None:
    order: list[str] = []
    source = seeded(0)

    def random(count: int) -> bytes:
        order.append("sampled")
        return source(count)

    trained(charge=lambda _: order.append("charged"), random=random)
    assert order[0] == "charged"
    assert order.count("charged") == 1
    assert order.count("sampled") == 40


def test_a_refused_charge_leaves_no_checkpoint_and_samples_nothing() -> None:
    def refuse(_: PrivacyEvent) -> None:
        raise BudgetExceeded("the cap is spent")

    def random(_: int) -> bytes:
        raise AssertionError("sampled after a refusal")

    with pytest.raises(BudgetExceeded):
        trained(charge=refuse, random=random)


def test_what_is_charged_is_what_is_done() -> None:
    charged: list[PrivacyEvent] = []
    checkpoint = trained(charge=charged.append)
    assert charged == [checkpoint.event] == [plan().event]
    assert checkpoint.event.steps == 40
    assert float(checkpoint.event.sampling_probability) == 0.2
    assert float(checkpoint.event.noise_multiplier) == 1.0
    assert len(checkpoint.log.batch_sizes) == 40


def test_the_least_noise_within_the_budget_is_planned() -> None:
    found = dp.plan_for(2.0, 1e-5, sampling_probability=0.05, steps=60, expected_batch=10.0)
    assert accounting.epsilon([found.event], 1e-5) <= 2.0
    less = dataclasses.replace(found, noise_multiplier=round(found.noise_multiplier - 1e-3, 3))
    assert accounting.epsilon([less.event], 1e-5) > 2.0


@pytest.mark.parametrize("units", [50.0, 1e6])
def test_by_default_the_noise_of_all_steps_leaves_each_weight_with_a_deviation_of_one(
    units: float,
) -> None:
    found = dp.plan_for(4.0, 1e-5, expected_batch=units, steps=25)
    step = found.learning_rate / found.expected_batch
    noise = step * found.noise_multiplier * found.clip_norm * np.sqrt(found.steps)
    assert found.sampling_probability == 1.0 and found.learning_rate <= dp.LARGEST_RATE
    assert noise == pytest.approx(1.0) or (noise < 1 and found.learning_rate == dp.LARGEST_RATE)
    assert (units > 1e5) == (noise < 0.99), "the bound is for more records than plants have"


def test_steps_are_those_of_the_closed_form_that_benchmarks_simulate() -> None:
    x, y = blobs(30)
    full = plan(sampling_probability=1.0, steps=6, expected_batch=30.0, learning_rate=5.0)
    found = dp.train(full, x, y, K, charge=free, sampler=silent).tensors
    inputs, targets = np.hstack([x, np.ones((30, 1))]), np.eye(K)[y]
    weight, kept = np.zeros((K, D + 1)), np.zeros((K, D + 1))
    for step in range(6):
        odds = np.exp(inputs @ weight.T)
        error = odds / odds.sum(axis=1, keepdims=True) - targets
        norms = np.linalg.norm(error, axis=1) * np.linalg.norm(inputs, axis=1)
        clipped = error / np.maximum(norms / full.clip_norm, 1.0)[:, None]
        weight -= full.learning_rate / 30.0 * clipped.T @ inputs
        kept += weight / 3 * (step >= 3)
    together = np.hstack([found["head.weight"], found["head.bias"][:, None]])
    np.testing.assert_allclose(together, kept, atol=5e-3)


def test_a_head_learns_under_privacy() -> None:
    x, y = blobs(600)
    found = dp.plan_for(4.0, 1e-5, sampling_probability=0.1, steps=60, expected_batch=60.0)
    checkpoint = dp.train(found, x, y, K, charge=free, random=seeded(3), sampler=noise(4))
    test_x, test_y = blobs(400, seed=9)
    logits = test_x @ checkpoint.tensors["head.weight"].T + checkpoint.tensors["head.bias"]
    assert (logits.argmax(axis=1) == test_y).mean() > 0.9


def test_tensors_have_the_heads_names_shapes_and_type() -> None:
    tensors = trained().tensors
    assert {name: value.shape for name, value in tensors.items()} == {
        "head.weight": (K, D),
        "head.bias": (K,),
    }
    assert all(value.dtype == np.float32 for value in tensors.values())


def test_the_installed_sampler_and_noise_are_the_operating_systems() -> None:
    short = plan(steps=4)
    one, other = (trained(plan=short, random=os.urandom, sampler=opendp_sampler) for _ in range(2))
    assert not np.array_equal(one.tensors["head.weight"], other.tensors["head.weight"])
    defaults = dp.train.__kwdefaults__
    assert defaults is not None
    assert defaults["random"] is os.urandom
    assert defaults["sampler"] is opendp_sampler


def sums_of(x: Any, y: Any, units: list[str] | None) -> NDArray[np.int64]:
    """The exact integer sum of the first step, with everyone in it."""
    seen: list[NDArray[np.int64]] = []

    def watch(exact: NDArray[np.int64], _: float) -> NDArray[np.int64]:
        seen.append(exact)
        return exact

    everyone = plan(steps=1, sampling_probability=1.0)
    dp.train(everyone, x, y, K, charge=free, units=units, sampler=watch)
    return seen[0]


def test_no_unit_moves_a_step_by_more_than_the_clip_norm() -> None:
    rng = np.random.default_rng(5)
    grid = 1 << dp.GRID_BITS
    for scale in (0.01, 1.0, 1e4, 1e30):
        x = (rng.normal(size=(30, D)) * scale).astype(np.float32)
        y = rng.integers(0, K, 30)
        units = [f"u{i}" for i in rng.integers(0, 8, 30)]
        for names in (None, units):
            whole = sums_of(x, y, names)
            for unit in sorted(set(units)) if names else range(5):
                keep = np.array([n != unit for n in (names or range(30))])
                left = None if names is None else [n for n, k in zip(names, keep, strict=True) if k]
                change = whole - sums_of(x[keep], y[keep], left)
                assert sum(int(v) ** 2 for v in change) <= grid**2


def test_a_records_gradient_does_not_depend_on_its_batch_to_the_last_bit() -> None:
    # The matrix products of torch round differently for different numbers of rows.
    rng = np.random.default_rng(6)
    x = rng.normal(size=(150, 64)).astype(np.float32)
    y = rng.integers(0, 10, 150)
    start = {
        "head.weight": rng.normal(size=(10, 64)).astype(np.float32),
        "head.bias": rng.normal(size=10).astype(np.float32),
    }
    seen: list[NDArray[np.int64]] = []

    def watch(exact: NDArray[np.int64], _: float) -> NDArray[np.int64]:
        seen.append(exact)
        return exact

    def total(rows: Any) -> NDArray[np.int64]:
        everyone = plan(steps=1, sampling_probability=1.0)
        dp.train(everyone, x[rows], y[rows], 10, charge=free, start=start, sampler=watch)
        return seen[-1]

    alone = [total([row]) for row in range(150)]
    for size in (1, 2, 63, 64, 65, 128, 129, 150):
        assert np.array_equal(total(np.arange(size)), sum(alone[:size]))
    order = rng.permutation(150)
    assert np.array_equal(total(order), sum(alone))


def test_a_gradient_is_computed_with_one_record_in_the_tensors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The construction itself: which products round by place depends on the machine.
    seen: list[tuple[int, ...]] = []
    original = torch.nn.functional.cross_entropy

    def watch(logits: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        seen.append((len(logits), torch.get_num_threads()))
        return original(logits, *rest, **named)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", watch)
    rng = np.random.default_rng(8)
    sums_of(rng.normal(size=(3, D)).astype(np.float32), np.arange(3) % K, None)
    assert seen == [(1, 1)] * 3


def test_a_broken_record_counts_as_nothing() -> None:
    x, y = blobs(4)
    x[0] = np.nan
    good = sums_of(x[1:], y[1:], None)
    assert np.array_equal(sums_of(x, y, None), good)


def test_gradients_are_those_of_autograd() -> None:
    x, y = blobs(5)
    grid = 1 << dp.GRID_BITS
    expected = np.zeros(K * D + K)
    for row, label in zip(x, y, strict=True):
        weight = torch.zeros(K, D, requires_grad=True)
        bias = torch.zeros(K, requires_grad=True)
        logits = torch.from_numpy(row) @ weight.T + bias
        loss = torch.nn.functional.cross_entropy(logits[None], torch.tensor([label]))
        grads = torch.autograd.grad(loss, [weight, bias])
        flat = torch.cat([g.flatten() for g in grads]).numpy()
        expected += flat * min(1.0, 1.0 / float(np.linalg.norm(flat)))
    assert sums_of(x, y, None) / grid == pytest.approx(expected, abs=1e-3)


def test_an_empty_step_is_noise_only() -> None:
    rare = plan(sampling_probability=1e-9, steps=3)
    checkpoint = trained(plan=rare, sampler=silent)
    assert checkpoint.log.batch_sizes == (0, 0, 0)
    assert not checkpoint.tensors["head.weight"].any()


def test_training_starts_from_the_public_head_that_is_given() -> None:
    start = {
        "head.weight": np.full((K, D), 0.5, dtype=np.float32),
        "head.bias": np.zeros(K, dtype=np.float32),
    }
    rare = plan(sampling_probability=1e-9, steps=2)
    checkpoint = trained(plan=rare, sampler=silent, start=start)
    assert np.array_equal(checkpoint.tensors["head.weight"], start["head.weight"])


def test_poisson_batches_include_each_unit_at_its_rate_and_independently() -> None:
    # 500 units, 2000 steps at .1: deviations are 0.0003 of the rate, 1.4 of the sizes' variance,
    # and 4.5 of the 20 steps that two given units share.
    batches = list(dp.poisson_batches(500, 0.1, 2000, seeded(0)))
    log = log_of(batches, 500)
    assert log.inclusions.sum() / 1e6 == pytest.approx(0.1, abs=0.0015)
    sizes = np.array(log.batch_sizes)
    assert sizes.var() == pytest.approx(45.0, rel=0.16)
    both = sum(bool(np.isin([0, 1], batch).all()) for batch in batches)
    assert both == pytest.approx(20, abs=23)
    dp.verify_sampling(log, plan(sampling_probability=0.1, steps=2000))


def test_a_probability_of_one_takes_everyone() -> None:
    (batch,) = dp.poisson_batches(50, 1.0, 1, lambda count: b"\xff" * count)
    assert batch.tolist() == list(range(50))


def test_honest_sampling_is_not_called_wrong() -> None:
    for seed, (units, q, steps) in enumerate(
        [(1, 0.5, 1), (3, 0.01, 5), (40, 0.5, 200), (500, 0.02, 100), (100, 1.0, 10), (7, 0.9, 3)]
    ):
        log = log_of(list(dp.poisson_batches(units, q, steps, seeded(seed))), units)
        dp.verify_sampling(log, plan(sampling_probability=q, steps=steps))


def test_shuffled_batches_of_fixed_size_are_found() -> None:
    rng = np.random.default_rng(0)
    batches = [part for _ in range(8) for part in np.split(rng.permutation(200), 5)]
    with pytest.raises(InternalError, match="variation of sizes"):
        dp.verify_sampling(log_of(batches, 200), plan())


def test_a_rate_other_than_the_charged_one_is_found() -> None:
    log = log_of(list(dp.poisson_batches(200, 0.4, 40, seeded(0))), 200)
    with pytest.raises(InternalError, match="rate"):
        dp.verify_sampling(log, plan())


def test_a_unit_that_is_always_in_is_found() -> None:
    batches = [np.union1d(batch, [3]) for batch in dp.poisson_batches(200, 0.2, 400, seeded(0))]
    with pytest.raises(InternalError, match="inclusions of a unit"):
        dp.verify_sampling(log_of(batches, 200), plan(steps=400))


@pytest.mark.parametrize(
    "changes",
    [{"sampler": "shuffle"}, {"batch_sizes": (1, 2)}, {"units": 199}],
)
def test_a_log_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    log = log_of(list(dp.poisson_batches(200, 0.2, 40, seeded(0))), 200)
    with pytest.raises(InternalError, match="not as charged"):
        dp.verify_sampling(dataclasses.replace(log, **changes), plan())


def test_a_biased_source_of_coins_yields_no_checkpoint() -> None:
    with pytest.raises(InternalError, match="not as charged"):
        trained(random=lambda count: bytes(count))


def opacus_rate(loader: DataLoader[Any], records: int) -> float:
    """The sampling rate that Opacus' engine takes from a loader."""
    from opacus import PrivacyEngine

    module = torch.nn.Linear(D, K)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    _, _, private = PrivacyEngine().make_private(
        module=module,
        optimizer=optimizer,
        data_loader=loader,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    return float(private.sample_rate)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Opacus warns that its noise is not secure
def test_a_weighted_sampler_falsifies_opacus_rate_and_not_ours() -> None:
    """Opacus issue 813: 32 of 1000 records an epoch, in batches of 8: a rate of 1/4, not .008."""
    x, y = blobs(1000)
    weighted = WeightedRandomSampler([1.0] * 1000, num_samples=32, replacement=True)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader: DataLoader[Any] = DataLoader(data, batch_size=8, sampler=weighted)
    assert opacus_rate(loader, 1000) == pytest.approx(0.25)

    ours = plan(sampling_probability=0.008, steps=50, expected_batch=8.0)
    checkpoint = dp.train(ours, x, y, K, charge=free, random=seeded(1), sampler=noise(1))
    assert float(checkpoint.event.sampling_probability) == 0.008
    assert sum(checkpoint.log.batch_sizes) / 50_000 == pytest.approx(0.008, abs=0.002)

    # What such a sampler draws is no Poisson sampling at any rate, and is refused.
    generator = torch.Generator().manual_seed(0)
    drawn = WeightedRandomSampler([1.0] * 1000, 8, replacement=True, generator=generator)
    batches = [np.unique(np.fromiter(drawn, dtype=np.int64)) for _ in range(50)]
    with pytest.raises(InternalError, match="not as charged"):
        dp.verify_sampling(log_of(batches, 1000), plan(sampling_probability=0.25, steps=50))


BAD_PLANS: list[tuple[type[Exception], dict[str, Any]]] = [
    (ConfigError, {"sampling_probability": 0.0}),
    (ConfigError, {"sampling_probability": 1.1}),
    (ConfigError, {"steps": 0}),
    (ConfigError, {"clip_norm": -1.0}),
    (ConfigError, {"learning_rate": float("inf")}),
    (ConfigError, {"expected_batch": 0.0}),
    (ConfigError, {"noise_multiplier": 0.0}),
    (PolicyRefused, {"noise_multiplier": 0.09}),
]


@pytest.mark.parametrize(("error", "changes"), BAD_PLANS)
def test_a_plan_that_makes_no_sense_is_refused(
    error: type[Exception], changes: dict[str, Any]
) -> None:
    with pytest.raises(error):
        plan(**changes)


def test_data_that_does_not_fit_is_refused_before_the_charge() -> None:
    def charge(_: PrivacyEvent) -> None:
        raise AssertionError("charged for nothing")

    x, y = blobs(10)
    cases: tuple[tuple[Any, Any, list[str] | None], ...] = (
        (x.astype(np.float64), y, None),
        (x, y.astype(np.int32), None),
        (x, y[:-1], None),
        (x, y + K, None),
        (x, y, ["u"]),
    )
    for bad_x, bad_y, units in cases:
        with pytest.raises(DataError):
            dp.train(plan(), bad_x, bad_y, K, charge=charge, units=units)
