"""Simulated records of the audit: feature vectors written into images, and pictures."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wg_audit.installed.audited_plant import (
    IMAGE_SIDE,
    MACHINE_FEATURE_COUNT,
    Floats,
    ImageRecord,
    PlantSetup,
)

ImageShape = tuple[int, int] | tuple[int, int, int]

FEATURE_STEP = 2.0**-20
"""All simulated features are multiples of this step, which the reference stores as integers."""

LARGEST_DIMENSION = (IMAGE_SIDE * IMAGE_SIDE - 8) // 4
"""Largest number of features that fit into an image, beside its unique number."""

_DISTINCT_VECTORS = 64  # Distinct feature vectors of a data set; more records repeat them
_EXTREME_LENGTHS = (
    *(0, 2.0**-18, 2.0**-12, 2.0**-6, 0.5, 0.99, 1.01, 1.5, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4),
    *(1e5, 1e6, 1e8, 1e10, 1e14, 1e20, 1e25, 1e30, 1e36, 3e38),
)
"""Lengths of the vectors in ``extreme_records``, in clip radii."""

LOOKALIKE_CLASS_NAMES = (
    *("part A", "Part A", "PART A", "part a", "part \uff21", "part \u0410", "part \u00c5", "partA"),
    *("part-A", "part_A", "part.A", "part  A", "1", "01", "1.0", "None", "nan", "-1", "true"),
    *("\u00df", "ss", "\ufb01", "fi", "\u3042", "\u30a2", "\uff71"),
    *(f"{'0123456789' * 9}-{number}" for number in range(2)),
)
"""Different class names that a program might take for equal or for something else."""

_CLUSTER_LENGTH = (
    0.6  # Length of the mean of simulated vectors, and of deviations from it, clip radii
)


def feature_image(
    features: ArrayLike,
    unique_number: int,
    label: int,
    unit: str = "unit",
    image_shape: ImageShape = (IMAGE_SIDE, IMAGE_SIDE),
) -> ImageRecord:
    """Build a record whose image starts with float32 features and ``unique_number``."""
    raw = np.asarray(features, dtype="<f4").tobytes() + unique_number.to_bytes(8, "little")
    pixels = np.zeros(math.prod(image_shape), dtype=np.uint8)
    pixels[: len(raw)] = np.frombuffer(raw, dtype=np.uint8)
    return ImageRecord(pixels=pixels.reshape(image_shape), label=label, unit=unit)


def read_features(
    pixels: NDArray[np.uint8], dimension: int, skipped_features: int
) -> NDArray[np.float32]:
    """Read an image's features after the first ``skipped_features``, float32 ``[dimension]``."""
    return np.frombuffer(
        pixels.tobytes(), dtype="<f4", count=dimension, offset=4 * skipped_features
    )


def floats_per_image(setup: PlantSetup) -> int:
    """Return the number of float32 features in each image of a plant, machine features included."""
    return setup.dimension + (MACHINE_FEATURE_COUNT if setup.declares_machine else 0)


def simulate_records(
    rng: np.random.Generator,
    record_count: int,
    setup: PlantSetup,
    unit_names: Sequence[str] = (),
    image_shape: ImageShape = (IMAGE_SIDE, IMAGE_SIDE),
) -> list[ImageRecord]:
    """Simulate records around one point away from the origin, with features that test clipping.

    A third of the feature vectors are longer, mostly beyond the clip radius; one has a NaN and one
    an infinite feature. A tenth of the records have no label, and the last of three or more classes
    has no record. Label frequencies halve from class to class, except for the rare first class.

    Args:
        rng: Generator of the random numbers.
        record_count: Number of records.
        setup: Configuration of the plant.
        unit_names: Privacy unit of each record; empty for one unit per record.
        image_shape: Shape of an image in pixels.
    """
    dimension, classes = setup.dimension, len(setup.labels)
    middle = _random_directions(rng, 1, dimension) * _CLUSTER_LENGTH
    centres = (
        middle
        + _random_directions(rng, min(record_count, _DISTINCT_VECTORS), dimension) * _CLUSTER_LENGTH
    )
    centres[::3] *= rng.uniform(1.5, 8, (len(centres[::3]), 1))
    if setup.declares_machine:
        numbers = _random_directions(rng, len(centres), MACHINE_FEATURE_COUNT)
        centres = np.hstack([centres, numbers * rng.uniform(0.2, 3, (len(centres), 1))])
    centres = np.rint(centres / FEATURE_STEP) * FEATURE_STEP
    if dimension < 3:  # Beside a NaN, a single feature remains; after clipping it may round below
        # the last grid point, unless it is a power of two.
        centres = np.ldexp(np.sign(centres), np.frexp(centres)[1])
    centres[1:2, 0], centres[2:3, 0] = np.nan, np.inf  # slices allow fewer than three rows
    present = classes if classes < 3 else classes - 1
    frequent = np.array([0.1, *(2.0**-k for k in range(present - 1))])
    labels = rng.choice(present, record_count, p=frequent / frequent.sum())
    labels[rng.random(record_count) < 0.1] = -1
    return [
        feature_image(centres[n % len(centres)], n, int(labels[n]), unit, image_shape)
        for n, unit in enumerate(unit_names or [f"unit-{n}" for n in range(record_count)])
    ]


def add_conflicting_copies(records: Sequence[ImageRecord], class_count: int) -> list[ImageRecord]:
    """Add copies of some records, with the same or with conflicting labels and units.

    Copies have the same label, another label, no label, or another label and unit. Two inverted
    images have undeclared labels. Nearly equal copies of one image, under another label, differ in
    one bit at 1, 2, 4, ... bytes from the end.
    """
    same_label, two_labels, no_label, two_units, changed_late, *_ = [
        record for record in records if record.label >= 0
    ]
    return [
        *records,
        same_label,
        replace(two_labels, label=(two_labels.label + 1) % class_count),
        replace(no_label, label=-1),
        replace(
            two_units, label=(two_units.label + 1) % class_count, unit=f"{two_units.unit} once more"
        ),
        replace(same_label, pixels=255 - same_label.pixels, label=class_count),
        replace(same_label, pixels=255 - no_label.pixels, label=class_count + 7),
        *(
            replace(changed_late, pixels=pixels, label=(changed_late.label + 1) % class_count)
            for pixels in _flip_single_bits(changed_late.pixels)
        ),
    ]


def _flip_single_bits(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield an image's pixels with one bit flipped, 1, 2, 4, ... bytes from the end."""
    for distance in 2 ** np.arange(pixels.size.bit_length() - 1):
        copy = pixels.copy()
        copy.flat[-distance] ^= 1
        yield copy


def extreme_records(rng: np.random.Generator, setup: PlantSetup) -> list[ImageRecord]:
    """Build records with feature vectors of extreme lengths, zero, NaN and infinite vectors."""
    columns, classes = floats_per_image(setup), len(setup.labels)
    halves = [_random_directions(rng, len(_EXTREME_LENGTHS), setup.dimension)]
    if setup.declares_machine:
        halves.append(_random_directions(rng, len(_EXTREME_LENGTHS), MACHINE_FEATURE_COUNT))
    rows = (
        np.rint(np.hstack(halves) * np.array(_EXTREME_LENGTHS)[:, None] / FEATURE_STEP)
        * FEATURE_STEP
    )
    constant_vectors = [np.full(columns, value) for value in (np.nan, np.inf, -np.inf, -0.0, 1e-40)]
    axes = np.eye(columns)[[0, -1]]
    broken = rows[-8:].copy()
    broken[:4, ::2], broken[4:, 1::2] = np.nan, -np.inf
    vectors = [*rows, *constant_vectors, *axes, *-axes, *broken]
    return [
        feature_image(row, number, number % (classes + 1) - 1, f"unit-{number // 3}")
        for number, row in enumerate(vectors)
    ]


def confusable_unit_names(count: int) -> list[str]:
    """Return names of ``count`` privacy units that look alike, or differ in a last character."""
    look_alikes = ["part A", "Part A", "part a", "part \uff21", "part \u0410", "part A ", " part A"]
    look_alikes += ["part \u00c5", "part A\u030a", "part \u212b", "part\u00a0A", "part\u200b A"]
    return look_alikes + [
        f"{'0123456789' * 12}-{number}" for number in range(count - len(look_alikes))
    ]


def uneven_unit_names() -> list[str]:
    """Return each record's privacy unit; most units have 1 record, and one has 1000."""
    sizes = [*[1] * 300, 3, 5, 6, 7, 11, 13, 100, 1000]
    return [f"unit-{number}" for number, size in enumerate(sizes) for _ in range(size)]


def doubling_unit_names(unit_count: int) -> list[str]:
    """Return each record's privacy unit; the units have 1, 1, 2, 2, 4, 4, ... records."""
    return [
        name
        for number, name in enumerate(confusable_unit_names(unit_count))
        for _ in range(2 ** (number // 2))
    ]


def canary_records(count: int) -> list[ImageRecord]:
    """Build canaries: vectors of four clip radii, each along its own axis and in its own class."""
    canary_length = 4.0
    return [
        feature_image(canary_length * row, n, n, f"canary-{n}")
        for n, row in enumerate(np.eye(count))
    ]


def stripe_images(rng: np.random.Generator, count: int, class_count: int) -> Sequence[ImageRecord]:
    """Draw images of stripes with random directions, widths and contrasts, and pixel noise."""
    y, x = np.mgrid[0:IMAGE_SIDE, 0:IMAGE_SIDE] / IMAGE_SIDE
    images = []
    for number in range(count):
        turn, pitch, phase = rng.uniform(0, np.pi), rng.uniform(1, 10), rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * pitch * (x * np.cos(turn) + y * np.sin(turn)) + phase)
        grey = rng.uniform(60, 190) + rng.uniform(10, 70) * wave + rng.normal(0, 12, x.shape)
        pixels = np.clip(grey, 0, 255).astype(np.uint8)
        pixels[0, 0] = number  # no two have the same content
        images.append(ImageRecord(pixels=pixels, label=number % class_count))
    return images


def _random_directions(rng: np.random.Generator, count: int, dimension: int) -> Floats:
    directions = rng.normal(size=(count, dimension))
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))
