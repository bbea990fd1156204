"""Hints about readable but suspicious records: nearly black images, odd channels.

Nothing is refused because of a hint, and no hint leaves the plant: one record must not change how
another is treated.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from wg_common.language import list_names, text
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.windows import Windows

LEAST_PICTURE_SIDE = 16  # Fewest channels and samples of a window that may be a picture


_DARK_LEVEL = 16  # Brightness (of 255) below which an image is black to a network


class HintCollector:
    """Collector of hints about suspicious records, to which records are added one by one."""

    def __init__(self, modality: str) -> None:
        self._modality = modality
        self._dark = 0
        self._first_dark = ""
        self._channels: Counter[int] = Counter()
        self._example: dict[int, str] = {}
        self._square = 0
        self._first_square = ""
        self._constant = 0
        self._first_constant = ""

    def add_record(self, name: str, record: Record) -> None:
        """Note the suspicious properties of a decoded record."""
        if self._modality == Images.name:
            if record.size and int(record.max()) < _DARK_LEVEL:
                self._dark += 1
                self._first_dark = self._first_dark or name
        elif self._modality == Windows.name:
            self._channels[len(record)] += 1
            self._example.setdefault(len(record), name)
            short, long = sorted(record.shape)
            if short >= LEAST_PICTURE_SIDE and long <= 4 * short:
                self._square += 1
                self._first_square = self._first_square or name
            if bool(np.any(record.max(axis=1) == record.min(axis=1))):
                self._constant += 1
                self._first_constant = self._first_constant or name

    def hints(self) -> Iterator[str]:
        """Yield hints about the records added so far, as sentences."""
        if self._dark:
            yield text(
                "{count} images are nearly black, such as {name}: if a camera of 10, 12 or 14 "
                "bits wrote them as 16-bit files, state its bits (--bits 12, or "
                "data.reading.bits)",
                count=self._dark,
                name=self._first_dark,
            )
        if self._square:
            yield text(
                "{count} arrays of floats, such as {name}, are read as sensor windows (channels x"
                " samples); if these are pictures, save them as PNG, or as uint8 array x in a .npz"
                " file",
                count=self._square,
                name=self._first_square,
            )
        if len(self._channels) > 1:
            counts = [
                text(
                    "{count} of {channels} such as {name}",
                    count=count,
                    channels=channels,
                    name=self._example[channels],
                )
                for channels, count in self._channels.most_common()
            ]
            yield text(
                "windows have different numbers of channels: {counts}", counts=list_names(counts)
            )
        if self._constant:
            yield text(
                "{count} windows have a channel that never changes, such as {name}: is the sensor"
                " connected?",
                count=self._constant,
                name=self._first_constant,
            )
