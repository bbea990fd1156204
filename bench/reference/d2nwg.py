"""D2NWG's recipe (Soro et al., ICLR 2025), as a reference: our own code, for two cores.

1. A VAE over whole flattened heads: L1 reconstruction, KL weight 1e-6.
2. A data-set encoder, aligned to the weight latents by a contrastive loss (CLIP's, symmetric).
3. DDPM on the latents: a thousand steps, linear schedule, noise predicted, condition concatenated;
   sampling takes all thousand steps.

Differences, all in its favour or forced: MLPs in place of convolutions, since a head of 780 numbers
has no grid; the condition is what a plant releases (noisy class means, other sites' averaged) and
not its images; class means stay in the order of rows, to which the paper's pooled condition is
blind; heads are normalised and centred as ours are. Top-3-of-50 by test accuracy, as in the paper,
is not done: a server has no test records. The first sample and the mean of eight are judged.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from bench.reference.course import Course
from torch import Tensor, nn

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.simulation.episodes import CLASS_LIMIT
from wg_server.generator.weights.head_denoiser import Batch

LATENT = 128
CONDITION = 128
TIMES = 1000
_OWN = 3
_KL = 1e-6


class D2nwg(nn.Module):
    """VAE, data-set encoder and denoiser."""

    def __init__(self, dimension: int, width: int = 512) -> None:
        super().__init__()
        flat = CLASS_LIMIT * (dimension + 1)
        self.dimension = dimension
        self.encoder = _mlp(flat, width, 2 * LATENT)
        self.decoder = _mlp(LATENT, width, flat)
        self.dataset = _mlp(CLASS_LIMIT * (2 * dimension + 2), width, CONDITION)
        self.align = nn.Linear(LATENT, CONDITION)
        self.sharpness = nn.Parameter(torch.tensor(np.log(10.0), dtype=torch.float32))
        self.into = nn.Linear(LATENT + CONDITION + 32, width)
        self.blocks = nn.ModuleList(_mlp(width, width, width) for _ in range(3))
        self.out = nn.Linear(width, LATENT)
        self.register_buffer("scale", torch.ones(()))
        beta = torch.linspace(1e-4, 0.02, TIMES)
        self.register_buffer("kept", torch.cumprod(1 - beta, dim=0), persistent=False)
        self.register_buffer("beta", beta, persistent=False)

    def condition(self, batch: Batch) -> Tensor:
        """Embedding of what plants released, ``[B, CONDITION]``."""
        d = self.dimension
        mine = batch.class_vectors[:, :, _OWN]
        there = batch.other_mask.unsqueeze(-1).to(mine.dtype)
        count = there.sum(dim=1)
        others = (batch.other_vectors[:, :, :, 0] * there).sum(dim=1) / count.clamp(min=1)
        facts = torch.cat([batch.class_scalars[..., 1:2], count / 3], dim=-1)
        tokens = torch.cat([mine * d**0.5, others * d**0.5, facts], dim=-1)
        return self.dataset(_slots(tokens).flatten(1))  # type: ignore[no-any-return]

    def noise(self, latent: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """The noise in latents ``[B, LATENT]`` at times ``[B]``."""
        rate = torch.exp(torch.linspace(0, np.log(1000.0), 16))
        angle = time[:, None].to(latent.dtype) / TIMES * rate
        waves = torch.cat([angle.sin(), angle.cos()], dim=1)
        x = self.into(torch.cat([latent, condition, waves], dim=1))
        for block in self.blocks:
            x = x + block(F.layer_norm(x, x.shape[1:]))
        return self.out(x)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def sample(
        self, batches: Sequence[Batch], samples: int, seed: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Heads for some plants, each with the same noise.

        Returns:
            For each plant rows ``[samples, K, d]`` and biases of ``features - centre``.
        """
        generator = torch.Generator().manual_seed(seed)
        plants = len(batches)
        condition = torch.cat([self.condition(batch).expand(samples, -1) for batch in batches])

        def noise() -> Tensor:
            return torch.randn(samples, LATENT, generator=generator).repeat(plants, 1)

        latent = noise()
        kept, beta = self.get_buffer("kept"), self.get_buffer("beta")
        for step in range(TIMES - 1, -1, -1):
            found = self.noise(latent, torch.full((len(latent),), step), condition)
            latent = (latent - beta[step] / (1 - kept[step]).sqrt() * found) / (
                1 - beta[step]
            ).sqrt()
            if step:
                latent = latent + beta[step].sqrt() * noise()
        flat = self.decoder(latent * self.get_buffer("scale"))
        rows = flat.reshape(plants, samples, CLASS_LIMIT, self.dimension + 1)
        each = [r[:, : b.bias.shape[1]] for r, b in zip(rows, batches, strict=True)]
        return [r[..., :-1] for r in each], [r[..., -1] for r in each]


def d2nwg(course: Course, *, episodes: int, steps: int) -> D2nwg:
    """A trained reference, or the one that was trained before."""
    model = D2nwg(course.data.tasks[0].features.shape[1])
    settings = {"episodes": episodes, "steps": steps, "version": 1}
    state = course.keep("d2nwg", settings, lambda: _train(course, model, episodes, steps))
    model.load_state_dict(state)
    return model.eval()


def _train(course: Course, model: D2nwg, episodes: int, steps: int) -> dict[str, Tensor]:
    batch, targets = course.episodes(episodes)
    rng = streams.rng(Stream.BENCH_REFERENCE, course.plan.seed)
    generator = torch.Generator().manual_seed(course.plan.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.plan.seed)
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    heads = torch.cat([targets.weight, targets.bias.unsqueeze(-1)], dim=-1)
    tokens = _tokens(model, batch)
    first = [*model.encoder.parameters(), *model.decoder.parameters()]
    first += [*model.dataset.parameters(), *model.align.parameters(), model.sharpness]
    optimiser = torch.optim.AdamW(first, lr=1e-3, weight_decay=0.01, fused=True)
    for step in range(steps):
        _anneal(optimiser, 1e-3, step, steps)
        flat, seen = _draw(heads, tokens, batch, rng)
        mean, log_variance = model.encoder(flat).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator)
        latent = mean + noise * (0.5 * log_variance).exp()
        loss = F.l1_loss(model.decoder(latent), flat) * flat.shape[1] ** 0.5
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
        one = F.normalize(model.align(mean), dim=1)
        two = F.normalize(model.dataset(seen), dim=1)
        likeness = one @ two.T * model.sharpness.exp().clamp(max=100)
        own = torch.arange(len(one))
        match = F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)
        optimiser.zero_grad(set_to_none=True)
        (loss + _KL * kl + 0.1 * match).backward()
        optimiser.step()
    with torch.no_grad():
        mean = model.encoder(_draw(heads, tokens, batch, rng, size=512)[0]).chunk(2, dim=1)[0]
        model.get_buffer("scale").fill_(float(mean.std()))
    second = [*model.into.parameters(), *model.blocks.parameters(), *model.out.parameters()]
    optimiser = torch.optim.AdamW(second, lr=1e-3, weight_decay=0.01, fused=True)
    kept = model.get_buffer("kept")
    for step in range(2 * steps):
        _anneal(optimiser, 1e-3, step, 2 * steps)
        flat, seen = _draw(heads, tokens, batch, rng, size=128)
        with torch.no_grad():
            latent = model.encoder(flat).chunk(2, dim=1)[0] / model.get_buffer("scale")
            condition = model.dataset(seen)
        time = torch.randint(TIMES, (len(latent),), generator=generator)
        noise = torch.randn(latent.shape, generator=generator)
        level = kept[time][:, None]
        noisy = level.sqrt() * latent + (1 - level).sqrt() * noise
        loss = F.mse_loss(model.noise(noisy, time, condition), noise)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return dict(model.state_dict())


def _tokens(model: D2nwg, batch: Batch) -> Tensor:
    """Input of the data-set encoder before classes are put in order, ``[B, K, 2d + 2]``."""
    kept: list[Tensor] = []
    handle = model.dataset.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    with torch.no_grad():
        model.condition(batch)
    handle.remove()
    return kept[0].reshape(len(batch.bias), CLASS_LIMIT, -1)


def _draw(
    heads: Tensor, tokens: Tensor, batch: Batch, rng: np.random.Generator, size: int = 64
) -> tuple[Tensor, Tensor]:
    """Flattened heads and their data sets, classes in a random order."""
    rows = torch.from_numpy(rng.integers(0, len(heads), size))
    order = np.stack([rng.permutation(CLASS_LIMIT) for _ in range(size)])
    known = _slots(batch.class_mask[rows].unsqueeze(-1).to(heads.dtype))[..., 0].numpy()
    # Classes stay in front, as they are when the reference is used.
    behind = np.take_along_axis(1 - known, order, axis=1)
    order = np.take_along_axis(order, np.argsort(behind, axis=1, kind="stable"), axis=1)
    index = torch.from_numpy(order).unsqueeze(-1)
    flat = torch.take_along_dim(_slots(heads[rows]), index, dim=1).flatten(1)
    seen = torch.take_along_dim(tokens[rows], index, dim=1).flatten(1)
    return flat, seen


def _slots(x: Tensor) -> Tensor:
    """Pad classes to ``CLASS_LIMIT``."""
    return F.pad(x, (0, 0, 0, CLASS_LIMIT - x.shape[1]))


def _anneal(optimiser: torch.optim.AdamW, rate: float, step: int, steps: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * min(1, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / steps))


def _mlp(inside: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, out),
    )
