"""Building of a zoo: fit the encoder once, encode each task, and train the operator's families.

Tasks are independent: worker processes render or read them, and each is written when it is done.
Entries that exist are not built again, so an interrupted build continues where it stopped.

An entry's name depends on its task and the encoder, not on the machine; the stored features may
differ in last digits between processor types.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities.base import Record
from wg_common.nets.encoder import package
from wg_common.nets.encoder import projected_trunk as encoders
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_common.nets.encoder.reading_map import ReadingMaps
from wg_common.nets.encoder.trunk import TrunkKind
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import ConfigError
from wg_core.wire import canonical
from wg_server.site.home import ServerHome
from wg_server.zoo import own_families, sources, trunks
from wg_server.zoo.plan import PrivateFamily, ZooPlan, list_tasks, private_families
from wg_server.zoo.store import EncodedTask, ZooEntry, ZooStore, pack_encoded_task
from wg_server.zoo.task_spec import TaskSpec
from wg_server.zoo.workers import WorkerPool, open_workers

log = logging.getLogger(__name__)

_FIT_RECORDS_PER_TASK = 48  # Least number of records of a task in the encoder's fit
_FIT_TASKS_PER_JOB = 4  # Number of tasks per job when records for the encoder's fit are rendered
ProgressCallback = Callable[
    [int, str], None
]  # Called with a number of finished entries and a short text
ReadingMapTrainer = Callable[[ZooPlan, WorkerPool, ProgressCallback], ReadingMaps]
"""Function that trains the reading maps of a plan in workers, and reports its progress."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """Result of building a zoo.

    Attributes:
        new_entries: Number of entries built now.
        earlier_entries: Number of entries that existed before.
        encoder: Id of the encoder (SHA-256), hex.
    """

    new_entries: int
    earlier_entries: int
    encoder: str


def build_zoo(
    home: ServerHome,
    plan: ZooPlan,
    *,
    workers: int,
    progress: ProgressCallback,
    train_reading_maps: ReadingMapTrainer | None = None,
) -> BuildResult:
    """Build all entries of a plan that the zoo lacks: tasks, and the operator's families.

    Args:
        home: The server's home; its zoo folder is created if needed.
        workers: Number of processes.
        progress: Called with the number of finished entries, of ``count_plan_entries`` in all, and
            a short text.
        train_reading_maps: Function that trains the reading maps of a new encoder; None: no reading
            maps.

    Raises:
        DataError: A source cannot be read.
        ConfigError: The folder cannot be written, or private families lack OpenDP's sampler.
    """
    sources.check_files_exist(plan)
    specs, private = list_tasks(plan), private_families(plan)
    if private and find_spec("opendp") is None:
        raise ConfigError("private families need opendp: pip install 'weightgate[client]'")
    zoo = ZooStore(home.zoo_folder)
    _check_private_records_unused(home, zoo, private)
    with open_workers(workers) as pool:
        progress(0, "fitting the encoder")
        data = _load_or_fit_encoder(home, plan, pool, train_reading_maps, progress)
        encoder = canonical.sha256_hex(data)
        todo = [task for task in specs if not zoo.has_entry(task.entry_key(encoder))]
        present = len(specs) - len(todo)
        progress(present, "rendering and encoding")
        # Tasks from files may have many more records than rendered ones; the largest come first.
        todo.sort(key=lambda spec: -spec.per_class)
        for number, (_, (packed_tensors, entry)) in enumerate(
            pool.run_jobs(_build_task_job, data, todo), 1
        ):
            zoo.write_entry(packed_tensors, entry)
            progress(present + number, entry.family)
        families = _families_to_build(zoo, plan, specs, encoder)
        private_todo = [
            family
            for family in private
            if not own_families.has_private_family(zoo, family, encoder)
        ]
        done_count = count_plan_entries(plan) - len(families) - len(private_todo)
        make = partial(
            _build_family_job, zoo.root, plan.own_sites, plan.family_network_architecture
        )
        for number, (_, family) in enumerate(pool.run_jobs(make, data, families), 1):
            progress(done_count + number, family)
        done_count += len(families)
        train = partial(_build_private_family_job, zoo.root)
        for number, (_, family) in enumerate(pool.run_jobs(train, data, private_todo), 1):
            progress(done_count + number, f"{family}: private, a head alone")
    return BuildResult(len(todo), present, encoder)


def count_plan_entries(plan: ZooPlan) -> int:
    """Return the number of all entries of a plan: tasks, and the operator's families."""
    specs = list_tasks(plan)
    return len(specs) + len(_families_with_heads(plan, specs)) + len(private_families(plan))


def _check_private_records_unused(
    home: ServerHome, zoo: ZooStore, private_families: Sequence[PrivateFamily]
) -> None:
    """Check that no records of private families were used before, without differential privacy.

    Raises:
        ConfigError: The zoo has tasks with these records, or the encoder was fitted on them.
    """
    paths = {Path(entry.task.path).resolve() for entry in zoo.read_entries() if entry.task.path}
    names: set[str] = set()
    if private_families and home.encoder_file.is_file():
        metadata = package.unpack_encoder(home.read_encoder()).metadata
        names = set(json.loads(metadata["sources"]))
    for family in private_families:
        if Path(family.task.path).resolve() in paths or family.task.name in names:
            raise ConfigError(
                f"source {family.task.name}: private, but {home.root} was built with its records"
                " before; make another home with 'wg-server init', and build that one"
            )


def build_task(encoder: encoders.Encoder, spec: TaskSpec) -> tuple[bytes, ZooEntry]:
    """Render or read one task and encode it; return the packed features, and the zoo entry."""
    task = sources.load_task(spec)
    features = encoder.encode(task.records, one_by_one=False)
    data = pack_encoded_task(EncodedTask(features, task.labels))
    entry = ZooEntry(
        key=spec.entry_key(encoder.id),
        encoder=encoder.id,
        task=spec,
        family=task.family,
        labels=task.class_names,
        records=len(task.labels),
        licence=task.licence,
        sha256=canonical.sha256_hex(data),
    )
    return data, entry


def _load_or_fit_encoder(
    home: ServerHome,
    plan: ZooPlan,
    pool: WorkerPool,
    train_reading_maps: ReadingMapTrainer | None,
    progress: ProgressCallback,
) -> bytes:
    """Return the home's encoder package, fitted if there is none; it must be for the modality."""
    if home.encoder_file.is_file():
        data = atomic.read_bytes(home.encoder_file, limit=package.PACKAGE_LIMIT)
        modality = encoders.load_encoder(data).modality
        if modality != plan.modality:
            raise ConfigError(
                f"{home.encoder_file}: this home's encoder is for {modality}, the plan's"
                f" architecture {plan.architecture} for {plan.modality}; a home serves one of them:"
                " make another home with 'wg-server init'"
            )
        return data
    data = fit_plan_encoder(plan, pool)
    data = _add_reading_maps(plan, data, pool, train_reading_maps, progress)
    atomic.write_bytes(home.encoder_file, data)
    return data


def _add_reading_maps(
    plan: ZooPlan,
    encoder_package: bytes,
    pool: WorkerPool,
    train_reading_maps: ReadingMapTrainer | None,
    progress: ProgressCallback,
) -> bytes:
    """Return an encoder package with the reading maps that a plan asks for, if it asks for any."""
    if train_reading_maps is None or not plan.machine_steps:
        return encoder_package

    def report(_: int, words: str) -> None:
        progress(0, f"reading map: {words}")

    return package.replace_reading_maps(encoder_package, train_reading_maps(plan, pool, report))


def fit_plan_encoder(plan: ZooPlan, pool: WorkerPool) -> bytes:
    """Fit a plan's encoder, and return its package; errors are those of ``read_plan_trunks``."""
    specs, kinds = list_tasks(plan), trunks.read_plan_trunks(plan)
    raw, groups, labels = encoder_fit_data(plan, specs, pool, kinds[0])
    return fit_encoder(
        raw,
        groups,
        labels,
        modality=plan.modality,
        dimension=plan.encoder.dimension,
        trunk_settings=kinds[0].settings(pixels=plan.encoder.pixels),
        source_names=sorted({spec.name for spec in specs}),
        trunks=kinds,
    )


def replace_encoder(
    home: ServerHome,
    plan: ZooPlan,
    *,
    workers: int,
    train_reading_maps: ReadingMapTrainer | None = None,
) -> str:
    """Fit the encoder of a plan, replace the home's encoder by it, and return the new id, hex.

    Zoo and generator must then be built again, since they are used only with the encoder that they
    were built with. Releases made with the old encoder are not pooled with new ones.

    Args:
        train_reading_maps: Function that trains the reading maps; None: no reading maps.

    Raises:
        DataError, ConfigError, DecodeError, VerificationError: See ``trunks.read_plan_trunks``.
    """
    with open_workers(workers) as pool:
        data = fit_plan_encoder(plan, pool)
        data = _add_reading_maps(plan, data, pool, train_reading_maps, lambda *_: None)
    atomic.write_bytes(home.encoder_file, data)
    return canonical.sha256_hex(data)


def encoder_fit_data(
    plan: ZooPlan, specs: Sequence[TaskSpec], pool: WorkerPool, trunk_kind: TrunkKind
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Compute raw features of the public records that an encoder is fitted on.

    Args:
        specs: All tasks of the plan; records come from evenly spaced ones.
        trunk_kind: Kind of the encoder's first trunk.

    Returns:
        The trunk's W raw features of n records, ``[n, W]``; the number of each record's task,
        ``[n]``; and its class in this task, ``[n]``.
    """
    records = plan.encoder.fit_record_count(plan.modality)
    count = max(1, min(len(specs), records // _FIT_RECORDS_PER_TASK))
    chosen_specs = [specs[i] for i in np.linspace(0, len(specs) - 1, count).astype(int)]
    share = -(-records // count)
    # Batching must not depend on the number of workers: it affects the encoder's hash.
    parts = [
        chosen_specs[start : start + _FIT_TASKS_PER_JOB]
        for start in range(0, count, _FIT_TASKS_PER_JOB)
    ]
    settings = trunk_kind.settings(pixels=plan.encoder.pixels)
    jobs = [(part, share, plan.modality, trunk_kind.choice(), settings) for part in parts]
    raw_by_task = dict(pool.run_jobs(_raw_features_and_labels, trunk_kind.file_bytes, jobs))
    pairs = [pair for number in range(len(jobs)) for pair in raw_by_task[number]]
    raw = np.concatenate([features for features, _ in pairs])
    groups = np.repeat(np.arange(count), [len(labels) for _, labels in pairs])
    return raw, groups, np.concatenate([labels for _, labels in pairs])


def _raw_features_and_labels(
    trunk_file: bytes, job: tuple[Sequence[TaskSpec], int, str, TrunkChoice, Mapping[str, str]]
) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Return raw features and labels of randomly selected records of each task.

    A job has tasks, number of records of each, modality, and choice and settings of the trunk.
    """
    specs, share, modality, choice, settings = job
    (kind,) = package.choose_trunks(modality, (choice,), {choice.file: trunk_file})
    records: list[Record] = []
    labels = []
    for spec in specs:
        task = sources.load_task(spec)
        rng = streams.stream_generator(Stream.ENCODER_RECORDS, spec.seed, spec.family, spec.site)
        rows = rng.permutation(len(task.records))[:share]
        records += [task.records[row] for row in rows]
        labels.append(task.labels[rows])
    raw = encoders.compute_raw_features(
        records, modality=modality, trunk_settings=settings, trunk=kind
    )
    parts = np.split(raw, np.cumsum([len(part) for part in labels])[:-1])
    return list(zip(parts, labels, strict=True))


def _families_to_build(
    zoo: ZooStore, plan: ZooPlan, specs: Sequence[TaskSpec], encoder_sha256: str
) -> list[TaskSpec]:
    """Return the first task of each of the operator's families that the zoo lacks."""
    settings = plan.own_sites, plan.family_network_architecture
    return [
        spec
        for spec in _families_with_heads(plan, specs)
        if not own_families.has_family(zoo, spec, encoder_sha256, *settings)
    ]


def _families_with_heads(plan: ZooPlan, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    """Return the first task of each of the operator's families; empty if none gets a head."""
    return own_families.first_family_tasks(specs) if plan.own_sites else []


def _build_task_job(encoder_package: bytes, spec: TaskSpec) -> tuple[bytes, ZooEntry]:
    return build_task(_load_encoder_cached(encoder_package), spec)


def _build_private_family_job(root: Path, encoder_package: bytes, family: PrivateFamily) -> str:
    return own_families.build_private_family(
        ZooStore(root), _load_encoder_cached(encoder_package), family
    ).family


def _build_family_job(
    root: Path, site_count: int, architecture: str, encoder_package: bytes, spec: TaskSpec
) -> str:
    return own_families.build_family(
        ZooStore(root), _load_encoder_cached(encoder_package), spec, site_count, architecture
    ).family


@lru_cache(1)
def _load_encoder_cached(encoder_package: bytes) -> encoders.Encoder:
    """Load an encoder once in each process, because loading takes longer than a task."""
    return encoders.load_encoder(encoder_package)
