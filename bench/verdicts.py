"""Verdicts (pass, look or reject) on a plant's own new records and on foreign records.

    python -m bench.verdicts --datasets DIR

Plants are cut from real data sets as in ``bench.alone``; the first class counts as good, and each
plant has a fixed number of labels per class. Local-only is evaluated, by the client's own rules, on
held-out records of the plant (of other groups) and on 300 records of other data sets of the same
modality; foreign windows are resampled to the plant's channels and length. The alternative rule
that a pass requires a sure call is evaluated too. Rows are stored in ``--results``, and a run
continues from them. ``--every-class`` counts each class as the good one in turn, ``--other-sets``
uses seven further sets.
"""

import argparse
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from bench.alone import Ints, SplitDataSet, data_set_files, draw_labelled_rows, split_data_set
from bench.rows import Row, Rows, write_table
from bench.tables import markdown
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats
from wg_client.fitting.sure_calls import (
    LARGEST_SURE_CALL_BOUND,
    UNREACHABLE_THRESHOLD,
    cap_probabilities,
    largest_supported_probability,
    provable_wrong_share,
    sure_call_threshold,
)
from wg_client.fitting.trunk_features import scale_encoder_features
from wg_client.methods.base import PlantRecords
from wg_client.models import novelty
from wg_client.models.acceptance import score_probabilities
from wg_client.models.adoption import INITIAL_DEFECT_THRESHOLD, INITIAL_MISSED_DEFECT_SHARE
from wg_client.models.pass_rule import OutOfFoldEvidence, defect_log_odds, fit_pass_rule
from wg_common.inference.family_head import FeatureLayout
from wg_common.modalities.registry import find_modality
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder.builtin_encoder import unfitted_encoder
from wg_common.nets.encoder.plant_trunk import PlantTrunk
from wg_common.nets.encoder.projected_trunk import Encoder, plant_features

SETS = {
    "images": ("magnetic_tile", "elpv_mono", "bridge_crack", "deeppcb_a", "neu_det", "trashnet"),
    "windows": ("cwru_de", "skab_valve1", "tep", "italy_power"),
    "texts": ("text_log_bgl", "text_log_hadoop", "text_log_hpc"),
}
OTHER_SETS = {
    "images": ("cifar10", "fashion_mnist", "gtsrb", "mnist10k"),
    "windows": ("plaid", "trace", "cmapss_fd001"),
}
LABELS = 5, 20, 50
LABELLED_LIMIT = 350  # Labelled records of a plant
TESTS, FOREIGN = 300, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--datasets", type=Path, nargs="*", default=[Path("../shared/datasets")])
    parser.add_argument("--results", type=Path, default=Path("bench/out/verdicts.jsonl"))
    parser.add_argument("--other-sets", action="store_true")
    parser.add_argument("--every-class", action="store_true")
    parser.add_argument("--table", type=Path, help="markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = Rows(options.results)
    sets = OTHER_SETS if options.other_sets else SETS
    for kind, names in sets.items():
        evaluate_missing(options.datasets, kind, names, rows)
    found = [row for row in rows.with_prefix() if row["dataset"] in sum(sets.values(), ())]
    lines = summary(found) if options.every_class else table(r for r in found if not r["class"])
    write_table("\n".join(lines), options.table)


def evaluate_missing(folders: Sequence[Path], kind: str, names: Sequence[str], rows: Rows) -> None:
    """Evaluate the missing plants of a modality, with each class as the good one."""
    paths = {name: path for name, path in data_set_files(folders) if name in names}
    parts = {
        name: split_data_set(path, kind, pool_per_class=max(LABELS), test_limit=TESTS)
        for name, path in paths.items()
    }
    cuts = {name: one for name, one in parts.items() if one is not None}
    if all(f"{name} {LABELS[0]} 0" in rows for name in cuts):
        return
    encoder = unfitted_encoder(kind)
    encoded = {name: encoder.encode_local_batched(list(one.records)) for name, one in cuts.items()}
    for name, here in cuts.items():
        if f"{name} {LABELS[0]} 0" in rows:
            continue
        records, features = append_foreign(encoder, name, cuts, encoded)
        for labels in LABELS:
            labelled = draw_labelled_rows(here, labels, 0)
            if labelled is None or len(labelled) > LABELLED_LIMIT:
                continue
            plant, local = _fit_plant(encoder, here, records, features, labelled)
            for label in range(plant.class_count):
                found = count_verdicts(encoder, here, plant, local, labelled, label)
                about = {"dataset": name, "labels": labels, "class": label}
                rows.add({"key": f"{name} {labels} {label}", **about, **found})
        print(name, flush=True)


def append_foreign(
    encoder: Encoder,
    name: str,
    cuts: Mapping[str, SplitDataSet],
    encoded: Mapping[str, NDArray[np.float32]],
) -> tuple[list[NDArray[np.generic]], NDArray[np.float32]]:
    """Append records of other data sets, as many of each, to a plant's; also return features.

    Foreign windows are resampled to the plant's shape.
    """
    here = cuts[name]
    others = {other: one for other, one in cuts.items() if other != name}
    each, records, parts = FOREIGN // len(others), [*here.records], [encoded[name]]
    for other, one in others.items():
        chosen = np.linspace(0, len(one.records) - 1, each).astype(int)
        if encoder.modality == Windows.name:
            shape = here.records.shape[1:]
            strangers = [_reshaped(one.records[row], shape) for row in chosen]
            parts.append(encoder.encode_local_batched(strangers))
        else:
            strangers = [one.records[row] for row in chosen]
            parts.append(encoded[other][chosen])
        records += strangers
    return records, np.concatenate(parts)


def _reshaped(window: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Repeat channels and interpolate samples of a window to another shape."""
    rows = window[np.arange(shape[0]) % len(window)].astype(np.float64)
    times = np.linspace(0, window.shape[1] - 1, shape[1])
    return np.stack([np.interp(times, np.arange(window.shape[1]), row) for row in rows]).astype(
        np.float32
    )


def _fit_plant(
    encoder: Encoder,
    data: SplitDataSet,
    records: Sequence[NDArray[np.generic]],
    features: NDArray[np.float32],
    labelled: Ints,
) -> tuple[PlantRecords, NDArray[np.float32]]:
    """Return the plant, and the features of all records with those of the trunk that it fits."""
    kind = find_modality(encoder.modality)
    layout = encoder.scaled_dimension, encoder.local_block_sizes, encoder.trunk_block_counts
    own = list(data.records[labelled])
    if kind.fits_plant_trunk:
        fitted_trunk = PlantTrunk.fit(own)
        further = plant_features(fitted_trunk, kind.name, list(records))
        features = np.hstack([features, further])
        layout = layout[0], *fitted_trunk.extend_layout(*layout[1:])
    trunk = scale_encoder_features(features[labelled], encoder.dimension, *layout)
    patterns = kind.repetition_keys(own)
    plant = PlantRecords(
        all_labels=data.labels[labelled],
        class_count=int(data.labels.max()) + 1,
        encoder_features=trunk,
        privacy_units=None if patterns else [str(group) for group in data.groups[labelled]],
        repetition_keys=patterns,
    )
    return plant, features


def count_verdicts(
    encoder: Encoder,
    data: SplitDataSet,
    plant: PlantRecords,
    features: NDArray[np.float32],
    labelled: Ints,
    good_class: int,
) -> Row:
    """Count verdicts of one plant's model on held-out and on foreign records; also its accuracy.

    Args:
        features: Local features of the plant's records, then of foreign records.
        labelled: Rows of the plant's labelled records.
        good_class: Index of the class of good records.
    """
    classes, trunk = plant.class_count, plant.encoder_features
    fitted = plant.local_only_model
    if fitted is None:
        raise ValueError("a plant without labels")
    asked = np.append(data.is_test, np.ones(len(features) - len(data.is_test), dtype=bool))
    x = features[asked].astype(np.float64)
    is_own = np.arange(len(x)) < data.is_test.sum()
    logits = trunk.to_local_head(fitted.head).logits(x)
    chances = cap_probabilities(logits, largest_supported_probability(len(plant.evaluated_labels)))
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    test = novelty.fit_novelty_test(features[labelled], layout, plant.privacy_units)
    is_new, is_unlike = _flag_unlike_records(test, x)
    good = np.arange(classes) == good_class
    labels, groups, evidence = plant.evaluated_labels, plant.evaluated_unit_indices, None
    if fitted.logits is not None:
        evidence = OutOfFoldEvidence(fitted.logits[0], labels, groups)
    rule = fit_pass_rule(evidence, good, np.zeros(classes, dtype=bool), INITIAL_MISSED_DEFECT_SHARE)
    defect = chances[:, ~good].sum(axis=1)
    may_pass = rule.pass_mask(defect_log_odds(logits, good)) & ~is_unlike
    reject = ~is_new & (defect >= INITIAL_DEFECT_THRESHOLD)
    passes = ~is_new & ~reject & may_pass
    wrong = provable_wrong_share(len(plant.evaluated_labels))
    least = UNREACHABLE_THRESHOLD
    if fitted.logits is not None and wrong <= LARGEST_SURE_CALL_BOUND:
        least = sure_call_threshold(fitted.logits, plant.evaluated_labels, wrong)
    sure = ~is_new & ~reject & (chances.max(axis=1) >= least)
    truth = data.labels[data.is_test]
    parts = {"good": truth == good_class, "defective": truth != good_class}
    sides = {
        name: np.append(part, np.zeros(len(x) - len(part), bool)) for name, part in parts.items()
    }
    scores = score_probabilities(chances[is_own], truth, good, is_new[is_own], may_pass[is_own])
    accepts = scores.counts_at(INITIAL_DEFECT_THRESHOLD).false_accepts
    expected = passes[sides["defective"]].sum()
    if accepts is None or accepts.wrong != expected:
        raise ValueError("acceptance counts another verdict")
    found: Row = {
        "needed": rule.required_defect_unit_count,
        "judged": rule.defect_unit_count,
        "accuracy": float((logits[is_own].argmax(axis=1) == truth).mean()),
    }
    for name, part in {**sides, "foreign": ~is_own}.items():
        found[name] = [int(value[part].sum()) for value in (passes, reject, is_new, sure)]
        found[name].append(int(part.sum()))
    return found


def _flag_unlike_records(
    novelty_test: novelty.NoveltyTest | None, x: Floats
) -> tuple[NDArray[np.bool_], ...]:
    """Flag records ``[n, D]`` that are new, and those that are too unlike for a pass."""
    tensors = None if novelty_test is None else novelty_test.tensors()
    shares = novelty.LARGEST_NEW_LIKENESS, novelty.LEAST_PASS_LIKENESS
    return tuple(novelty.flag_unlike_records(tensors, x, share) for share in shares)


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate by number of labels, over all plants with enough defective units."""
    for labels in LABELS:
        some = [r for r in rows if r["labels"] == labels and r["judged"] >= r["needed"]]
        passes = [row["foreign"][0] for row in some if row["good"][-1]]
        known = [row for row in some if row["good"][-1]]
        yield (
            f"{labels} labels a class: {len(known)} plants; {_mean(known, 'good', 0)} of good and"
            f" {_mean(known, 'defective', 0)} of defective records pass; of 300 foreign records"
            f" {np.mean(passes):.2f} pass, at most {max(passes)}, any at {np.count_nonzero(passes)}"
            " plants: "
            + ", ".join(
                f"{row['dataset']} {row['class']} {row['foreign'][0]}"
                for row in known
                if row["foreign"][0]
            )
        )
        yield ""


def table(found: Iterable[Row]) -> Iterator[str]:
    """Tabulate the plants, and the mean by number of labels."""
    rows = list(found)
    yield from markdown(
        (
            "plant",
            "labels a class",
            "accuracy",
            "defective labels judged",
            "good: pass, look, reject, %",
            "defective that pass, %",
            "of 300 foreign, pass",
            "reject",
            "sure calls alone: good that pass, %",
            "defective that pass, %",
        ),
        (_cells(row) for row in rows),
    )
    yield ""
    for labels in LABELS:
        some = [row for row in rows if row["labels"] == labels and row["judged"] >= row["needed"]]
        few = [row for row in rows if row["labels"] == labels and row["judged"] < row["needed"]]
        over = sum(
            row["defective"][0] > INITIAL_MISSED_DEFECT_SHARE * row["defective"][-1] for row in some
        )
        yield (
            f"{labels} labels a class: {len(few)} plants have too few defective labels for a pass;"
            f" at the other {len(some)} {_mean(some, 'good', 0)} of good and"
            f" {_mean(some, 'defective', 0)} of defective records pass; more than"
            f" {100 * INITIAL_MISSED_DEFECT_SHARE:g} % of defective ones pass at {over} plants. If"
            f" only sure predictions passed, {_mean(some + few, 'good', 3)} of good and"
            f" {_mean(some + few, 'defective', 3)} of defective records would pass at all plants."
        )


def _cells(row: Row) -> tuple[object, ...]:
    passes, reject, _, sure, n = row["good"]
    shares = (f"{100 * count / max(n, 1):.0f}" for count in (passes, n - passes - reject, reject))
    defective = row["defective"]
    return (
        row["dataset"],
        row["labels"],
        f"{row['accuracy']:.2f}",
        f"{row['judged']} of {row['needed']}",
        ", ".join(shares),
        f"{100 * defective[0] / max(defective[-1], 1):.1f}",
        row["foreign"][0],
        row["foreign"][1],
        f"{100 * sure / max(n, 1):.0f}",
        f"{100 * defective[3] / max(defective[-1], 1):.1f}",
    )


def _mean(rows: Sequence[Row], group: str, index: int) -> str:
    shares = [row[group][index] / max(row[group][-1], 1) for row in rows]
    return f"{100 * np.mean(shares):.0f} %" if shares else "–"


if __name__ == "__main__":
    main()
