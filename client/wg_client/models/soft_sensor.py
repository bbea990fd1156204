"""Soft sensors of a plant: a value, an interval and a novelty flag for each hour.

A soft sensor is local-only, trained on the plant's laboratory values; or it was delivered for the
plant's process unit, and is then averaged with models of these values (``sensor_models``).
``encode_sensor_onnx`` exports it as ONNX for other programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_client.data.laboratory import LaboratoryWindows
from wg_client.fitting import sensor_models
from wg_client.fitting.sensor_models import (
    AveragedSensor,
    Floats,
    RegressionQuality,
    ValueRegression,
)
from wg_client.models import drift, novelty
from wg_client.models.drift import ShiftTestResult
from wg_client.models.export import NO_NOISE_NOTICE, NoveltyScoreModule, encode_onnx
from wg_client.models.novelty import LARGEST_NEW_LIKENESS, NoveltyTest
from wg_common import streams
from wg_common.machines.process import LogScale
from wg_common.streams import Stream

OUTPUT_NAMES = ("value", "lower", "upper", "unlike")
_LEAST_RECORDS = 10
"""Smallest number of records in each sample for which drift is tested."""
_DRIFT_SIGNIFICANCE_LEVEL = 0.01
"""Significance level of a feature's drift."""

SensorInputs = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Function from windows ``[n, C, T]`` to features ``[n, F]`` and delivered scores ``[n]``."""


class Estimates(NamedTuple):
    """Estimates for n windows: values, interval ends, and a mask of windows unlike known ones."""

    values: Floats
    lower: Floats
    upper: Floats
    unlike_mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SoftSensor:
    """A soft sensor, as selected on the plant's laboratory values.

    Attributes:
        model: Model that corrects the delivered scores, or replaces them; None: they are used
            unchanged. A score is a value on a logarithmic scale (``process.LogScale``).
        interval_half_width: Half the width of an interval, as a score.
        novelty_test: Novelty test against the training data or the plant's records; None: too few.
        quality_by_model: Out-of-fold quality on the windows with a laboratory value, by model name;
            empty without such values.
        scale: Scale that converts scores to values; None: scores are values.
    """

    model: ValueRegression | AveragedSensor | None
    interval_half_width: float
    novelty_test: NoveltyTest | None
    quality_by_model: Mapping[str, RegressionQuality]
    scale: LogScale | None = None

    @property
    def share_by_model(self) -> dict[str, float]:
        """Share of each model in the average, by the model's name."""
        if not isinstance(self.model, AveragedSensor):
            return {
                sensor_models.DELIVERED_NAME
                if self.model is None
                else sensor_models.LOCAL_NAME: 1.0
            }
        names = sensor_models.DELIVERED_NAME, sensor_models.CORRECTED_NAME, sensor_models.LOCAL_NAME
        return dict(zip(names, self.model.prediction_weights.tolist(), strict=True))

    def values_and_intervals(self, features: Tensor, delivered_scores: Tensor) -> list[Tensor]:
        """Return estimates ``[n]``, and the lower and upper ends of their intervals."""
        scores = delivered_scores
        if self.model is not None:
            scores = self.model(features, delivered_scores)
        ends = [scores, scores - self.interval_half_width, scores + self.interval_half_width]
        return ends if self.scale is None else [self.scale.value(end) for end in ends]

    @torch.no_grad()
    def estimate(self, features: Floats, delivered_scores: Floats | None = None) -> Estimates:
        """Estimate values from features ``[n, F]`` and delivered scores ``[n]``."""
        scores = np.zeros(len(features)) if delivered_scores is None else delivered_scores
        ends = self.values_and_intervals(torch.from_numpy(features), torch.from_numpy(scores))
        unlike = np.zeros(len(features), np.bool_)
        if self.novelty_test is not None:
            unlike = self.novelty_test.likeness(features) <= LARGEST_NEW_LIKENESS
        values, lower, upper = (end.numpy() for end in ends)
        return Estimates(values, lower, upper, unlike)


def lagged_signal_inputs(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Return features ``[n, F]`` of windows ``[n, C, T]``, and scores ``[n]``, which are 0.

    A local-only soft sensor takes them as inputs; nothing delivered gives it scores.
    """
    features = sensor_models.lagged_signal_tensor(windows.double())
    return features, torch.zeros_like(features[:, 0])


def train_soft_sensor(
    features: Floats, laboratory_values: Floats, recording_ids: NDArray[np.generic]
) -> SoftSensor:
    """Train a soft sensor on features ``[n, F]`` and values ``[n]``; NaN means no value.

    Raises:
        DataError: There are too few values, or too few recordings of them.
    """
    rows = np.isfinite(laboratory_values)
    groups = np.unique(recording_ids[rows], return_inverse=True)[1]
    model = sensor_models.fit_value_regression(features[rows], laboratory_values[rows], groups)
    judgements = {
        sensor_models.LOCAL_NAME: RegressionQuality.evaluate(
            model.out_of_fold_predictions, laboratory_values[rows]
        )
    }
    likeness = novelty.fit_novelty_test(features[rows], None, None)
    return SoftSensor(model, model.interval_half_width, likeness, judgements)


def test_for_drift(known_features: Floats, new_features: Floats) -> ShiftTestResult | None:
    """Test features ``[n, F]`` for drift from those of known records; None: too few records."""
    if min(len(known_features), len(new_features)) < _LEAST_RECORDS:
        return None
    return drift.test_for_shift(
        known_features,
        new_features,
        _DRIFT_SIGNIFICANCE_LEVEL,
        streams.stream_generator(Stream.DRIFT),
    )


def adapt_delivered_sensor(
    scale: LogScale,
    windows: LaboratoryWindows,
    readings_and_scores: tuple[Floats, Floats],
    record_readings: Floats,
    interval_half_width: float,
) -> SoftSensor:
    """Evaluate a delivered soft sensor on a plant's values, and average it with the plant's models.

    Args:
        scale: Scale of the estimated quantity.
        windows: Windows with positive laboratory values; NaN: no value.
        readings_and_scores: Standardised readings ``[n, R]`` and delivered scores ``[n]`` of the
            windows.
        record_readings: Standardised readings of the plant's records, ``[k, R]``.
        interval_half_width: Half of the width of an interval of scores, used without enough values.
    """
    has_value = np.isfinite(windows.values)
    features, scores = (part[has_value] for part in readings_and_scores)
    values, days = windows.values[has_value], windows.recording_ids[has_value]

    def judged(known_scores: Floats) -> RegressionQuality:
        return RegressionQuality.evaluate(
            scale.value(torch.from_numpy(known_scores)).numpy(), values
        )

    average, judgements = None, {}
    if len(values):
        judgements[sensor_models.DELIVERED_NAME] = judged(scores)
    if len(values) >= sensor_models.LEAST_TRAINING_VALUES and len(np.unique(days)) > 1:
        known_scores = scale.score(torch.from_numpy(values)).numpy()
        average = sensor_models.average_with_delivered(features, known_scores, days, scores)
        interval_half_width = average.interval_half_width
        judgements[sensor_models.LOCAL_NAME] = judged(average.local_model.out_of_fold_predictions)
        judgements[sensor_models.KEPT_SENSOR_NAME] = judged(average.out_of_fold_predictions)
    return SoftSensor(
        average,
        interval_half_width,
        novelty.fit_novelty_test(record_readings, None, None),
        judgements,
        scale,
    )


class _OnnxSensor(nn.Module):
    """Module that maps windows ``[n, C, T]`` to a soft sensor's ``OUTPUT_NAMES``, each ``[n]``."""

    def __init__(self, sensor: SoftSensor, compute_inputs: SensorInputs) -> None:
        super().__init__()
        self.sensor, self.inputs, self.distance = sensor, compute_inputs, None
        if sensor.novelty_test is not None and len(sensor.novelty_test.scores) > 0:
            self.distance, self.new_above = (
                NoveltyScoreModule(sensor.novelty_test),
                sensor.novelty_test.score_limit(LARGEST_NEW_LIKENESS),
            )

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        features, scores = self.inputs(windows)
        unlike = torch.zeros_like(scores)
        if self.distance is not None:
            unlike = (self.distance(features.float()) > self.new_above).double()
        return (*self.sensor.values_and_intervals(features, scores), unlike)


def encode_sensor_onnx(
    sensor: SoftSensor,
    compute_inputs: SensorInputs,
    target_column: str,
    channel_names: Sequence[str],
    sample_count: int,
) -> bytes:
    """Encode a soft sensor as ONNX with the outputs of ``wg-client soft-sensor``.

    The input is ``windows``, float32 ``[n, C, T]``: the log's columns that the metadata name, in
    their units and order. The outputs are those of ``OUTPUT_NAMES``: value, ends of the interval,
    and 1 where a window is unlike all training windows, else 0.

    Args:
        target_column: Laboratory column that the soft sensor estimates.
        channel_names: Log columns of a window, in their order.
        sample_count: Number of rows of a window.
    """
    metadata = {
        "format": "weightgate-soft-sensor",
        "target": target_column,
        "channels": json.dumps(list(channel_names), ensure_ascii=False),
        "records": NO_NOISE_NOTICE,
    }
    example = {"windows": torch.ones(2, len(channel_names), sample_count)}
    return encode_onnx(_OnnxSensor(sensor, compute_inputs).eval(), example, OUTPUT_NAMES, metadata)
