"""Sources of a zoo's tasks: procedural libraries, public data sets, and the operator's own files.

From files, each *family* is a subset of the classes, and each *site* of a family has other records,
seen through its own camera or sensors (``Modality.augment_site``), except that those of the first
site are unchanged.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities.base import Record
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.streams import Stream
from wg_core.errors import ConfigError, DataError
from wg_server.zoo import archives
from wg_server.zoo.plan import ZooPlan
from wg_server.zoo.procedural import families
from wg_server.zoo.procedural_text import families as text_families
from wg_server.zoo.procedural_windows import families as window_families
from wg_server.zoo.task_spec import SourceKind, TaskSpec

_AUGMENTATION_STRENGTH_RANGE = 0.3, 1.0  # Range of the augmentation strength of simulated sites
_UNCHANGED_SITE_INTERVAL = 10  # Every tenth simulated site has unchanged records
_MIN_RECORDS_PER_CLASS = 5  # Smallest number of records of a class at a site


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelledTask:
    """Records of one task of the zoo, with their labels.

    Attributes:
        records: Records of one modality.
        labels: Class of each record, ``[n]``.
        class_names: Class names.
        family: Name of the family.
        licence: Licence of the records.
        modality: Name of the records' modality.
    """

    records: list[Record]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    family: str
    licence: str
    modality: str

    def records_at(self, rows: NDArray[np.intp]) -> list[Record]:
        """Return the task's records with these indices."""
        return [self.records[row] for row in rows]


class ProceduralFamily(Protocol):
    """Interface of a family from a procedural library."""

    @property
    def name(self) -> str:
        """Name of the family in zoo entries; families of different seeds have different names."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the family's classes."""


FamilyT = TypeVar("FamilyT", bound=ProceduralFamily)
SiteT = TypeVar("SiteT")


class ProceduralLibrary(Protocol[FamilyT, SiteT]):
    """Interface of a module that draws families of one modality, their sites, and records."""

    @property
    def MODALITY(self) -> str:
        """Name of the records' modality."""

    @property
    def FAMILY_KINDS(self) -> Collection[str]:
        """Names of the kinds of families that can be drawn."""

    def draw_family(self, seed: tuple[int, ...], kind: str | None = None) -> FamilyT:
        """Draw the family of a seed; ``kind`` is one of ``FAMILY_KINDS``, or None: a random one."""

    def draw_site(self, family: FamilyT, site_number: int, *, strength: float) -> SiteT:
        """Draw the site with a number, which deviates from its family by ``strength``, 0 to 1."""

    def render_records(
        self, family: FamilyT, site: SiteT, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterable[Record]:
        """Render one record at a site for each label, ``[n]``."""


def check_files_exist(plan: ZooPlan) -> None:
    """Check that all files that a plan names exist.

    Raises:
        ConfigError: Nothing is at a source's path; the message names the source.
    """
    for source in plan.sources:
        if source.path and not Path(source.path).exists():
            raise ConfigError(
                f"source {source.name or source.kind}: nothing is at {source.path}; put it there,"
                " or take the source out of the plan"
            )


def load_task(spec: TaskSpec) -> LabelledTask:
    """Render or read the records of one zoo task.

    Raises:
        DataError: A file is missing, or does not match the plan.
    """
    if spec.kind in PROCEDURAL_LIBRARIES:
        return _render_task(spec, PROCEDURAL_LIBRARIES[spec.kind])
    return _select_site_records(spec, _FILE_READERS[spec.kind](spec.path))


def simulate_site(
    records: list[Record], modality: str, site_number: int, rng: np.random.Generator
) -> list[Record]:
    """Return records as a simulated site with its own camera or sensors would have them.

    Args:
        records: Records of one modality, which are not changed.
        modality: Name of the modality.
        site_number: Number of the site; sites 0, 10, 20 and so on have unchanged records.
        rng: Random generator of the augmentation.
    """
    if site_number % _UNCHANGED_SITE_INTERVAL == 0:
        return records
    strength = float(rng.uniform(*_AUGMENTATION_STRENGTH_RANGE))
    return modality_of(modality).augment_site(records, strength, rng)


def _render_task(spec: TaskSpec, library: ProceduralLibrary[FamilyT, SiteT]) -> LabelledTask:
    """Render the records of a task from a procedural library."""
    if spec.only and spec.only not in library.FAMILY_KINDS:
        raise ConfigError(f"only: {spec.only!r}, expected one of {', '.join(library.FAMILY_KINDS)}")
    family = library.draw_family((spec.seed, spec.family), spec.only or None)
    strength = 0.3 * float(spec.strength) if spec.site == 0 else float(spec.strength)
    site = library.draw_site(family, spec.site, strength=strength)
    labels = np.repeat(np.arange(len(family.labels)), spec.per_class)
    rng = streams.stream_generator(Stream.RECORDS, spec.seed, spec.family, spec.site)
    records = library.render_records(family, site, labels, rng)
    return LabelledTask(
        records=list(records),
        labels=labels,
        class_names=family.labels,
        family=family.name,
        licence="none (rendered)",
        modality=library.MODALITY,
    )


def _select_site_records(spec: TaskSpec, archive: archives.LabelledArchive) -> LabelledTask:
    """Select a task's records in an archive; ``DataError`` if a class has too few for all sites."""
    rng = streams.stream_generator(Stream.CLASS_SUBSET, spec.seed, spec.family)
    total = len(archive.class_names)
    size = total if spec.family == 0 else int(rng.integers(min(3, total), total + 1))
    classes = np.sort(rng.permutation(total)[:size])
    records: list[Record] = []
    labels: list[int] = []
    for new, old in enumerate(classes):
        rows = np.array_split(rng.permutation(np.flatnonzero(archive.labels == old)), spec.sites)
        site_rows = rows[spec.site][: spec.per_class]
        if len(site_rows) < _MIN_RECORDS_PER_CLASS:
            raise DataError(
                f"source {spec.name}: class {archive.class_names[old]!r} has {len(site_rows)}"
                f" records for site {spec.site} of {spec.sites}, expected at least"
                f" {_MIN_RECORDS_PER_CLASS}; plan fewer sites"
            )
        records += [archive.records[row] for row in site_rows]
        labels += [new] * len(site_rows)
    site_rng = streams.stream_generator(Stream.CAMERA, spec.seed, spec.family, spec.site)
    if spec.site > 0:
        kind = modality_of(archive.modality)
        records = kind.augment_site(records, float(spec.strength), site_rng)
    return LabelledTask(
        records=records,
        labels=np.array(labels, dtype=np.int64),
        class_names=tuple(archive.class_names[c] for c in classes),
        family=f"{spec.name}-{spec.family}",
        licence=spec.licence,
        modality=archive.modality,
    )


_FILE_READERS = {
    "npz": archives.read_npz,
    "folder": archives.read_image_folder,
    "table": archives.read_table,
}
PROCEDURAL_LIBRARIES: Mapping[SourceKind, ProceduralLibrary[Any, Any]] = {
    "procedural": families,
    "procedural-windows": window_families,
    "procedural-texts": text_families,
}
