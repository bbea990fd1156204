"""``wg-client check``: preview of a release, with the records behind it, its contents and its cost.

It reads the snapshot and, read-only, the ledger, and compares the data folder with the snapshot.
Nothing is sent, charged or written.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wg_client.data import plant_data as plants
from wg_client.data.plant_data import PlantData
from wg_client.data.recording_units import find_recording_unit_column
from wg_client.data.recording_units import unnamed_recording_hint as recording_hint
from wg_client.release.folder_change import FolderChange, compare_data_folder
from wg_client.release.home_freeze import encoder_failure_names
from wg_client.release.machine_hints import machine_hints
from wg_client.release.release_hints import (
    RecordCounts,
    class_statistics_hints,
    machine_statistics_hints,
)
from wg_common.language import text
from wg_common.modalities.registry import list_modality_attribute
from wg_core.errors import NoMachineStatistics
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.charging import ChargeRequest
from wg_core.privacy import accounting
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    MACHINE_STATISTICS,
    StatisticsKind,
    StatisticsSchema,
)
from wg_core.release import readiness
from wg_core.release.query_answers import ReleaseOrder, canonical_decimal, price_release
from wg_core.site.config import DataConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import DuplicateRecord, Snapshot
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

NEVER_LEAVES = (
    list_modality_attribute("title", "and"),
    "features of a record",
    "labels of a record",
    "exact counts",
    "file names",
    "accuracies",
    "whether weights were accepted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSummary:
    """Snapshot from which a release would be made.

    Attributes:
        number: Version of the data set.
        created: Unix time, seconds.
        set_aside: Number of files or records that were set aside.
        duplicates: Number of records whose content another record already counts for.
        encoder_failures: Number of records on which the encoder failed; they count with zero
            features.
        change: Difference of the data folder from the snapshot.
        near_duplicates: Acceptance records that are nearly the same as records of the snapshot.
    """

    number: int
    created: int
    set_aside: int
    duplicates: int
    encoder_failures: int
    change: FolderChange
    near_duplicates: tuple[DuplicateRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBlock:
    """Block of integers in a release, such as the counts or the sums.

    Attributes:
        name: Name of the block.
        shape: Shape of the block.
        integers: Number of its integers.
        noise_std: Standard deviation of the noise on each, with its unit, as text.
    """

    name: str
    shape: tuple[int, ...]
    integers: int
    noise_std: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseContents:
    """Everything that one release would send, described for people.

    Attributes:
        integers: Number of integers.
        file_bytes: Approximate size of the file, bytes.
        blocks: Blocks of the integers.
        encoder: Id of the encoder, hex.
        clip_radius: Largest length of a feature vector, as decimal text.
        unit: Name of the privacy unit's column, or ``record``.
        unit_rule: Rule by which several records of a unit count.
        never_leaves: Kinds of data that are never sent.
    """

    integers: int
    file_bytes: int
    blocks: tuple[ReleaseBlock, ...]
    encoder: str
    clip_radius: str
    unit: str
    unit_rule: str
    never_leaves: tuple[str, ...] = NEVER_LEAVES


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCost:
    """Privacy cost of one release.

    Attributes:
        epsilon: Requested epsilon, as decimal text.
        delta: Requested delta, as decimal text.
        alone: Composed epsilon of this release alone, at the cap's delta.
        spent: Composed epsilon of all releases so far.
        after: Composed epsilon with this release.
        cap_epsilon: Largest total epsilon, as decimal text.
        cap_delta: Largest total delta, as decimal text.
        allowed: True if cap and policy allow the release.
        refused_by: ``budget`` or ``policy``; empty: the release is allowed.
        releases_left: Number of such releases that still fit under the cap.
    """

    epsilon: str
    delta: str
    alone: float
    spent: float
    after: float
    cap_epsilon: str
    cap_delta: str
    allowed: bool
    refused_by: str
    releases_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSummary:
    """Mean of the machine features over privacy units, and its noise. Private; for the plant only.

    Attributes:
        numbers: Number of machine features.
        units: Number of privacy units.
        length: L2 norm of the exact mean, at most 1.
        noise_length: Expected L2 norm of the noise on the mean.
    """

    numbers: int
    units: int
    length: float
    noise_length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePreview:
    """Preview of one release: snapshot, contents, privacy cost and hints.

    Attributes:
        site: Name of the site.
        dataset: Name of the data set.
        snapshot: Snapshot from which the release would be made.
        data: Numbers of records in the snapshot.
        would_leave: Contents of the release.
        cost: Privacy cost of the release.
        statistics: Kind of statistics.
        hints: Hints for a person before the release is charged.
        data_sheet: Public data sheet of the machine; None: there is none.
        mean: Length of the mean of machine features, and its noise; None for class statistics.
        no_machine: Reason why a declared machine has no statistics; empty otherwise.
    """

    site: str
    dataset: str
    snapshot: SnapshotSummary
    data: RecordCounts
    would_leave: ReleaseContents
    cost: ReleaseCost
    statistics: StatisticsKind = CLASS_STATISTICS
    hints: tuple[str, ...] = ()
    data_sheet: DataSheet | None = None
    mean: MeanSummary | None = None
    no_machine: str = ""

    def __repr__(self) -> str:
        return f"Check({self.site!r}, epsilon={self.cost.alone:.3g}, after={self.cost.after:.3g})"


def preview_release(
    home: ClientHome,
    *,
    epsilon: str | None = None,
    delta: str | None = None,
    statistics: StatisticsKind = CLASS_STATISTICS,
) -> ReleasePreview:
    """Preview a release; by default with the largest epsilon and delta that are allowed.

    Raises:
        ConfigError, VerificationError: A release would fail with the same error.
        NoMachineStatistics: There are no machine statistics.
        PolicyRefused: The noise would be too small to protect anything.
    """
    plant = plants.open_plant_data(home)
    no_machine = _no_machine_statistics_reason(plant)
    if statistics == MACHINE_STATISTICS:
        readiness.check_machine_unchanged(plant.config, plant.snapshot)
    schema, privacy = plant.snapshot.schema(statistics), plant.config.privacy
    epsilon = canonical_decimal(epsilon or privacy.max_request_epsilon)
    delta = canonical_decimal(delta or privacy.cap_delta)
    order = ReleaseOrder(request_id="0" * 32, epsilon=epsilon, delta=delta, purpose="check")
    request, sigma = price_release(plant.config, schema, order)
    cost = _release_cost(plant, home, request)
    if statistics not in privacy.statistics:
        cost = replace(cost, allowed=False, refused_by="policy")
    sight, noise = _record_counts(plant), _zero_release(schema, sigma)
    cap, cap_delta = float(cost.cap_epsilon), float(cost.cap_delta)
    return ReleasePreview(
        site=plant.config.site,
        dataset=plant.config.data.name,
        snapshot=_snapshot_summary(plant, home),
        data=sight,
        would_leave=describe_release_contents(schema, sigma, plant.config.data.unit_column),
        cost=cost,
        statistics=statistics,
        hints=machine_hints(plant.config.data_sheet, plant.config.data.labels)
        + _recording_hints(plant.config.data)
        + (
            machine_statistics_hints(sight.units, cap, cap_delta)
            if statistics == MACHINE_STATISTICS
            else class_statistics_hints(sight, _noise_length(noise), cap, cap_delta)
        ),
        data_sheet=plant.config.data_sheet,
        mean=_mean_summary(plant, noise) if statistics == MACHINE_STATISTICS else None,
        no_machine=no_machine,
    )


def _noise_length(release: NoisyStatistics) -> float:
    """Return the expected length of the noise on a class sum, in clip radii."""
    schema = release.schema
    return release.sum_std * math.sqrt(schema.dimension) / schema.radius


def _recording_hints(data: DataConfig) -> tuple[str, ...]:
    """Return a hint if records belong to recordings but no privacy unit is named."""
    if data.unit_column is not None:
        return ()
    unit = find_recording_unit_column(Path(data.path), data.reading)
    return (recording_hint(unit),) if unit else ()


def _release_cost(plant: PlantData, home: ClientHome, request: ChargeRequest) -> ReleaseCost:
    """Return the privacy cost of a release, checked against policy and budget."""
    privacy = plant.config.privacy
    with Ledger.open(home.ledger) as ledger:
        spending = ledger.read_spending(plant.config.data.name)
    cap, cap_delta = float(spending.cap_epsilon), float(spending.cap_delta)
    cost = accounting.event_cost(spending.composed_events, request.event, cap_delta)
    capacity = accounting.releases_left(
        spending.composed_events, request.event, cap * (1 + 1e-6), cap_delta
    )
    over = float(request.epsilon) > float(privacy.max_request_epsilon)
    over = over or float(request.delta) > float(privacy.cap_delta)
    refused_by = "policy" if over else "budget" if capacity == 0 else ""
    return ReleaseCost(
        epsilon=request.epsilon,
        delta=request.delta,
        alone=cost.epsilon_alone,
        spent=cost.epsilon_before,
        after=cost.epsilon_after,
        cap_epsilon=spending.cap_epsilon,
        cap_delta=spending.cap_delta,
        allowed=not refused_by,
        refused_by=refused_by,
        releases_left=capacity,
    )


def _no_machine_statistics_reason(plant: PlantData) -> str:
    """Return the reason why a declared machine gets no machine statistics; empty otherwise."""
    if plant.config.data_sheet is None:
        return ""
    try:
        readiness.check_machine_unchanged(plant.config, plant.snapshot)
    except NoMachineStatistics as error:
        return str(error)
    return ""


def _mean_summary(plant: PlantData, zero_release: NoisyStatistics) -> MeanSummary:
    """Return the length of the mean of machine features, and of a release's noise on the mean."""
    exact = _exact_machine_statistics(plant.snapshot)
    units = max(round(exact.unlabelled_count()), 1)
    return MeanSummary(
        numbers=zero_release.schema.dimension,
        units=round(exact.unlabelled_count()),
        length=float(np.linalg.norm(exact.moments())) / units,
        noise_length=zero_release.moment_std * math.sqrt(zero_release.schema.dimension) / units,
    )


def count_machine_units(snapshot: Snapshot) -> int:
    """Return the number of privacy units that machine statistics would sum over. Private."""
    return round(_exact_machine_statistics(snapshot).unlabelled_count())


def _exact_machine_statistics(snapshot: Snapshot) -> NoisyStatistics:
    return NoisyStatistics(
        snapshot.schema(MACHINE_STATISTICS), snapshot.statistics(MACHINE_STATISTICS), 0.0
    )


def _record_counts(plant: PlantData) -> RecordCounts:
    data = plant.data
    counts = Counter(int(label) for label in data.labels)
    return RecordCounts(
        path=plant.snapshot.listing().path,
        records=len(data),
        unlabelled=counts.get(-1, 0),
        per_label={name: counts.get(index, 0) for index, name in enumerate(data.label_names)},
        modality=data.modality,
        units=len(data) if data.privacy_units is None else len(set(data.privacy_units)),
    )


def _snapshot_summary(plant: PlantData, home: ClientHome) -> SnapshotSummary:
    manifest, listing = plant.snapshot.manifest, plant.snapshot.listing()
    return SnapshotSummary(
        number=manifest.number,
        created=manifest.created,
        set_aside=len(listing.set_aside),
        duplicates=len(listing.duplicates),
        encoder_failures=len(encoder_failure_names(plant.snapshot)),
        change=compare_data_folder(plant, home.load_site_secret()),
        near_duplicates=()
        if plant.acceptance_set is None
        else plant.acceptance_set.listing.duplicates,
    )


def _zero_release(schema: StatisticsSchema, sigma: float) -> NoisyStatistics:
    """Return statistics that are all zero, with the noise scales of a real release."""
    return NoisyStatistics(schema, np.zeros(schema.vector_length, dtype=np.int64), sigma)


def describe_release_contents(
    schema: StatisticsSchema, sigma: float, unit_column: str | None
) -> ReleaseContents:
    """Describe the contents of one release.

    Args:
        sigma: Standard deviation of the noise, grid units.
        unit_column: Name of the privacy unit; None: each record is a unit.
    """
    empty = _zero_release(schema, sigma)
    noise = {
        "counts": text("{noise:.3g} records", noise=empty.count_std),
        "sums": text("at most {noise:.3g} feature units an entry", noise=empty.sum_std),
        "moments": text("{noise:.3g} feature units an entry", noise=empty.moment_std),
    }
    blocks = tuple(
        ReleaseBlock(
            name=block.name, shape=block.shape, integers=block.size, noise_std=noise[block.name]
        )
        for block in schema.blocks
        if block.size
    )
    return ReleaseContents(
        integers=schema.vector_length,
        # It has the names twice; the rest is manifest, entries, signatures and cosigned proofs.
        file_bytes=8 * schema.vector_length + 2 * len(canonical.encode(schema.labels)) + 18_300,
        blocks=blocks,
        encoder=schema.encoder,
        clip_radius=schema.clip_radius,
        unit=unit_column or "record",
        unit_rule=schema.unit_rule,
    )
