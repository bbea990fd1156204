"""Work beside a training is done in another process, and gives what it would give here."""

from __future__ import annotations

import os

import pytest

from wg_server.generator.training import beside


def _sum(numbers: list[int]) -> tuple[int, int]:
    return sum(numbers), os.getpid()


def _fails() -> None:
    raise ValueError("as it should")


@pytest.mark.parametrize("workers", [0, 1])
def test_work_beside_gives_the_same_and_says_what_went_wrong(workers: int) -> None:
    with beside.opened(workers) as begin:
        total, process = begin(_sum, [1, 2, 3])()
        with pytest.raises(ValueError, match="as it should"):
            begin(_fails)()
    assert total == 6
    assert (process == os.getpid()) == (workers == 0)
