"""The audit's probes: each asks plants in one way, and says what is wrong with their answers.

What is held against every answer is in ``bench``. No probe here can raise a false alarm: what each
demands is certain, whatever noise is drawn. Noise that plants add by themselves is kept for
``noise`` and ``canaries``.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wg_audit.installed import records as made_up
from wg_audit.installed.bench import (
    BUDGET,
    DELTA,
    ENCODER,
    EPSILON,
    EQUAL,
    EXACT,
    ORDER,
    Bench,
    Size,
    far,
    labels,
    make_question,
    near,
)
from wg_audit.installed.plant import (
    SIDE,
    AuditedPlant,
    Floats,
    Integers,
    Opened,
    Question,
    Record,
    Setup,
    Watch,
    charges,
    opened,
)
from wg_audit.installed.process_copy import run_in_copy
from wg_audit.installed.reference import Reference
from wg_core.errors import RefusedError
from wg_core.ledger import entries
from wg_core.privacy import calibration
from wg_core.wire import canonical, covered

FEW = 60
MANY = 12_000  # More than 8,192, the largest part in which the client works
_GROUPS = 7  # Of pictures, each twice as large as the one before
PICTURES = 2**_GROUPS - 1  # More than 64, the largest part that the client encodes at once
_COUNTS = (0, *(2**k for k in range(9)))  # Records of data sets, from none on
_LARGE_SIDE = 4 * SIDE
_SETUP = Setup(labels=labels(6), dimension=8)
_FIXED = 78  # Questions beside those about canaries and shapes
_UNITS = 18  # The largest has 256 records
_REPEATS = 4  # Releases of one snapshot with canaries
_LEAST_ENTRIES = 100  # Of each shape, so that noise of half the width is seen in it
_CAP, _PRICE = 2.0, 0.9
"""Epsilon of a budget that is used up, and of each release from it."""
_FREE = 10_000  # Number of the first question at epsilon 0
_INTERRUPTED = 100

_FRESH_FIELDS = frozenset(
    {
        "manifest.release_id",
        "manifest.integers_sha256",
        "charge.commitment",
        "charge.fingerprint",
        "charge.head.prev",
        "charge.state.anchored_root",
        "release.head.prev",
        "release.payload_sha256",
        "statement.head.prev",
    }
)
"""Random values, hashes of noise, and hashes of entries that hold one."""


def freeze_versions(bench: Bench) -> None:
    """Snapshots of one plant, of all sizes; two are of the same records, one of large pictures."""
    classes = len(_SETUP.labels)
    records = made_up.with_copies(bench.crowd(FEW, _SETUP), classes)
    versions = [records, records, *(bench.crowd(count, _SETUP) for count in _COUNTS)]
    versions.append(made_up.with_copies(bench.crowd(FEW, _SETUP, side=_LARGE_SIDE), classes))
    with bench.note_errors(), bench.fresh(_SETUP) as plant:
        files = []
        for number, version in enumerate(versions):
            script = (near, far)[number % 2]
            files += bench.release(plant, _SETUP, version, 2 * number, script)
        _ask_again(bench, plant, files[-1])
        _interrupt(bench, plant)
        bench.verify(plant, files)


def count_units(bench: Bench) -> None:
    """Units of one record to hundreds share their weight, whatever they are called."""
    setup = replace(_SETUP, unit_rule="weight")
    units = bench.rng.permutation(made_up.owners(_UNITS)).tolist()
    records = bench.crowd(len(units), setup, units)
    with bench.note_errors(), bench.fresh(setup) as plant:
        files = []
        copies = made_up.with_copies(records, len(setup.labels))
        for number, version in enumerate((copies, records[:1], [])):
            files += bench.release(plant, setup, version, 2 * number)
        bench.verify(plant, files)


def try_shapes(bench: Bench) -> None:
    """Plants of every number of features, with two classes, ten, and others."""
    larger = bench.rng.integers(
        bench.size.dimensions.stop, made_up.DIMENSIONS, bench.size.larger
    ).tolist()
    for classes, dimension in [
        *_shapes(bench.size),
        *((10, larger_dimension) for larger_dimension in larger),
    ]:
        setup = Setup(labels=labels(classes), dimension=dimension)
        with bench.note_errors(), bench.fresh(setup) as plant:
            records = bench.freeze(plant, bench.crowd(16, setup))
            bench.release_scripted(plant, setup, records, 0, near)
            for number in range(_releases(classes, dimension)):
                bench.release_bare(plant, setup, records, number + 1)


def _shapes(size: Size) -> list[tuple[int, int]]:
    """Numbers of classes and of features that are always tried."""
    return [((2, 10, 2, 10, 1, 5)[d % 6], d) for d in size.dimensions]


def _releases(classes: int, dimension: int) -> int:
    """Return the number of releases of a shape that have noise enough to look at."""
    return 1 + _LEAST_ENTRIES // (1 + classes + classes * dimension + dimension)


def questions(size: Size) -> int:
    """Count the questions that a correct program answers."""
    shapes = [*_shapes(size), *((10, made_up.DIMENSIONS) for _ in range(size.larger))]
    return _FIXED + sum(1 + _releases(*shape) for shape in shapes) + size.snapshots * _REPEATS


def compare_declarations(bench: Bench) -> None:
    """Plants that declare the same, with other records or none: fields that leave are the same."""
    setup = replace(_SETUP, acceptance=0.25)
    classes = len(setup.labels)
    few_records = bench.crowd(FEW, setup)
    many_records = [
        replace(record, label=classes - 1 - record.label if record.label >= 0 else -1)
        for record in bench.crowd(MANY, setup)
    ]
    with bench.note_errors(), bench.fresh(setup) as plant:
        half_main = {
            record.pixels.tobytes() for record in bench.freeze(plant, few_records[: FEW // 2])
        }
        whole_main = {record.pixels.tobytes() for record in bench.freeze(plant, few_records)}
        if half_main != whole_main & {
            record.pixels.tobytes() for record in few_records[: FEW // 2]
        }:
            bench.wrong[EXACT].append("a record moves others into the acceptance set")
        sheets = []
        copies = made_up.with_copies(few_records, classes)
        for records in (copies, many_records, few_records[:1], []):
            with plant.twin() as twin:
                sheets.append(_declared_fields(bench, twin, setup, records))
        for fields, *twin_sheets in zip(*sheets, strict=True):
            bench.wrong[EQUAL] += [
                f"field {name}"
                for twin_fields in twin_sheets
                for name in sorted(fields.keys() | twin_fields.keys())
                if name not in _FRESH_FIELDS and fields.get(name) != twin_fields.get(name)
            ]


def use_up_a_budget(bench: Bench) -> None:
    """A budget is used up, and nothing that a plant does gives any of it back."""
    setup = replace(_SETUP, cap=f"{_CAP:g}")
    mu = calibration.mu(_PRICE, DELTA)
    payable = max(
        count
        for count in range(1, 50)
        if calibration.gaussian_epsilon(mu * count**0.5, DELTA) <= _CAP
    )
    records = bench.crowd(FEW, setup)
    with bench.note_errors(), bench.fresh(setup) as plant:
        files = []
        for number in range(payable):
            main_records = bench.freeze(plant, records[number:])
            if number % 2:
                _cut_off(bench, plant, make_question(number, _PRICE))
            else:
                files.append(bench.release_bare(plant, setup, main_records, number, _PRICE))
        charge_counts = [charge.state.charges_before for charge in charges(plant.home)]
        if charge_counts != list(range(payable)):
            bench.wrong[BUDGET].append(f"{len(charge_counts)} charges, {payable} can be paid")
        bench.verify(plant, files)
        events: list[tuple[str, Callable[[], object]]] = [
            ("it was used up", lambda: None),
            ("it refused", lambda: None),
            ("the same records are frozen", lambda: plant.freeze(records[payable - 1 :])),
            ("earlier records are frozen", lambda: plant.freeze(records)),
            ("no records are frozen", lambda: plant.freeze([])),
            ("another ledger takes over", plant.replace_ledger),
        ]
        for number, (event, happen) in enumerate(events):
            happen()
            # Question 1 was cut off: no later version may be released for its charge.
            for question in (make_question(1, _PRICE), make_question(payable + number, _PRICE)):
                _must_be_refused(bench, plant, question, event)


def repeat_in_twins(bench: Bench) -> None:
    """Copies of a plant that are equal in all but what the operating system draws."""
    with bench.note_errors(), bench.fresh(_SETUP) as plant:
        records = bench.crowd(FEW, _SETUP)
        with plant.twin() as first_twin, plant.twin() as second_twin:
            for twin in (first_twin, second_twin):
                salt = run_in_copy(functools.partial(_salt, twin, records))
                bench.values["salt"].append(salt.decode())
        bench.freeze(plant, records)
        with plant.twin() as first_twin, plant.twin() as second_twin:
            for twin in (first_twin, second_twin):
                file = opened(run_in_copy(functools.partial(twin.release, make_question(0), None)))
                bench.count_answer()
                bench.values["release id"].append(file.manifest.release_id)
                bench.note_noise(_SETUP, file, Reference(_SETUP, records, file).statistics())


def encode_apart(bench: Bench) -> None:
    """The plant's own encoder makes of pictures together what it makes of them apart."""
    setup = Setup(labels=labels(3))
    pictures = made_up.pictures(bench.rng, PICTURES, 3)
    groups = [pictures, *(pictures[2**k - 1 : 2 ** (k + 1) - 1] for k in range(_GROUPS))]
    parts: list[Integers] = []
    with bench.note_errors(), bench.fresh(setup) as plant:
        for number, chosen in enumerate(groups):
            plant.freeze(chosen)
            question = make_question(number)
            watch = Watch(far, plant.home, question.request_id)
            bench.ask(plant, question, watch)
            parts.append(watch.parts[0])
        if not np.array_equal(parts[0], sum(parts[1:])):
            bench.wrong[ENCODER].append("a record changes what others add")


def score_canaries(bench: Bench) -> None:
    """Scores of canaries that were in the data, and of those that were not."""
    count = bench.size.canaries
    setup = Setup(labels=labels(count), dimension=count)
    birds = made_up.canaries(count)
    for _ in range(bench.size.snapshots):
        chosen = bench.rng.integers(0, 2, count).astype(bool)
        with bench.note_errors(), bench.fresh(setup) as plant:
            records = bench.freeze(plant, [birds[n] for n in np.flatnonzero(chosen)])
            files = []
            for number in range(_REPEATS):
                file = bench.release_bare(plant, setup, records, number, EPSILON)
                reference = Reference(setup, records, file)
                scores = _scores(file, [reference.vector(bird) for bird in birds])
                for group, members in zip(bench.scores, (chosen, ~chosen), strict=True):
                    group.append(scores[members])
                files.append(file)
            bench.verify(plant, files)


PROBES: tuple[Callable[[Bench], None], ...] = (
    freeze_versions,
    count_units,
    try_shapes,
    compare_declarations,
    use_up_a_budget,
    repeat_in_twins,
    encode_apart,
    score_canaries,
)
"""The probes, in the order in which they are run."""


def _declared_fields(
    bench: Bench, plant: AuditedPlant, setup: Setup, records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Ask a plant for a statement, freeze, ask for releases and for the statement again.

    Returns:
        Every field of every file, by name.
    """
    statement = _state(bench, plant, setup, 0)
    files = bench.release(plant, setup, records, 0, far)
    again = _state(bench, plant, setup, 1)
    bench.verify(plant, files)
    return [statement, *map(_fields, files), again]


def _state(bench: Bench, plant: AuditedPlant, setup: Setup, number: int) -> dict[str, Any]:
    """Ask at epsilon 0: no noise, no charge, and the classes as they are declared."""
    question = replace(make_question(_FREE + number), epsilon="0")
    watch = Watch(far, plant.home, question.request_id)
    charge_count = len(charges(plant.home))
    data = plant.release(question, watch)
    bench.count_answer()
    entry = entries.decode(covered.decode_statement(data).entry)
    if watch.parts or len(charges(plant.home)) != charge_count:
        bench.wrong[ORDER].append("a free question is charged, or answered from records")
    fields = dict(_flat("statement", canonical.to_builtins(entry)))
    if getattr(entry, "labels", ()) != setup.labels:
        bench.wrong[EQUAL].append("field statement.labels")
    return fields | {"size": len(data)}


def _fields(file: Opened) -> dict[str, Any]:
    """List every field of a release, its charge and its entry, by name."""
    parts = {"manifest": file.manifest, "charge": file.charge, "release": file.entry}
    fields = {"size": len(file.data)}
    for kind, record in parts.items():
        fields |= dict(_flat(kind, canonical.to_builtins(record)))
    return fields


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Walk what is nested in a record, down to values and lists."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part)
    else:
        yield name, value


def _ask_again(bench: Bench, plant: AuditedPlant, file: Opened) -> None:
    """The last question again, under its own id and under another."""
    last, charge_count = file.manifest, len(charges(plant.home))
    for request_id in (last.request_id, "f" * 32):
        question = Question(request_id=request_id, epsilon=last.epsilon, delta=last.delta)
        watch = Watch(far, plant.home, request_id)
        again = bench.ask(plant, question, watch)
        if again.data != file.data or watch.parts or len(charges(plant.home)) != charge_count:
            bench.wrong[ORDER].append("a repeated question gets another answer")


def _interrupt(bench: Bench, plant: AuditedPlant) -> None:
    """A release that is cut off while noise is drawn has been charged, and is charged once."""
    question = make_question(_INTERRUPTED)
    _cut_off(bench, plant, question)
    request_ids = [charge.request_id for charge in charges(plant.home)]
    bench.ask(plant, question, None)
    later = [charge.request_id for charge in charges(plant.home)]
    if request_ids.count(question.request_id) != 1 or later != request_ids:
        bench.wrong[ORDER].append("an interrupted release is not charged once")


def _cut_off(bench: Bench, plant: AuditedPlant, question: Question) -> None:
    """Ask, and let the plant fail while noise is drawn."""

    def stop(exact: Integers, sigma: float) -> Integers:
        raise _Interrupted

    try:
        bench.ask(plant, question, stop)
    except _Interrupted:
        bench.count_answer()


def _must_be_refused(bench: Bench, plant: AuditedPlant, question: Question, event: str) -> None:
    """Ask a plant whose budget is used up: nothing may be charged, and nothing leave."""
    charge_count = len(charges(plant.home))
    try:
        plant.release(question, None)
    except RefusedError:
        pass
    else:
        bench.wrong[BUDGET].append(f"a release is made since {event}")
    if len(charges(plant.home)) != charge_count:
        bench.wrong[BUDGET].append(f"a release is charged since {event}")
    bench.count_answer()


class _Interrupted(Exception):
    """Stands for a crash."""


def _salt(plant: AuditedPlant, records: Sequence[Record]) -> bytes:
    return plant.freeze(records).salt.encode()


def _scores(file: Opened, vectors: Sequence[Integers]) -> Floats:
    rows = np.stack(vectors).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * file.sigma
    return np.asarray(rows @ file.integers.astype(np.float64) / lengths)
