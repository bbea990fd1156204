"""``wg-client watch``: are incoming records like the frozen ones, and what should be labelled next?

Three tests share one rate of false alarms, ``FALSE_ALARMS``, a third each (Bonferroni): released
features (mean and spread), records called new, and calls that are not sure. The last one needs
something to be held against: the first batch since the model came into use.

Nothing is sent, and nothing is charged.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.data import plant as plants
from wg_client.data.inspection import decoded_parts
from wg_client.data.plant import Plant
from wg_client.data.site_data import SiteData
from wg_client.models import adoption, drift, novelty, predict
from wg_client.models.drift import Shift
from wg_client.models.manifest import ModelsManifest
from wg_client.models.novelty import Novelty
from wg_client.models.sight import Inputs, Sight
from wg_client.operation import stages
from wg_client.operation.stages import Batch, History
from wg_client.release import preview
from wg_client.release.preview import CostSight
from wg_common import streams
from wg_common.streams import Stream
from wg_core.errors import DataError
from wg_core.site.home import ClientHome
from wg_core.snapshot import Problem

FALSE_ALARMS = 0.01  # Chance that a batch of records like the frozen ones raises an alarm
TESTS = 3  # How many tests share that chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A record whose label would teach much.

    Attributes:
        name: Of the record.
        likeness: To the plant's own records; None: not known.
        label: What the model in use calls it; empty without one.
        probability: Of that label; 0 without one.
    """

    name: str
    likeness: float | None
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """All that ``watch`` says.

    Attributes:
        batch: Figures.
        shift: Of released features; None with too few records.
        called: How often each label was called.
        frozen: How many frozen records have each label.
        label_next: Records worth labelling, the most worth first.
        release: What another release would cost, at the policy's most.
        left_out: What could not be read.
    """

    batch: Batch
    shift: Shift | None
    called: dict[str, int]
    frozen: dict[str, int]
    label_next: tuple[Suggestion, ...]
    release: CostSight
    left_out: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """What is kept of the m records of a batch: numbers, never the records.

    Attributes:
        names: Of the records.
        released: Features that would be released, ``[m, d]``.
        likeness: To the plant's own records, ``[m]``; NaN where it is not known.
        chances: Probabilities of the model in use, ``[m, K]``; None without one.
        problems: What could not be read.
    """

    names: list[str]
    released: NDArray[np.float32]
    likeness: NDArray[np.float64]
    chances: NDArray[np.float64] | None
    problems: list[Problem]


def watch(
    home: ClientHome,
    parts: Sequence[SiteData],
    *,
    count: int = 10,
    left_out: Sequence[Problem] = (),
    progress: Callable[[int], None] | None = None,
    fewest_records: int = 5,
) -> Watch:
    """Hold new records against the frozen ones.

    Args:
        left_out: What of these paths could not be read.
        progress: Told how many records were looked at.

    Raises:
        ConfigError: There is no snapshot.
        DataError: There is no record that can be read, or too few are frozen.
    """
    plant = plants.open_plant(home)
    plant_novelty = novelty.fit(plant.features.local, plant.data.labels)
    if plant_novelty is None or len(plant.data) < fewest_records:
        raise DataError(f"{len(plant.data)} frozen records: too few to hold others against")
    used = None if adoption.read(home).now.in_use is None else adoption.in_use(home)
    observations = _seen(home, plant, plant_novelty, used, parts, progress)
    observations.problems[:0] = left_out
    if not observations.names:
        first_problem = (
            f", first {observations.problems[0].name}: {observations.problems[0].reason}"
            if left_out
            else ""
        )
        raise DataError(f"no record can be read{first_problem}")
    shift = None
    if len(observations.released) >= fewest_records:
        frozen = np.asarray(plant.features.values)
        level = FALSE_ALARMS / TESTS
        shift = drift.shift(frozen, observations.released, level, streams.rng(Stream.DRIFT))
    past = stages.read(home)
    batch = _batch(plant, observations, shift, plant_novelty, used, past, int(time.time()))
    stages.add(home, past, batch)
    labels = () if used is None else used[0].labels
    return Watch(
        batch=batch,
        shift=shift,
        called={}
        if observations.chances is None
        else _counts(labels, observations.chances.argmax(axis=1)),
        frozen=_counts(plant.data.label_names, plant.data.labels),
        label_next=_next(observations, labels, count),
        release=preview.check(home).cost,
        left_out=tuple(observations.problems),
    )


def _batch(
    plant: Plant,
    observations: _Seen,
    shift: Shift | None,
    plant_novelty: Novelty,
    used: tuple[ModelsManifest, str] | None,
    past: History,
    now: int,
) -> Batch:
    """Figures of a batch, and whether they raise an alarm."""
    new = observations.likeness <= novelty.NEW
    unsure = _unsure(used, observations.chances, new)
    model = "" if used is None else f"{used[1]} of package {used[0].package_id[:16]}"
    p_values = (
        1.0 if shift is None else shift.p,
        drift.too_many_new(int(new.sum()), len(new), novelty.NEW, len(plant_novelty.scores)),
        _against_first(past, model, unsure, len(new)),
    )
    return Batch(
        when=now,
        snapshot=plant.snapshot.manifest.number,
        model=model,
        records=len(new),
        new=int(new.sum()),
        unsure=-1 if unsure is None else unsure,
        p_features=p_values[0],
        p_new=p_values[1],
        p_unsure=p_values[2],
        alarm=min(p_values) < FALSE_ALARMS / TESTS,
    )


def _seen(
    home: ClientHome,
    plant: Plant,
    plant_novelty: Novelty,
    used: tuple[ModelsManifest, str] | None,
    parts: Sequence[SiteData],
    progress: Callable[[int], None] | None,
) -> _Seen:
    encoder = plants.pinned_encoder(home, plant.encoder)
    network = None if used is None else predict.load_network(home, used[0], encoder)
    sight = Sight(encoder=encoder, network=network)
    dimension, done = plant.features.dimension, 0
    names: list[str] = []
    problems: list[Problem] = []
    released = [np.zeros((0, dimension), np.float32)]
    likeness, chances = [np.zeros(0)], []
    for data in parts:
        for part, bad in decoded_parts(data):
            problems += bad
            done += len(part) + len(bad)
            if len(part):
                local = sight.inputs(part.records)
                names += part.names
                released.append(local[:, :dimension].astype(np.float32))
                likeness.append(plant_novelty.likeness(local).astype(np.float64))
                if used is not None:
                    chances.append(_chances(home, used, part.names, local))
            if progress is not None:
                progress(done)
    return _Seen(
        names=names,
        released=np.concatenate(released),
        likeness=np.concatenate(likeness),
        chances=np.concatenate(chances) if chances else None,
        problems=problems,
    )


def _chances(
    home: ClientHome, used: tuple[ModelsManifest, str], names: Sequence[str], inputs: Inputs
) -> NDArray[np.float64]:
    """Probabilities of the model in use, ``[n, K]``."""
    manifest, name = used
    rows = predict.predict(home, manifest, name, inputs, names)
    return np.array([row.probabilities for row in rows])


def _unsure(
    used: tuple[ModelsManifest, str] | None,
    chances: NDArray[np.float64] | None,
    new: NDArray[np.bool_],
) -> int | None:
    """Calls that are neither sure nor new; None where no call can be sure."""
    if used is None or chances is None:
        return None
    sure = used[0].sure.get(used[0].entry(used[1]).name)
    if sure is None or sure > 1:
        return None
    return int((~new & (chances.max(axis=1) < sure)).sum())


def _against_first(past: History, model: str, unsure: int | None, records: int) -> float:
    """Unsure calls against those of the first batch of this model."""
    first_batch = next(
        (batch for batch in past.batches if batch.model == model and batch.unsure >= 0), None
    )
    if first_batch is None or unsure is None:
        return 1.0
    return drift.shares_differ(unsure, records, first_batch.unsure, first_batch.records)


def _counts(labels: Sequence[str], class_indices: NDArray[np.integer]) -> dict[str, int]:
    counts = Counter(class_indices.tolist())
    return {label: counts.get(index, 0) for index, label in enumerate(labels)}


def _next(observations: _Seen, labels: Sequence[str], count: int) -> tuple[Suggestion, ...]:
    chances, likeness = observations.chances, observations.likeness
    margins = np.full(len(likeness), np.nan)
    if chances is not None and chances.shape[1] > 1:
        best = np.sort(chances, axis=1)
        margins = best[:, -1] - best[:, -2]
    rows = drift.worth_labelling(observations.released, likeness, margins, count)
    return tuple(
        Suggestion(
            name=observations.names[row],
            likeness=None if np.isnan(likeness[row]) else float(likeness[row]),
            label="" if chances is None else labels[int(chances[row].argmax())],
            probability=0.0 if chances is None else float(chances[row].max()),
        )
        for row in rows
    )
