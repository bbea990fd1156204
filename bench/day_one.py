"""Day one (S0): networks from a data sheet alone, against all that would take the same sheet.

``python -m bench.day_one --datasets DIR`` trains the generator and its baselines on the same
simulated bearings and judges them on 100 that none has seen, and on a real one (``cwru_de``), whose
sizes of damage are held out wherever labels are used. Settings of baselines are chosen on other
machines.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bench.rows import write_table
from bench.sheet_baselines import (
    Analyst,
    Logits,
    SheetAsInput,
    analyst_features,
    known_networks,
    rule,
)
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from wg_common.nets import spectrum_lines
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import sheet_card, training
from wg_server.generator.weights.sheet_generation import SAMPLES, SheetGenerator
from wg_server.generator.weights.sheet_networks import CLASSES, SheetModel, Sizes, Weights, run
from wg_server.generator.weights.sheet_training import Batch, Draws, SheetObjective, draw
from wg_server.generator.weights.training import Evaluation, Schedule

ZOO, JUDGED, WINDOWS = 400, 100, 24
PENALTIES = (0.003, 0.03, 0.3)


class Everything(nn.Module):
    """The generator and the baselines that are trained."""

    def __init__(self, model: SheetModel) -> None:
        super().__init__()
        self.model, self.film, self.analyst = model, SheetAsInput(), Analyst()


class Objective:
    """The generator's objective, and the baselines' on the same windows."""

    def __init__(self, generator: SheetObjective) -> None:
        self._generator, self.model = generator, Everything(generator.model)

    def loss(self, step: int) -> Tensor:
        """See the training's ``Objective``."""
        batch = self._generator.batch(step)
        inputs, sheets, labels = batch.inputs, batch.machines.figures, batch.labels.flatten()
        total = self._generator.loss_of(batch, step)
        for baseline in (self.model.film, self.model.analyst):
            logits = baseline(inputs, sheets).flatten(0, 1)
            total = total + F.cross_entropy(logits, labels, label_smoothing=0.05)
        return total

    def evaluate(self, model: Everything) -> Evaluation:
        """See the training's ``Objective``; of the generator alone."""
        return self._generator.evaluate(model.model)


def tuned(
    generator: SheetGenerator, inputs: Tensor, labels: Tensor, sheets: Tensor, strength: float
) -> Tensor:
    """Latents ``[m, latent]`` tuned by labelled windows ``[m, n, INPUTS]`` under their prior."""
    latents = torch.zeros(len(sheets), generator.model.sizes.latent, requires_grad=True)
    optimiser = torch.optim.Adam([latents], 0.15)
    for _ in range(25):
        logits = run(generator.model.decoder(sheets, latents), inputs)
        surprise = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        away = torch.linalg.solve_triangular(
            generator.factor, (latents - generator.centre).mT, upper=False
        )
        total = strength * surprise + 0.5 * away.square().sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return latents.detach()


def features(weights: Weights, inputs: Tensor) -> Tensor:
    """Of generated networks, what a plant's own head stands on, and their logits."""
    x = F.gelu(torch.baddbmm(weights.first_bias[:, None], inputs, weights.first.mT))
    x = F.gelu(torch.baddbmm(weights.second_bias[:, None], x, weights.second.mT))
    return torch.cat([x, torch.baddbmm(weights.head_bias[:, None], x, weights.head.mT)], dim=2)


def fitted(x: Tensor, labels: Tensor, train: Tensor, of: Tensor, penalty: float) -> Tensor:
    """Predictions of logistic regression at one machine, ``[n]``, on standardised columns.

    Args:
        x: ``[n, d]``.
        train: The labelled records.
        of: All records whose figures may be used.
    """
    scaled = ((x - x[of].mean(dim=0)) / (x[of].std(dim=0) + 1e-3)).numpy()
    classifier = LogisticRegression(C=penalty, max_iter=200)
    classifier.fit(scaled[train.numpy()], labels[train].numpy())
    return torch.from_numpy(classifier.predict(scaled))


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Ways to use labels at a machine; each gives predictions ``[m, n]``."""

    generator: SheetGenerator
    strength: float = 1.0

    def ways(
        self, inputs: Tensor, labels: Tensor, sheets: Tensor, train: Tensor, of: Tensor
    ) -> dict[str, Callable[[float], Tensor]]:
        """By name, from a penalty. ``train`` and ``of`` are bool ``[n]``."""
        model = self.generator.model
        with torch.inference_mode():
            none = torch.zeros(len(sheets), model.sizes.latent)
            seen = {
                "local-only on spectra": inputs,
                "local-only on the analyst's features": analyst_features(inputs, sheets),
                "own head on generated features": features(model.decoder(sheets, none), inputs),
            }

        def head(x: Tensor) -> Callable[[float], Tensor]:
            return lambda penalty: torch.stack(
                [fitted(a, b, train, of, penalty) for a, b in zip(x, labels, strict=True)]
            )

        def latents(strength: float) -> Tensor:
            z = tuned(
                self.generator, inputs[:, train], labels[:, train], sheets, min(3 * strength, 1)
            )
            with torch.inference_mode():
                return run(model.decoder(sheets, z), inputs).argmax(dim=2)

        return {**{name: head(x) for name, x in seen.items()}, "latents tuned": latents}


def simulated(
    everything: Everything, generator: SheetGenerator, choosing: Batch, judged: Batch, seed: int
) -> dict[str, Tensor]:
    """Accuracy on each judged machine by method; settings are chosen on the other machines."""
    model = everything.model
    rows = sheet_card.accuracies(generator, judged, seed)
    first, counted = sheet_card.halves(judged)

    def right(predicted: Tensor, batch: Batch) -> Tensor:
        return (predicted == batch.labels)[:, counted].float().mean(dim=1)

    def best(options: Sequence[Logits]) -> Logits:
        sheets = choosing.machines.figures
        with torch.inference_mode():
            values = [
                right(option(choosing.inputs, sheets).argmax(dim=2), choosing).mean()
                for option in options
            ]
        return options[int(torch.stack(values).argmax())]

    zoo = simulation.Workshop(seed + 1).machines(ZOO)
    maps = [known_networks(model, zoo, penalty) for penalty in PENALTIES]
    baselines: dict[str, Logits] = {
        "the sheet as an input (FiLM)": everything.film,
        "analyst's rule": best([rule(q, choosing) for q in (0.5, 0.7, 0.8, 0.9)]),
        "analyst's features, trained": everything.analyst,
        "retrieval by sheet": maps[0][0],
        "ridge map from the sheet": best([pair[1] for pair in maps]),
    }
    sheets = judged.machines.figures
    with torch.inference_mode():
        for name, baseline in baselines.items():
            rows[name] = right(baseline(judged.inputs, sheets).argmax(dim=2), judged)
    labelled = Labelled(generator)
    for count in sheet_card.LABELS:
        few = sheet_card.first(first, count)
        here = labelled.ways(judged.inputs, judged.labels, sheets, few, first)
        there = labelled.ways(
            choosing.inputs, choosing.labels, choosing.machines.figures, few, first
        )
        for name in here:
            scores = [float(right(there[name](p), choosing).mean()) for p in PENALTIES]
            rows[f"{name}, {count} labels"] = right(
                here[name](PENALTIES[int(np.argmax(scores))]), judged
            )
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class RealMachine:
    """Windows of one load of the real bearing.

    Attributes:
        inputs: ``[1, n, INPUTS]``.
        labels: ``[1, n]``.
        sheets: ``[1, 7]``.
        size: Of the damage, thousandths of an inch, ``[n]``; 0 where there is none.
        recordings: Which recording a window is of, ``[n]``.
    """

    inputs: Tensor
    labels: Tensor
    sheets: Tensor
    size: Tensor
    recordings: Tensor


def real_machines(path: Path) -> list[RealMachine]:
    """The bearing of ``cwru_de`` (SKF 6205) at its four loads, each with a speed of its own."""
    with np.load(path) as archive:
        data = {name: archive[name] for name in archive.files}
    inputs = torch.from_numpy(spectrum_lines.prepared(data["x"].astype(np.float64)))
    machines = []
    for load, speed in enumerate((1797, 1772, 1750, 1730)):
        rows = torch.from_numpy(np.flatnonzero(data["load_hp"] == load))
        of = {
            name: torch.from_numpy(data[name].astype(np.int64))[rows]
            for name in ("y_type", "size_mil", "group")
        }
        sheets = torch.tensor([[speed, 12000, 9, 7.94, 39.04, 0, 0.5]])
        machines.append(
            RealMachine(inputs[rows][None], of["y_type"][None], sheets, of["size_mil"], of["group"])
        )
    return machines


Predictions = dict[str, list[tuple[Tensor, Tensor, Tensor]]]
"""By method: answers, truths and recordings, of one machine after another."""


def with_labels(
    generator: SheetGenerator, machine: RealMachine, mean: Tensor, samples: Tensor, seed: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Ways to use labels of other sizes of damage: name, answers, and the windows judged.

    Args:
        mean: Answers of the network at the mean of the latents, ``[n]``.
        samples: Logits of sampled networks, ``[S, n, CLASSES]``.
    """
    inputs, every = machine.inputs, torch.ones(machine.inputs.shape[1], dtype=torch.bool)
    rng = np.random.default_rng(seed)
    for size in (7, 14, 21):
        shuffled = torch.from_numpy(rng.permutation(len(every)))
        sound = machine.labels[0] == 0
        half = torch.zeros_like(every)
        half[shuffled[: len(every) // 2]] = True
        test = (machine.size == size) | (sound & half)
        for count in sheet_card.LABELS:
            train = torch.zeros_like(every)
            for label in range(CLASSES):
                rows = shuffled[((machine.labels[0] == label) & ~test)[shuffled]]
                train[rows[:count]] = True
            ways = Labelled(generator).ways(inputs, machine.labels, machine.sheets, train, ~test)
            for name, way in ways.items():
                predicted = way(PENALTIES[1])[0]
                yield f"{name}, {count} labels", predicted, test
            surprise = F.cross_entropy(
                samples[:, train].mT,
                machine.labels[:, train].expand(len(samples), -1),
                reduction="none",
            ).mean(dim=1)
            chosen = samples[int(surprise.argmin())].argmax(dim=1)
            yield f"chosen by {count} labels", chosen, test
            yield f"mean, sizes held out, {count} labels", mean, test


def on_real(
    everything: Everything, generator: SheetGenerator, machines: Sequence[RealMachine], seed: int
) -> Predictions:
    """Without labels on all windows; with labels on windows of a size of damage held out."""
    model, results = everything.model, Predictions()
    noise = torch.randn(SAMPLES, model.sizes.latent, generator=torch.Generator().manual_seed(seed))

    def add(name: str, predicted: Tensor, machine: RealMachine, test: Tensor) -> None:
        entry = predicted[test], machine.labels[0, test], machine.recordings[test]
        results.setdefault(name, []).append(entry)

    for machine in machines:
        inputs, sheets = machine.inputs, machine.sheets
        every = torch.ones(inputs.shape[1], dtype=torch.bool)
        # Another bearing on the same shaft: 13 elements of 5 mm.
        wrong = sheets.clone()
        wrong[0, 2:4] = torch.tensor([13.0, 5.0])
        none = torch.zeros(1, model.sizes.latent)
        with torch.inference_mode():
            logits = {
                "fixed": run(model.fixed(1), inputs),
                "fixed standardised": run(
                    model.standardised(1), spectrum_lines.standardised(inputs, None)
                ),
                "mean": run(model.decoder(sheets, none), inputs),
                "mean of another sheet": run(model.decoder(wrong, none), inputs),
                "the sheet as an input (FiLM)": everything.film(inputs, sheets),
                "analyst's features, trained": everything.analyst(inputs, sheets),
            }
            drawn = generator.latents(sheets.expand(len(noise), -1), noise)
            samples = run(
                model.decoder(sheets.expand(len(noise), -1), drawn),
                inputs.expand(len(noise), -1, -1),
            )
            logits["chosen without labels"] = samples[
                [int(sheet_card.disagreement(samples).argmax())]
            ]
        for name, value in logits.items():
            add(name, value.argmax(dim=2)[0], machine, every)
        mean = logits["mean"].argmax(dim=2)[0]
        for name, predicted, test in with_labels(generator, machine, mean, samples, seed):
            add(name, predicted, machine, test)
    return results


def by_recording(entries: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[tuple[int, int], float]:
    """Share right of each condition and recording."""
    predicted, labels, recordings = (torch.cat(parts) for parts in zip(*entries, strict=True))
    keys = set(zip(labels.tolist(), recordings.tolist(), strict=True))
    return {
        key: float(
            (predicted == key[0])[(labels == key[0]) & (recordings == key[1])].float().mean()
        )
        for key in sorted(keys)
    }


def balanced(shares: dict[tuple[int, int], float]) -> tuple[float, float]:
    """Mean over conditions of means over recordings, and its standard error."""
    mean = variance = 0.0
    for label in range(CLASSES):
        values = np.array([value for key, value in shares.items() if key[0] == label])
        mean += values.mean() / CLASSES
        if len(values) > 1:
            variance += values.var(ddof=1) / len(values) / CLASSES**2
    return mean, math.sqrt(variance)


def table(rows: dict[str, Tensor], real: Predictions, best: str) -> list[str]:
    """Every method on simulated and real machines, beside the best fixed network or local-only."""
    lines = [
        "| method | simulated | minus its bar | real | minus its bar |",
        "|---|---|---|---|---|",
    ]
    shares = {name: by_recording(entries) for name, entries in real.items()}
    for name in rows | shares:
        if name == "spread":
            continue
        labels = next((n for n in sheet_card.LABELS if name.endswith(f"{n} labels")), 0)
        bars = [n for n in rows if n.startswith("local-only") and n.endswith(f"{labels} labels")]
        bar = max(bars, key=lambda n: float(rows[n].mean())) if labels else best
        cells = [name, "", "", "", ""]
        if name in rows:
            gain, error = sheet_card.difference(rows[name], rows[bar])
            cells[1:3] = f"{float(rows[name].mean()):.3f}", f"{100 * gain:+.1f} ± {100 * error:.1f}"
        if name in shares:
            real_bars = [n for n in shares if n in bars] or ["fixed", "fixed standardised"]
            real_bar = max(real_bars, key=lambda n: balanced(shares[n])[0])
            pairs = {key: value - shares[real_bar][key] for key, value in shares[name].items()}
            gain, error = balanced(pairs)
            value, _ = balanced(shares[name])
            cells[3:] = f"{value:.3f}", f"{100 * gain:+.1f} ± {100 * error:.1f}"
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def report(step: int, words: str) -> None:
    """Print where the training is."""
    print(step, words, flush=True)


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed = options.seed
    objective = Objective(SheetObjective(Sizes(), Draws(), seed))
    state = training.train(objective, Schedule(steps=options.steps), report)
    everything = objective.model
    zoo = simulation.Workshop(seed + 100).machines(4000)
    choosing, judged = (
        draw(simulation.Workshop(seed + number), count, WINDOWS)
        for number, count in ((101, 40), (102, JUDGED))
    )
    generator, _ = sheet_card.judged(everything.model, zoo, choosing, seed)
    _, card = sheet_card.judged(everything.model, zoo, judged, seed)
    rows = simulated(everything, generator, choosing, judged, seed)
    real = on_real(
        everything, generator, real_machines(options.datasets / "cwru_de/data.npz"), seed
    )
    lines = [
        f"Seed {seed}, {state.steps} steps of 16 machines, {state.seconds:.0f} s. Latents are"
        f" sampled by: {generator.prior}. Spread of samples over the zoo's: {card['spread']:.2f}.",
        "",
        *table(rows, real, card["best fixed"]),
        "",
        *(
            f"* {name}: {100 * pair['gain']:+.1f} ± {100 * pair['error']:.1f}"
            for name, pair in card["worth"].items()
        ),
    ]
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
