"""Plan of a zoo: a YAML file that names the sources of its tasks, and settings of its encoder."""

from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from wg_common import catalogue
from wg_common.machines.registry import READABLE_KINDS
from wg_common.modalities.images import ENCODER_SIDE_PIXELS, Images
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder.trunk_choice import TrunkChoice, check_choices
from wg_common.weights_package import PrivacyGuarantee
from wg_core import atomic, yaml_settings
from wg_core.errors import ConfigError
from wg_core.privacy.schema import RELEASED_DIMENSION
from wg_server.zoo.task_spec import FILE_SOURCE_KINDS, SourceKind, TaskSpec

PLAN_LIMIT = 256 << 10
DEFAULT_PLAN_NAME = "default"

_MODALITY_BY_SOURCE_KIND: dict[SourceKind, str] = {
    "procedural": "images",
    "procedural-windows": "windows",
    "procedural-texts": "texts",
    "table": "texts",
    "folder": "images",
}
"""Modality of the source kinds that have only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderPlan:
    """Settings of the encoder's fit, if the home has no encoder yet.

    Attributes:
        pixels: Side of the images that the trunk uses.
        dimension: Number of released features.
        records: Number of public records that the projection is fitted on; 0: 14,000 images, or
            15,000 windows or texts.
        trunks: Trunks of the encoder; features of the first one are released, and plants learn on
            all. Empty: the default trunk of the modality.
    """

    pixels: int = ENCODER_SIDE_PIXELS
    dimension: int = RELEASED_DIMENSION
    records: int = 0
    trunks: tuple[TrunkChoice, ...] = ()

    def __post_init__(self) -> None:
        check_choices(self.trunks)
        yaml_settings.check_range("encoder.pixels", self.pixels, 64, 512)
        yaml_settings.check_range("encoder.dimension", self.dimension, 2, 1024)
        if self.records:
            yaml_settings.check_range(
                "encoder.records", self.records, 2 * self.dimension, 1_000_000
            )

    def fit_record_count(self, modality: str) -> int:
        """Return the number of public records to fit the projection on, for a modality."""
        return self.records or (14_000 if modality == "images" else 15_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivatePlan:
    """Differential privacy guarantee for each record of a private source.

    Attributes:
        epsilon: Epsilon of the source's head, the only product that is made from its records.
        delta: Delta of the head.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        yaml_settings.check_range("private.epsilon", self.epsilon, 0.01, 10)
        yaml_settings.check_range("private.delta", self.delta, 1e-12, 1e-3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """Source from which a zoo draws or reads its tasks.

    Attributes:
        kind: ``procedural``, ``procedural-windows`` (sensor windows), ``procedural-texts``,
            ``table`` (texts: CSV or JSON lines with columns text and label), ``npz`` (arrays x, y,
            classes; x may be sensor windows), or ``folder`` (one sub-folder per class).
        families: Number of families; those from files are different subsets of the classes.
        sites: Number of sites of each family: the same classes, other records, another camera.
        per_class: Number of records of each class at each site.
        strength: Deviation of a site's camera or sensors from ideal ones, 0 to 1.
        only: Kind of family that a procedural source draws; empty: all kinds.
        path: File or folder from which records are read; empty for procedural sources.
        name: Name of the source in entries of the zoo; empty: its kind.
        licence: Licence of the records; required with ``path``.
        private: Guarantee for each record; the only product of a private source is one head,
            trained by private gradient descent on all records. None: not private.
    """

    kind: SourceKind
    families: int = 0
    sites: int = 4
    per_class: int = 32
    strength: float = 0.7
    only: str = ""
    path: str = ""
    name: str = ""
    licence: str = ""
    private: PrivatePlan | None = None

    def __post_init__(self) -> None:
        yaml_settings.check_range("families", self.families, 1, 100_000)
        yaml_settings.check_range("sites", self.sites, 1, 1000)
        yaml_settings.check_range("per_class", self.per_class, 8, 100_000)
        yaml_settings.check_range("strength", self.strength, 0, 1)
        if self.kind in FILE_SOURCE_KINDS and not (self.path and self.licence):
            raise ConfigError(f"source {self.kind}: needs a path and a licence")
        if self.private and self.kind not in FILE_SOURCE_KINDS:
            raise ConfigError(
                f"source {self.kind}: is rendered, and has no records to protect; leave out private"
            )
        if self.private and self.families != 1:
            raise ConfigError(
                f"source {self.name or self.kind}: private, and each of {self.families} families"
                " would spend epsilon on the same records; set families: 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooPlan:
    """Settings of a zoo: its sources of tasks, its encoder, and the machines that it reads.

    Attributes:
        seed: Seed of all procedural records.
        architecture: Architecture of the heads; it determines the modality of the zoo.
        encoder: Settings of the encoder's fit.
        sources: Sources of tasks.
        own_sites: Number of simulated sites for the heads of the operator's families; 0: no such
            heads.
        networks: True: each of the operator's families also gets a network.
        machine_steps: Number of training steps for the reading map of each machine kind; 0: the
            encoder has no reading maps, and the home makes no networks for machines.
        machines: Kinds of machine and of process unit that get a reading map; empty: all.
    """

    seed: int
    architecture: str = Images.head_architecture
    encoder: EncoderPlan = field(default_factory=EncoderPlan)
    sources: tuple[SourcePlan, ...]
    own_sites: int = 200
    networks: bool = False
    machine_steps: int = 0
    machines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        yaml_settings.check_range("seed", self.seed, 0, 1 << 62)
        if self.own_sites:
            yaml_settings.check_range("own_sites", self.own_sites, 10, 10_000)
        yaml_settings.check_range("machine_steps", self.machine_steps, 0, 1_000_000)
        catalogue.find_architecture(self.architecture)
        if not self.sources:
            raise ConfigError("sources: expected at least one")
        for source in self.sources:
            modality = modality_of(_MODALITY_BY_SOURCE_KIND.get(source.kind, self.modality))
            if modality.name != self.modality:
                raise ConfigError(
                    f"source {source.kind}: has {modality.title}, and {self.architecture} is for"
                    f" {modality_of(self.modality).title}; set architecture:"
                    f" {modality.head_architecture}"
                )
        self._check_private_sources()
        if self.machine_steps and self.modality != Windows.name:
            raise ConfigError(f"machine_steps: machines have windows, and not {self.modality}")
        if unknown := sorted(set(self.machines) - set(READABLE_KINDS)):
            raise ConfigError(f"machines: {unknown[0]!r} is none of {', '.join(READABLE_KINDS)}")
        if self.networks and not self.family_network_architecture:
            raise ConfigError(f"networks: there are none for {modality_of(self.modality).title}")

    def _check_private_sources(self) -> None:
        """Raise ``ConfigError`` if all sources are private, or one lacks a head or its own file."""
        paths = Counter(source.path for source in self.sources)
        if all(source.private for source in self.sources):
            raise ConfigError("sources: all are private; add one of a procedural kind")
        for source in self.sources:
            name = source.name or source.kind
            if source.private and not self.own_sites:
                raise ConfigError(f"source {name}: private, but no head is made; set own_sites: 10")
            if source.private and paths[source.path] > 1:
                raise ConfigError(
                    f"source {name}: private, but {source.path} is of another source, too, through"
                    " which its records would leave once more; take one out"
                )

    @property
    def modality(self) -> str:
        """Name of the modality of the zoo's records."""
        return catalogue.find_architecture(self.architecture).modality

    @property
    def family_network_architecture(self) -> str:
        """Architecture of the networks of the operator's families; empty: no networks."""
        return modality_of(self.modality).family_network if self.networks else ""


def list_tasks(plan: ZooPlan) -> list[TaskSpec]:
    """Return all tasks of a plan's sources that are not private; a family's sites are adjacent."""
    return [
        _source_task(plan, number, family, site)
        for number, source in enumerate(plan.sources)
        for family in range(source.families)
        for site in range(source.sites)
        if not source.private
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateFamily:
    """Family of a private source, of which only a differentially private head is made.

    Attributes:
        task: Task of site 0, which names the files.
        privacy: Guarantee for each record.
    """

    task: TaskSpec
    privacy: PrivacyGuarantee


def private_families(plan: ZooPlan) -> list[PrivateFamily]:
    """Return the families of a plan's private sources."""
    return [
        PrivateFamily(
            task=_source_task(plan, number, 0, 0),
            privacy=PrivacyGuarantee(epsilon=f"{private.epsilon:g}", delta=f"{private.delta:g}"),
        )
        for number, source in enumerate(plan.sources)
        if (private := source.private)
    ]


def _source_task(plan: ZooPlan, source_index: int, family_index: int, site_index: int) -> TaskSpec:
    """Return the specification of a task, given the numbers of source, family and site."""
    source = plan.sources[source_index]
    return TaskSpec(
        seed=plan.seed + 7919 * source_index,
        kind=source.kind,
        family=family_index,
        site=site_index,
        sites=source.sites,
        per_class=source.per_class,
        strength=repr(source.strength),
        only=source.only,
        path=source.path,
        name=source.name or source.kind,
        licence=source.licence,
    )


def read_plan(path: Path | None) -> ZooPlan:
    """Read a plan file, or a packaged plan.

    Args:
        path: A file, the bare name of a packaged plan (``default``, ``demo``), or None for the
            default plan.

    Raises:
        ConfigError: The file is missing or not YAML, or a field is unknown or wrong; the message
            names it.
    """
    text, name = read_plan_bytes_and_name(path, "wg_server.zoo", DEFAULT_PLAN_NAME)
    return yaml_settings.parse_yaml(text, ZooPlan, name)


def read_plan_bytes_and_name(
    path: Path | None, package: str, default_name: str
) -> tuple[bytes, str]:
    """Return content and name of a plan file, or of a plan in the folder ``plans`` of a package.

    ``path`` is a file, or the name of a packaged plan, or None for the packaged plan
    ``default_name``.
    """
    if path is not None and (path.suffix or path.is_file()):
        return atomic.read_bytes(path, limit=PLAN_LIMIT), str(path)
    name = default_name if path is None else str(path)
    packaged_file = resources.files(package) / "plans" / f"{name}.yaml"
    if not packaged_file.is_file():
        names = sorted(
            Path(file.name).stem for file in (resources.files(package) / "plans").iterdir()
        )
        raise ConfigError(
            f"{name}: neither a file nor a packaged plan; packaged are {', '.join(names)}"
        )
    return packaged_file.read_bytes(), f"{name}.yaml"
