"""DP-SGD on site: the task head is trained privately, and the checkpoint may go to the zoo.

Abadi et al. 2016, Algorithm 1. Its two random parts are what the accounting assumes:

* *Poisson sampling.* Each privacy unit enters each step by its own coin from the operating system,
  with the probability that is charged. Opacus would infer it from the length of a data loader,
  which is wrong for other samplers (opacus issues 600 and 813). What was drawn is logged, and
  checked before a checkpoint exists.
* *Noise.* Opacus gives per-record gradients. Clipping, sums and noise are those of a statistics
  release: an integer grid, an exact check of the norm, and OpenDP's discrete Gaussian. Noise in
  floating point would not give what is charged.

*Guarantee.* One unit more or less moves each step's integer sum by an L2 norm of at most S = 2^14,
noised with ``noise_multiplier * S``: T steps are the subsampled Gaussian that
``plan.event`` says. A unit's gradient is the sum over its records, clipped as one. Edge cases: an
empty step is noise only; a gradient entry that is NaN or infinite counts as 0.

The charge comes first: ``train`` calls ``charge`` before it looks at a record, and when that raises
there is no checkpoint.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.nets.encoder import isolation
from wg_core.errors import ConfigError, DataError, InternalError, PolicyRefused
from wg_core.privacy import accounting, calibration, mechanism
from wg_core.privacy.events import NOISE_MULTIPLIER_MINIMUM, PrivacyEvent, dp_sgd_event
from wg_core.privacy.exact import quantise

logger = logging.getLogger(__name__)

GRID_BITS = 14
SAMPLER = "poisson/os-csprng"

Bytes = Callable[[int], bytes]
Charge = Callable[[PrivacyEvent], None]

SAMPLING_PROBABILITY = 1.0
STEPS = 100
LARGEST_RATE = 30.0
"""Of one step: on rendered sites longer ones overshoot at any noise."""

_MULTIPLIER_STEP = 1e-3
_MULTIPLIER_LIMIT = 1e3
_FALSE_ALARM = 1e-12
_COIN = np.dtype("<u8")


@dataclass(frozen=True, slots=True, kw_only=True)
class DpTrainingPlan:
    """A DP-SGD run. All of it is public; none of it may be derived from the private data.

    Attributes:
        sampling_probability: Probability q with which a unit enters a step.
        noise_multiplier: Noise over clip norm, sigma.
        steps: Number T of steps.
        clip_norm: L2 norm to which a unit's gradient is clipped.
        learning_rate: Of plain SGD on the noisy mean gradient.
        expected_batch: What noisy sums are divided by: q times a public guess of the number of
            units. A wrong guess only scales the learning rate.
    """

    sampling_probability: float
    noise_multiplier: float
    steps: int
    clip_norm: float
    learning_rate: float
    expected_batch: float

    def __post_init__(self) -> None:
        for name, good in (
            ("sampling_probability", 0 < self.sampling_probability <= 1),
            ("noise_multiplier", 0 < self.noise_multiplier < math.inf),
            ("steps", 0 < self.steps <= 1 << 20),
            ("clip_norm", 0 < self.clip_norm < math.inf),
            ("learning_rate", 0 < self.learning_rate < math.inf),
            ("expected_batch", 0 < self.expected_batch < math.inf),
        ):
            if not good:
                raise ConfigError(f"DP training plan: {name} is {getattr(self, name)!r}")
        if self.noise_multiplier < NOISE_MULTIPLIER_MINIMUM:
            raise PolicyRefused(f"noise multiplier {self.noise_multiplier!r} protects nothing")

    @property
    def event(self) -> PrivacyEvent:
        """What the run is charged as."""
        return dp_sgd_event(self.sampling_probability, self.noise_multiplier, self.steps)


@dataclass(frozen=True, slots=True)
class SamplingLog:
    """What a sampler drew. Private: it stays on site.

    Attributes:
        sampler: Which sampler it was.
        units: Number of privacy units.
        batch_sizes: Units in each step.
        inclusions: Steps in which each unit was, [units].
    """

    sampler: str
    units: int
    batch_sizes: tuple[int, ...]
    inclusions: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DpCheckpoint:
    """A privately trained head.

    Attributes:
        tensors: ``head.weight`` [K, d] and ``head.bias`` [K], float32. Safe to publish at the
            cost of ``event``.
        event: What was charged for it.
        log: What was sampled. Private.
    """

    tensors: dict[str, NDArray[np.float32]]
    event: PrivacyEvent
    log: SamplingLog


def plan_for(
    epsilon: float,
    delta: float,
    *,
    expected_batch: float,
    sampling_probability: float = SAMPLING_PROBABILITY,
    steps: int = STEPS,
    clip_norm: float = 1.0,
    learning_rate: float = 0.0,
) -> DpTrainingPlan:
    """The plan with the least noise that costs at most (epsilon, delta) by itself.

    Full batches and a fixed number of steps (De et al. 2022, arXiv 2204.13650): the noise of
    all steps together does not depend on their number. And a step that grows with epsilon (the
    linear scaling rule of Panda et al. 2022, arXiv 2212.04486): the noise of all steps leaves each
    weight with a standard deviation of one. Nothing is tuned on records.

    Args:
        learning_rate: As in the plan; 0: by the rule above, at most ``LARGEST_RATE``.

    Raises:
        ConfigError: An argument is out of range, or no noise is enough.
    """
    calibration.check_epsilon(epsilon)

    def enough(thousandths: int) -> bool:
        sigma = round(thousandths * _MULTIPLIER_STEP, 3)
        return (
            accounting.epsilon([dp_sgd_event(sampling_probability, sigma, steps)], delta) <= epsilon
        )

    low = math.ceil(NOISE_MULTIPLIER_MINIMUM / _MULTIPLIER_STEP) - 1
    high = 1000
    while not enough(high):
        low, high = high, 2 * high
        if high * _MULTIPLIER_STEP > _MULTIPLIER_LIMIT:
            raise ConfigError(f"epsilon {epsilon!r}: no noise multiplier is enough")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    sigma = round(high * _MULTIPLIER_STEP, 3)
    rule = min(expected_batch / (sigma * clip_norm * math.sqrt(steps)), LARGEST_RATE)
    return DpTrainingPlan(
        sampling_probability=sampling_probability,
        noise_multiplier=sigma,
        steps=steps,
        clip_norm=clip_norm,
        learning_rate=learning_rate or rule,
        expected_batch=expected_batch,
    )


def poisson_batches(
    units: int, probability: float, steps: int, random: Bytes = os.urandom
) -> Iterator[NDArray[np.int64]]:
    """Draw each unit into each step independently.

    A coin is 64 bits of ``random`` below ``floor(probability * 2^64)``: no more likely than said.

    Args:
        units: Number of units.
        probability: In (0, 1].
        random: Gives so many bytes; another source than the operating system in tests only.

    Yields:
        Numbers of the units in a step, ascending; possibly none.
    """
    # Below 2^64 the threshold fits a coin; at probability 1 every coin is below it.
    threshold = min(int(math.ldexp(probability, 64)), (1 << 64) - 1)
    for _ in range(steps):
        coins = np.frombuffer(random(units * _COIN.itemsize), dtype=_COIN)
        yield np.flatnonzero(coins < threshold if probability < 1 else coins >= 0)


def verify_sampling(log: SamplingLog, plan: DpTrainingPlan) -> None:
    """Check that what was drawn is what Poisson sampling at the charged rate draws.

    Exact: the sampler, the number of steps, and that step sizes and inclusions tell the same
    total. By tail bounds (Bernstein), with a false alarm below 10^-12 each: the total, every
    step's size, every unit's inclusions, and that step sizes vary (fixed sizes would be sampling
    without replacement, which has another cost).

    Raises:
        InternalError: The sampler is not the one that is charged for.
    """
    q, steps = plan.sampling_probability, plan.steps
    total = int(log.inclusions.sum())
    sizes = np.array(log.batch_sizes, dtype=np.int64)
    checks = {
        f"sampler {log.sampler!r}": log.sampler == SAMPLER,
        "number of steps": len(sizes) == steps,
        "number of units": len(log.inclusions) == log.units,
        "total of the steps": total == int(sizes.sum()),
        "rate": _likely(total, log.units * steps, q),
        "size of a step": all(_likely(int(size), log.units, q, steps) for size in sizes),
        "inclusions of a unit": all(
            _likely(int(count), steps, q, log.units) for count in log.inclusions
        ),
        "variation of sizes": _varies(sizes, log.units, q),
    }
    wrong = [name for name, good in checks.items() if not good]
    if wrong:
        raise InternalError(f"DP-SGD sampling is not as charged: {', '.join(wrong)}")


def train(
    plan: DpTrainingPlan,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    *,
    charge: Charge,
    units: Sequence[str] | None = None,
    start: dict[str, NDArray[np.float32]] | None = None,
    random: Bytes = os.urandom,
    sampler: mechanism.Sampler = mechanism.opendp_sampler,
) -> DpCheckpoint:
    """Train a linear head with DP-SGD and return the mean of the second half of its iterates.

    Args:
        features: [n, d], float32, of the frozen public encoder.
        labels: [n], 0 to ``classes`` - 1.
        charge: Charges the event to the ledger, durably, or raises; called first.
        units: Privacy unit of each record; by default each record is one.
        start: Public head to start from; by default zeros.
        random: Source of the sampling coins; another than the operating system in tests only.
        sampler: Source of the noise; another than OpenDP in tests only.

    Raises:
        DataError: Shapes or labels do not fit.
        BudgetExceeded: From ``charge``.
        InternalError: The sampling check failed; nothing is returned.
    """
    _check(features, labels, classes, units)
    charge(plan.event)
    logger.info("DP-SGD: %d steps, sampler %s", plan.steps, SAMPLER)
    model = _head(features.shape[1], classes, start)
    rows = _rows(len(labels), units)
    inputs, targets = torch.from_numpy(features.copy()), torch.from_numpy(labels.copy())
    sizes: list[int] = []
    inclusions = np.zeros(len(rows), dtype=np.int64)
    current = _flat(model)
    kept = np.zeros_like(current)
    tail = plan.steps // 2
    batches = poisson_batches(len(rows), plan.sampling_probability, plan.steps, random)
    for step, chosen in enumerate(batches):
        sizes.append(len(chosen))
        inclusions[chosen] += 1
        gradients = _unit_gradients(model, inputs, targets, [rows[unit] for unit in chosen])
        noisy = _private_sum(gradients, plan, sampler)
        current = current - plan.learning_rate / plan.expected_batch * noisy
        _load(model, current)
        if step >= tail:
            kept += current / (plan.steps - tail)
    log = SamplingLog(SAMPLER, len(rows), tuple(sizes), inclusions)
    verify_sampling(log, plan)
    weight, bias = np.split(kept, [classes * features.shape[1]])
    tensors = {
        HEAD_WEIGHT: weight.reshape(classes, -1).astype(np.float32),
        HEAD_BIAS: bias.astype(np.float32),
    }
    return DpCheckpoint(tensors, plan.event, log)


def _private_sum(
    gradients: NDArray[np.float64], plan: DpTrainingPlan, sampler: mechanism.Sampler
) -> NDArray[np.float64]:
    """Noisy sum of clipped rows, [parameters], in units of the gradient."""
    grid = 1 << GRID_BITS
    exact = quantise(gradients, plan.clip_norm, GRID_BITS).sum(axis=0)
    noisy = mechanism.release(exact, plan.noise_multiplier * grid, sampler)
    return np.asarray(noisy * (plan.clip_norm / grid), dtype=np.float64)


def _unit_gradients(
    model: nn.Module, inputs: Tensor, targets: Tensor, rows: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Gradient of the summed loss of each unit, [units, parameters]."""
    width = sum(parameter.numel() for parameter in model.parameters())
    result = np.zeros((len(rows), width))
    if not rows:
        return result
    together = np.concatenate(rows)
    with isolation.one_thread():
        each = np.stack([_record_gradient(model, inputs, targets, int(row)) for row in together])
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    np.add.at(result, owner, each)
    return result


def _record_gradient(
    model: nn.Module, inputs: Tensor, targets: Tensor, row: int
) -> NDArray[np.float64]:
    """Gradient of a record's loss, [parameters], computed by itself.

    A matrix product may round a row by its place and its company, and a record must not change
    its neighbours' gradients (``wg_common.nets.encoder.isolation``).
    """
    alone = torch.tensor([row])
    model.zero_grad()
    # Opacus' hooks warn unless the inputs ask for gradients, too.
    logits = model(inputs[alone].requires_grad_())
    loss = nn.functional.cross_entropy(logits, targets[alone], reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    # GradSampleModule leaves each record's gradient on the parameter.
    parts = [getattr(p, "grad_sample").flatten(1) for p in model.parameters()]  # noqa: B009
    return np.asarray(torch.cat(parts, dim=1)[0].numpy(), dtype=np.float64)


def _head(dimension: int, classes: int, start: dict[str, NDArray[np.float32]] | None) -> nn.Module:
    """A linear layer that keeps per-record gradients."""
    from opacus import GradSampleModule

    layer = nn.Linear(dimension, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start[HEAD_WEIGHT]) if start else torch.zeros(1))
        layer.bias.copy_(torch.from_numpy(start[HEAD_BIAS]) if start else torch.zeros(1))
    model: nn.Module = GradSampleModule(layer, loss_reduction="sum")
    return model


def _flat(model: nn.Module) -> NDArray[np.float64]:
    parts = [parameter.detach().numpy().ravel() for parameter in model.parameters()]
    return np.concatenate(parts).astype(np.float64)


def _load(model: nn.Module, values: NDArray[np.float64]) -> None:
    position = 0
    with torch.no_grad():
        for parameter in model.parameters():
            part = values[position : position + parameter.numel()].reshape(parameter.shape)
            parameter.copy_(torch.from_numpy(part))
            position += parameter.numel()


def _rows(records: int, units: Sequence[str] | None) -> list[NDArray[np.int64]]:
    """Row numbers of each unit."""
    if units is None:
        return [np.array([row], dtype=np.int64) for row in range(records)]
    found: dict[str, list[int]] = {}
    for row, unit in enumerate(units):
        found.setdefault(unit, []).append(row)
    return [np.array(part, dtype=np.int64) for part in found.values()]


def _check(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    units: Sequence[str] | None,
) -> None:
    if features.ndim != 2 or features.dtype != np.float32:
        raise DataError(
            f"features: {features.dtype} of shape {features.shape}, expected float32, 2 axes"
        )
    if labels.shape != features.shape[:1] or labels.dtype != np.int64:
        raise DataError(
            f"labels: {labels.dtype} of shape {labels.shape}, expected int64, one a record"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(f"labels: expected 0 to {classes - 1}, found others")
    if units is not None and len(units) != len(labels):
        raise DataError("units: expected one a record")


def _likely(count: int, trials: int, q: float, families: int = 1) -> bool:
    """Is ``count`` within what Binomial(trials, q) gives, but for one case in 10^12 a family?

    Bernstein: ``P(|X - np| >= t) <= 2 exp(-t^2 / (2 (npq' + t/3)))``, solved for t.
    """
    log = math.log(2 * families / _FALSE_ALARM)
    variance = trials * q * (1 - q)
    t = log / 3 + math.sqrt((log / 3) ** 2 + 2 * variance * log)
    return abs(count - trials * q) <= t + 1e-9


def _varies(sizes: NDArray[np.int64], units: int, q: float) -> bool:
    """Are sizes not all alike, where all alike would be less likely than 10^-12?"""
    variance = units * q * (1 - q)
    # No value of a binomial is more likely than 1/sqrt(2 e variance) (Herzog 1947).
    likeliest = min(1.0, 0.5 / math.sqrt(variance)) if variance > 1 else 1.0
    if (len(sizes) - 1) * -math.log(likeliest) < -math.log(_FALSE_ALARM):
        return True
    return len(set(sizes.tolist())) > 1
