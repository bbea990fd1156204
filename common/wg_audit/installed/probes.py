"""Probes of the audit: each asks plants some questions, and records errors in their answers.

The checks that apply to every answer are in ``plant_audit``. A correct program passes each probe
whatever noise it draws. The noise that plants draw is recorded for the tests in ``noise_tests`` and
``canaries``.
"""

import functools
import importlib
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wg_audit.installed import behaviour_probes
from wg_audit.installed import simulated_records as made_up
from wg_audit.installed.audited_plant import (
    IMAGE_SIDE,
    AuditedPlant,
    DecodedRelease,
    Floats,
    ImageRecord,
    Integers,
    PlantSetup,
    RecordingSampler,
    UnitRule,
    decode_release,
    ledger_charges,
    ledger_entries,
)
from wg_audit.installed.behaviour_probes import CONDUCT_SETUP, SMALL_DATASET_SIZE
from wg_audit.installed.plant_audit import (
    CANARY_EPSILON,
    ENCODER_CHECK,
    EQUALITY_CHECK,
    EXACTNESS_CHECK,
    ORDER_CHECK,
    SAMPLER_CHECK,
    AuditBench,
    AuditSize,
    add_large_noise,
    add_small_noise,
    class_names,
    make_question,
)
from wg_audit.installed.process_copy import run_in_process_copy
from wg_audit.installed.reference_statistics import ReferenceStatistics
from wg_core.ledger import entries
from wg_core.wire import bundle, canonical

LARGE_DATASET_SIZE = 12_000  # More than 8,192, the client's largest chunk of records
_GROUP_COUNT = 7  # Number of groups of images, each twice as large as the previous group
PICTURE_COUNT = 2**_GROUP_COUNT - 1  # More than 64, the client's largest batch for the encoder
_RECORD_COUNTS = (0, *(2**k for k in range(9)))  # Sizes of data sets
_LARGE_IMAGE_SHAPE = 4 * IMAGE_SIDE, 4 * IMAGE_SIDE  # Shape of large images, in pixels
_FIXED_QUESTION_COUNT = 339  # Number of questions other than those about canaries and shapes
_UNIT_COUNT = 18  # Number of privacy units in ``probe_unit_weights``; the largest has 256 records
_CANARY_RELEASE_COUNT = 4  # Number of releases of one snapshot with canaries
_MIN_NOISE_ENTRIES = 100  # Noisy integers that suffice to detect noise of half the width
_FIRST_FREE_QUESTION = 10_000  # Number of the first question at epsilon 0

_RANDOM_FIELD_SUFFIXES = (
    ".release_id",
    ".integers_sha256",
    ".commitment",
    ".fingerprint",
    ".head.prev",
    ".anchored_root",
    ".payload_sha256",
)
"""Ends of the names of fields that are random, or hashes of something random."""


def probe_snapshot_sizes(bench: AuditBench) -> None:
    """Release statistics of data sets of many sizes, with repeated records and large images too."""
    classes = len(CONDUCT_SETUP.labels)
    records = made_up.add_conflicting_copies(
        bench.simulate_records(SMALL_DATASET_SIZE, CONDUCT_SETUP), classes
    )
    versions = [
        records,
        records,
        *(bench.simulate_records(count, CONDUCT_SETUP) for count in _RECORD_COUNTS),
    ]
    versions.append(
        made_up.add_conflicting_copies(
            bench.simulate_records(
                SMALL_DATASET_SIZE, CONDUCT_SETUP, image_shape=_LARGE_IMAGE_SHAPE
            ),
            classes,
        )
    )
    versions += _unusual_datasets(bench, CONDUCT_SETUP)
    with bench.record_errors(), bench.make_plant(CONDUCT_SETUP) as plant:
        files = []
        for number, version in enumerate(versions):
            script = (add_small_noise, add_large_noise)[number % 2]
            files += bench.freeze_and_release(plant, CONDUCT_SETUP, version, 2 * number, script)
        bench.verify_ledger(plant, files)


def _unusual_datasets(bench: AuditBench, setup: PlantSetup) -> list[list[ImageRecord]]:
    """Return data sets with extreme feature vectors, with a single class, and without labels."""
    records = bench.simulate_records(SMALL_DATASET_SIZE, setup)
    return [
        made_up.extreme_records(bench.rng, setup),
        [replace(record, label=len(setup.labels) - 1) for record in records],
        [replace(record, label=-1) for record in records],
    ]


def probe_unit_weights(bench: AuditBench) -> None:
    """Check that each privacy unit of 1 to 1000 records counts once, whatever its name."""
    setup = replace(CONDUCT_SETUP, unit_rule="weight")
    units = bench.rng.permutation(made_up.doubling_unit_names(_UNIT_COUNT)).tolist()
    records = bench.simulate_records(len(units), setup, units)
    with bench.record_errors(), bench.make_plant(setup) as plant:
        files = []
        copies = made_up.add_conflicting_copies(records, len(setup.labels))
        versions = [copies, records[:1], [], made_up.extreme_records(bench.rng, setup)]
        owners = bench.rng.permutation(made_up.uneven_unit_names()).tolist()
        versions.append(bench.simulate_records(len(owners), setup, owners))
        for number, version in enumerate(versions):
            files += bench.freeze_and_release(plant, setup, version, 2 * number)
        bench.verify_ledger(plant, files)


def probe_file_layouts(bench: AuditBench) -> None:
    """Release statistics of folders and tables, other image shapes, and similar class names."""
    for setup, shape in (
        (replace(CONDUCT_SETUP, file_layout="folders"), (IMAGE_SIDE, IMAGE_SIDE)),
        (replace(CONDUCT_SETUP, file_layout="table"), (8, 100)),
        (replace(CONDUCT_SETUP, file_layout="table", unit_rule="weight"), (15, 15, 3)),
        (
            replace(CONDUCT_SETUP, labels=made_up.LOOKALIKE_CLASS_NAMES, acceptance_share=0.3),
            (15, 15, 3),
        ),
        (replace(CONDUCT_SETUP, unit_rule="weight", acceptance_share=0.3), (100, 8)),
    ):
        units = [
            f"unit-{number}"
            for number in bench.rng.integers(0, SMALL_DATASET_SIZE // 3, SMALL_DATASET_SIZE)
        ]
        records = bench.simulate_records(SMALL_DATASET_SIZE, setup, units, shape)
        if setup.acceptance_share and setup.unit_rule == "weight":  # every unit needs a label here
            copies = [replace(record, label=max(record.label, 0)) for record in records]
        else:
            copies = made_up.add_conflicting_copies(records, len(setup.labels))
        with bench.record_errors(), bench.make_plant(setup) as plant:
            bench.verify_ledger(plant, bench.freeze_and_release(plant, setup, copies, 0))


def probe_dimensions(bench: AuditBench) -> None:
    """Release statistics with each tested number of features, and various numbers of classes."""
    larger = bench.rng.integers(
        bench.size.dimensions.stop, made_up.LARGEST_DIMENSION, bench.size.larger_dimension_count
    ).tolist()
    class_counts = bench.rng.permutation(len(bench.size.dimensions)) + 1
    shapes = [(*shape, _release_count(*shape)) for shape in _tested_shapes(bench.size)]
    shapes += [(10, dimension, 1) for dimension in larger]
    shapes += [
        (classes, dimension, 1)
        for classes, dimension in zip(class_counts.tolist(), bench.size.dimensions, strict=True)
    ]
    for place, (classes, dimension, releases) in enumerate(shapes):
        rule: UnitRule = ("record", "weight")[place % 2]
        setup = PlantSetup(labels=class_names(classes), dimension=dimension, unit_rule=rule)
        units = [f"unit-{number // 2}" for number in range(16)]
        with bench.record_errors(), bench.make_plant(setup) as plant:
            records = bench.freeze_and_drop_acceptance(
                plant, bench.simulate_records(16, setup, units)
            )
            files = [
                bench.release_with_scripted_noise(
                    plant, setup, records, make_question(0), add_small_noise
                )
            ]
            for number in range(releases):
                question = make_question(number + 1)
                files.append(bench.release_and_record_noise(plant, setup, records, question))
            bench.verify_ledger(plant, files)


def _tested_shapes(size: AuditSize) -> list[tuple[int, int]]:
    """Return (number of classes, number of features) of the plants for each tested dimension."""
    return [((2, 10, 2, 10, 1, 5)[d % 6], d) for d in size.dimensions]


def _release_count(classes: int, dimension: int) -> int:
    """Return the number of releases of this size whose noise together suffices for the tests."""
    return 1 + _MIN_NOISE_ENTRIES // (1 + classes + classes * dimension + dimension)


def count_questions(size: AuditSize) -> int:
    """Return the number of questions in an audit of this size, if the program is correct."""
    shapes = _tested_shapes(size)
    of_shapes = sum(1 + _release_count(*shape) for shape in shapes) + 2 * (
        size.larger_dimension_count + len(shapes)
    )
    return _FIXED_QUESTION_COUNT + of_shapes + size.snapshot_count * _CANARY_RELEASE_COUNT


def probe_declarations(bench: AuditBench) -> None:
    """Compare all fields of files and ledgers between plants that differ only in their records.

    A field that differs is an error unless it is noise or a random identifier. So is a record whose
    presence moves another one into the acceptance set.
    """
    setup = replace(CONDUCT_SETUP, acceptance_share=0.25)
    classes = len(setup.labels)
    few_records = bench.simulate_records(SMALL_DATASET_SIZE, setup)
    many_records = [
        replace(record, label=classes - 1 - record.label if record.label >= 0 else -1)
        for record in bench.simulate_records(LARGE_DATASET_SIZE, setup)
    ]
    with bench.record_errors(), bench.make_plant(setup) as plant:
        half_main = {
            record.pixels.tobytes()
            for record in bench.freeze_and_drop_acceptance(
                plant, few_records[: SMALL_DATASET_SIZE // 2]
            )
        }
        whole_main = {
            record.pixels.tobytes()
            for record in bench.freeze_and_drop_acceptance(plant, few_records)
        }
        if half_main != whole_main & {
            record.pixels.tobytes() for record in few_records[: SMALL_DATASET_SIZE // 2]
        }:
            bench.errors_by_check[EXACTNESS_CHECK].append(
                "a record moves others into the acceptance set"
            )
        sheets = []
        copies = made_up.add_conflicting_copies(few_records, classes)
        versions = [copies, many_records, few_records[:1], [], *_unusual_datasets(bench, setup)]
        for records in versions:
            with plant.copy_plant() as twin:
                sheets.append(_output_fields(bench, twin, setup, records))
        for fields, *twin_sheets in zip(*sheets, strict=True):
            bench.errors_by_check[EQUALITY_CHECK] += [
                f"field {name}"
                for twin_fields in twin_sheets
                for name in sorted(fields.keys() | twin_fields.keys())
                if not name.endswith(_RANDOM_FIELD_SUFFIXES)
                and fields.get(name) != twin_fields.get(name)
            ]


def probe_copies(bench: AuditBench) -> None:
    """Freeze and release twice from the same state of a plant; record salts, ids and noise.

    The bench checks later that they differ, since the system's randomness differs.
    """
    with bench.record_errors(), bench.make_plant(CONDUCT_SETUP) as plant:
        records = bench.simulate_records(SMALL_DATASET_SIZE, CONDUCT_SETUP)
        with plant.copy_plant() as twin:
            freeze = functools.partial(_snapshot_salt, twin, records)
            bench.random_values["salt"] += [salt.decode() for salt in _run_twice(twin, freeze)]
        bench.freeze_and_drop_acceptance(plant, records)
        for machine, fixed_entropy in itertools.product((False, True), (False, True)):
            with plant.copy_plant() as twin:
                work = functools.partial(
                    twin.release, make_question(0, wants_machine_statistics=machine), None
                )
                for data in _run_twice(twin, work, has_fixed_entropy=fixed_entropy):
                    file = decode_release(data)
                    bench.count_answer()
                    if not fixed_entropy:
                        bench.random_values["release id"].append(file.manifest.release_id)
                    bench.record_noise(
                        file, ReferenceStatistics(CONDUCT_SETUP, records, file).statistics()
                    )
        with plant.copy_plant() as twin:
            if run_in_process_copy(functools.partial(_release_without_sampler, twin)):
                bench.errors_by_check[SAMPLER_CHECK].append(
                    "a release is made without OpenDP's sampler"
                )


def _run_twice(
    plant: AuditedPlant, work: Callable[[], bytes], *, has_fixed_entropy: bool = False
) -> Iterator[bytes]:
    """Run ``work`` twice from the same state of a plant's home, and yield both results."""
    with tempfile.TemporaryDirectory(prefix="wg-audit-") as folder:
        backup = Path(folder) / "home"
        shutil.copytree(plant.home, backup)
        yield run_in_process_copy(work, has_fixed_entropy=has_fixed_entropy)
        shutil.rmtree(plant.home)
        shutil.copytree(backup, plant.home)
        yield run_in_process_copy(work, has_fixed_entropy=has_fixed_entropy)


def _release_without_sampler(plant: AuditedPlant) -> bytes:
    """Ask for a release while OpenDP's samplers fail; return its bytes, empty after any error."""
    measurements = importlib.import_module("opendp.measurements")

    def fail(*words: object, **options: object) -> None:
        raise MemoryError

    for name in dir(measurements):
        if name.startswith(("make_", "then_")):
            setattr(measurements, name, fail)
    try:
        return plant.release(make_question(1), None)
    except Exception:  # noqa: BLE001 - after any exception, nothing is released
        return b""


def probe_encoding_groups(bench: AuditBench) -> None:
    """Check that the plant's encoder computes the same features in batches of all sizes."""
    setup = PlantSetup(labels=class_names(3))
    pictures = made_up.stripe_images(bench.rng, PICTURE_COUNT, 3)
    groups = [pictures, *(pictures[2**k - 1 : 2 ** (k + 1) - 1] for k in range(_GROUP_COUNT))]
    parts: list[Integers] = []
    with bench.record_errors(), bench.make_plant(setup) as plant:
        for number, group in enumerate(groups):
            plant.freeze(group)
            question = make_question(number)
            watch = RecordingSampler(add_large_noise, plant.home, question.request_id)
            bench.ask_for_release(plant, question, watch)
            parts.append(watch.exact_parts[0])
        if not np.array_equal(parts[0], sum(parts[1:])):
            bench.errors_by_check[ENCODER_CHECK].append("a record changes what others add")


def score_canaries(bench: AuditBench) -> None:
    """Release statistics with a random half of the canaries; record the scores of both halves."""
    count = bench.size.canary_count
    setup = PlantSetup(labels=class_names(count), dimension=count)
    birds = made_up.canary_records(count)
    for _ in range(bench.size.snapshot_count):
        membership = bench.rng.integers(0, 2, count).astype(bool)
        with bench.record_errors(), bench.make_plant(setup) as plant:
            records = bench.freeze_and_drop_acceptance(
                plant, [birds[n] for n in np.flatnonzero(membership)]
            )
            files = []
            for number in range(_CANARY_RELEASE_COUNT):
                question = make_question(number, CANARY_EPSILON)
                file = bench.release_and_record_noise(plant, setup, records, question)
                reference = ReferenceStatistics(setup, records, file)
                scores = _canary_scores(
                    file, [reference.record_contribution(bird) for bird in birds]
                )
                for group, members in zip(
                    bench.canary_scores, (membership, ~membership), strict=True
                ):
                    group.append(scores[members])
                files.append(file)
            bench.verify_ledger(plant, files)


PROBES: tuple[Callable[[AuditBench], None], ...] = (
    probe_snapshot_sizes,
    probe_unit_weights,
    probe_file_layouts,
    probe_dimensions,
    probe_declarations,
    behaviour_probes.probe_guarantees,
    behaviour_probes.interrupt_releases,
    behaviour_probes.exhaust_budget,
    behaviour_probes.check_refusals,
    probe_copies,
    probe_encoding_groups,
    score_canaries,
)
"""All probes, in the order in which they run."""


def _output_fields(
    bench: AuditBench, plant: AuditedPlant, setup: PlantSetup, records: Sequence[ImageRecord]
) -> list[dict[str, Any]]:
    """Ask a plant for a statement, freeze its records, release, and ask for a statement again.

    Returns:
        Fields of each file and each ledger entry, by name, and sizes of requests to the witness.
    """
    statement = _ask_statement(bench, plant, setup, 0)
    files = bench.freeze_and_release(plant, setup, records, 0, add_large_noise)
    again = _ask_statement(bench, plant, setup, 1)
    bench.verify_ledger(plant, files)
    ledger = [
        dict(_flat_fields(f"ledger.{number}", canonical.to_builtins(entry)))
        for number, entry in enumerate(ledger_entries(plant.home))
    ]
    body_sizes = {"sizes of what a witness is shown": plant.witness_request_sizes}
    return [
        statement,
        *map(_release_fields, files),
        again,
        body_sizes,
        {"entries": len(ledger)},
        *ledger,
    ]


def _ask_statement(
    bench: AuditBench, plant: AuditedPlant, setup: PlantSetup, number: int
) -> dict[str, Any]:
    """Return the fields of a plant's public statement, after a check that nothing was charged."""
    question = replace(make_question(_FIRST_FREE_QUESTION + number), epsilon="0")
    watch = RecordingSampler(add_large_noise, plant.home, question.request_id)
    charge_count = len(ledger_charges(plant.home))
    data = plant.release(question, watch)
    bench.count_answer()
    entry = entries.decode(bundle.decode_statement(data).entry)
    if watch.exact_parts or len(ledger_charges(plant.home)) != charge_count:
        bench.errors_by_check[ORDER_CHECK].append(
            "a free question is charged, or answered from records"
        )
    fields = dict(_flat_fields("statement", canonical.to_builtins(entry)))
    if getattr(entry, "labels", ()) != setup.labels:
        bench.errors_by_check[EQUALITY_CHECK].append("field statement.labels")
    return fields | {"size": len(data)}


def _release_fields(file: DecodedRelease) -> dict[str, Any]:
    """Return the fields of a release's manifest, CHARGE and RELEASE entry, and its file size."""
    parts = {"manifest": file.manifest, "charge": file.charge, "release": file.release_entry}
    fields = {"size": len(file.data)}
    for kind, record in parts.items():
        fields |= dict(_flat_fields(kind, canonical.to_builtins(record)))
    return fields


def _flat_fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of all fields in nested dictionaries; lists stay whole."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat_fields(f"{name}.{key}", part)
    else:
        yield name, value


def _snapshot_salt(plant: AuditedPlant, records: Sequence[ImageRecord]) -> bytes:
    return plant.freeze(records).salt.encode()


def _canary_scores(file: DecodedRelease, contributions: Sequence[Integers]) -> Floats:
    rows = np.stack(contributions).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * file.sigma
    return np.asarray(rows @ file.integers.astype(np.float64) / lengths)
