"""Evaluate model selection on real data sets. Run with ``python -m bench.acceptance --home DIR``.

Plants are cut from real data sets (``bench.plants``, ``bench.window_plants`` or
``bench.text_plants``, by the modality of the home's encoder). Other sites release statistics, the
home's generator answers, and the plant selects a model. On test records that were used nowhere
else, the tables show the accuracy gained over local-only; how often the selected model is more than
two points worse; how often the reported interval contains the accuracy; and whether the summary
sentence, the bounds of the acceptance set and the sure calls were right. Finished runs are stored
in ``--results`` (JSON lines).
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import installed, plants, text_plants, window_plants
from bench.methods import Cell, draw_plant, draw_records
from bench.plants import DATASETS, Floats, Ints, Plants
from bench.rows import Row, Rows
from bench.selected import plant_trunk, select_for_plant
from bench.tables import markdown

from wg_client.fitting.family_features import append_family_logits
from wg_client.fitting.sure_calls import (
    LARGEST_WRONG_SHARE,
    UNREACHABLE_THRESHOLD,
    cap_probabilities,
    largest_supported_probability,
    sure_call_threshold,
)
from wg_client.methods.base import DeliveredCandidate
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import novelty
from wg_client.models.acceptance import score_probabilities
from wg_client.models.adoption import INITIAL_DEFECT_THRESHOLD, INITIAL_MISSED_DEFECT_SHARE
from wg_client.models.pass_rule import OutOfFoldEvidence, defect_log_odds, fit_pass_rule
from wg_client.selection import defects
from wg_client.selection.model_selection import SelectionOutcome
from wg_client.selection.verdict import AccuracyChange, classify_accuracy_change
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.inference.family_head import FeatureLayout
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_core.errors import NotAcceptedError
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads
from wg_server.site.home import ServerHome
from wg_server.zoo import family_heads

HARMFUL_LOSS = 0.02  # A kept model that is so much less accurate than local-only does harm
_RECORDS_PER_CLASS = {"own": 60, "sister": 60}
_TEST_RECORDS = 500
_TEST_WINDOWS = 1000
"""With 200 test records the error of a difference of accuracies was ``HARMFUL_LOSS``."""
_DATASETS = {Texts.name: text_plants.DATASETS, Windows.name: window_plants.DATASETS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Kind of plant to be simulated.

    Attributes:
        name: Name in the table.
        cell: Number of labels, other sites and noise.
        known_kind_seed: Seed of the plant's records if the operator has its kind; otherwise 0.
    """

    name: str
    cell: Cell
    known_kind_seed: int = 0


def _cell(scenario: str, shots: int) -> Cell:
    missing = 0.3 if scenario == "S2" else 0.0
    return Cell(
        scenario=scenario, epsilon=4.0, shots=shots, missing_share=missing, same_family_sites=3
    )


SETTINGS = (
    Setting(name="S1, 5 labels a class", cell=_cell("S1", 5)),
    Setting(name="S1, 20 labels", cell=_cell("S1", 20)),
    Setting(name="S2, 20 labels", cell=_cell("S2", 20)),
    *(
        Setting(
            name=f"S1, 3 labels, a known kind, draw {n}", cell=_cell("S1", 3), known_kind_seed=n
        )
        for n in range(1, 9)
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/out/acceptance.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="data sets")
    parser.add_argument("--settings", nargs="*", help="names of settings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = ServerHome(options.home)
    generator, encoder = installed.head_generator(home), load_encoder(home.read_encoder())
    rows = Rows(options.results)
    chosen = options.settings or [setting.name for setting in SETTINGS]
    settings = {setting.name: setting for setting in SETTINGS if setting.name in chosen}
    for here, key, name, seed, word in pending_plants(generator, encoder, options, rows, settings):
        scores = evaluate_plant(generator, encoder, here, settings[word], seed)
        rows.add({"key": key, "dataset": name, "setting": word} | scores)
    print("\n".join(table(rows.with_prefix(generator.id[:16]))))
    for kind in ("setting", "dataset"):
        print("\n".join(["", *report_table(rows.with_prefix(), kind)]))


def pending_plants(
    generator: HeadGenerator,
    encoder: Encoder,
    options: argparse.Namespace,  # With `only`, `seeds`, `datasets` and `cache`
    rows: Rows,
    settings: Iterable[str],  # Names
) -> Iterator[tuple[Plants, str, str, int, str]]:  # Plants, key, data set, seed, setting
    """Yield the plants of every available data set that have no row of results yet."""
    for seed in range(options.seeds):
        for name in options.only or _DATASETS.get(encoder.modality, DATASETS):
            keys = {word: f"{generator.id[:16]} {name} {seed} {word}" for word in settings}
            left = {word: key for word, key in keys.items() if key not in rows}
            here = (
                cut_data_set(encoder, options.datasets, name, seed, options.cache) if left else None
            )
            if here is None:
                continue
            for word, key in left.items():
                yield here, key, name, seed, word
            print(f"seed {seed}, {name}: done", flush=True)


def cut_data_set(encoder: Encoder, root: Path, name: str, seed: int, cache: Path) -> Plants | None:
    """Cut a data set into plants; None if its file is missing."""
    if encoder.modality == Texts.name:
        return text_plants.as_plants(encoder, root, name, seed)
    if encoder.modality == Windows.name:
        found = window_plants.cut_data_set(
            encoder, root, name, seed, 0.0, test_windows=_TEST_WINDOWS
        )
        return None if found is None else found.plants
    return plants.cut_data_set(
        encoder,
        encoder.id,
        root,
        name,
        seed,
        0.0,
        cache,
        per_class=_RECORDS_PER_CLASS,
        test_records=_TEST_RECORDS,
    )


def evaluate_plant(
    generator: HeadGenerator, encoder: Encoder, plant_data: Plants, setting: Setting, seed: int
) -> dict[str, object]:
    """Run model selection, and compare its results and statements with the test records.

    The result has the selected model, its accuracy and its gain; if none was selected, only "".
    """
    try:
        if setting.known_kind_seed:
            outcome, features, gone = _known_kind(generator, encoder, plant_data, setting)
        else:
            plant = draw_plant(generator, plant_data, setting.cell, seed)
            features, gone = plant.x, plant.unseen_classes
            outcome = plant.select(
                plant_trunk(encoder, plant.x), plant_data.dimension, encoder.modality
            )
    except NotAcceptedError:
        return {"kept": ""}
    x, y = plant_data.test
    right = {
        name: model.head.logits(x).argmax(axis=1) == y for name, model in outcome.models.items()
    }
    kept, accuracy = right[outcome.kept_name], outcome.estimate_accuracy(outcome.kept_name)
    found: dict[str, object] = {"kept": outcome.kept_name, "accuracy": float(kept.mean())}
    if LOCAL_ONLY in right:
        layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
        known = novelty.fit_novelty_test(features, layout, outcome.records.privacy_units)
        found["said"] = compare_report(outcome, plant_data.labels, plant_data.test, known)
        found["gain"] = float(kept.mean() - right[LOCAL_ONLY].mean())
    if accuracy is not None:
        asked = kept[~np.isin(y, gone)]
        found |= {"seen": float(asked.mean()), "asked": len(asked)}
        found["told"] = [accuracy.mean, accuracy.low, accuracy.high]
    return found


def _known_kind(
    generator: HeadGenerator, encoder: Encoder, plant_data: Plants, setting: Setting
) -> tuple[SelectionOutcome, Floats, Ints]:
    """Select a model if the operator has all other records of the plant's kind."""
    k, (records, labels) = len(plant_data.labels), plant_data.own
    rows, gone = draw_records(
        labels, k, setting.cell, np.random.default_rng((setting.known_kind_seed, 4))
    )
    remaining = np.setdiff1d(np.arange(len(labels)), rows)
    pairs = ((records[remaining], labels[remaining]), *plant_data.same_family)
    sites = [pair for pair in pairs if len(pair[1])]
    local, truth = zip(*sites, strict=True)
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    shared = [
        site[:, : layout.scaled_count + sum(layout.block_sizes)].astype(np.float32)
        for site in local
    ]
    head, x = (
        family_heads.fit_family_head(family_heads.SimulatedSites(shared, truth), k, layout),
        records[rows],
    )
    views = append_family_logits(head, x, layout, plant_trunk(encoder, x), plant_data.dimension)
    outcome = select_for_plant(
        generate_heads(generator, (), plant_data.labels),
        plant_trunk(encoder, x),
        labels[rows],
        plant_data.dimension,
        others_released=False,
        groups=plant_data.groups[rows],
        family=DeliveredCandidate("own-kind", SAME_FAMILY_SOURCE, *views),
    )
    return outcome, x, gone


def compare_report(
    outcome: SelectionOutcome,
    labels: tuple[str, ...],
    test: tuple[Floats, Ints],
    novelty_test: novelty.NoveltyTest | None,
) -> dict[str, object]:
    """Compare the plant's report with test records: accuracy change, bounds, sure calls.

    The first class counts as the good one. A fifth of the test records is the acceptance set.

    Args:
        test: Local features ``[n, D]`` and classes ``[n]`` of the test records.
        novelty_test: Test for records that are unlike the plant's own.
    """
    gone = np.array([name in outcome.unseen_labels(labels) for name in labels])
    named = defects.measure_detection_rates(outcome, labels, labels[:1]).correct_rate
    x, y = test
    kept, local = outcome.models[outcome.kept_name], outcome.models[LOCAL_ONLY]
    logits = kept.head.logits(x)
    right, alone = logits.argmax(axis=1) == y, local.head.logits(x).argmax(axis=1) == y
    found: dict[str, object] = {}
    if named is not None and named.local is not None:
        gain, ends = float((1.0 * right - alone)[~gone[y]].mean()), (named.low, named.high)
        found |= {"change": classify_accuracy_change(*ends), "ends": ends, "came": gain}
    good = np.arange(len(labels)) == 0
    rows = np.random.default_rng(len(y)).permutation(len(y))
    limit = largest_supported_probability(len(outcome.labels))
    chances = cap_probabilities(logits, limit)
    tensors = None if novelty_test is None else novelty_test.tensors()
    is_new, is_unlike = (
        novelty.flag_unlike_records(tensors, x, share)
        for share in (novelty.LARGEST_NEW_LIKENESS, novelty.LEAST_PASS_LIKENESS)
    )
    out_of_fold = kept.fitted_model.logits
    least, evidence = UNREACHABLE_THRESHOLD, None
    if out_of_fold is not None:
        least = sure_call_threshold(
            out_of_fold, outcome.labels, LARGEST_WRONG_SHARE, outcome.records.unseen_mass
        )
        evidence = OutOfFoldEvidence(
            out_of_fold[0], outcome.labels, outcome.records.evaluated_unit_indices
        )
    rule = fit_pass_rule(evidence, good, gone, INITIAL_MISSED_DEFECT_SHARE)
    passes = rule.pass_mask(defect_log_odds(logits, good)) & ~is_unlike
    parts = [
        score_probabilities(chances[half], y[half], good, is_new[half], passes[half]).counts_at(
            INITIAL_DEFECT_THRESHOLD
        )
        for half in np.split(rows, [len(y) // 5])
    ]
    pairs = zip(*((each.false_accepts, each.false_rejects) for each in parts), strict=True)
    found["bounds"] = [
        [a.most(), b.wrong / b.records] for a, b in pairs if a and b and a.records and b.records
    ]
    if out_of_fold is not None:
        sure = (chances.max(axis=1) >= least) & ~gone[logits.argmax(axis=1)]
        sure &= ~is_new
        found["sure"] = [int(sure.sum()), int((sure & ~right).sum())]
        found["sure_unseen"] = [int(gone[y].sum()), int((sure & gone[y]).sum())]
    return found


def report_table(rows: Sequence[Row], kind: str) -> Iterator[str]:
    """Tabulate by setting or data set how often report, bounds and sure calls were right."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if "said" in row:
            for name in (row[kind].partition(", draw")[0], "all"):
                groups[name].append(row["said"])
    yield from markdown(
        (
            kind,
            "plants",
            "compared",
            "“more right” said",
            "of them no more on test records",
            "intervals of the change that hold",
            "acceptance bounds that hold",
            f"sure calls that are wrong (at most {100 * LARGEST_WRONG_SHARE:g} % stated)",
            "records of classes never seen that are called sure",
        ),
        (_report_row(name, groups[name]) for name in sorted(groups)),
    )


def _report_row(name: str, reports: Sequence[dict[str, Any]]) -> tuple[object, ...]:
    changes = [one for one in reports if "change" in one]
    more = [one for one in changes if one["change"] == AccuracyChange.HIGHER]
    bounds = [pair for one in reports for pair in one["bounds"]]
    sure = np.sum([one["sure"] for one in reports if "sure" in one], axis=0)
    unseen = np.sum([one["sure_unseen"] for one in reports if "sure" in one], axis=0)
    return (
        name,
        len(reports),
        len(changes),
        len(more),
        sum(one["came"] <= 0 for one in more),
        sum(one["ends"][0] <= one["came"] <= one["ends"][1] for one in changes),
        f"{100 * np.mean([came <= most for most, came in bounds]):.1f} % of {len(bounds)}",
        f"{100 * sure[1] / max(sure[0], 1):.1f} % of {sure[0]}",
        f"{unseen[1]} of {unseen[0]}",
    )


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate gain, selections, harm and coverage of intervals by setting."""
    by_setting: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_setting[row["setting"].partition(", draw")[0]].append(row)
    heads = (
        "setting",
        "runs",
        "accuracy",
        "kept − local-only",
        "worst set",
        "keeps",
        f"of them > {100 * HARMFUL_LOSS:g} points worse",
        "intervals that hold",
        "mean width",
    )
    yield from markdown(
        heads, (_setting_row(name, by_setting[name]) for name in sorted(by_setting))
    )


def _setting_row(name: str, rows: Sequence[Row]) -> tuple[object, ...]:
    made = [row for row in rows if row["kept"]]
    if not made:
        return (name, len(rows), "refused", *[""] * 6)
    mean = f"{np.mean([row['accuracy'] for row in made]):.3f}"
    judged = [row for row in made if "gain" in row]
    if not judged:
        return name, len(rows), mean, *[""] * 6
    gains = 100 * np.array([row["gain"] for row in judged])
    kept = np.array([row["kept"] != LOCAL_ONLY for row in judged])
    sets = defaultdict(list)
    for row, value in zip(judged, gains, strict=True):
        sets[row["dataset"]].append(value)
    means = {data: float(np.mean(values)) for data, values in sets.items()}
    worst = min(means, key=lambda data: means[data])
    error = np.std(list(means.values()), ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.inf
    told = [row for row in judged if "told" in row]
    hold = [row["told"][1] <= row["seen"] <= row["told"][2] for row in told]
    return (
        name,
        len(rows),
        mean,
        f"{np.mean(list(means.values())):+.2f} ± {error:.2f}",
        f"{worst} {means[worst]:+.1f}",
        int(kept.sum()),
        int((gains[kept] < -100 * HARMFUL_LOSS).sum()),
        f"{100 * np.mean(hold):.0f} %",
        f"{100 * np.mean([row['told'][2] - row['told'][1] for row in told]):.0f}",
    )


if __name__ == "__main__":
    main()
