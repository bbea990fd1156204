"""Building the zoo: fit the encoder once, then render, encode and train each task.

Tasks are independent; they run in worker processes and are written by them. What is done is never
done again, so a build that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common import atomic, canonical
from wg_common.errors import ConfigError
from wg_common.nets import encoder as encoders
from wg_server.home import ServerHome
from wg_server.zoo import contributions, heads, networks, sources
from wg_server.zoo import workers as workers_of
from wg_server.zoo.plan import TaskSpec, ZooPlan, tasks
from wg_server.zoo.store import Entry, Weights, Zoo, pack

log = logging.getLogger(__name__)

_FIT_PER_TASK = 48
Progress = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did.

    Attributes:
        made: Entries made now.
        kept: Entries there before.
        encoder: The encoder's id.
        contributions: Contributed checkpoints taken in now.
    """

    made: int
    kept: int
    encoder: str
    contributions: int


def build(home: ServerHome, plan: ZooPlan, *, workers: int, progress: Progress) -> Built:
    """Build all tasks of a plan that are not there yet.

    Args:
        home: The server's home; its zoo folder is made if needed.
        plan: What to build.
        workers: Number of processes.
        progress: Called with the number of finished tasks and a few words.

    Raises:
        DataError: A source cannot be read.
        ConfigError: The folder cannot be written.
        VerificationError: A contribution does not hold.
    """
    plan = sources.available(plan)
    wanted = tasks(plan)
    progress(0, "fitting the encoder")
    data = _encoder(home, plan, wanted, workers)
    encoder = canonical.sha256_hex(data)
    taken = contributions.take_in(home, plan, encoder)
    zoo = Zoo(home.zoo)
    todo = [task for task in wanted if not zoo.has(task.key(encoder))]
    kept = len(wanted) - len(todo)
    progress(kept, "rendering, encoding, training")
    for number, name in enumerate(_run(home, plan.architecture, data, todo, workers), 1):
        progress(kept + number, name)
    if plan.networks is not None:
        built = {task.key(encoder) for task in wanted}
        entries = [entry for entry in zoo.entries(encoder) if entry.key in built]
        for name in networks.build(zoo, entries, plan.networks, seed=plan.seed, workers=workers):
            progress(len(wanted), name)
    return Built(len(todo), kept, encoder, taken)


def build_task(zoo: Zoo, architecture: str, encoder: encoders.Encoder, spec: TaskSpec) -> Entry:
    """Render or read one task, encode it, train its head, and store it."""
    task = sources.load(spec)
    features = encoder.encode(task.images)
    labels, classes = task.labels, len(task.names)
    rng = np.random.default_rng((spec.seed, spec.family, spec.site, 7))
    order = rng.permutation(len(labels))
    held, train = order[: len(order) // 5], order[len(order) // 5 :]
    weight, bias = heads.fit_head(features[train], labels[train], classes)
    accuracy = heads.accuracy(weight, bias, features[held], labels[held])
    weight, bias = heads.fit_head(features, labels, classes)
    data = pack(Weights(features, labels, weight.astype(np.float32), bias.astype(np.float32)))
    entry = Entry(
        key=spec.key(encoder.id),
        encoder=encoder.id,
        architecture=architecture,
        task=spec,
        family=task.family,
        labels=task.names,
        records=len(labels),
        licence=task.licence,
        accuracy=f"{accuracy:.4f}",
        sha256=canonical.sha256_hex(data),
    )
    zoo.write(data, entry)
    return entry


def _encoder(home: ServerHome, plan: ZooPlan, wanted: Sequence[TaskSpec], workers: int) -> bytes:
    """The home's encoder. One that is there is kept: plants hold it."""
    if home.encoder.is_file():
        data = atomic.read_bytes(home.encoder, limit=encoders.PACKAGE_LIMIT)
        encoders.load_encoder(data)
        return data
    if not wanted:
        raise ConfigError("zoo: contributions alone cannot fit an encoder; add another source")
    count = max(1, min(len(wanted), plan.encoder.images // _FIT_PER_TASK))
    chosen = [wanted[i] for i in np.linspace(0, len(wanted) - 1, count).astype(int)]
    share = -(-plan.encoder.images // count)
    parts = [chosen[start::workers] for start in range(min(workers, count))]
    jobs = [(part, share, plan.encoder.pixels) for part in parts]
    if workers > 1:
        with workers_of.pool(workers) as pool:
            found = list(pool.map(_raw, jobs))
    else:
        found = [_raw(job) for job in jobs]
    # The order of tasks must not depend on the number of workers: the package's hash is its name.
    raw: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * count
    for start, part in enumerate(found):
        raw[start::workers] = part
    groups = np.repeat(np.arange(count), [len(part) for part in raw])
    data = encoders.fit_encoder(
        np.concatenate(raw),
        groups,
        dimension=plan.encoder.dimension,
        pixels=plan.encoder.pixels,
        sources=sorted({spec.name for spec in wanted}),
    )
    atomic.write_bytes(home.encoder, data)
    return data


def _raw(job: tuple[Sequence[TaskSpec], int, int]) -> list[NDArray[np.float32]]:
    """Raw features of a share of each task's images."""
    specs, share, pixels = job
    images: list[NDArray[np.uint8]] = []
    sizes = []
    for spec in specs:
        task = sources.load(spec)
        rng = np.random.default_rng((spec.seed, spec.family, spec.site, 8))
        rows = rng.permutation(len(task.images))[:share]
        images += [task.images[row] for row in rows]
        sizes.append(len(rows))
    raw = encoders.raw_features(images, pixels=pixels)
    return list(np.split(raw, np.cumsum(sizes)[:-1]))


def _run(
    home: ServerHome, architecture: str, data: bytes, todo: Sequence[TaskSpec], workers: int
) -> Iterator[str]:
    """Build tasks and yield their families as they finish."""
    if workers == 1 or len(todo) < 2:
        encoder = encoders.load_encoder(data)
        for spec in todo:
            with workers_of.threads(1):
                family = build_task(Zoo(home.zoo), architecture, encoder, spec).family
            yield family
        return
    with workers_of.pool(workers) as pool:
        waiting: set[Future[str]] = set()
        queue = iter(todo)
        try:
            while True:
                for spec in queue:
                    waiting.add(pool.submit(_work, home.zoo, architecture, data, spec))
                    if len(waiting) >= 4 * workers:
                        break
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_LOADED: dict[str, encoders.Encoder] = {}
"""A worker process's encoder, by its package's hash: loading takes longer than a task."""


def _work(zoo: Path, architecture: str, data: bytes, spec: TaskSpec) -> str:
    name = canonical.sha256_hex(data)
    if name not in _LOADED:
        _LOADED[name] = encoders.load_encoder(data)
    return build_task(Zoo(zoo), architecture, _LOADED[name], spec).family
