"""Accuracy of a plant's models on its test file, which no earlier command has read."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo import stories
from demo.plants import Plant
from wg_client.data.site_data import SiteData
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import adoption, predict
from wg_core.errors import ConfigError
from wg_core.site.home import ClientHome

CorrectMask = NDArray[np.bool_]
"""Mask of the test records that a model labels correctly."""


def evaluate(root: Path, plant: Plant, fixed_network_mask: CorrectMask | None) -> dict[str, Any]:
    """Evaluate a plant's models on its test file; return the plant's entry in the summary.

    Args:
        root: Home of the plant.
        plant: The plant.
        fixed_network_mask: Test records that one network for all machines labels correctly,
            ``[n]``; None: the plant has no machine.
    """
    records = predict.load_records(plant.test_file, plant.classes)
    found: dict[str, Any] = {
        "name": plant.name,
        "story": plant.story_key,
        "title": plant.records_description,
        "records": plant.record_count,
        "labels_per_class": plant.labels_per_class,
        "classes": list(plant.classes),
        "missing_classes": list(plant.missing_classes),
        "test_records": len(records),
    }
    home = ClientHome(root)
    right, kept = correct_answers(home, records)
    if kept is not None:
        manifest, _ = adoption.model_in_use(home)
        found |= {"pool": manifest.pool_releases, "condition": asdict(manifest.condition)}
    if plant.labels_per_class == 0:
        guess = np.full(len(records), 1 / len(plant.classes))
        instead = guess if fixed_network_mask is None else fixed_network_mask
    else:
        instead = None
    return found | accuracy_figures(right, kept, records.labels, plant, instead)


def correct_answers(
    home: ClientHome, records: SiteData
) -> tuple[dict[str, CorrectMask], str | None]:
    """Return masks ``[n]`` of correctly labelled records by model, and the model in use.

    Without a model at the plant, because nothing was known of its classes: no masks, and None.
    """
    try:
        manifest, kept = adoption.model_in_use(home)
    except ConfigError:
        return {}, None
    seen = predict.compute_model_inputs(home, manifest, records)
    right = {
        entry.name: predict.model_logits(home, manifest, entry.name, seen).argmax(1)
        == records.labels
        for entry in manifest.models
    }
    return right, kept


def accuracy_figures(
    correct_by_model: Mapping[str, CorrectMask],
    model_in_use: str | None,
    labels: NDArray[np.int64],
    plant: Plant,
    alternative: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """Return accuracies with the plant's own model and the model in use, and their difference.

    Accuracies for missing classes are included.

    Args:
        correct_by_model: Mask ``[n]`` of correctly labelled test records, by model.
        model_in_use: Name of the model in use, if any.
        labels: True class indices of the test records, ``[n]``.
        plant: The plant.
        alternative: Probability that a plant without labels is right without weightgate, ``[n]``.
    """
    local, chosen = (
        correct_by_model.get(LOCAL_ONLY),
        None if model_in_use is None else correct_by_model[model_in_use],
    )
    gain = unseen = None
    rival = alternative if local is None else local
    if rival is not None and chosen is not None:
        difference = chosen.astype(float) - rival
        gain = {"mean": float(difference.mean()), "se": standard_error(difference)}
    if local is not None and chosen is not None:
        rows = np.isin(labels, [plant.classes.index(name) for name in plant.missing_classes])
        if rows.any():
            unseen = {
                "records": int(rows.sum()),
                "alone": float(local[rows].mean()),
                "kept": float(chosen[rows].mean()),
            }
    others = [float(found.mean()) for name, found in correct_by_model.items() if name != LOCAL_ONLY]
    return {
        "alone": None if local is None else float(local.mean()),
        "instead": None if alternative is None else float(alternative.mean()),
        "kept": None if chosen is None else float(chosen.mean()),
        "kept_source": model_in_use,
        "gain": gain,
        "unseen": unseen,
        "best_other": max(others, default=None),
        "accuracy": {
            stories.model_key(name): float(found.mean()) for name, found in correct_by_model.items()
        },
        "accuracy_se": {
            stories.model_key(name): standard_error(found)
            for name, found in correct_by_model.items()
        },
    }


def standard_error(values: NDArray[Any]) -> float:
    """Return the standard error of the mean of one value per record, ``[n]``."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))
