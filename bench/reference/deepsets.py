"""A deterministic set network on aggregates that were noised once (DP-DeepSets, arXiv 2606.26772).

A public hypernetwork: class sums of each site go through one shared map, are added up over sites,
meet a pool over classes, and come out as that class's row. It sees the aggregates and their known
noise, and none of our closed forms. Trained through the cross-entropy of held-out records, on a
fixed number of simulated plants of the generator's kind. Our own code after the idea of the
paper, with a learnt weighted sum of the aggregates let past the network.
"""

import numpy as np
import torch
from bench.reference.course import Course, pick
from torch import Tensor, nn

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.prior import conditioning as c
from wg_server.generator.weights import head_batch as batches
from wg_server.generator.weights.head_batch import Targets
from wg_server.generator.weights.head_denoiser import Batch
from wg_server.generator.weights.head_objective import head_logits, task_loss

_OWN = 3  # Which class vector is the site's own noisy mean


class SetNetwork(nn.Module):
    """Aggregates in, rows and biases of ``features - centre`` out."""

    def __init__(self, dimension: int, width: int = 128) -> None:
        super().__init__()
        d, own = dimension, c.CLASS_SCALARS - 1
        self.own = _mlp(d + own, width, width)
        self.other = _mlp(2 * d + c.OTHER_SCALARS, width, width)
        self.own_share = _mlp(own, 16, 1)
        self.other_share = _mlp(c.OTHER_SCALARS, 16, 1)
        self.turn = nn.Parameter(torch.eye(d))
        self.rows = _mlp(3 * width, 2 * width, d + 1)
        nn.init.zeros_(self.rows[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.rows[-1].bias)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Rows ``[B, K, d]`` and biases ``[B, K]``."""
        d = batch.weight.shape[2]
        mine = batch.class_vectors[:, :, _OWN]  # [B, K, d]
        facts = batch.class_scalars[..., 1:]
        vectors = batch.other_vectors.transpose(1, 2)  # [B, K, M, 2, d]
        scalars = batch.other_scalars.transpose(1, 2)
        there = batch.other_mask.transpose(1, 2).unsqueeze(-1).to(mine.dtype)
        size = d**0.5
        token = self.own(torch.cat([mine * size, facts], dim=-1))
        others = self.other(torch.cat([vectors.flatten(-2) * size, scalars], dim=-1))
        summed = (others * there).sum(dim=2)
        mask = batch.class_mask.unsqueeze(-1).to(mine.dtype)
        pool = ((token + summed) * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
        found = self.rows(torch.cat([token, summed, pool.expand_as(token)], dim=-1))
        share = torch.sigmoid(self.own_share(facts))
        past = share * mine + (
            torch.sigmoid(self.other_share(scalars)) * there * vectors[..., 0, :]
        ).sum(dim=2)
        weight = (past @ self.turn + found[..., :-1]) * mask
        weight = (weight - weight.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)) * mask
        # Without evidence rows are 0: no gradient may come from their length.
        scale = (weight.square().sum(dim=-1).sum(dim=1) / mask.sum(dim=1)[:, 0] + 1e-6).sqrt()
        return weight / scale[:, None, None], found[..., -1] / scale[:, None]


def set_network(course: Course, *, episodes: int, steps: int) -> SetNetwork:
    """A trained set network, or the one that was trained before."""
    d = course.data.tasks[0].features.shape[1]
    model = SetNetwork(d)
    settings = {"episodes": episodes, "steps": steps, "version": 2}
    state = course.keep("deepsets", settings, lambda: _train(course, model, episodes, steps))
    model.load_state_dict(state)
    return model.eval()


def _train(course: Course, model: SetNetwork, episodes: int, steps: int) -> dict[str, Tensor]:
    batch, targets = course.episodes(episodes)
    rng = streams.rng(Stream.BENCH_SET_NETWORK, course.plan.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.plan.seed)
        for layer in model.modules():
            if isinstance(layer, nn.Linear) and layer.weight.any():
                layer.reset_parameters()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / steps))
        rows = rng.integers(0, episodes, course.plan.batch)
        some = batches.augment(*pick(batch, targets, rows), [rng] * len(rows))
        optimiser.zero_grad(set_to_none=True)
        _loss(model, *some).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        for name, value in model.state_dict().items():
            average[name].lerp_(value, max(0.01, 1 / (step + 1)))
    return average


def _loss(model: SetNetwork, batch: Batch, targets: Targets) -> Tensor:
    return task_loss(head_logits(batch, targets, *model(batch)), targets)


def _mlp(inside: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, width), nn.GELU(), nn.Linear(width, out))
