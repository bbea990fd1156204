"""Probes of a plant's guarantees, budget and refusals, and of failures during a release.

``probes`` calls them. They never fail on a correct program, whatever noise it draws.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import numpy as np

from wg_audit.installed.audited_plant import (
    AuditedPlant,
    DecodedRelease,
    ImageRecord,
    Integers,
    Interruption,
    PlantSetup,
    Question,
    RecordingSampler,
    SimulatedCrash,
    decode_release,
    join_parts_in_order,
    ledger_charges,
    ledger_entries,
)
from wg_audit.installed.plant_audit import (
    BUDGET_CHECK,
    EQUALITY_CHECK,
    ORDER_CHECK,
    QUESTION_DELTA,
    TERMS_CHECK,
    AuditBench,
    add_large_noise,
    add_small_noise,
    class_names,
    make_question,
)
from wg_core import number_parsers
from wg_core.errors import RefusedError, WgError
from wg_core.privacy import calibration

CONDUCT_SETUP = PlantSetup(labels=class_names(6), dimension=8, declares_machine=True)
SMALL_DATASET_SIZE = 60
GUARANTEE_COUNT = 48
INTERRUPTIONS: tuple[Interruption, ...] = get_args(Interruption)
_UNRECORDED_STEPS: tuple[Interruption, ...] = ("charged", "sampled")
"""Steps after which an interrupted release draws new noise: its noise was not stored yet."""
_CAP_EPSILON, _RELEASE_EPSILON = 2.0, 0.9
"""Epsilon of the budget in ``exhaust_budget``, and of each release from it."""
_YEAR_SECONDS = int(timedelta(days=365).total_seconds())


def probe_guarantees(bench: AuditBench) -> None:
    """Ask one plant for releases at many epsilons and deltas, written in several number formats.

    The bench compares each charge and its noise with the question.
    """
    records = bench.simulate_records(SMALL_DATASET_SIZE, CONDUCT_SETUP)
    with bench.record_errors(), bench.make_plant(CONDUCT_SETUP) as plant:
        main_records = bench.freeze_and_drop_acceptance(plant, records)
        files = []
        for number, (epsilon, delta) in enumerate(_draw_guarantees(bench.rng)):
            question = replace(
                make_question(number, wants_machine_statistics=bool(number % 3 == 2)),
                epsilon=epsilon,
                delta=delta,
            )
            script = (add_small_noise, add_large_noise)[number % 2]
            if number % 4 < 2:
                file = bench.release_with_scripted_noise(
                    plant, CONDUCT_SETUP, main_records, question, script
                )
            else:
                file = bench.release_and_record_noise(plant, CONDUCT_SETUP, main_records, question)
            files.append(file)
        bench.verify_ledger(plant, files)
        _repeat_question(bench, plant, files[-1])


def _draw_guarantees(rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield ``GUARANTEE_COUNT`` pairs of epsilon and delta, as text in three number formats."""
    epsilons = 10 ** rng.permutation(np.linspace(-2.5, 0.99, GUARANTEE_COUNT))
    deltas = 10 ** rng.permutation(np.linspace(-12, -5.001, GUARANTEE_COUNT))
    for number, (epsilon, delta) in enumerate(zip(epsilons, deltas, strict=True)):
        spelling = (f"{epsilon:.6f}", f"{epsilon:.4e}", f"{epsilon:.12f}")[number % 3]
        yield spelling, f"{delta:.3e}"


def _repeat_question(bench: AuditBench, plant: AuditedPlant, file: DecodedRelease) -> None:
    """Repeat a plant's last question; its answer must be the same file, without a new charge.

    The question is repeated under its own and other ids, and with epsilon in another format.
    """
    last, charge_count = file.manifest, len(ledger_charges(plant.home))
    for request_id, epsilon in (
        (last.request_id, last.epsilon),
        ("f" * 32, last.epsilon),
        ("e" * 32, f"{number_parsers.parse_exact_decimal(last.epsilon):.20e}"),
    ):
        question = Question(
            request_id=request_id,
            epsilon=epsilon,
            delta=last.delta,
            wants_machine_statistics=file.is_machine_release,
        )
        watch = RecordingSampler(add_large_noise, plant.home, request_id)
        again = bench.ask_for_release(plant, question, watch)
        if (
            again.data != file.data
            or watch.exact_parts
            or len(ledger_charges(plant.home)) != charge_count
        ):
            bench.errors_by_check[ORDER_CHECK].append("a repeated question gets another answer")


def interrupt_releases(bench: AuditBench) -> None:
    """Check that an interrupted release is charged once, and that stored noise is used again."""
    with bench.record_errors(), bench.make_plant(CONDUCT_SETUP) as plant:
        bench.freeze_and_drop_acceptance(
            plant, bench.simulate_records(SMALL_DATASET_SIZE, CONDUCT_SETUP)
        )
        files = []
        for number, trouble in enumerate(2 * INTERRUPTIONS):
            question = make_question(number, wants_machine_statistics=number >= len(INTERRUPTIONS))
            first_watch = RecordingSampler(add_small_noise, plant.home, question.request_id)
            if _try_release(plant, question, first_watch, trouble):
                bench.errors_by_check[ORDER_CHECK].append(
                    f"a release leaves when its plant's trouble is {trouble}"
                )
            bench.count_answer()
            _ask_other_guarantees(bench, plant, question)
            again = RecordingSampler(add_large_noise, plant.home, question.request_id)
            file = bench.ask_for_release(plant, question, again)
            files.append(file)
            is_recorded = trouble not in _UNRECORDED_STEPS
            answers = join_parts_in_order((first_watch if is_recorded else again).noisy_parts, file)
            if bool(again.exact_parts) == is_recorded or not np.array_equal(answers, file.integers):
                bench.errors_by_check[ORDER_CHECK].append(
                    f"noise is drawn twice, or never, after {trouble}"
                )
            request_ids = [charge.request_id for charge in ledger_charges(plant.home)]
            if request_ids.count(question.request_id) != 1 or len(request_ids) != number + 1:
                bench.errors_by_check[ORDER_CHECK].append(
                    "an interrupted release is not charged once"
                )
        bench.verify_ledger(plant, files)


def _try_release(
    plant: AuditedPlant,
    question: Question,
    sampler: RecordingSampler | None,
    interruption: Interruption | None,
) -> bool:
    try:
        plant.release(question, sampler, interruption)
    except (SimulatedCrash, WgError):
        return False
    return True


def _ask_other_guarantees(bench: AuditBench, plant: AuditedPlant, question: Question) -> None:
    """Check that the charge of a request pays for no other guarantee or kind of statistics."""
    for other_question in (
        replace(question, epsilon="9"),
        replace(question, epsilon="0.01"),
        replace(question, delta="1e-9"),
        replace(question, wants_machine_statistics=not question.wants_machine_statistics),
    ):
        watch = RecordingSampler(add_small_noise, plant.home, question.request_id)
        try:
            file = decode_release(plant.release(other_question, watch))
        except WgError:
            file = None
        if watch.exact_parts or (file and file.manifest.epsilon != file.charge.epsilon):
            bench.errors_by_check[ORDER_CHECK].append(
                "a request that was charged is released at another guarantee"
            )
        bench.count_answer()


def exhaust_budget(bench: AuditBench) -> None:
    """Use up a plant's budget, and check that nothing makes the plant release again.

    The plant is asked after a year, and with other records, data set name and ledger.
    """
    setup = replace(CONDUCT_SETUP, cap_epsilon=f"{_CAP_EPSILON:g}")
    mu = calibration.largest_mu(_RELEASE_EPSILON, QUESTION_DELTA)
    payable = max(
        count
        for count in range(1, 50)
        if calibration.gaussian_epsilon(mu * count**0.5, QUESTION_DELTA) <= _CAP_EPSILON
    )
    records = bench.simulate_records(SMALL_DATASET_SIZE, setup)
    with bench.record_errors(), bench.make_plant(setup) as plant:
        files = []
        for number in range(payable):
            question = make_question(
                number, _RELEASE_EPSILON, wants_machine_statistics=number % 4 > 1
            )
            main_records = bench.freeze_and_drop_acceptance(plant, records[number:])
            if number % 2:
                crash_during_release(bench, plant, question)
            else:
                files.append(bench.release_and_record_noise(plant, setup, main_records, question))
        charge_counts = [charge.state.charges_before for charge in ledger_charges(plant.home)]
        if charge_counts != list(range(payable)):
            bench.errors_by_check[BUDGET_CHECK].append(
                f"{len(charge_counts)} charges, {payable} can be paid"
            )
        bench.verify_ledger(plant, files)
        for number, (event, happen) in enumerate(_events_after_exhaustion(plant, records, payable)):
            happen()
            # Question 1 was interrupted: its charge must not pay for a later version.
            for question_number in (1, payable + number):
                for machine in (False, True):
                    question = make_question(
                        question_number, _RELEASE_EPSILON, wants_machine_statistics=machine
                    )
                    _check_refused(bench, plant, question, event)


def _events_after_exhaustion(
    plant: AuditedPlant, records: Sequence[ImageRecord], payable_count: int
) -> list[tuple[str, Callable[[], object]]]:
    """Return (description, action) of each event after which a spent budget must stay spent."""

    def rename() -> None:
        plant.rename_dataset()
        plant.freeze(records)

    return [
        ("it was used up", lambda: None),
        ("it refused", lambda: None),
        ("a year has passed", lambda: plant.advance_clock(_YEAR_SECONDS)),
        ("the same records are frozen", lambda: plant.freeze(records[payable_count - 1 :])),
        ("earlier records are frozen", lambda: plant.freeze(records)),
        ("no records are frozen", lambda: plant.freeze([])),
        ("the data set has another name", rename),
        ("another ledger takes over", plant.replace_ledger),
    ]


def crash_during_release(bench: AuditBench, plant: AuditedPlant, question: Question) -> None:
    """Ask a plant for a release, and simulate a crash while it draws noise."""

    def stop(exact: Integers, sigma: float) -> Integers:
        raise SimulatedCrash

    try:
        bench.ask_for_release(plant, question, stop)
    except SimulatedCrash:
        bench.count_answer()


def _check_refused(bench: AuditBench, plant: AuditedPlant, question: Question, event: str) -> None:
    """Check that a plant with a used-up budget refuses a question and charges nothing."""
    charge_count = len(ledger_charges(plant.home))
    try:
        plant.release(question, None)
    except RefusedError:
        pass
    else:
        bench.errors_by_check[BUDGET_CHECK].append(f"a release is made since {event}")
    if len(ledger_charges(plant.home)) != charge_count:
        bench.errors_by_check[BUDGET_CHECK].append(f"a release is charged since {event}")
    bench.count_answer()


def check_refusals(bench: AuditBench) -> None:
    """Check that refused questions are not charged, and that refusals do not depend on records."""
    answerable = make_question(0)
    questions = [
        replace(answerable, epsilon="10.5"),
        replace(answerable, delta="1e-4"),
        replace(answerable, changed_fields={"site": "another"}),
        replace(answerable, changed_fields={"encoder": "ab" * 32}),
        replace(answerable, changed_fields={"expires": 1}),
        replace(answerable, wants_machine_statistics=True),
    ]
    setup = replace(CONDUCT_SETUP, declares_machine=False)
    with bench.record_errors(), bench.make_plant(setup) as plant:
        words = []
        for count in (0, 1, SMALL_DATASET_SIZE):
            with plant.copy_plant() as twin:
                bench.freeze_and_drop_acceptance(twin, bench.simulate_records(count, setup))
                size = len(ledger_entries(twin.home))
                words.append([_refusal_text(bench, twin, question) for question in questions])
                if len(ledger_entries(twin.home)) != size:
                    bench.errors_by_check[TERMS_CHECK].append(
                        "what is refused stands on the ledger"
                    )
        if any(of_twin != words[0] for of_twin in words):
            bench.errors_by_check[EQUALITY_CHECK].append("words of a refusal")


def _refusal_text(bench: AuditBench, plant: AuditedPlant, question: Question) -> str:
    """Return the text of a plant's refusal without its home's path; empty if it does not refuse."""
    watch = RecordingSampler(add_small_noise, plant.home, question.request_id)
    bench.count_answer()
    try:
        plant.release(question, watch)
    except WgError as error:
        if not watch.exact_parts:
            return f"{type(error).__name__}: {error}".replace(str(plant.home), "")
    bench.errors_by_check[TERMS_CHECK].append(
        f"{question.changed_fields or question.epsilon}: is not refused"
    )
    return ""
