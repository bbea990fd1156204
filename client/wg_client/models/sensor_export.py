"""Export of soft sensors as ONNX, with the outputs of ``wg-client soft-sensor``.

The input is ``windows``, float32 ``[n, C, T]``: the log's columns that the metadata name, in their
units and order. The outputs are those of ``OUTPUTS``: value, ends of the interval, and 1 where a
window is unlike all that was learnt from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor, nn

from wg_client.fitting import numbers
from wg_client.fitting.numbers import NumberModel
from wg_client.models.export import WITHOUT_NOISE, Distance, onnx_file
from wg_client.models.novelty import NEW
from wg_client.models.soft_sensor import DeliveredSensor, SoftSensor
from wg_common.machines.process import standardise
from wg_common.nets.process_sensor import ProcessSensor

OUTPUTS = ("value", "lower", "upper", "unlike")


class SensorModule(nn.Module):
    """A soft sensor as a module that maps windows to ``OUTPUTS``.

    Args:
        sensor: The soft sensor.
        network: Delivered network, whose quantity has index ``place``; None: local-only.
    """

    def __init__(
        self,
        sensor: SoftSensor | DeliveredSensor,
        network: ProcessSensor | None = None,
        place: int = 0,
    ) -> None:
        super().__init__()
        self.sensor, self.place = network, place
        self.scale = sensor.scale if isinstance(sensor, DeliveredSensor) else None
        average = sensor.average if isinstance(sensor, DeliveredSensor) else None
        self.local = self.correction = None
        if isinstance(sensor, SoftSensor):
            self.local = _Number(sensor.model)
        if average is not None:
            self.local, self.correction = _Number(average.local), _Number(average.correction)
            self.shift, self.shares = average.shift, average.shares.tolist()
        self.half_width = sensor.half_width
        novelty = sensor.novelty
        self.distance = None
        if novelty is not None and len(novelty.scores) > 0:
            self.distance, self.new_above = Distance(novelty), novelty.limit(NEW)

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Compute ``OUTPUTS``, each ``[n]``, from windows ``[n, C, T]``."""
        features, scores = self._features(windows)
        if self.local is not None and self.correction is not None:
            parts = scores + self.shift, scores + self.correction(features), self.local(features)
            scores = sum(share * part for share, part in zip(self.shares, parts, strict=True))
        elif self.local is not None:
            scores = self.local(features)
        ends = [scores, scores - self.half_width, scores + self.half_width]
        if self.scale is not None:
            ends = [self.scale.nominal * torch.exp(end / self.scale.factor) for end in ends]
        unlike = torch.zeros_like(scores)
        if self.distance is not None:
            unlike = (self.distance(features.float()) > self.new_above).double()
        return (*ends, unlike)

    def _features(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features ``[n, F]``, and scores ``[n]`` of a delivered network."""
        if self.sensor is None:
            x = windows.double()
            size = min(numbers.PARTS, x.shape[2])
            means = [part.mean(dim=2) for part in torch.tensor_split(x, size, dim=2)]
            spread = x.std(dim=2, correction=0)
            return torch.cat([*means, means[-1] - means[0], spread], dim=1), spread[:, 0]
        unit, figures = self.sensor.unit, self.sensor.figures
        readings = unit.readings(windows[None], figures)
        features = standardise(readings, self.sensor.records[None])[0].double()
        return features, self.sensor.network(features)[:, self.place].double()


class _Number(nn.Module):
    """``NumberModel.predict`` as a module."""

    def __init__(self, model: NumberModel) -> None:
        super().__init__()
        scaler, ridge = (step for _, step in model.ridge.steps)
        weights = ridge.coef_ / scaler.scale_
        self.register_buffer("weights", torch.from_numpy(weights))
        self.offset, self.share = float(ridge.intercept_ - weights @ scaler.mean_), model.share
        self.trees = _Trees(model.trees) if model.trees is not None and model.share else None

    def forward(self, features: Tensor) -> Tensor:
        values = features @ self.get_buffer("weights") + self.offset
        if self.trees is None:
            return values
        out: Tensor = (1 - self.share) * values + self.share * self.trees(features)
        return out


class _Trees(nn.Module):
    """Boosted trees as flat arrays of nodes, in which a leaf is its own child."""

    def __init__(self, trees: HistGradientBoostingRegressor) -> None:
        super().__init__()
        nodes = [predictor.nodes for (predictor,) in trees._predictors]
        starts = np.cumsum([0, *map(len, nodes)])
        row = np.concatenate(nodes)
        places, offsets = np.arange(len(row)), np.repeat(starts[:-1], np.diff(starts))
        leaves = row["is_leaf"].astype(bool)
        arrays = {
            "starts": starts[:-1],
            "feature": np.where(leaves, 0, row["feature_idx"]),
            "threshold": np.where(leaves, np.inf, row["num_threshold"]),
            "left": np.where(leaves, places, row["left"] + offsets),
            "right": np.where(leaves, places, row["right"] + offsets),
            "value": row["value"],
        }
        for name, array in arrays.items():
            kind = np.float64 if array.dtype.kind == "f" else np.int64
            self.register_buffer(name, torch.from_numpy(array.astype(kind)))
        self.depth, self.base = int(row["depth"].max()), float(trees._baseline_prediction.item())

    def forward(self, features: Tensor) -> Tensor:
        part = self.get_buffer
        places = part("starts").expand(len(features), -1)
        for _ in range(self.depth):
            readings = features.gather(1, part("feature")[places])
            goes_left = readings <= part("threshold")[places]
            places = torch.where(goes_left, part("left")[places], part("right")[places])
        return self.base + part("value")[places].sum(dim=1)


def sensor_file(module: SensorModule, target: str, channels: Sequence[str], samples: int) -> bytes:
    """Encode a soft sensor as ONNX.

    Args:
        target: Column that it estimates.
        channels: Columns of a window, in their order.
        samples: Rows of it.
    """
    metadata = {
        "format": "weightgate-soft-sensor",
        "target": target,
        "channels": json.dumps(list(channels), ensure_ascii=False),
        "records": WITHOUT_NOISE,
    }
    example = torch.ones(2, len(channels), samples)
    return onnx_file(module.eval(), {"windows": example}, OUTPUTS, metadata)
