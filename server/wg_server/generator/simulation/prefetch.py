"""Drawing the batches of a training ahead, in worker processes: the same batches, sooner."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from wg_server.zoo.workers import pool

B = TypeVar("B")


def batches(
    draw: Callable[[int], B], steps: Sequence[int], workers: int
) -> Generator[B, None, None]:
    """The batch of each step, in order.

    Args:
        draw: Gives the batch of a step, and depends on nothing else. Workers receive it once, so
            it and its batches can be pickled.
        workers: Processes; 0 draws in line.
    """
    if workers == 0:
        yield from map(draw, steps)
        return
    with pool(workers, _start, (draw,)) as processes:
        waiting: deque[Future[B]] = deque()
        try:
            for step in steps:
                waiting.append(processes.submit(_work, step))
                if len(waiting) > 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


_STATE: dict[str, Callable[[int], Any]] = {}  # What a worker process draws with, received once


def _start(draw: Callable[[int], Any]) -> None:
    _STATE["now"] = draw


def _work(step: int) -> Any:
    return _STATE["now"](step)
