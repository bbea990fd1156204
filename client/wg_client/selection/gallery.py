"""Pictures of a plant's records for its report: wrong predictions, and the strangest records.

They are embedded in the page, which stays at the plant. A file that is missing, or that changed
since it was frozen, is shown by its name only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wg_client.data.plant_data import PlantData
from wg_client.models import novelty
from wg_client.selection.model_selection import SelectionOutcome
from wg_common.charts import Axes, Line, LineChart
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core.errors import WgError

PICTURE_COUNT = 6  # Pictures of each kind
_TYPICAL_RECORD_COUNT = 16  # Number of records whose mean spectrum is shown as the typical one
_THUMBNAIL_SIDE_PIXELS = 160  # Side of a picture, pixels
_CURVE_POINTS, _SPECTRUM_BINS = 120, 64  # Points of a curve and of a spectrum
_SHOWN_CHARACTERS = 200
_CURVE_AXES = Axes(width=160, height=56, left=0, right=160, top=2, bottom=54)

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPicture:
    """Picture of one record in the report, with its caption.

    Attributes:
        name: Name of the record.
        label: Label of the record, or empty.
        predicted_label: Label predicted by the model, or empty.
        image: Data URI of a thumbnail, or empty.
        text: Content of a text record, or empty.
        channel: Number of the plotted channel, from 1; 0: no channel.
        waveform: The channel against time.
        spectrum: Spectrum of the channel, with a typical spectrum as background line.
    """

    name: str
    label: str = ""
    predicted_label: str = ""
    image: str = ""
    text: str = ""
    channel: int = 0
    waveform: LineChart | None = None
    spectrum: LineChart | None = None


def draw_misclassified_records(plant: PlantData, outcome: SelectionOutcome) -> list[RecordPicture]:
    """Draw the records that the kept model labels wrongly out of fold, largest log loss first."""
    out_of_fold = outcome.out_of_fold_predictions(outcome.kept_name)
    if out_of_fold is None:
        return []
    rows = np.flatnonzero(outcome.records.all_labels >= 0)[outcome.records.folds.evaluated_rows]
    calls = out_of_fold.logits.mean(axis=0).argmax(axis=1)
    wrong = np.flatnonzero(calls != outcome.labels)
    surest = wrong[np.argsort(-out_of_fold.losses.mean(axis=0)[wrong], kind="stable")]
    names = plant.data.label_names
    return [
        _draw_record(
            plant,
            int(rows[at]),
            np.flatnonzero(outcome.records.all_labels == outcome.labels[at]),
            predicted_label=names[calls[at]],
        )
        for at in surest[:PICTURE_COUNT]
    ]


def draw_strangest_records(plant: PlantData) -> list[RecordPicture]:
    """Draw the records that are most unlike all others of the plant, the strangest first."""
    local, units = plant.features.local_features, plant.data.privacy_units
    rows = novelty.most_unlike_rows(local, plant.layout, units)[:PICTURE_COUNT]
    return [_draw_record(plant, row, np.arange(len(local))) for row in rows]


def _draw_record(
    plant: PlantData, row: int, typical_rows: NDArray[np.intp], predicted_label: str = ""
) -> RecordPicture:
    """Return the picture of one record for the report.

    Args:
        row: Index among the plant's records.
        typical_rows: Indices of the records from which a typical spectrum is made.
        predicted_label: Label predicted by a model.
    """
    class_index = plant.data.labels[row]
    label = plant.data.label_names[class_index] if class_index >= 0 else ""
    picture = RecordPicture(
        name=plant.data.names[row], label=label, predicted_label=predicted_label
    )
    record = _read_record(plant, row)
    if record is None:
        return picture
    if plant.data.modality == Images.name:
        return replace(picture, image=_thumbnail_data_uri(record))
    if plant.data.modality == Texts.name:
        words = str(record)
        return replace(
            picture, text=words[:_SHOWN_CHARACTERS] + "…" * (len(words) > _SHOWN_CHARACTERS)
        )
    if plant.data.modality == Windows.name:
        chosen_rows = typical_rows[typical_rows != row][
            :: max(1, len(typical_rows) // _TYPICAL_RECORD_COUNT)
        ]
        records = (
            _read_record(plant, int(neighbour)) for neighbour in chosen_rows[:_TYPICAL_RECORD_COUNT]
        )
        return _add_curves(
            picture, record, [neighbour for neighbour in records if neighbour is not None]
        )
    return picture


def _read_record(plant: PlantData, row: int) -> Record | None:
    try:
        return plant.data.records[row]
    except (WgError, OSError):
        return None


def _thumbnail_data_uri(record: Record) -> str:
    from PIL import Image

    image = Image.fromarray(record)
    if max(image.size) < _THUMBNAIL_SIDE_PIXELS:
        factor = _THUMBNAIL_SIDE_PIXELS // max(image.size)
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
    image.thumbnail((_THUMBNAIL_SIDE_PIXELS, _THUMBNAIL_SIDE_PIXELS))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _add_curves(
    picture: RecordPicture, record: Record, typical_records: list[Record]
) -> RecordPicture:
    """Return the picture with curves of the channel that differs most from ``typical_records``."""
    spectrum = _log_spectrum(record)
    usual_spectra = [
        _log_spectrum(neighbour) for neighbour in typical_records if neighbour.shape == record.shape
    ]
    typical = np.mean(usual_spectra, axis=0) if usual_spectra else spectrum
    channel = int(np.abs(spectrum - typical).mean(axis=1).argmax())
    lines = [spectrum[channel], typical[channel]] if usual_spectra else [spectrum[channel]]
    wave = np.array(list(_envelope_values(record[channel].astype(np.float64))))
    return replace(
        picture, channel=channel + 1, waveform=_draw_curves(wave), spectrum=_draw_curves(*lines)
    )


def _log_spectrum(record: Record) -> Curve:
    """Return log10 amplitudes ``[C, bins]`` of each channel, from 0 to half the sampling rate."""
    waves = record.astype(np.float64)
    waves -= waves.mean(axis=1, keepdims=True)
    amplitudes = np.abs(np.fft.rfft(waves * np.hanning(waves.shape[1]), axis=1))
    bins = np.array_split(amplitudes, min(_SPECTRUM_BINS, amplitudes.shape[1]), axis=1)
    means = np.stack([part.mean(axis=1) for part in bins], axis=1)
    return np.asarray(np.log10(means + 1e-3 * means.max() + 1e-30))


def _envelope_values(wave: Curve) -> Iterator[float]:
    for part in np.array_split(wave, min(_CURVE_POINTS, len(wave))):
        yield float(part.min())
        yield float(part.max())


def _draw_curves(*curves: Curve) -> LineChart:
    low = min(float(curve.min()) for curve in curves)
    size = max(float(curve.max()) for curve in curves) - low or 1.0
    lines = (
        _CURVE_AXES.line(
            [
                (at / max(len(curve) - 1, 1), (value - low) / size, "")
                for at, value in enumerate(curve)
            ]
        )
        for curve in curves
    )
    return LineChart(_CURVE_AXES, tuple(Line(line.path) for line in lines))
