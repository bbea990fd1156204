"""Training of networks from data sheets: machines drawn anew in each step, the loss of networks.

A step draws machines that no other step has, and windows of each of their conditions. Decoder and
encoder learn by the cross-entropy of the decoded networks and the bound's divergence; in some of
the machines the latent is zero, so that the mean of the prior is a good network, too. The flow
learns the encoder's latents as they are. The network that sees no sheet learns from the same
windows, as it is and on inputs that are standardised by each machine's windows, in a mixture of
conditions that is drawn, since no plant has as many damaged machines as sound ones.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wg_common import streams
from wg_common.nets import spectrum_lines
from wg_common.streams import Stream
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights.sheet_networks import CLASSES, SheetModel, Sizes, Weights, run
from wg_server.generator.weights.training import Evaluation

_SMOOTHING = 0.05
_WITHOUT_LATENT = 0.25  # Share of machines
_DIVERGENCE = 2e-4  # Nats of a window that a nat of a latent costs
_MIXTURE = 1.5  # How uneven plants' shares of conditions are: deviation of their logarithms


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Machines with windows of every condition.

    Attributes:
        machines: m of them.
        inputs: ``[m, n, INPUTS]``, as many of each condition, one after another.
        labels: ``[m, n]``.
    """

    machines: simulation.Machines
    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How many machines, and windows of each condition of a machine, are drawn for what.

    Attributes:
        step: Machines of a step.
        windows: Of each, and of those that weights are kept by.
        validation: Machines that weights are kept by.
        zoo: Machines that the Gaussian of latents is fitted to.
        test: Machines that the card is measured on.
        test_windows: Of each of these.
    """

    step: int = 16
    windows: int = 4
    validation: int = 60
    zoo: int = 4000
    test: int = 100
    test_windows: int = 24


def workshop(seed: int, stream: Stream, number: int = 0) -> simulation.Workshop:
    """Where machines of a named stream are drawn."""
    return simulation.Workshop(int(streams.rng(stream, seed, then=(number,)).integers(1 << 62)))


def draw(workshop: simulation.Workshop, machines: int, windows: int) -> Batch:
    """New machines with so many windows of each condition."""
    drawn = workshop.machines(machines)
    pieces = workshop.windows(drawn, windows).flatten(0, 2)
    inputs = spectrum_lines.spectra(pieces).reshape(machines, CLASSES * windows, -1)
    labels = torch.arange(CLASSES).repeat_interleave(windows).expand(machines, -1)
    return Batch(drawn, inputs, labels)


def loss(weights: Weights, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy with smoothed labels."""
    logits = run(weights, inputs)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=_SMOOTHING)


class SheetObjective:
    """Training of a ``SheetModel``: an ``Objective``.

    Attributes:
        model: What is trained.
    """

    def __init__(self, sizes: Sizes, draws: Draws, seed: int) -> None:
        self.model = SheetModel(sizes)
        self.model.draw(torch.Generator().manual_seed(seed))
        self._draws, self._seed = draws, seed
        judges = workshop(seed, Stream.SHEET_VALIDATION)
        self._judged = draw(judges, draws.validation, draws.windows)

    def batch(self, step: int) -> Batch:
        """Machines that no other step has."""
        drawing = workshop(self._seed, Stream.SHEET_STEP, step)
        return draw(drawing, self._draws.step, self._draws.windows)

    def loss(self, step: int) -> Tensor:
        """See ``Objective``."""
        return self.loss_of(self.batch(step), step)

    def loss_of(self, batch: Batch, step: int) -> Tensor:
        """A step's loss on its machines."""
        generator = torch.Generator().manual_seed(self._seed + step)
        return _losses(self.model, batch, generator)

    def evaluate(self, model: SheetModel) -> Evaluation:
        """See ``Objective``; of networks at the mean of the prior."""
        judged = self._judged
        sheets = judged.machines.figures
        latents = torch.zeros(len(sheets), model.sizes.latent)
        logits = run(model.decoder(sheets, latents), judged.inputs)
        value = F.cross_entropy(logits.flatten(0, 1), judged.labels.flatten())
        right = (logits.argmax(dim=2) == judged.labels).float().mean()
        return Evaluation(float(value), float(right))


def _losses(model: SheetModel, batch: Batch, generator: torch.Generator) -> Tensor:
    """Of all parts, summed: no part's parameters are another's."""
    sheets, count = batch.machines.figures, len(batch.machines)
    mean, log_deviation = model.posterior(batch.machines)
    latents = mean + log_deviation.exp() * torch.randn(mean.shape, generator=generator)
    keep_mask = (torch.rand(count, 1, generator=generator) >= _WITHOUT_LATENT).float()
    variance = (2 * log_deviation).exp()
    divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=1)
    total = loss(model.decoder(sheets, keep_mask * latents), batch.inputs, batch.labels)
    total = total + _DIVERGENCE * (keep_mask[:, 0] * divergence).mean()
    total = total + _flow_loss(model, latents.detach(), sheets, generator)
    total = total + loss(model.fixed(count), batch.inputs, batch.labels)
    shares = _mixtures(count, generator).repeat_interleave(batch.inputs.shape[1] // CLASSES, dim=1)
    standardised = spectrum_lines.standardised(batch.inputs, shares)
    return total + loss(model.standardised(count), standardised, batch.labels)


def _flow_loss(
    model: SheetModel, clean: Tensor, sheets: Tensor, generator: torch.Generator
) -> Tensor:
    """Squared error of clean latents; the flow's times are logit-normal."""
    time = torch.sigmoid(torch.randn(len(clean), generator=generator) + 0.5)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = (1 - time[:, None]) * clean + time[:, None] * noise
    return (model.denoised(noisy, time, sheets) - clean).square().mean()


def _mixtures(count: int, generator: torch.Generator) -> Tensor:
    """Shares of conditions at plants, ``[count, CLASSES]``."""
    return torch.softmax(_MIXTURE * torch.randn(count, CLASSES, generator=generator), dim=1)
