"""``wg-client simulate``: expected gain, contents and cost for a plant before it joins.

It needs only records: no server, home or token. Records are read and inspected as in ``init``,
encoded, and local-only is evaluated on them out of fold. The expected gain comes from published
cases (``published_cases``), the contents of a release from the preview of ``check``. Nothing is
sent, charged or written.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wg_client.data.record_inspection import Inspection, decode_in_batches
from wg_client.data.site_data import SiteData
from wg_client.fitting.linear_head import Ints
from wg_client.fitting.trunk_features import TrunkFeatures, scale_encoder_features
from wg_client.fleet import encoder_trial
from wg_client.fleet.home_initialisation import DataSetChoice
from wg_client.methods.base import PlantRecords
from wg_client.release.machine_hints import machine_hints
from wg_client.release.preview import ReleaseContents, describe_release_contents
from wg_client.selection import gain
from wg_client.selection.gain import EstimatedAccuracy
from wg_client.simulate import published_cases
from wg_client.simulate.offers import OfferTrial, try_offer
from wg_client.simulate.published_cases import ExpectedGain, JoiningAdvice, PlantFacts
from wg_client.simulate.verdict import PilotVerdict, pilot_verdict
from wg_common.modalities.registry import find_modality
from wg_common.offer import OpenedOffer
from wg_core import atomic
from wg_core.errors import DataError, DecodeError, VerificationError
from wg_core.privacy import accounting, mechanism
from wg_core.privacy.events import gaussian_event
from wg_core.privacy.schema import StatisticsSchema, default_schema
from wg_core.release.freeze import ProgressCallback
from wg_core.site.config import PrivacyConfig
from wg_core.snapshot import UnusableItem

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.projected_trunk import Encoder

SAMPLE_RECORDS = 2000  # Most records that are encoded and evaluated, evenly spaced
_ENCODER_BYTES_LIMIT = 128 << 20
_DEFAULT_POLICY = PrivacyConfig()
_PROBLEMS_SHOWN = 3  # Most files listed in the error that no record can be used


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """Summary of the plant's data set. Private; printed at the plant only.

    Attributes:
        path: Path of the folder or file.
        modality: Modality of the records.
        records: Number of usable records.
        labelled: Number of usable records with a label.
        per_label: Number of records by label.
        left_out: Number of files that cannot be used.
        problems: Files that cannot be used, each with the reason.
        hints: Hints about suspicious records.
        drawn: Number of records that were encoded and evaluated.
    """

    path: str
    modality: str
    records: int
    labelled: int
    per_label: dict[str, int]
    left_out: int
    problems: tuple[UnusableItem, ...]
    hints: tuple[str, ...]
    drawn: int

    @property
    def unseen_labels(self) -> tuple[str, ...]:
        """Labels of the declared classes that the plant has no record of."""
        return tuple(name for name, count in self.per_label.items() if not count)

    @property
    def commonest_label_accuracy(self) -> float:
        """Accuracy of always predicting the commonest label."""
        return max(self.per_label.values()) / max(self.labelled, 1)

    def beats_commonest_label(self, accuracy: EstimatedAccuracy | None) -> bool:
        """Return whether a model is more accurate than always predicting the commonest label."""
        return accuracy is not None and accuracy.mean > self.commonest_label_accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePrice:
    """Privacy cost of one release at one epsilon.

    Attributes:
        epsilon: Epsilon of the release.
        guess: Largest probability of guessing right whether a given privacy unit is in the data,
            after the release, if both are equally likely before.
        fit: Number of such releases that fit under the default cap.
    """

    epsilon: float
    guess: float
    fit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Result of ``simulate``: the data, the privacy cost of releases, and the expected gain.

    Attributes:
        data: Summary of the data.
        facts: Facts by which published cases are looked up.
        local: Accuracy of local-only on new records of classes with records; None: not measured.
        sites: Assumed number of other plants with these classes.
        epsilon: Epsilon of each release.
        expected: Expected gain; None: no published case applies.
        decision: Advice that follows from ``expected``.
        verdict: Verdict from the offer's result, the advice, and the accuracy of local-only.
        prices: Privacy cost of one release, at each of several epsilons.
        would_leave: Contents of the release, and its noise.
        encode_seconds: Processor time to encode all records once, seconds.
        encoder: Id of the encoder, hex.
        machine: Hints on networks for the declared machine.
        offer: Result of an operator's offer; None: no offer was tried.
    """

    data: DataSummary
    facts: PlantFacts
    local: EstimatedAccuracy | None
    sites: int
    epsilon: float
    expected: ExpectedGain | None
    decision: JoiningAdvice
    verdict: PilotVerdict
    prices: tuple[ReleasePrice, ...]
    would_leave: ReleaseContents
    encode_seconds: float
    encoder: str
    machine: tuple[str, ...]
    offer: OfferTrial | None = None


def simulate(
    data_choice: DataSetChoice,
    inspection: Inspection,
    *,
    encoder_path: Path | None = None,
    offer: OpenedOffer | None = None,
    other_site_count: int = 3,
    epsilon: float = published_cases.PUBLISHED_EPSILONS[-1],
    on_progress: ProgressCallback | None = None,
) -> Simulation:
    """Simulate the releases and the gain of a plant.

    Args:
        inspection: The inspected data set (``fleet.home_initialisation.inspect_data``).
        encoder_path: The operator's encoder package; None: the built-in encoder.
        offer: The operator's offer, which provides encoder and number of plants, and whose encoder
            the owner has confirmed; None: no offer.
        other_site_count: Number of other plants with these classes that release.
        epsilon: Epsilon of each release, one of ``published_cases.PUBLISHED_EPSILONS``.
        on_progress: Called with the stage, the number of records encoded, and their total.

    Raises:
        DataError: There is no record, or the encoder distinguishes no records.
        ConfigError, DecodeError: The encoder cannot be read.
    """
    _check_has_records(inspection, data_choice.path)
    data = inspection.data.select_rows(_sample_rows(len(inspection.data)))
    loaded = (
        _load_encoder(encoder_path, data) if offer is None else _load_offered_encoder(offer, data)
    )
    started = time.process_time()
    local = _encode_records(loaded, data, on_progress)
    seconds_per_record = (time.process_time() - started) / len(data)
    _check_features_vary(local, data_choice.path)
    facts, accuracy = _evaluate_local_only(loaded, local, data, on_progress)
    schema = _statistics_schema(loaded, data.label_names, data_choice.unit_column)
    sigma = mechanism.noise_scale(schema, epsilon, float(_DEFAULT_POLICY.cap_delta))
    trial = None
    if offer is not None:
        trial = try_offer(offer, data, local, loaded, data_choice.data_sheet)
        other_site_count = trial.sites
    expectation = _expected_gain(facts, epsilon, other_site_count)
    decision = published_cases.advise_joining(expectation, facts)
    summary = _data_summary(inspection, data_choice, len(data))
    return Simulation(
        data=summary,
        facts=facts,
        local=accuracy,
        sites=other_site_count,
        epsilon=epsilon,
        expected=expectation,
        decision=decision,
        verdict=pilot_verdict(trial, decision, summary.beats_commonest_label(accuracy)),
        prices=tuple(_release_price(schema, price) for price in published_cases.PUBLISHED_EPSILONS),
        would_leave=describe_release_contents(schema, sigma, data_choice.unit_column),
        encode_seconds=seconds_per_record * len(inspection.data),
        encoder=loaded.id,
        machine=machine_hints(data_choice.data_sheet, data.label_names),
        offer=trial,
    )


def _load_offered_encoder(offer_file: OpenedOffer, data: SiteData) -> Encoder:
    """Load the encoder of an offer, after running each of its files in a separate process."""
    loaded = encoder_trial.try_and_load_encoder(offer_file.encoder_package)
    if loaded.modality != data.modality:
        raise DataError(
            f"offer of {offer_file.offer.server}: for {find_modality(loaded.modality).title}, and"
            f" the data set holds {find_modality(data.modality).title}"
        )
    return loaded


def _expected_gain(
    facts: published_cases.PlantFacts, epsilon: float, other_site_count: int
) -> published_cases.ExpectedGain | None:
    """Return the expected gain from published cases; None if no case applies."""
    try:
        return published_cases.estimate_joining_gain(
            published_cases.read_published_cases().cases, facts, epsilon, other_site_count
        )
    except DataError:
        return None


def _check_has_records(inspection: Inspection, path: Path) -> None:
    if not len(inspection.data):
        why = "".join(
            f"; {problem.name}: {problem.reason}"
            for problem in inspection.problems[:_PROBLEMS_SHOWN]
        )
        raise DataError(f"{path}: no record can be used, nothing can be simulated{why}")


def _statistics_schema(
    encoder: Encoder, labels: tuple[str, ...], unit_column: str | None
) -> StatisticsSchema:
    return default_schema(
        encoder=encoder.id,
        dimension=encoder.dimension,
        labels=labels,
        clip_radius=encoder.clip_radius,
        unit_rule="record" if unit_column is None else "weight",
    )


def _load_encoder(path: Path | None, data: SiteData) -> Encoder:
    from wg_common.nets.encoder.plant_trunk import PlantTrunk

    encoder = _load_public_encoder(path, data)
    if not find_modality(data.modality).fits_plant_trunk:
        return encoder
    return encoder.with_plant_trunk(PlantTrunk.fit(data.records))


def _load_public_encoder(path: Path | None, data: SiteData) -> Encoder:
    from wg_common.nets.encoder.builtin_encoder import unfitted_encoder
    from wg_common.nets.encoder.projected_trunk import load_encoder

    kind = data.modality
    if path is None:
        return unfitted_encoder(kind)
    try:
        loaded = load_encoder(atomic.read_bytes(path, limit=_ENCODER_BYTES_LIMIT))
    except (DecodeError, VerificationError) as error:
        raise type(error)(f"{path}: {error}") from error
    if loaded.modality != kind:
        raise DataError(
            f"{path}: an encoder of {find_modality(loaded.modality).title}, and the data set holds"
            f" {find_modality(kind).title}"
        )
    return loaded


def _sample_rows(count: int) -> list[int]:
    """Return the rows that are used: all, or ``SAMPLE_RECORDS`` evenly spaced ones."""
    return [int(row) for row in np.linspace(0, count - 1, min(count, SAMPLE_RECORDS)).round()]


def _encode_records(
    encoder: Encoder, data: SiteData, on_progress: ProgressCallback | None
) -> np.ndarray:
    """Return local features ``[n, D]``, encoded in batches to bound memory."""
    local = np.zeros((len(data), encoder.local_dimension), dtype=np.float32)
    done = 0
    for part, problems in decode_in_batches(data):
        if problems:
            raise DataError(f"{problems[0].name}: {problems[0].reason}")
        local[done : done + len(part)] = encoder.encode_local_batched(part.records)
        done += len(part)
        if on_progress is not None:
            on_progress("encoded", done, len(data))
    return local


def _check_features_vary(local_features: np.ndarray, path: Path) -> None:
    """Raise ``DataError`` if all records have the same features."""
    if len(local_features) > 1 and not np.ptp(local_features, axis=0).any():
        raise DataError(
            f"{path}: this encoder sees no difference between any of {len(local_features)} records,"
            " so nothing can be judged; give the operator's encoder (--encoder)"
        )


def _evaluate_local_only(
    encoder: Encoder,
    local_features: np.ndarray,
    data: SiteData,
    on_progress: ProgressCallback | None,
) -> tuple[PlantFacts, EstimatedAccuracy | None]:
    """Return the plant's facts, and local-only's out-of-fold accuracy; None if not measurable."""
    labels = data.labels[data.labels >= 0]
    accuracy = None
    if len(labels):
        progress = on_progress or (lambda *_: None)
        progress("judged", 0, len(labels))
        layout = encoder.dimension, encoder.scaled_dimension, encoder.local_block_sizes
        trunk = scale_encoder_features(local_features, *layout, encoder.trunk_block_counts)
        accuracy = _local_accuracy(trunk, data)
        progress("judged", len(labels), len(labels))
    unseen = len(data.label_names) - len(np.unique(labels)) if len(labels) else 0
    facts = PlantFacts(
        kind=data.modality,
        classes=len(data.label_names),
        unseen=unseen,
        labels=len(labels),
        local=None if accuracy is None else accuracy.mean,
    )
    return facts, accuracy


def _local_accuracy(trunk: TrunkFeatures, data: SiteData) -> EstimatedAccuracy | None:
    records = PlantRecords(
        all_labels=data.labels,
        class_count=len(data.label_names),
        encoder_features=trunk,
        privacy_units=data.privacy_units,
        repetition_keys=find_modality(data.modality).repetition_keys(data.records),
    )
    judged = None if records.local_only_model is None else records.local_only_model.out_of_fold
    return None if judged is None else gain.estimate_model_accuracy(records, judged)


def _release_price(schema: StatisticsSchema, epsilon: float) -> ReleasePrice:
    cap, delta = float(_DEFAULT_POLICY.cap_epsilon), float(_DEFAULT_POLICY.cap_delta)
    sigma = mechanism.noise_scale(schema, epsilon, delta)
    event = gaussian_event(schema.sensitivity_squared(), sigma)
    return ReleasePrice(
        epsilon=epsilon,
        guess=accounting.best_guess_accuracy([event]),
        fit=accounting.releases_left([], event, cap * (1 + 1e-6), delta),
    )


def _data_summary(inspection: Inspection, choice: DataSetChoice, drawn_count: int) -> DataSummary:
    data = inspection.data
    counts: Counter[int] = Counter(data.labels.tolist())
    labels: Ints = data.labels
    return DataSummary(
        path=str(choice.path),
        modality=data.modality,
        records=len(data),
        labelled=int((labels >= 0).sum()),
        per_label={name: counts.get(index, 0) for index, name in enumerate(data.label_names)},
        left_out=len(inspection.problems),
        problems=tuple(inspection.problems),
        hints=tuple(map(str, inspection.hints)),
        drawn=drawn_count,
    )
