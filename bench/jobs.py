"""What processes of the generator's benchmark do: cut a data set, judge a plant.

Cuts are kept in the cache by content, so that a process reads what another has made. Only the
process that asked writes results.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench import installed
from bench.methods import Cell, judge
from bench.plants import Plants, cut

from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator.weights.head_generation import Generator
from wg_server.site.home import ServerHome
from wg_server.zoo.workers import pool

Scores = dict[str, float]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where everything lies.

    Attributes:
        home: A server's home, trained.
        datasets: Folder of the data sets.
        cache: Folder of cut data sets.
    """

    home: Path
    datasets: Path
    cache: Path


@dataclass(frozen=True, slots=True)
class Group:
    """Cells of one plant: they differ in epsilon only, so that labels are trained on once."""

    dataset: str
    seed: int
    cells: tuple[Cell, ...]


def grouped(dataset: str, seed: int, cells: Sequence[Cell]) -> list[Group]:
    """Cells of a data set by plant, in order."""
    found: dict[Cell, list[Cell]] = {}
    for cell in cells:
        found.setdefault(dataclasses.replace(cell, epsilon=0.0), []).append(cell)
    return [Group(dataset, seed, tuple(group)) for group in found.values()]


class Bench:
    """What is judged, and on what; each part is made when it is first needed."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._home = ServerHome(setting.home)

    @cached_property
    def _generator(self) -> Generator:
        return installed.heads(self._home)

    @cached_property
    def _encoder(self) -> Encoder:
        return load_encoder(self._home.read_encoder())

    def plants(self, dataset: str, seed: int, strength: float) -> Plants | None:
        """A data set cut up, once; None if it is not there."""
        setting, identity = self._setting, self._generator.parts.encoder
        return cut(
            self._encoder, identity, setting.datasets, dataset, seed, strength, setting.cache
        )

    def judge(self, group: Group) -> list[Scores] | None:
        """Scores of each cell; None if the data set is not there."""
        plants = self.plants(group.dataset, group.seed, group.cells[0].camera)
        return None if plants is None else judge(self._generator, plants, group.cells, group.seed)


def judged(
    setting: Setting, groups: Sequence[Group], workers: int, say: Say
) -> Iterator[tuple[Group, list[Scores] | None]]:
    """Judge groups over processes; they come in the order in which they are done.

    Args:
        workers: Processes; 1 works in this one.
    """
    if not groups:
        return
    if workers == 1:
        bench = Bench(setting)
        for group in groups:
            yield group, bench.judge(group)
        return
    with pool(workers, _start, (setting,)) as processes:
        try:
            # Each cut is made by one process.
            cuts = dict.fromkeys((g.dataset, g.seed, g.cells[0].camera) for g in groups)
            for future in [processes.submit(_cut, *which) for which in cuts]:
                future.result()
            say("data sets are cut")
            waiting = {processes.submit(_judge, group): group for group in groups}
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


_STATE: dict[str, Bench] = {}  # A worker process's bench


def _start(setting: Setting) -> None:
    _STATE["now"] = Bench(setting)


def _cut(dataset: str, seed: int, strength: float) -> None:
    _STATE["now"].plants(dataset, seed, strength)


def _judge(group: Group) -> list[Scores] | None:
    return _STATE["now"].judge(group)
