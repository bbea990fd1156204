"""What the audit asks of plants, and what is wrong with their answers.

Whatever cannot be looked at is wrong: an error of the program under test, a part that does not ask
for noise, a centre that never leaves the origin.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_audit import verification
from wg_audit.installed import records as made_up
from wg_audit.installed.noise import Noise
from wg_audit.installed.plant import (
    AuditedPlant,
    Floats,
    Fresh,
    Integers,
    Opened,
    Question,
    Record,
    Sampler,
    Setup,
    Watch,
    charges,
    opened,
)
from wg_audit.installed.reference import Reference
from wg_core.errors import VerificationError
from wg_core.language import template
from wg_core.privacy import mechanism
from wg_core.wire import canonical

EPSILON = 4.0
"""The claim that canaries test: the most that a plant's policy allows unless it is changed."""
DELTA = 1e-5

ANSWERED = template("every question is answered")
EXACT = template("noise is added to what the records say, to the last bit")
CENTRED = template("centres away from the origin are tested")
ORDER = template("each release is charged before noise is drawn, and once")
EQUAL = template("nothing but noise and fresh identifiers depends on the records")
FRESH = template("salts, commitments and identifiers never repeat")
ENCODER = template("the encoder reads each record by itself")
LEDGER = template("the ledger verifies, and pays for each file")
_EPSILONS = (4.0, 0.5, 1.0, 8.0)
_CLASSES = 6
_DIMENSION = 8
FEW = 60
MANY = 12_000  # More than 8,192, the largest part in which the client works
PICTURES = 9
_REPEATS = 4  # Releases of one snapshot with canaries
_FIXED = 17  # Questions beside those about canaries

_OWN = frozenset({"release_id", "integers_sha256"})
"""Fields of a manifest that are new in each release, or follow from its noise."""
_OWN_CHARGE = frozenset({"head", "commitment", "lineage", "fingerprint", "state"})
"""Fields of a charge that follow from a ledger's own keys and salts, or are compared apart."""
_OWN_STATE = frozenset({"anchored_root"})  # Fields of a charge's budget that follow from them


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many canaries there are: they take most of the time, and find the least.

    Attributes:
        canaries: Of one snapshot, each with a label and a feature of its own.
        snapshots: Data sets with a random half of the canaries.
    """

    canaries: int = 64
    snapshots: int = 10

    @property
    def questions(self) -> int:
        """How often plants are asked."""
        return _FIXED + self.snapshots * _REPEATS


class Probes:
    """Plants, what they are asked, and what is wrong with their answers, by check."""

    def __init__(
        self,
        fresh: Fresh,
        rng: np.random.Generator,
        size: Size,
        sampler: Sampler | None,
        on_question: Callable[[int], None] | None,
    ) -> None:
        self._fresh = fresh
        self._rng = rng
        self.size = size
        self._sampler = sampler
        self._on_question = on_question or (lambda number: None)
        self._setup = Setup(labels=_labels(_CLASSES), dimension=_DIMENSION)
        self._first: list[Opened] = []  # of the first snapshot of the first plant
        self.questions = 0
        self.centred = 0
        self.wrong: defaultdict[str, list[str]] = defaultdict(list)
        self.values: defaultdict[str, list[str]] = defaultdict(list)
        self.path: list[Noise] = []
        self.crowded: list[Noise] = []
        self._on_question(0)

    def release_twice_frozen_data(self) -> None:
        """Three snapshots of one plant, of which two are of the same records."""
        records = self._crowd(FEW)
        records.append(records[0])  # a copy: counted once
        with self._caught(), self._fresh(self._setup) as plant:
            files = []
            for number, part in enumerate((records, records, records[2:-1])):
                files += self._release(plant, self._setup, part, 2 * number)
            self._first = files[:2]
            self._ask_again(plant, files[-1])
            self._interrupt(plant)
            self._verify(plant, files)

    def compare_few_and_many(self) -> None:
        """Another plant, with many records: what is not noise is that of the first plant."""
        with self._caught(), self._fresh(self._setup) as plant:
            files = self._release(plant, self._setup, self._crowd(MANY), 0)
            self._verify(plant, files)
            for original, repeated in zip(self._first, files, strict=True):
                self.wrong[EQUAL] += _differences(original, repeated)

    def count_units(self, *, units: int = 20) -> None:
        """Units of several records share their weight."""
        setup = Setup(labels=self._setup.labels, dimension=_DIMENSION, unit_rule="weight")
        with self._caught(), self._fresh(setup) as plant:
            files = self._release(plant, setup, self._crowd(FEW, units), 0)
            self._verify(plant, files)

    def encode_apart(self) -> None:
        """The plant's own encoder makes of pictures together what it makes of them apart."""
        setup = Setup(labels=_labels(3))
        pictures = made_up.pictures(self._rng, PICTURES, 3)
        parts = []
        for chosen in (pictures, pictures[:1], pictures[1:]):
            with self._caught(), self._fresh(setup) as plant:
                plant.freeze(chosen)
                parts.append(self._watched(plant, 0)[1].parts[0])
        if len(parts) == 3 and not np.array_equal(parts[0], parts[1] + parts[2]):
            self.wrong[ENCODER].append("a record changes what others add")

    def score_canaries(self) -> tuple[Floats, Floats]:
        """Scores of canaries that were in the data, and of those that were not."""
        count = self.size.canaries
        setup = Setup(labels=_labels(count), dimension=count)
        birds = made_up.canaries(count)
        members, non_members = [], []
        for _ in range(self.size.snapshots):
            chosen = self._rng.integers(0, 2, count).astype(bool)
            records = [birds[n] for n in np.flatnonzero(chosen)]
            with self._caught(), self._fresh(setup) as plant:
                self._freeze(plant, records)
                files = []
                for number in range(_REPEATS):
                    file = self._ask(plant, _question(number, EPSILON), self._sampler)
                    reference = Reference(setup, records, file)
                    self.crowded.append(_noise(file, reference.statistics()))
                    scores = _scores(file, [reference.vector(bird) for bird in birds])
                    members.append(scores[chosen])
                    non_members.append(scores[~chosen])
                    files.append(file)
                self._verify(plant, files)
        empty = [np.zeros(0)]
        return np.concatenate(members or empty), np.concatenate(non_members or empty)

    @contextmanager
    def _caught(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a program does, that is no pass
            self.wrong[ANSWERED].append(f"{type(error).__name__}: {error}"[:200])

    def _crowd(self, size: int, units: int = 0) -> list[Record]:
        return made_up.crowd(self._rng, size, _DIMENSION, _CLASSES, units)

    def _freeze(self, plant: AuditedPlant, records: Sequence[Record]) -> None:
        self.values["salt"].append(plant.freeze(records))

    def _release(
        self, plant: AuditedPlant, setup: Setup, records: Sequence[Record], number: int
    ) -> list[Opened]:
        """Freeze; release once watched, and once as plants do it."""
        self._freeze(plant, records)
        watched, watch = self._watched(plant, number)
        bare = self._ask(plant, _question(number + 1), self._sampler)
        self.values["commitment"].append(bare.charge.commitment)
        for file in (watched, bare):
            reference = Reference(setup, records, file)
            exact = reference.statistics()
            self.path.append(_noise(file, exact))
            self.centred += any(reference.point)
            if file is watched and not np.array_equal(watch.asked(file), exact):
                self.wrong[EXACT].append(f"{setup.unit_rule} rule, {len(records)} records: others")
        return [watched, bare]

    def _watched(self, plant: AuditedPlant, number: int) -> tuple[Opened, Watch]:
        question = _question(number)
        watch = self._watch(plant, question)
        file = self._ask(plant, question, watch)
        if not watch.parts or watch.unpaid:
            self.wrong[ORDER].append("noise is drawn before the charge, or not asked for")
        return file, watch

    def _watch(self, plant: AuditedPlant, question: Question) -> Watch:
        sampler = self._sampler or mechanism.opendp_sampler
        return Watch(sampler, plant.home, question.request_id)

    def _ask_again(self, plant: AuditedPlant, file: Opened) -> None:
        """The last question again, under its own id and under another."""
        last, paid = file.manifest, len(charges(plant.home))
        for request_id in (last.request_id, "f" * 32):
            question = Question(request_id=request_id, epsilon=last.epsilon, delta=last.delta)
            watch = self._watch(plant, question)
            again = self._ask(plant, question, watch)
            if again.data != file.data or watch.parts or len(charges(plant.home)) != paid:
                self.wrong[ORDER].append("a repeated question gets another answer")

    def _interrupt(self, plant: AuditedPlant) -> None:
        """A release that is cut off while noise is drawn has been charged, and is charged once."""
        question = _question(100)

        def stop(exact: Integers, sigma: float) -> Integers:
            raise _Interrupted

        try:
            self._ask(plant, question, stop)
        except _Interrupted:
            self._answered()
        request_ids = [charge.request_id for charge in charges(plant.home)]
        self._ask(plant, question, self._sampler)
        later = [charge.request_id for charge in charges(plant.home)]
        if request_ids.count(question.request_id) != 1 or later != request_ids:
            self.wrong[ORDER].append("an interrupted release is not charged once")

    def _ask(self, plant: AuditedPlant, question: Question, sampler: Sampler | None) -> Opened:
        file = opened(plant.release(question, sampler))
        self._answered()
        if sampler is None or not isinstance(sampler, Watch) or sampler.parts:
            self.values["release id"].append(file.manifest.release_id)
        return file

    def _answered(self) -> None:
        self.questions += 1
        self._on_question(self.questions)

    def _verify(self, plant: AuditedPlant, files: Sequence[Opened]) -> None:
        """Verify the plant's ledger, and that it pays for what these files say."""
        with tempfile.TemporaryDirectory(prefix="wg-audit-") as folder:
            paths = [Path(folder) / f"{number}.wgs" for number in range(len(files))]
            for path, file in zip(paths, files, strict=True):
                path.write_bytes(file.data)
            try:
                verification.verify(plant.home, statistics=paths)
            except VerificationError as error:
                self.wrong[LEDGER].append(str(error))


class _Interrupted(Exception):
    """Stands for a crash."""


def _question(number: int, epsilon: float | None = None) -> Question:
    # An equal guarantee would get the stored bytes: each is a little less than what is claimed.
    request_epsilon = _EPSILONS[number % len(_EPSILONS)] if epsilon is None else epsilon
    return Question(
        request_id=f"{number:032x}",
        epsilon=f"{request_epsilon * (1 - number * 1e-6):.8f}",
        delta=repr(DELTA),
    )


def _noise(file: Opened, exact: Integers) -> Noise:
    return Noise(file.sigma, file.blocks(), file.integers - exact)


def _scores(file: Opened, vectors: Sequence[Integers]) -> Floats:
    rows = np.stack(vectors).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * file.sigma
    return np.asarray(rows @ file.integers.astype(np.float64) / lengths)


def _labels(count: int) -> tuple[str, ...]:
    return tuple(f"class-{number:02}" for number in range(count))


def _differences(one: Opened, two: Opened) -> list[str]:
    """In what two answers to one question differ, beyond noise and what is fresh in each."""
    differences = [] if len(one.data) == len(two.data) else ["sizes of files"]
    for kind, left, right, exempt in (
        ("manifest", one.manifest, two.manifest, _OWN),
        ("charge", one.charge, two.charge, _OWN_CHARGE),
        ("budget", one.charge.state, two.charge.state, _OWN_STATE),
    ):
        a, b = canonical.to_builtins(left), canonical.to_builtins(right)
        differences += [
            f"{kind} field {name}" for name in a if name not in exempt and a[name] != b[name]
        ]
    heads = [canonical.to_builtins(file.charge.head) for file in (one, two)]
    differences += [
        f"charge head {name}" for name in ("seq", "time") if heads[0][name] != heads[1][name]
    ]
    return differences
