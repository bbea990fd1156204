"""Trained conditional denoiser of class deviations, as an alternative to BLUP.

BLUP gives class k at a plant a posterior N(m_k, v_k) in each direction. ``Denoiser`` is a set
network over the classes, with m, v and the prediction from class names as inputs. The *mean* is m
plus sqrt(v) times its output, which is zero before training, so that it starts equal to BLUP. It is
trained on the loss of the heads that plants fit to noisy releases; the step, and the factor on the
output, with the least loss on held-out families are kept. The *sampler* is a rectified flow (Liu et
al., ICLR 2023) from noise to the standardised true deviation in that posterior: a release's noise
is a step of the forward diffusion, which the flow reverses.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from bench.kinds import Site
from bench.plants import Floats
from torch import Tensor, nn

from wg_common.inference.posterior import (
    PRESENCE_THRESHOLD,
    PSEUDO_RECORDS,
    Posterior,
    add_site_evidence,
    exact_evidence,
)

WIDTH, STEPS, SAMPLER_STEPS, SAMPLES, FLOW_STEPS = 96, 240, 800, 16, 12
CHECK_INTERVAL = 20  # Steps between looks at families that are held out
OUTPUT_FACTORS = 0.0, 0.25, 0.5, 0.75, 1.0
CASE_CLASSES = 15  # Classes of a case
_BATCH, _RATE, _EVEN = 16, 5e-4, 0.25
Batch = dict[str, Tensor]
Objective = Callable[[Batch], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A plant, with the evidence from other sites' releases.

    Attributes:
        posterior: BLUP of the deviations of K class means from their mean, in d directions.
        predicted_from_names: Deviations predicted from class names, along the eigenvectors, ``[K,
            d]``.
        plant_records: Features ``[n, d]`` and labels ``[n]`` of the plant, -1 for no label.
        test_records: Features and classes of the test records.
        true_deviations: True deviations of class means along the eigenvectors, ``[K, d]``.
    """

    posterior: Posterior
    predicted_from_names: Floats
    plant_records: Site
    test_records: Site
    true_deviations: Floats


def deviation_moments(posterior: Posterior) -> tuple[Floats, Floats]:
    """Compute mean and variance of the class deviations along the eigenvectors, both ``[K, d]``."""
    inverse = np.linalg.inv(posterior.precision)
    mean = np.einsum("dij,dj->id", inverse, posterior.weighted)[1:]
    centring = np.eye(len(mean)) - 1 / len(mean)
    around = np.einsum("ij,djk,ik->id", centring, inverse[:, 1:, 1:], centring)
    return mean - mean.mean(axis=0), around


def shift_mean(posterior: Posterior, mean: Floats) -> Posterior:
    """Replace the mean of a posterior by another mean ``[K, d]``."""
    shift = mean - deviation_moments(posterior)[0]
    weighted = posterior.weighted + np.einsum("dij,jd->di", posterior.precision[:, :, 1:], shift)
    return replace(posterior, weighted=weighted)


class Denoiser(nn.Module):
    """Set network over the K classes of a plant.

    Args:
        dimension: Number d of directions.
        extra: Number of inputs per class beside the 3 d of ``conditions``.
    """

    def __init__(self, dimension: int, extra: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, batch_first=True)
        self.into = nn.Linear(3 * dimension + extra, WIDTH)
        self.share = 1.0  # Of the output
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, dimension)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor, absent: Tensor) -> Tensor:
        """Map ``[n, K, 3 d + extra]`` to ``[n, K, d]``; ``absent``, ``[n, K]``, marks padding."""
        hidden = self.body(self.into(inputs), src_key_padding_mask=absent)
        return torch.as_tensor(self.share * self.out(hidden))


def conditions(case: Case) -> tuple[Tensor, Tensor]:
    """Return a case's inputs of ``Denoiser`` ``[K, 3 d]``, and posterior deviations ``[K, d]``."""
    mean, variance = deviation_moments(case.posterior)
    scale = np.sqrt(case.posterior.between)
    spread = np.sqrt(variance)
    parts = mean / scale, 2 * spread / scale - 1, case.predicted_from_names / scale
    return (
        torch.tensor(np.concatenate(parts, axis=1), dtype=torch.float32),
        torch.tensor(spread, dtype=torch.float32),
    )


def head_shift_terms(case: Case) -> dict[str, Tensor]:
    """Return tensors, by name, from which ``head_loss`` computes a plant's head and its loss."""
    posterior, (x, y) = case.posterior, case.plant_records
    k = posterior.classes
    evidence = exact_evidence(x, y, k)
    system, right = posterior.precision.copy(), posterior.weighted.copy()
    add_site_evidence(system, right, posterior, evidence, 0)
    inverse = np.linalg.inv(system)
    solved = np.einsum("dij,dj->id", inverse, right)
    gain = inverse @ posterior.precision[:, :, 1:]
    here = evidence.presence_probabilities > PRESENCE_THRESHOLD
    share = posterior.ratio / (posterior.ratio + posterior.within / evidence.record_counts[:, None])
    keep = np.where(here[:, None], share, 0.0)
    scatter, freedom = PSEUDO_RECORDS * posterior.covariance, PSEUDO_RECORDS
    if here.sum() > 1:
        known = y >= 0
        residuals = x[known] - evidence.means[y[known]]
        scatter = scatter + residuals.T @ residuals
        freedom += known.sum() - here.sum()
    counts = np.where(
        here, evidence.record_counts, evidence.record_counts[here].mean() if here.any() else 1
    )
    whitener = posterior.basis.T @ np.linalg.inv(scatter / freedom) @ posterior.basis
    queries, answers = case.test_records
    rows = np.resize(np.arange(len(answers)), 96)
    arrays = {
        "gain": gain.transpose(1, 2, 0),
        "solved": solved,
        "keep": keep,
        "means": evidence.means @ posterior.basis,
        "whitener": whitener,
        "frequency": np.log(counts + 1) if here.any() else 0 * counts,
        "even": np.array(_EVEN if (~here).sum() > 1 else 0.0),
        "queries": queries[rows] @ posterior.basis,
        "truth": case.true_deviations - case.true_deviations.mean(axis=0),
    }
    tensors = {name: torch.tensor(a, dtype=torch.float32) for name, a in arrays.items()}
    tensors["inputs"], tensors["spread"] = conditions(case)
    tensors["mean"] = torch.tensor(deviation_moments(posterior)[0], dtype=torch.float32)
    for name in (
        "gain",
        "solved",
        "keep",
        "means",
        "frequency",
        "truth",
        "inputs",
        "spread",
        "mean",
    ):
        tensors[name] = _pad_classes(name, tensors[name], k)
    tensors["absent"] = torch.arange(CASE_CLASSES) >= k
    tensors["answers"] = torch.tensor(answers[rows])
    return tensors


def _pad_classes(name: str, value: Tensor, k: int) -> Tensor:
    """Pad a tensor with zeros to ``k`` classes."""
    missing = CASE_CLASSES - k
    if name == "gain":
        return F.pad(value, (0, 0, 0, missing, 0, missing))
    return F.pad(value, (0, missing) if value.ndim == 1 else (0, 0, 0, missing))


def head_loss(batch: dict[str, Tensor], mean_shift: Tensor) -> Tensor:
    """Return mean cross-entropy of n plants' heads after a shift of BLUP's means, ``[n, K, d]``."""
    here = (~batch["absent"]).float()[..., None]
    solved = batch["solved"] + torch.einsum("nijd,njd->nid", batch["gain"], mean_shift * here)
    centre, delta = solved[:, :1], solved[:, 1:]
    deviations = (delta + batch["keep"] * (batch["means"] - centre - delta)) * here
    length = torch.einsum("nkd,nde,nke->nk", deviations, batch["whitener"], deviations)
    length = length.clamp(min=1e-12).sqrt()[..., None] * here
    typical = (length.square().sum(1, keepdim=True) / here.sum(1, keepdim=True)).sqrt() + 1e-12
    even = batch["even"][:, None, None]  # 0: lengths are left alone
    factor = typical / (length + even * typical + 1e-12)
    deviations = torch.where(even > 0, deviations * factor, deviations)
    weight = deviations @ batch["whitener"]
    bias = -0.5 * (deviations * weight).sum(2) + batch["frequency"]
    logits = (batch["queries"] - centre) @ weight.transpose(1, 2) + bias[:, None]
    logits = logits.masked_fill(batch["absent"][:, None], -1e4)
    return F.cross_entropy(logits.flatten(0, 1), batch["answers"].flatten())


def _fit(
    network: Denoiser, cases: Batch, held_out_cases: Batch, objective: Objective, steps: int
) -> tuple[int, float]:
    """Train a network to its best step on held-out cases; return this step and its loss."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps)
    best = (
        0,
        _loss(held_out_cases, objective),
        {k: v.clone() for k, v in network.state_dict().items()},
    )
    for step in range(1, steps + 1):
        rows = torch.randint(len(cases["mean"]), (_BATCH,), generator=generator)
        loss = objective({name: value[rows] for name, value in cases.items()})
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (
            step % CHECK_INTERVAL == 0
            and (loss_there := _loss(held_out_cases, objective)) < best[1]
        ):
            best = step, loss_there, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(best[2])
    network.eval()
    return best[:2]


@torch.no_grad()
def _loss(cases: Batch, objective: Objective) -> float:
    """Loss of all cases, with the same random draws at each call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return float(objective(cases))


def fit(cases: Sequence[Case], held_out_cases: Sequence[Case]) -> tuple[Denoiser, Denoiser]:
    """Train on cases, with early stopping on held-out ones; return networks of mean and sampler."""
    stacked, held = (_stack_cases(each) for each in (cases, held_out_cases))
    dimension = stacked["mean"].shape[2]
    torch.manual_seed(0)

    network = Denoiser(dimension, 0)

    def finished(batch: dict[str, Tensor]) -> Tensor:
        return head_loss(batch, batch["spread"] * network(batch["inputs"], batch["absent"]))

    step, loss = _fit(network, stacked, held, finished, STEPS)
    shift = network(held["inputs"], held["absent"]).detach() * held["spread"]
    losses = [float(head_loss(held, share * shift)) for share in OUTPUT_FACTORS]
    share = OUTPUT_FACTORS[int(np.argmin(losses))]
    network.share = share
    print(
        f"mean: step {step}, share {share:g}; loss held out {losses[0]:.4f}, now {min(losses):.4f}"
    )
    flow = Denoiser(dimension, dimension + 1)

    def denoised(batch: dict[str, Tensor]) -> Tensor:
        here = (~batch["absent"]).float()[..., None]
        clean = ((batch["truth"] - batch["mean"]) / (batch["spread"] + 1e-6)).clamp(-5, 5)
        time = torch.sigmoid(torch.randn(len(clean), 1, 1)).expand(-1, CASE_CLASSES, 1)
        noisy = (1 - time) * clean + time * torch.randn_like(clean)
        inputs = torch.cat([batch["inputs"], noisy, time], dim=2)
        gap: Tensor = (flow(inputs, batch["absent"]) - clean).square() * here
        return gap.sum() / (here.sum() * dimension)

    step, loss = _fit(flow, stacked, held, denoised, SAMPLER_STEPS)
    print(f"sampler: step {step}; error held out {loss:.4f}")
    return network, flow


def _stack_cases(cases: Sequence[Case]) -> Batch:
    rows = [head_shift_terms(case) for case in cases]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@torch.no_grad()
def denoised_mean(network: Denoiser, case: Case) -> Floats:
    """Return the trained network's mean of a case's class deviations, ``[K, d]``."""
    inputs, spread = conditions(case)
    absent = torch.zeros(1, len(inputs), dtype=torch.bool)
    shift: Floats = (spread * network(inputs[None], absent)[0]).numpy().astype(np.float64)
    return deviation_moments(case.posterior)[0] + shift


@torch.no_grad()
def draw_samples(flow: Denoiser, case: Case, generator: torch.Generator) -> Floats:
    """Draw samples of a case's class deviations by the trained flow, ``[SAMPLES, K, d]``."""
    inputs, spread = conditions(case)
    repeated = inputs.expand(SAMPLES, -1, -1)
    absent = torch.zeros(repeated.shape[:2], dtype=torch.bool)
    state = torch.randn(SAMPLES, *spread.shape, generator=generator)
    for now, then in itertools.pairwise(torch.linspace(1, 0, FLOW_STEPS + 1)):
        time = now.expand(*repeated.shape[:2], 1)
        clean = flow(torch.cat([repeated, state, time], dim=2), absent)
        state = clean + (state - clean) * (then / now)
    places: Floats = (spread * state).numpy().astype(np.float64)
    return deviation_moments(case.posterior)[0] + places
