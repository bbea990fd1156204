"""Drawing training episodes ahead in worker processes: the same episodes, sooner."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.simulation.episodes import Episode, Plants, Scenario
from wg_server.zoo.workers import pool


@dataclass(frozen=True, slots=True)
class Draw:
    """What the episodes of a step depend on, beside the plants and the step.

    Attributes:
        seed: Of everything random.
        numbers: Which of a step's episodes are wanted. Each has a generator of its own.
    """

    seed: int
    numbers: range

    def episodes(self, plants: Plants, step: int) -> list[Episode]:
        """The episodes of one step."""
        return [
            plants.draw(streams.rng(Stream.EPISODE, self.seed, then=(step, number)), Scenario())
            for number in self.numbers
        ]


def batches(
    plants: Plants, draw: Draw, steps: Sequence[int], workers: int
) -> Generator[list[Episode], None, None]:
    """Episodes of each step, in order.

    Args:
        plants: Where they are drawn from.
        draw: Seed and numbers.
        steps: The steps wanted.
        workers: Processes; 0 draws in line.
    """
    if workers == 0:
        for step in steps:
            yield draw.episodes(plants, step)
        return
    with pool(workers, _start, (plants, draw)) as processes:
        waiting: deque[Future[list[Episode]]] = deque()
        try:
            for step in steps:
                waiting.append(processes.submit(_work, step))
                if len(waiting) > 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


_STATE: dict[str, tuple[Plants, Draw]] = {}
"""A worker process's plants, received once."""


def _start(plants: Plants, draw: Draw) -> None:
    _STATE["now"] = (plants, draw)


def _work(step: int) -> list[Episode]:
    plants, draw = _STATE["now"]
    return draw.episodes(plants, step)
