"""One kind of plant at many sites: the operator's records, the plants, and their features.

A data set is cut for scenario S6k. The operator owns records of its training part and sees them
through many cameras, of which the first of each ten is none: records as they are. Plants are cut
from the other part, each under a camera that nobody has seen; the last one has none. Features and
picture statistics are kept in a file of the cache, since encoding is what takes the time, with the
zoo's cameras and some of the operator's records, which a baseline sees anew. What is a camera to
images is a chain of sensors to windows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from bench import plants
from bench.family_sets import apart
from numpy.typing import NDArray

from wg_common.modalities import cameras, sensors
from wg_common.modalities.cameras import Camera
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder.module import Encoder

Array = NDArray[np.generic]
Halves = NDArray[np.float16]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Records = list[NDArray[np.generic]]
Site = Callable[[Records], Records]

SETS = (
    "neu_det",
    "deeppcb_a",
    "gtsrb",
    "cifar10",
    "fashion_mnist",
    "trashnet",
    "magnetic_tile",
    "elpv_mono",
    "mnist10k",
    "digits",
    "bridge_crack",
)
WINDOW_SETS = (
    "skab_valve1",
    "plaid",
    "cmapss_fd001",
    "italy_power",
    "cwru_de",
    "trace",
    "basic_motions",
    "tep",
)
_CLASSES, _OWN, _SITE = 10, 60, 30
"""Classes; the operator's records of a class; records at a site of the zoo."""
_PLANT, _TEST, _PLANTS = 20, 150, 6
_RELIEF = 0.1  # Share of a relief view below which an estimate is taken for none
_NONE = 10  # Each so many-th site of the zoo sees records as they are
_VERSION = 4


@dataclass(frozen=True, slots=True, eq=False)
class CameraSet:
    """Features of one data set. C sites of the zoo, P plants of which the last has no camera.

    Attributes:
        names: Class names, K.
        zoo: Local features of the zoo's sites ``[C, n, D]``, float16; labels ``[C, n]``, and
            picture statistics ``[C, n, s]``; s is 0 for windows.
        own: Of each plant's records, ``[P, m, D]``, ``[m]``, ``[P, m, s]``.
        test: Of test records under each plant's camera, ``[P, t, D]``, and ``[t]``.
        very: Of the operator's records under each plant's very camera, ``[P, o, D]``, and ``[o]``;
            o is 0 for windows.
        few: These records of the operator, ``[o, h, w]`` or ``[o, h, w, 3]``, uint8.
        cameras: Of the zoo's sites, as numbers (``described``) ``[C, j]``; j is 0 for windows.
    """

    names: NDArray[np.str_]
    zoo: Halves
    zoo_y: Ints
    zoo_s: Singles
    own: Halves
    own_y: Ints
    own_s: Singles
    test: Halves
    test_y: Ints
    very: Halves
    very_y: Ints
    few: NDArray[np.uint8]
    cameras: NDArray[np.float64]


def described(camera: Camera) -> list[float]:
    """A camera as numbers of like size; those of one without effect are nearly all 0."""
    c = camera
    across, down = float(np.cos(c.light)), float(np.sin(c.light))
    return [
        float(np.log(c.gain)),
        c.offset,
        float(np.log(c.gamma)),
        float(c.invert),
        c.emboss * across,
        c.emboss * down,
        c.gradient * across,
        c.gradient * down,
        c.vignette,
        float(c.blur if c.blur > 1 else 1),
        c.noise,
        c.banding,
        float(np.log2(c.coarse)),
        *(c.tint or (1.0, 1.0, 1.0)),
    ]


def camera_of(numbers: Sequence[float] | NDArray[np.floating]) -> Camera:
    """The camera that ``described`` gave these numbers, or the nearest one to an estimate."""
    n = [float(v) for v in numbers]
    emboss = float(np.hypot(n[4], n[5]))
    relief = emboss > _RELIEF
    light = float(np.arctan2(n[5], n[4]) if relief else np.arctan2(n[7], n[6]))
    return Camera(
        gain=float(np.exp(n[0])),
        offset=n[1],
        gamma=float(np.exp(n[2])),
        invert=n[3] > 0.5,
        emboss=min(emboss, 1.0) if relief else 0.0,
        light=light,
        gradient=n[6] * float(np.cos(light)) + n[7] * float(np.sin(light)),
        vignette=max(n[8], 0.0),
        blur=round(n[9]),
        noise=max(n[10], 0.0),
        banding=max(n[11], 0.0),
        coarse=2 ** min(max(round(n[12]), 0), 2),
        tint=None if min(n[13:16]) > 0.999 else (n[13], n[14], n[15]),
    )


def picture_statistics(image: NDArray[np.uint8]) -> list[float]:
    """Nineteen bounded numbers of one image: quantiles, gradients by octave, light, contrast."""
    grey = image.astype(np.float32) / 255
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    found, small = [float(q) for q in np.quantile(grey, [0.05, 0.25, 0.5, 0.75, 0.95])], grey
    for _ in range(4):
        if min(small.shape) > 3:
            found += [float(np.abs(np.diff(small, axis=a)).mean()) for a in (0, 1)]
        else:
            found += [0.0, 0.0]
        h, w = small.shape[0] // 2 * 2, small.shape[1] // 2 * 2
        small = small[:h, :w].reshape(h // 2, 2, w // 2, 2).mean(axis=(1, 3))
    h, w = grey.shape
    centre = grey[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4].mean() - grey.mean()
    down = grey[: h // 2].mean() - grey[h // 2 :].mean()
    across = grey[:, : w // 2].mean() - grey[:, w // 2 :].mean()
    return [*found, *(float(v) for v in (centre, down, across, grey.std()))]


def load(encoder: Encoder, root: Path, name: str, cache: Path, sites: int) -> CameraSet | None:
    """A data set's features, from the cache or made now.

    None if the set is not there, or no two of its classes have records for all sides.
    """
    path = cache / f"camera-{name}-{sites}-{encoder.id[:16]}-v{_VERSION}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            return CameraSet(**{f.name: archive[f.name] for f in fields(CameraSet)})
    arrays = _arrays(root, name)
    if arrays is None:
        return None
    found = _encoded(encoder, arrays, sites)
    if found is None:
        return None
    cache.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half.npz")
    np.savez(half, **{f.name: getattr(found, f.name) for f in fields(CameraSet)})
    half.replace(path)
    return found


def _arrays(root: Path, name: str) -> dict[str, Array] | None:
    if name == "digits":
        images, labels, _ = plants.load_images(root, name) or ([], np.zeros(0, np.int64), None)
        split = (np.random.default_rng(3).random(len(labels)) < 0.4).astype(np.int64)
        names = np.array([str(c) for c in range(10)])
        return {"x": np.array(images), "y": labels, "split": split, "classes": names}
    path = root / name / "data.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        found = apart(dict(archive))
    if name in WINDOW_SETS:
        found["x"] = found["x"].astype(np.float32)
    return found


def _encoded(encoder: Encoder, arrays: dict[str, Array], sites: int) -> CameraSet | None:
    rng = np.random.default_rng(0)
    records, y = arrays["x"], arrays["y"].astype(np.int64)
    pictured = encoder.modality != Windows.name
    parts, classes = _parts(arrays, y, rng)
    k = len(classes)
    if k < 2:
        return None

    def draw(part: NDArray[np.bool_], most: int, r: np.random.Generator) -> NDArray[np.intp]:
        return np.concatenate(
            [r.permutation(np.flatnonzero(part & (y == c)))[:most] for c in classes]
        )

    own, test = draw(parts[0], _OWN, rng), draw(parts[2], -(-_TEST // k), rng)

    def seen(rows: NDArray[np.intp], site: Site) -> tuple[Halves, Singles]:
        shown = site([records[row] for row in rows])
        statistics = [picture_statistics(image) if pictured else [] for image in shown]  # type: ignore[arg-type]
        return encoder.encode_batched(shown).astype(np.float16), np.array(statistics, np.float32)

    def label(rows: NDArray[np.intp]) -> Ints:
        return np.searchsorted(classes, y[rows]).astype(np.int64)

    zoo, zoo_y, known = [], [], []
    for site in range(sites):
        r = np.random.default_rng((7, site))
        view: Site = _as_it_is
        numbers = described(Camera())
        if site % _NONE:
            view, numbers = _site(records, float(r.uniform(0.3, 1)), r)
        known.append(numbers if pictured else [])
        drawn = [r.permutation(own[y[own] == c]) for c in classes]
        rows = np.concatenate([np.resize(rows, _SITE // k) for rows in drawn])
        zoo.append(seen(rows, view))
        zoo_y.append(label(rows))
    mine, tests, very = [], [], []
    rows = draw(parts[1], _PLANT, np.random.default_rng(98))
    few = np.concatenate([own[y[own] == c][: 120 // k] for c in classes])
    for plant in range(_PLANTS + 1):
        r = np.random.default_rng((99, plant))
        view = _site(records, 1.0, r)[0] if plant < _PLANTS else _as_it_is
        mine.append(seen(rows, view))
        tests.append(seen(test, view)[0])
        very.append(seen(few, view)[0] if pictured else mine[-1][0][:0])
    return CameraSet(
        names=np.array([str(arrays["classes"][c]) for c in classes]),
        zoo=np.stack([f for f, _ in zoo]),
        zoo_y=np.stack(zoo_y),
        zoo_s=np.stack([s for _, s in zoo]),
        own=np.stack([f for f, _ in mine]),
        own_y=label(rows),
        own_s=np.stack([s for _, s in mine]),
        test=np.stack(tests),
        test_y=label(test),
        very=np.stack(very),
        very_y=label(few if pictured else few[:0]),
        few=np.array([records[row] for row in few]) if pictured else np.zeros(0, np.uint8),
        cameras=np.array(known),
    )


def _as_it_is(records: Records) -> Records:
    return records


def _site(records: Array, strength: float, r: np.random.Generator) -> tuple[Site, list[float]]:
    """A camera or chain of sensors, drawn now, and the camera as numbers."""
    if records.dtype.kind == "f":
        chain = sensors.draw(r, np.eye(records.shape[1]), 1.0, strength, direct=True)
        return lambda own: list(sensors.observe(r, np.stack(own).astype(np.float64), chain)), []
    camera = cameras.draw_camera(r, strength=strength, mounted=False)
    return lambda own: photographed(r, own, camera), described(camera)


def photographed(r: np.random.Generator, images: Records, camera: Camera) -> Records:
    """Images through a camera."""
    return [cameras.photograph_again(r, image, camera) for image in images]  # type: ignore[arg-type]


def _parts(
    arrays: dict[str, Array], y: Ints, rng: np.random.Generator
) -> tuple[list[NDArray[np.bool_]], Ints]:
    """Records of the operator, of plants and of tests, groups apart; and classes that all have."""
    split = arrays["split"]
    groups = np.unique(arrays.get("group", np.arange(len(y))), return_inverse=True)[1]
    tested = (rng.random(groups.max() + 1) < 0.5)[groups]
    parts = [split == 0, (split == 1) & ~tested, (split == 1) & tested]
    table = np.stack([np.bincount(y[part], minlength=y.max() + 1) for part in parts])
    usable = np.flatnonzero(table.min(axis=0) >= 5)
    return parts, np.sort(rng.permutation(usable)[:_CLASSES])
