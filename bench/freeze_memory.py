"""Memory and time of a freeze of many records: ``python -m bench.freeze_memory [--images N ...]``.

Makes N small images of noise (32 x 32, grey, PNG), freezes them with a stand-in for the encoder
(512 features, a fixed random projection: what the real one takes is printed by training benches),
interrupts the second freeze half way and lets a third go on. Prints, for each N, one line: seconds,
peak memory of the process, and how many images the third freeze still had to encode. ``--texts N``
does the same with one table of N rendered notes, and letters counted in place of the encoder.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bench import measure
from numpy.typing import NDArray
from PIL import Image
from tests.client.conftest import LABELS, plant_maker

from wg_client.release.look import freeze_data, look
from wg_server.zoo.procedural_text import families

SIDE = 32
WIDTH = 512
CLASSES = 3


class Projection:
    """Stands in for the encoder: a random projection, clipped to length 1."""

    modality = "images"
    dimension = 64
    scaled_dimension = 64
    local_dimension = WIDTH
    clip_radius = 1.0

    def __init__(self, stop: int = -1) -> None:
        self._matrix = np.random.default_rng(0).normal(size=(SIDE * SIDE, WIDTH)).astype(np.float32)
        self._stop = stop
        self.done = 0

    def encode_local(self, records: Any) -> NDArray[np.float32]:
        """Features ``[n, WIDTH]``; an interrupt where one was asked for."""
        if 0 <= self._stop <= self.done:
            raise KeyboardInterrupt
        self.done += len(records)
        flat = np.stack([record.ravel() for record in records]).astype(np.float32)
        found = flat @ self._matrix
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


class Letters(Projection):
    """Stands in for the encoder of texts: how often each letter occurs, of length 1."""

    modality = "texts"

    def encode_local(self, records: Any) -> NDArray[np.float32]:
        """As of ``Projection``."""
        if 0 <= self._stop <= self.done:
            raise KeyboardInterrupt
        self.done += len(records)
        found = np.zeros((len(records), WIDTH), np.float32)
        for row, record in enumerate(records):
            np.add.at(found[row], [ord(sign) % WIDTH for sign in str(record)], 1)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def texts(folder: Path, count: int) -> None:
    """Write a table of rendered notes, each with its number: a content counts once."""
    family = families.draw_family((1, 1), "symptoms")
    site = families.draw_site(family, 1, strength=0.7)
    rng = np.random.default_rng(1)
    labels = np.arange(count) % len(family.labels)
    notes = families.render(family, site, labels, rng)
    folder.mkdir()
    with (folder / "records.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        for row, note in enumerate(notes):
            table.writerow([f"{note} ({row})", LABELS[row % CLASSES]])


def images(folder: Path, count: int) -> None:
    """Write images of noise, in class folders."""
    rng = np.random.default_rng(1)
    for label in LABELS[:CLASSES]:
        (folder / label).mkdir(parents=True)
    for row in range(count):
        pixels = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / LABELS[row % CLASSES] / f"{row:06}.png")


def measured(root: Path, what: str, count: int) -> dict[str, object]:
    """Freeze ``count`` images or texts three times."""
    write, stand_in = {"images": (images, Projection), "texts": (texts, Letters)}[what]
    root.mkdir()
    plant = plant_maker(root, b"stand-in")({0: 1}, frozen=False)
    write(root / what, count)
    privacy = replace(plant.config.privacy, answer_slot_seconds=600)
    data = replace(plant.config.data, path=str(root / what))
    plant.configure(data=data, privacy=privacy)
    measure.reset_peak(os.getpid())
    before = measure.resident(os.getpid())
    start = time.perf_counter()
    freeze_data(plant.home, look(plant.home, load=lambda _: stand_in()), load=lambda _: stand_in())
    seconds = time.perf_counter() - start
    peak = measure.peak(os.getpid())
    interrupted, rest = stand_in(count // 2), stand_in()
    try:
        found = look(plant.home, load=lambda _: interrupted)
        freeze_data(plant.home, found, load=lambda _: interrupted)
    except KeyboardInterrupt:
        freeze_data(plant.home, look(plant.home, load=lambda _: rest), load=lambda _: rest)
    return {
        what: count,
        "seconds": round(seconds, 1),
        "MB before": round(before),
        "MB at peak": round(peak),
        "encoded after the interrupt": rest.done,
    }


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--texts", type=int, nargs="*", default=[])
    options = parser.parse_args()
    sizes = [("texts", n) for n in options.texts] or [("images", n) for n in options.images]
    for what, count in sizes:
        with tempfile.TemporaryDirectory(prefix="wg-freeze-") as folder:
            sys.stdout.write(f"{measured(Path(folder) / 'plant', what, count)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
