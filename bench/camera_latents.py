"""A latent generator of heads, for scenario S6k (``bench.camera``).

A decoder, linear in 16 latents, is learnt on the task's loss together with the latents of each of
the zoo's sites (an auto-decoder) and with a network that reads them from a condition, whose noise
is new in each step. A rectified flow (Liu et al. 2022) learns how a site's latents are spread for a
condition. Both stop early, on sites that they do not learn from; these sites show the same records
under other cameras.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from bench.camera_space import Condition, Floats, Head, Seen, head_of
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional

LATENTS, SAMPLES = 16, 16
_HELD_OUT = 5  # Each so many-th site
_STEPS, _EACH = 400, 40  # Steps of the generator; between looks at the sites held out
_FLOW_STEPS, _FLOW_EACH, _EULER = 2000, 200, 16
_DROPOUT = 0.2  # Of standardised features


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """What was learnt. r latents.

    Attributes:
        decoder: ``[r, K (q + 1)]``.
        sites: Latents of the zoo's sites ``[C, r]``.
        spread: Of what a condition does not say of a latent, ``[r]``.
        asked: Latents that the plants' conditions say, ``[P, r]``.
    """

    decoder: Floats
    sites: Floats
    spread: Floats
    asked: Floats

    def head(self, latents: Floats, classes: int) -> Head:
        """Of one row of latents ``[r]``."""
        return head_of(latents @ self.decoder, classes)


def learn(zoo: Seen, condition: Condition, penalty: float, seed: int) -> Latents:
    """Decoder, latents, and the map from a condition.

    Args:
        zoo: Records of C sites.
        condition: Of the same.
        penalty: Of squared weights that are added to the family's head.
        seed: Of everything random.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    (sites, n, q), k = zoo.z.shape, zoo.given.shape[2]
    out, every = _held_out(sites), torch.ones(sites, dtype=torch.bool)
    wide = condition.turn.shape[1]
    estimate = nn.Sequential(
        nn.Linear(wide, 96), nn.GELU(), nn.Dropout(0.3), nn.Linear(96, LATENTS)
    )
    decoder = nn.Parameter(torch.randn(LATENTS, k, q + 1) * 0.01)
    rest = nn.Parameter(torch.zeros(sites, LATENTS))
    step = torch.optim.Adam([*estimate.parameters(), decoder, rest], lr=2e-3)
    x, given, y = _single(zoo.z), _single(zoo.given), torch.tensor(zoo.y)

    def loss(latents: Tensor, where: Tensor, dropout: float) -> Tensor:
        heads = torch.einsum("cr,rkq->ckq", latents, decoder)
        weight, bias = heads[..., :q], heads[:, None, :, q]
        seen = functional.dropout(x[where], dropout)
        logits = given[where] + torch.einsum("cnq,ckq->cnk", seen, weight) + bias
        cross = functional.cross_entropy(logits.flatten(0, 1), y[where].flatten())
        return cross + penalty * weight.square().sum((1, 2)).mean()

    fixed, best, kept = _single(condition.draw(rng)), np.inf, None
    for number in range(_STEPS + 1):
        if number % _EACH == 0:
            estimate.eval()
            with torch.no_grad():
                held = float(loss(estimate(fixed)[out], out, 0.0))
                says = torch.stack([estimate(_single(condition.draw(rng))) for _ in range(8)])
                asked = estimate(_single(condition.plants))
            if held < best:
                best = held
                found = decoder.flatten(1), says.mean(0) + rest, rest, asked
                kept = [t.detach().numpy().astype(np.float64) for t in found]
            estimate.train()
        said = estimate(_single(condition.draw(rng)))
        own = said.detach() + rest
        value = loss(said[~out], ~out, _DROPOUT) + loss(own, every, _DROPOUT)
        value = value + own.square().sum(1).mean() / (2 * n)  # a Gaussian prior of unit variance
        step.zero_grad()
        value.backward()
        step.step()
    assert kept is not None  # noqa: S101 - a loss is not infinite
    return Latents(kept[0], kept[1], kept[2].std(axis=0) + 1e-3, kept[3])


def flow(latents: Latents, condition: Condition, seed: int) -> Floats:
    """Samples of the plants' latents ``[SAMPLES, P, r]`` of a rectified flow.

    Args:
        latents: What it learns from.
        condition: That the latents were learnt with.
        seed: Of everything random.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    mean, spread = latents.sites.mean(axis=0), latents.sites.std(axis=0) + 1e-6
    target = _single((latents.sites - mean) / spread)
    sites, size = target.shape
    out = _held_out(sites)
    net = nn.Sequential(
        *(nn.Linear(size + condition.turn.shape[1] + 3, 128), nn.SiLU(), nn.Dropout(0.1)),
        *(nn.Linear(128, 128), nn.SiLU(), nn.Dropout(0.1), nn.Linear(128, size)),
    )
    step = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)

    def velocity(at: Tensor, time: Tensor, given: Tensor) -> Tensor:
        turns = torch.cat([time, (np.pi * time).sin(), (np.pi * time).cos()], 1)
        return torch.as_tensor(net(torch.cat([at, turns, given], 1)))

    def loss(where: Tensor, given: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        goal = target[where]
        at = (1 - time[where]) * noise[where] + time[where] * goal
        return (velocity(at, time[where], given[where]) - goal + noise[where]).square().mean()

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        noise, time = rng.standard_normal((sites, size)), rng.random((sites, 1))
        return _single(condition.draw(rng)), _single(noise), _single(time)

    fixed, best, kept = [draw() for _ in range(8)], np.inf, copy.deepcopy(net.state_dict())
    for number in range(_FLOW_STEPS + 1):
        if number % _FLOW_EACH == 0:
            net.eval()
            with torch.no_grad():
                held = float(sum(loss(out, *one) for one in fixed))
            if held < best:
                best, kept = held, copy.deepcopy(net.state_dict())
            net.train()
        step.zero_grad()
        loss(~out, *draw()).backward()  # type: ignore[no-untyped-call]
        step.step()
    net.load_state_dict(kept)
    net.eval()
    given = _single(np.tile(condition.plants, (SAMPLES, 1)))
    at = _single(rng.standard_normal((len(given), size)))
    with torch.no_grad():
        for number in range(_EULER):
            time = torch.full((len(given), 1), (number + 0.5) / _EULER)
            at = at + velocity(at, time, given) / _EULER
    samples = at.numpy().reshape(SAMPLES, len(condition.plants), size)
    return np.asarray(samples * spread + mean, dtype=np.float64)


def tuned(latents: Latents, own: Seen, start: Floats, precision: float) -> Floats:
    """A plant's labels move its latents ``[r]``, and nothing else.

    Args:
        latents: The generator.
        own: The plant's labelled records.
        start: Where its latents start ``[r]``.
        precision: In the start, in units of what a condition leaves open.
    """
    q, k = own.z.shape[1], own.given.shape[1]
    decoder = latents.decoder.reshape(-1, k, q + 1)
    moves = np.einsum("nq,rkq->nkr", own.z, decoder[..., :q]) + decoder[..., q].T
    hot, pull = np.eye(k)[own.y], precision / latents.spread**2

    def objective(v: Floats) -> tuple[float, Floats]:
        logits = own.given + moves @ v
        total = np.logaddexp.reduce(logits, axis=1, keepdims=True)
        loss = float((total[:, 0] - (logits * hot).sum(axis=1)).sum())
        slope = np.einsum("nk,nkr->r", np.exp(logits - total) - hot, moves)
        away = v - start
        return loss + 0.5 * float((pull * away**2).sum()), slope + pull * away

    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B").x)


def _held_out(sites: int) -> Tensor:
    return torch.arange(sites) % _HELD_OUT == _HELD_OUT - 1


def _single(values: Floats) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
