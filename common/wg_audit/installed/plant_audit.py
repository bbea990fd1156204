"""Test bench of the empirical audit: sets up plants, asks them, and checks each answer.

Any part that cannot be tested counts as failed: an error of the program under test, a block that
draws no noise, a centre that never leaves the origin.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_audit import verification
from wg_audit.installed import simulated_records as made_up
from wg_audit.installed.audited_plant import (
    IMAGE_SIDE,
    AuditedPlant,
    DecodedRelease,
    Floats,
    ImageRecord,
    Integers,
    NoiseSampler,
    PlantFactory,
    PlantSetup,
    Question,
    RecordingSampler,
    decode_release,
    join_parts_in_order,
)
from wg_audit.installed.noise_tests import ReleaseNoise
from wg_audit.installed.reference_statistics import ReferenceStatistics
from wg_common.language import template
from wg_core import number_parsers
from wg_core.errors import VerificationError
from wg_core.site.config import PrivacyConfig

CANARY_EPSILON = float(PrivacyConfig().max_request_epsilon)
"""Claimed epsilon of releases with canaries: the largest that a plant's default policy allows."""
QUESTION_DELTA = float(PrivacyConfig().cap_delta)

ANSWERS_CHECK = template("every question is answered")
EXACTNESS_CHECK = template("noise is added to what the records say, to the last bit")
CENTRES_CHECK = template("centres away from the origin are tested")
SAMPLER_CHECK = template(
    "the sampler is asked for what is charged, and what it returns is what leaves"
)
ORDER_CHECK = template("each release is charged before noise is drawn, and once")
BUDGET_CHECK = template("the budget goes on from version to version, and the cap holds")
EQUALITY_CHECK = template("nothing but noise and fresh identifiers depends on the records")
FRESHNESS_CHECK = template("salts, commitments and identifiers never repeat")
TERMS_CHECK = template("an answer is what was asked for, and what is refused costs nothing")
ENCODER_CHECK = template("the encoder reads each record by itself")
LEDGER_CHECK = template("the ledger verifies, and pays for each file")

_MACHINE_QUESTION_OFFSET = 1 << 20  # Offset of the numbers of questions about a machine
_QUESTION_EPSILONS = (4.0, 0.5, 1.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSize:
    """Extent of the empirical audit; releases with canaries take most of the time.

    Attributes:
        canary_count: Number of canaries, each with its own label and its own feature.
        snapshot_count: Number of data sets, each with a random half of the canaries.
        dimensions: Numbers of features, each of which is tested.
        larger_dimension_count: Number of plants with a random, larger number of features.
    """

    canary_count: int = 128
    snapshot_count: int = 8
    dimensions: range = range(1, 65)
    larger_dimension_count: int = 6


class AuditBench:
    """Test bench of the audit, which collects the noise of plants, and errors by check."""

    def __init__(
        self,
        make_plant: PlantFactory,
        rng: np.random.Generator,
        size: AuditSize,
        on_question: Callable[[int], None],
    ) -> None:
        self.make_plant = make_plant
        self.rng = rng
        self.size = size
        self._on_question = on_question
        self._is_new_snapshot = False
        self.question_count = 0
        self.exact_release_count = 0
        self.centred_release_count = 0
        self.errors_by_check: defaultdict[str, list[str]] = defaultdict(list)
        self.random_values: defaultdict[str, list[str]] = defaultdict(list)
        self.noise_by_shape: defaultdict[tuple[int, int], list[ReleaseNoise]] = defaultdict(list)
        """Noise of releases, by (number of classes, number of features)."""
        self.canary_scores: tuple[list[Floats], list[Floats]] = [], []
        """Scores of canaries in the released data, and of canaries not in it."""

    @contextmanager
    def record_errors(self) -> Iterator[None]:
        """Catch any exception of the program under test, and record it as an error."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - any exception counts as a failure
            self.errors_by_check[ANSWERS_CHECK].append(f"{type(error).__name__}: {error}"[:200])

    def freeze_and_drop_acceptance(
        self, plant: AuditedPlant, records: Sequence[ImageRecord]
    ) -> list[ImageRecord]:
        """Freeze a plant's records; return those that are not in the acceptance set."""
        frozen = plant.freeze(records)
        self._is_new_snapshot = True
        self.random_values["salt"].append(frozen.salt)
        judges = [records[row] for row in frozen.acceptance_rows]
        contents = {record.pixels.tobytes() for record in judges}
        units = {record.unit for record in judges if plant.setup.unit_rule == "weight"}
        return [
            record
            for record in records
            if record.pixels.tobytes() not in contents and record.unit not in units
        ]

    def freeze_and_release(
        self,
        plant: AuditedPlant,
        setup: PlantSetup,
        records: Sequence[ImageRecord],
        first_question_number: int,
        scripted_sampler: NoiseSampler | None = None,
    ) -> list[DecodedRelease]:
        """Freeze a plant's records; release statistics with the audit's and with the plant's noise.

        If the plant declares a machine, machine statistics are released likewise.

        Args:
            plant: Plant under test.
            setup: Configuration of the plant.
            records: Records of the data set.
            first_question_number: Number of the first question; the second one has the next number.
            scripted_sampler: Sampler that adds the audit's noise; None for ``add_small_noise``.
        """
        main_records = self.freeze_and_drop_acceptance(plant, records)
        files = []
        for machine in (False, True)[: 1 + setup.declares_machine]:
            question, bare_question = (
                make_question(n, wants_machine_statistics=machine)
                for n in (first_question_number, first_question_number + 1)
            )
            files.append(
                self.release_with_scripted_noise(
                    plant, setup, main_records, question, scripted_sampler or add_small_noise
                )
            )
            files.append(self.release_and_record_noise(plant, setup, main_records, bare_question))
        return files

    def release_with_scripted_noise(
        self,
        plant: AuditedPlant,
        setup: PlantSetup,
        records: Sequence[ImageRecord],
        question: Question,
        scripted_sampler: NoiseSampler,
    ) -> DecodedRelease:
        """Make a plant release with noise that the audit chooses; check each released integer."""
        watch = RecordingSampler(scripted_sampler, plant.home, question.request_id)
        file = self.ask_for_release(plant, question, watch)
        self._compare_with_question(question, file)
        reference = ReferenceStatistics(setup, records, file)
        if self._is_new_snapshot:
            self.random_values["commitment"].append(file.charge.commitment)
            self._is_new_snapshot = False
        self.exact_release_count += 1
        self.centred_release_count += any(reference.centre)
        if not watch.exact_parts or watch.uncharged_calls:
            self.errors_by_check[ORDER_CHECK].append(
                "noise is drawn before the charge, or not asked for"
            )
        if not np.array_equal(join_parts_in_order(watch.exact_parts, file), reference.statistics()):
            self.errors_by_check[EXACTNESS_CHECK].append(
                f"{describe_setup(setup)}, {len(records)} records: others"
            )
        answers = join_parts_in_order(watch.noisy_parts, file)
        if watch.sigmas != {file.sigma} or not np.array_equal(answers, file.integers):
            self.errors_by_check[SAMPLER_CHECK].append(f"{describe_setup(setup)}: other noise")
        return file

    def release_and_record_noise(
        self,
        plant: AuditedPlant,
        setup: PlantSetup,
        records: Sequence[ImageRecord],
        question: Question,
    ) -> DecodedRelease:
        """Make a plant release with its own sampler, and record the noise that it added."""
        file = self.ask_for_release(plant, question, None)
        self._compare_with_question(question, file)
        self.record_noise(file, ReferenceStatistics(setup, records, file).statistics())
        return file

    def _compare_with_question(self, question: Question, file: DecodedRelease) -> None:
        """Check that a release has the id, epsilon, delta and statistics of the question."""
        manifest = file.manifest
        if (
            manifest.request_id != question.request_id
            or number_parsers.parse_exact_decimal(manifest.epsilon)
            != number_parsers.parse_exact_decimal(question.epsilon)
            or number_parsers.parse_exact_decimal(manifest.delta)
            != number_parsers.parse_exact_decimal(question.delta)
            or file.is_machine_release != question.wants_machine_statistics
        ):
            self.errors_by_check[TERMS_CHECK].append(f"epsilon {question.epsilon}: another answer")

    def record_noise(self, file: DecodedRelease, exact_statistics: Integers) -> None:
        """Record the noise in a plant's release, given the exact statistics."""
        noise = ReleaseNoise(
            file.sigma, file.blocks(), file.integers - exact_statistics, file.integers
        )
        schema = file.manifest.schema
        self.noise_by_shape[len(schema.labels), schema.dimension].append(noise)

    def ask_for_release(
        self, plant: AuditedPlant, question: Question, sampler: NoiseSampler | None
    ) -> DecodedRelease:
        """Ask a plant for a release, with noise by ``sampler`` or its own; decode the answer."""
        file = decode_release(plant.release(question, sampler))
        self.count_answer()
        if not isinstance(sampler, RecordingSampler) or sampler.exact_parts:
            self.random_values["release id"].append(file.manifest.release_id)
        return file

    def count_answer(self) -> None:
        """Count one more answered question, and report the new count to ``on_question``."""
        self.question_count += 1
        self._on_question(self.question_count)

    def verify_ledger(self, plant: AuditedPlant, files: Sequence[DecodedRelease]) -> None:
        """Verify a plant's ledger with its released files; record a failure as an error."""
        with tempfile.TemporaryDirectory(prefix="wg-audit-") as folder:
            paths = [Path(folder) / f"{number}.wgs" for number in range(len(files))]
            for path, file in zip(paths, files, strict=True):
                path.write_bytes(file.data)
            try:
                verification.audit_log(plant.home, statistics=paths)
            except VerificationError as error:
                self.errors_by_check[LEDGER_CHECK].append(str(error))

    def simulate_records(
        self,
        record_count: int,
        setup: PlantSetup,
        unit_names: Sequence[str] = (),
        image_shape: made_up.ImageShape = (IMAGE_SIDE, IMAGE_SIDE),
    ) -> list[ImageRecord]:
        """Simulate records of a plant, as ``simulated_records.simulate_records`` describes them.

        Args:
            unit_names: Privacy unit of each record; empty for one unit per record.
            image_shape: Shape of an image in pixels.
        """
        return made_up.simulate_records(self.rng, record_count, setup, unit_names, image_shape)


def add_small_noise(exact_statistics: Integers, sigma: float) -> Integers:
    """Add noise of -6 to 6 grid units, so that the release's centre stays near the records."""
    return exact_statistics + np.arange(len(exact_statistics)) % 13 - 6


def add_large_noise(exact_statistics: Integers, sigma: float) -> Integers:
    """Add noise of up to 30 standard deviations, to detect a program that truncates or rounds."""
    places = np.arange(len(exact_statistics))
    return np.asarray(
        exact_statistics + np.rint(5 * sigma * (places % 13 - 6)).astype(np.int64) + places
    )


def make_question(
    question_number: int, epsilon: float | None = None, *, wants_machine_statistics: bool = False
) -> Question:
    """Build a question to a plant; its number sets the request id and the default epsilon."""
    # A plant answers a repeated guarantee by a stored file, so each epsilon is slightly different.
    request_epsilon = (
        _QUESTION_EPSILONS[question_number % len(_QUESTION_EPSILONS)]
        if epsilon is None
        else epsilon
    )
    return Question(
        request_id=f"{question_number + _MACHINE_QUESTION_OFFSET * wants_machine_statistics:032x}",
        epsilon=f"{request_epsilon * (1 - question_number * 1e-6):.8f}" if request_epsilon else "0",
        delta=repr(QUESTION_DELTA),
        wants_machine_statistics=wants_machine_statistics,
    )


def class_names(count: int) -> tuple[str, ...]:
    """Return ``count`` class names for an audited plant, in reverse alphabetical order."""
    return tuple(f"class-{count - number:03}" for number in range(count))


def describe_setup(setup: PlantSetup) -> str:
    """Describe an audited plant's configuration for an error message."""
    return f"{setup.unit_rule} rule, {len(setup.labels)} classes, {setup.dimension} features"
