"""What a generator from data sheets is worth, measured on simulated machines that no training saw.

Each machine's windows are halved: by one half samples are chosen, without labels or by a few a
class, and on the other half accuracy is counted. Every difference is paired by machine, and its
standard error is over machines.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wg_common.nets import spectrum_lines
from wg_server.generator.checks import Check
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights.sheet_generation import SAMPLES, SheetGenerator
from wg_server.generator.weights.sheet_networks import CLASSES, SheetModel, run
from wg_server.generator.weights.sheet_training import Batch

WORTH = 0.15
"""Accuracy that generated networks must have over the best fixed one."""
SHEET_WORTH = 0.10  # That they must lose with another machine's sheet
SPREAD = 0.25
"""Least distance between samples of one sheet over that of latents of the zoo: below it the samples
have collapsed."""
LABELS = (2, 5)  # A class, that samples are chosen by


def fitted(model: SheetModel, machines: simulation.Machines) -> SheetGenerator:
    """A generator whose latents are sampled by the Gaussian of these machines' latents."""
    with torch.inference_mode():
        mean, log_deviation = model.posterior(machines)
        covariance = torch.cov(mean.mT) + torch.diag((2 * log_deviation).exp().mean(dim=0))
    return SheetGenerator(model, "gaussian", mean.mean(dim=0), torch.linalg.cholesky(covariance))


def disagreement(logits: Tensor) -> Tensor:
    """Mutual information of window and answer, ``[m]``, of logits ``[m, n, K]``; nats."""
    share = logits.softmax(dim=2)
    return _entropy(share.mean(dim=1)) - _entropy(share).mean(dim=1)


def _entropy(share: Tensor) -> Tensor:
    return -(share * share.clamp(min=1e-9).log()).sum(dim=-1)


def halves(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which windows samples are chosen by, and which are counted, bool ``[n]`` each."""
    windows = batch.labels.shape[1] // CLASSES
    choosing_half = (torch.arange(windows) < windows // 2).repeat(CLASSES)
    return choosing_half, ~choosing_half


def accuracies(generator: SheetGenerator, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Accuracy on each machine, ``[m]``, of every way to come to a network; and ``spread``."""
    model, sheets, count = generator.model, batch.machines.figures, len(batch.machines)
    choosing, counted = halves(batch)
    latent = model.sizes.latent

    def share(logits: Tensor) -> Tensor:
        return (logits.argmax(dim=2) == batch.labels)[:, counted].float().mean(dim=1)

    def decoded(latents: Tensor, of: Tensor = sheets) -> Tensor:
        return run(model.decoder(of, latents), batch.inputs)

    with torch.inference_mode():
        none = torch.zeros(count, latent)
        standardised = spectrum_lines.standardised(batch.inputs, None)
        generator_noise = torch.Generator().manual_seed(seed)
        noise = torch.randn(SAMPLES, count, latent, generator=generator_noise)
        drawn = torch.stack([generator.latents(sheets, part) for part in noise])
        logits = torch.stack([decoded(latents) for latents in drawn])  # [S, m, n, K]
        shares = torch.stack([share(sample) for sample in logits])
        unlabelled = torch.stack([disagreement(sample[:, choosing]) for sample in logits])
        by_labels = {}
        for labels in LABELS:
            labelled_rows = first(choosing, labels)
            surprise = [
                _surprise(sample[:, labelled_rows], batch.labels[:, labelled_rows])
                for sample in logits
            ]
            best = torch.stack(surprise).argmin(dim=0)
            by_labels[f"chosen by {labels} labels"] = shares[best, torch.arange(count)]
        return {
            "fixed": share(run(model.fixed(count), batch.inputs)),
            "fixed standardised": share(run(model.standardised(count), standardised)),
            "mean": share(decoded(none)),
            "mean of another sheet": share(decoded(none, sheets.roll(1, 0))),
            "latent of the machine": share(decoded(model.posterior(batch.machines)[0])),
            "one sample": shares.mean(dim=0),
            "all samples averaged": share(logits.softmax(dim=3).mean(dim=0)),
            "chosen without labels": shares[unlabelled.argmax(dim=0), torch.arange(count)],
            **by_labels,
            "best in hindsight": shares.max(dim=0).values,
            "spread": drawn.std(dim=0).square().sum(dim=1).sqrt(),
        }


def first(chosen: Tensor, count: int) -> Tensor:
    """So many windows of each condition among the chosen ones."""
    by_condition = chosen.reshape(CLASSES, -1)
    return (by_condition & (by_condition.cumsum(dim=1) <= count)).reshape(-1)


def _surprise(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy ``[m]``."""
    return -logits.log_softmax(dim=2).gather(2, labels[..., None]).mean(dim=(1, 2))


def difference(minuend: Tensor, subtrahend: Tensor) -> tuple[float, float]:
    """Mean of a paired difference over machines, and its standard error."""
    pairs = minuend - subtrahend
    return float(pairs.mean()), float(pairs.std()) / math.sqrt(len(pairs))


def judged(
    model: SheetModel, zoo: simulation.Machines, batch: Batch, seed: int
) -> tuple[SheetGenerator, dict[str, Any]]:
    """The generator with the better of both priors, and its card.

    Args:
        zoo: Machines whose latents the Gaussian is fitted to.
        batch: Machines that nothing was trained or chosen on.
        seed: Of the samples.
    """
    gaussian = fitted(model, zoo)
    flow = SheetGenerator(model, "flow", gaussian.centre, gaussian.factor)
    by_prior = {
        candidate.prior: accuracies(candidate, batch, seed) for candidate in (flow, gaussian)
    }
    chosen = "chosen without labels"
    gain, error = difference(by_prior["flow"][chosen], by_prior["gaussian"][chosen])
    generator = flow if gain > -error else gaussian
    figures = by_prior[generator.prior]
    best = max(("fixed", "fixed standardised"), key=lambda name: float(figures[name].mean()))
    pairs = {
        "generated over the best fixed": ("mean", best),
        "the sheet over another machine's": ("mean", "mean of another sheet"),
        "chosen of samples without labels over the mean": (chosen, "mean"),
        **{
            f"chosen by {labels} labels over the mean": (f"chosen by {labels} labels", "mean")
            for labels in LABELS
        },
    }
    worth = {name: difference(figures[a], figures[b]) for name, (a, b) in pairs.items()}
    worth["flow over Gaussian"] = (gain, error)
    with torch.inference_mode():
        zoo_spread = model.posterior(zoo)[0].std(dim=0).square().sum().sqrt()
    card: dict[str, Any] = {
        "machines": len(batch.machines),
        "prior": generator.prior,
        "best fixed": best,
        "accuracy": {
            prior: {name: float(value.mean()) for name, value in values.items() if name != "spread"}
            for prior, values in by_prior.items()
        },
        "worth": {name: {"gain": a, "error": b} for name, (a, b) in worth.items()},
        "spread": float(figures["spread"].mean() / zoo_spread),
    }
    listed = checks(card)
    card["checks"] = [check.document() for check in listed]
    card["passes"] = all(check.passed for check in listed)
    return generator, card


def checks(card: Mapping[str, Any]) -> list[Check]:
    """What a generator must reach, from the figures on its card."""
    rows = (
        ("generated over the best fixed", WORTH),
        ("the sheet over another machine's", SHEET_WORTH),
    )
    listed = [
        Check(name=name, value=float(card["worth"][name]["gain"]), bound=bound)
        for name, bound in rows
    ]
    spread = float(card["spread"])
    return [*listed, Check(name="spread of samples over the zoo's", value=spread, bound=SPREAD)]


def table(card: Mapping[str, Any]) -> list[str]:
    """The card in a few lines, for people."""
    accuracy = card["accuracy"][card["prior"]]
    lines = [f"share right on {card['machines']} machines never seen, without labels:"]
    lines += [f"  {name}: {value:.3f}" for name, value in accuracy.items()]
    lines += ["worth in points, with its standard error:"]
    for name, pair in card["worth"].items():
        lines.append(f"  {name}: {100 * pair['gain']:+.1f} ± {100 * pair['error']:.1f}")
    lines.append(f"latents are sampled by: {card['prior']}")
    return lines
