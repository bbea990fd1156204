"""Model card of networks for machines, measured on machines that no training saw.

All ways to get a network without labels are measured on the same machines. Each machine has two
plants: one with mostly healthy records, and one with equally frequent conditions. Differences are
paired by machine, and standard errors are over machines. For each scaling of inputs, conditioned
networks are put into packages (they ship) only if they are better than the template network by more
than twice the standard error of the difference; otherwise the template network ships. A kind of
machine for which only template networks ship needs no release.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wg_common.catalogue import InputScaling
from wg_server.generator.card_checks import CardCheck
from wg_server.generator.weights.data_sheet_generation import (
    SAMPLE_COUNT,
    MachineKindGenerator,
    ShippedNetworkKind,
)
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, MachineModel
from wg_server.generator.weights.machine_networks import SpectralLineNetworks, WindowInputs
from wg_server.generator.weights.machine_statistic import StatisticBatch, absent_statistics
from wg_server.generator.weights.machine_test_set import (
    PLANT_RECORD_COUNT,
    MachineTestSet,
    SimulatedTestPlants,
)

MARGIN_STANDARD_ERRORS = 2
"""Number of standard errors subtracted from a difference before the comparison with its bound."""
MIN_SHEET_GAIN = 0.10  # Least gain in accuracy by the right data sheet over another machine's
MIN_SAMPLE_SPREAD = 0.25
"""Smallest spread of sampled latents at one condition, relative to the spread of latents between
machines; a smaller one means that the samples have collapsed."""
RELEASE_EPSILONS = (1.0, 4.0, 0.0)  # Epsilons of releases; 0: no noise
LABEL_COUNTS = (2, 5)  # Labels per condition for selecting samples
DECIDING_EPSILON = 1.0
"""Epsilon of the releases whose accuracies decide which networks ship."""

SHEET_AND_STATISTIC, OTHER_STATISTIC, SHEET_ALONE = (
    "sheet and statistic",
    "another plant's statistic",
    "sheet alone",
)
OTHER_SHEET, ONE_SAMPLE = "another machine's sheet", "one sample"
TEMPLATE, TEMPLATE_OTHER = "template network", "template network, another machine's sheet"
FIXED_NETWORK, FILM = "fixed network", "sheet and statistic as inputs (FiLM)"

AccuracyRows = dict[str, Tensor]
"""Accuracy on each machine, ``[m]``, by row name (method and scaling of inputs)."""


def card_row_name(method: str, scaling: InputScaling) -> str:
    """Return the name of the model card's row for a method with one scaling of inputs."""
    return f"{method}, {scaling}"


def mean_difference_and_error(minuend: Tensor, subtrahend: Tensor) -> tuple[float, float]:
    """Return the mean, over m machines, of ``minuend - subtrahend``, and its standard error."""
    pairs = minuend - subtrahend
    return float(pairs.mean()), float(pairs.std()) / math.sqrt(len(pairs))


def measure_method_accuracies(
    model: MachineModel, test_set: MachineTestSet, mixture_name: str, epsilon: float, seed: int
) -> AccuracyRows:
    """Return the accuracies of all methods on the test machines.

    Args:
        mixture_name: Mixture of conditions among the records of the plants, a key of
            ``test_set.plants``.
        epsilon: Epsilon of the plants' releases; 0: without noise.
        seed: Seed of noise and samples.
    """
    generator = torch.Generator().manual_seed(seed)
    plants, rows = test_set.plants[mixture_name], AccuracyRows()
    with torch.inference_mode():
        statistics = plants.simulate_releases(epsilon, generator)
        for scaling in INPUT_SCALINGS:
            judged_view = plants.view_inputs(test_set.test_inputs, scaling, test_set.templates)
            other_view = plants.view_inputs(
                test_set.test_inputs, scaling, test_set.templates.roll(1, 0)
            )
            template = model.template_network_for(scaling)(len(test_set))
            rows[card_row_name(TEMPLATE, scaling)] = test_set.accuracies(
                template.logits(judged_view)
            )
            rows[card_row_name(TEMPLATE_OTHER, scaling)] = test_set.accuracies(
                template.logits(other_view)
            )
            rows[card_row_name(FIXED_NETWORK, scaling)] = test_set.accuracies(
                model.fixed[scaling](judged_view.inputs)
            )
            rows |= _condition_rows(model, scaling, test_set, statistics, (judged_view, other_view))
            rows |= _sample_rows(
                model, scaling, test_set, statistics, (plants, judged_view, generator)
            )
        figure_features = model.kind.figure_features(test_set.figures)
        inputs = plants.view_inputs(test_set.test_inputs, "standardised", test_set.templates).inputs
        logits = model.film(inputs, figure_features, model.embedding(statistics))
        rows[card_row_name(FILM, "standardised")] = test_set.accuracies(logits)
    return rows


def _condition_rows(
    model: MachineModel,
    scaling: InputScaling,
    test_set: MachineTestSet,
    statistics: StatisticBatch,
    right_and_wrong_inputs: tuple[WindowInputs, WindowInputs],
) -> AccuracyRows:
    """Return accuracies of networks with a latent of 0, for right and wrong conditions.

    ``right_and_wrong_inputs`` are the test inputs with readings at the right and at another
    machine's lines.
    """
    networks = model.conditioned_networks_for(scaling)
    judged_view, other_view = right_and_wrong_inputs

    def right(figures: Tensor, of_plants: StatisticBatch, view: WindowInputs) -> Tensor:
        condition = networks.embed_condition(figures, of_plants)
        return test_set.accuracies(networks.decode_networks(condition).logits(view))

    return {
        card_row_name(SHEET_AND_STATISTIC, scaling): right(
            test_set.figures, statistics, judged_view
        ),
        card_row_name(OTHER_STATISTIC, scaling): right(
            test_set.figures, statistics.shift_to_next_machine(), judged_view
        ),
        card_row_name(SHEET_ALONE, scaling): right(
            test_set.figures, absent_statistics(len(test_set)), judged_view
        ),
        card_row_name(OTHER_SHEET, scaling): right(
            test_set.figures.roll(1, 0), statistics, other_view
        ),
    }


def _sample_rows(
    model: MachineModel,
    scaling: InputScaling,
    test_set: MachineTestSet,
    statistics: StatisticBatch,
    plants_inputs_generator: tuple[SimulatedTestPlants, WindowInputs, torch.Generator],
) -> AccuracyRows:
    """Return accuracies of sampled networks: of one sample, and of the best by a few labels.

    ``plants_inputs_generator`` are the plants, the test inputs, and the random generator of the
    samples.
    """
    networks = model.conditioned_networks_for(scaling)
    plants, judged_view, generator = plants_inputs_generator
    condition = networks.embed_condition(test_set.figures, statistics)
    labelled_view = plants.view_inputs(
        test_set.labelled_inputs.flatten(1, 2), scaling, test_set.templates
    )
    classes, labels = test_set.labelled_inputs.shape[1:3]
    truths = torch.arange(classes).repeat_interleave(labels)[:, None]
    shares, surprises = [], []
    for _ in range(SAMPLE_COUNT):
        noise = torch.randn(len(test_set), networks.latent, generator=generator)
        sample: SpectralLineNetworks = networks.decode_networks(
            condition, networks.sample_latents(condition, noise)
        )
        shares.append(test_set.accuracies(sample.logits(judged_view)))
        likelihood = sample.logits(labelled_view).log_softmax(dim=2)
        by_window = likelihood.gather(2, truths.expand(len(test_set), -1, 1))[..., 0]
        surprises.append(-by_window.reshape(-1, classes, labels))  # [m, K, labels]
    right, machines = torch.stack(shares), torch.arange(len(test_set))
    rows = {card_row_name(ONE_SAMPLE, scaling): right.mean(dim=0)}
    for count in LABEL_COUNTS:
        best = torch.stack([part[..., :count].mean(dim=(1, 2)) for part in surprises]).argmin(dim=0)
        rows[card_row_name(f"chosen by {count} labels", scaling)] = right[best, machines]
    return rows


def sampled_latent_spread_ratio(model: MachineModel, test_set: MachineTestSet, seed: int) -> float:
    """Return the spread of latents sampled for one machine, divided by that between machines."""
    networks = model.conditioned_networks_for("raw")
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        condition = networks.embed_condition(test_set.figures, absent_statistics(len(test_set)))
        samples = torch.stack(
            [
                networks.sample_latents(
                    condition, torch.randn(len(test_set), networks.latent, generator=generator)
                )
                for _ in range(SAMPLE_COUNT)
            ]
        )
        latents = networks.encode_machines(test_set)[0]
    within = samples.std(dim=0).square().sum(dim=1).sqrt().mean()
    return float(within / latents.std(dim=0).square().sum().sqrt())


def select_networks(
    model: MachineModel, test_set: MachineTestSet, seed: int
) -> tuple[MachineKindGenerator, dict[str, Any]]:
    """Decide which networks ship for a kind of machine; return its generator and model card.

    Args:
        test_set: Machines that were used for no training or selection.
        seed: Seed of noise and samples.
    """
    rows = {
        mixture: {
            epsilon: measure_method_accuracies(model, test_set, mixture, epsilon, seed)
            for epsilon in RELEASE_EPSILONS
        }
        for mixture in test_set.plants
    }
    at_judged = [by_epsilon[DECIDING_EPSILON] for by_epsilon in rows.values()]
    over_mixtures = {
        name: torch.stack([part[name] for part in at_judged]).mean(dim=0)
        for scaling in INPUT_SCALINGS
        for method in (SHEET_AND_STATISTIC, TEMPLATE, FIXED_NETWORK)
        for name in [card_row_name(method, scaling)]
    }
    over_template = {
        scaling: mean_difference_and_error(
            over_mixtures[card_row_name(SHEET_AND_STATISTIC, scaling)],
            over_mixtures[card_row_name(TEMPLATE, scaling)],
        )
        for scaling in INPUT_SCALINGS
    }
    ships: dict[InputScaling, ShippedNetworkKind] = {
        scaling: "conditioned" if gain > MARGIN_STANDARD_ERRORS * error else "template"
        for scaling, (gain, error) in over_template.items()
    }
    best_fixed = max(
        (card_row_name(FIXED_NETWORK, scaling) for scaling in INPUT_SCALINGS),
        key=lambda name: float(over_mixtures[name].mean()),
    )
    card: dict[str, Any] = {
        "kind": model.kind.name,
        "machines": len(test_set),
        "records": PLANT_RECORD_COUNT,
        "ships": ships,
        "made over template": {name: _gain_figures(gain) for name, gain in over_template.items()},
        "accuracy": {
            mixture: {
                f"{epsilon:g}": {name: float(value.mean()) for name, value in methods.items()}
                for epsilon, methods in by_epsilon.items()
            }
            for mixture, by_epsilon in rows.items()
        },
        "worth": _paired_differences(rows, _compared_rows(ships["standardised"], best_fixed)),
        "spread": sampled_latent_spread_ratio(model, test_set, seed),
    }
    requirements = card_checks(card)
    card["checks"] = [check.to_document() for check in requirements]
    card["passes"] = all(check.passed for check in requirements)
    return MachineKindGenerator(model, ships), card


def _paired_differences(
    rows: Mapping[str, Mapping[float, AccuracyRows]], pairs: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Return mean differences in accuracy between pairs of rows, by mixture and pair."""
    worth: dict[str, Any] = {}
    for mixture, by_epsilon in rows.items():
        part, name = (
            by_epsilon[DECIDING_EPSILON],
            card_row_name(SHEET_AND_STATISTIC, "standardised"),
        )
        gains = {
            words: mean_difference_and_error(part[a], part[b]) for words, (a, b) in pairs.items()
        }
        gains[f"epsilon {DECIDING_EPSILON:g} over exact"] = mean_difference_and_error(
            part[name], by_epsilon[0.0][name]
        )
        worth[mixture] = {words: _gain_figures(gain) for words, gain in gains.items()}
    return worth


def _gain_figures(gain_and_error: tuple[float, float]) -> dict[str, float]:
    """Return a difference in accuracy and its standard error, as stored on a model card."""
    return dict(zip(("gain", "error"), gain_and_error, strict=True))


def _compared_rows(
    shipped_kind: ShippedNetworkKind, best_fixed_row: str
) -> dict[str, tuple[str, str]]:
    """Return the pairs of rows that a model card compares, by a description of the comparison."""
    made_row, raw = (
        card_row_name(SHEET_AND_STATISTIC, "standardised"),
        card_row_name(SHEET_AND_STATISTIC, "raw"),
    )
    if shipped_kind == "conditioned":
        shipped_row, other_row = made_row, card_row_name(OTHER_SHEET, "standardised")
    else:
        shipped_row, other_row = (
            card_row_name(TEMPLATE, "standardised"),
            card_row_name(TEMPLATE_OTHER, "standardised"),
        )
    pairs = {
        FIXED_NETWORK_COMPARISON: (shipped_row, best_fixed_row),
        OTHER_SHEET_COMPARISON: (shipped_row, other_row),
        "sheet and statistic over the template network": (
            made_row,
            card_row_name(TEMPLATE, "standardised"),
        ),
        "sheet and statistic over the sheet alone": (
            made_row,
            card_row_name(SHEET_ALONE, "standardised"),
        ),
        "own statistic over another plant's": (
            made_row,
            card_row_name(OTHER_STATISTIC, "standardised"),
        ),
        "sheet and statistic over both as inputs": (made_row, card_row_name(FILM, "standardised")),
        "standardised over raw inputs": (made_row, raw),
        "sheet and statistic over the sheet alone, raw": (raw, card_row_name(SHEET_ALONE, "raw")),
        "own statistic over another plant's, raw": (raw, card_row_name(OTHER_STATISTIC, "raw")),
        "sheet and statistic over the template network, raw": (raw, card_row_name(TEMPLATE, "raw")),
        "standardised, with a statistic, over the sheet alone on raw inputs": (
            made_row,
            card_row_name(SHEET_ALONE, "raw"),
        ),
    }
    for scaling in INPUT_SCALINGS:
        for name in (f"chosen by {count} labels" for count in LABEL_COUNTS):
            pair = card_row_name(name, scaling), card_row_name(SHEET_AND_STATISTIC, scaling)
            pairs[f"{name} over the mean, {scaling}"] = pair
    return pairs


FIXED_NETWORK_COMPARISON = "shipped over the best fixed network"
OTHER_SHEET_COMPARISON = "the sheet over another machine's"


def card_checks(card: Mapping[str, Any]) -> list[CardCheck]:
    """Return the checks of a model card, which compare two gains and possibly a spread with bounds.

    The gains, over the best fixed network and over another machine's sheet, are taken less two
    standard errors at the worse mixture; the spread is that of sampled latents, if they ship.
    """
    requirements = [
        CardCheck(
            name=f"{card['kind']}: {name}, less {MARGIN_STANDARD_ERRORS} errors",
            value=min(
                float(pairs[name]["gain"]) - MARGIN_STANDARD_ERRORS * float(pairs[name]["error"])
                for pairs in card["worth"].values()
            ),
            bound=bound,
        )
        for name, bound in (
            (FIXED_NETWORK_COMPARISON, 0.0),
            (OTHER_SHEET_COMPARISON, MIN_SHEET_GAIN),
        )
    ]
    if "conditioned" in card["ships"].values():
        name = f"{card['kind']}: spread of samples over that of machines"
        requirements.append(
            CardCheck(name=name, value=float(card["spread"]), bound=MIN_SAMPLE_SPREAD)
        )
    return requirements


def card_text_lines(card: Mapping[str, Any]) -> list[str]:
    """Format a model card as a few lines of text."""
    lines = [
        f"{card['kind']}: share right on {card['machines']} machines never seen, without labels,"
        f" {card['records']} records, epsilon {DECIDING_EPSILON:g}:"
    ]
    mixtures = list(card["accuracy"])
    columns = [card["accuracy"][mixture][f"{DECIDING_EPSILON:g}"] for mixture in mixtures]
    lines.append(f"  {'; '.join(mixtures)}")
    for name in columns[0]:
        lines.append(f"  {name}: " + "; ".join(f"{column[name]:.3f}" for column in columns))
    return [*lines, "worth in points, with its standard error:", *difference_text_lines(card)]


def difference_text_lines(card: Mapping[str, Any]) -> list[str]:
    """Format a card's differences between methods at each mixture, and the networks that ship."""
    lines, mixtures = [], list(card["worth"])
    for name in card["worth"][mixtures[0]]:
        pairs = [card["worth"][mixture][name] for mixture in mixtures]
        figures = [f"{100 * pair['gain']:+.1f} ± {100 * pair['error']:.1f}" for pair in pairs]
        lines.append(f"  {name}: {'; '.join(figures)}")
    verdicts = {"conditioned": "they ship", "template": "that ships, and takes no statistic"}
    for scaling, word in card["ships"].items():
        pair = card["made over template"][scaling]
        worth = f"{100 * pair['gain']:+.1f} ± {100 * pair['error']:.1f}"
        lines.append(
            f"networks made for sheet and statistic, {scaling}, at both mixtures: {worth} over"
            f" the template network; {verdicts[word]}"
        )
    return lines
