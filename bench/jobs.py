"""What processes of the generator's benchmark do: train a baseline, cut a data set, judge a plant.

Baselines and cuts are kept in the cache by content, so that a process reads what another has made.
Only the process that asked writes results.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from bench import installed
from bench.baselines import Metric, trained
from bench.methods import TUNED, TUNED_QUICK, Cell, Methods, judge
from bench.plants import Plants, cut
from bench.reference.course import Course, course
from bench.reference.d2nwg import D2nwg, d2nwg
from bench.reference.deepsets import SetNetwork, set_network

from wg_common import streams
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.streams import Stream
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
        cache: Folder of trained baselines and cut data sets.
        quick: Baselines with less training, and fewer heads after local training.
    """

    home: Path
    datasets: Path
    cache: Path
    quick: bool


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

    @cached_property
    def _course(self) -> Course:
        return course(self._home, self._setting.cache)

    @cached_property
    def _methods(self) -> Methods:
        return Methods(
            self._generator,
            self._metrics(),
            self._sets(),
            self._reference(),
            TUNED_QUICK if self._setting.quick else TUNED,
        )

    def prepare(self, name: str) -> None:
        """Train a baseline of ``TRAINED``, unless it is in the cache."""
        TRAINED[name](self)

    def plants(self, dataset: str, seed: int, strength: float) -> Plants | None:
        """A data set cut up, once; None if it is not there."""
        setting, identity = self._setting, self._generator.parts.encoder
        return cut(
            self._encoder, identity, setting.datasets, dataset, seed, strength, setting.cache
        )

    def judge(self, group: Group) -> list[Scores] | None:
        """Scores of each cell; None if the data set is not there."""
        plants = self.plants(group.dataset, group.seed, group.cells[0].camera)
        return None if plants is None else judge(self._methods, plants, group.cells, group.seed)

    def _metrics(self) -> dict[str, Metric]:
        found, priors = self._course, self._generator.parts.priors
        plan = found.plan

        def train() -> dict[str, torch.Tensor]:
            data = found.data
            rng = streams.rng(Stream.BASELINE_EPISODES, plan.seed)
            episodes = data.train.draw_many(rng, 4 * plan.episodes)
            maps = trained(priors, data.training_tasks, episodes, plan.seed)
            return {name: torch.from_numpy(metric.matrix) for name, metric in maps.items()}

        kept = found.keep("meta", {"episodes": 4 * plan.episodes, "version": 3}, train)
        return {name: Metric(matrix.numpy()) for name, matrix in kept.items()}

    def _sets(self) -> SetNetwork:
        return set_network(self._course, episodes=self._training[0], steps=self._training[1])

    def _reference(self) -> D2nwg:
        return d2nwg(self._course, episodes=self._training[0], steps=2 * self._training[1])

    @property
    def _training(self) -> tuple[int, int]:
        """Simulated plants and steps of the set network; D2NWG takes twice the steps."""
        return (600, 400) if self._setting.quick else (3000, 1500)


TRAINED: dict[str, Callable[[Bench], object]] = {
    "d2nwg": Bench._reference,
    "metrics": Bench._metrics,
    "deepsets": Bench._sets,
}
"""Trained baselines, the longest training first."""


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
        for name in TRAINED:
            bench.prepare(name)
        say("baselines are ready")
        for group in groups:
            yield group, bench.judge(group)
        return
    with pool(workers, _start, (setting,)) as processes:
        try:
            # Each cut is made by one process, while another is still at the longest training.
            cuts = dict.fromkeys((g.dataset, g.seed, g.cells[0].camera) for g in groups)
            first = [processes.submit(_prepare, name) for name in TRAINED]
            first += [processes.submit(_cut, *which) for which in cuts]
            for future in first:
                future.result()
            say("baselines are ready")
            waiting = {processes.submit(_judge, group): group for group in groups}
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


_STATE: dict[str, Bench] = {}  # A worker process's bench


def _start(setting: Setting) -> None:
    _STATE["now"] = Bench(setting)


def _prepare(name: str) -> None:
    _STATE["now"].prepare(name)


def _cut(dataset: str, seed: int, strength: float) -> None:
    _STATE["now"].plants(dataset, seed, strength)


def _judge(group: Group) -> list[Scores] | None:
    return _STATE["now"].judge(group)
