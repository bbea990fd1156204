"""A fault at every file call of what charges, releases, installs and remembers: nothing is lost,
doubled or halved, the error is a clear one, and afterwards the work can be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults import sweep
from tests.faults.sweep import Report

STRIDES = {
    "files": 1,
    "ledger": 13,
    "answer": 41,
    "freeze": 47,
    "inbox": 11,
    "models": 7,
    "store": 17,
    "generator": 5,
}
"""In the default suite every so many calls are hit, in a run of seconds; in the slow one all."""
CALLS = {
    "files": 25,
    "ledger": 120,
    "answer": 200,
    "freeze": 200,
    "inbox": 100,
    "models": 60,
    "generator": 20,
}
"""A part of the calls that each makes: fewer would mean that the shim does not see them."""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = sweep.compile_shim(tmp_path_factory.mktemp("shim"))
    if library is None:
        pytest.skip("faults in file calls need Linux and a C compiler (cc)")
    return library


def check(report: Report) -> None:
    assert not report.failures, "\n".join([f"{len(report.failures)} faults", *report.failures[:3]])
    assert report.outcomes["killed"].keys() == {"killed"}
    assert report.outcomes["full"].get("error"), report.outcomes


@pytest.mark.parametrize("scenario", STRIDES)
def test_a_fault_in_a_file_call_loses_nothing(shim: Path, tmp_path: Path, scenario: str) -> None:
    report = sweep.sweep(shim, scenario, tmp_path, every=STRIDES[scenario])
    check(report)
    assert report.faults * STRIDES[scenario] > CALLS.get(scenario, 60)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", STRIDES)
def test_a_fault_in_any_file_call_loses_nothing(shim: Path, tmp_path: Path, scenario: str) -> None:
    report = sweep.sweep(shim, scenario, tmp_path, every=1)
    check(report)
    assert report.faults > CALLS.get(scenario, 60)


def test_the_sweep_finds_a_write_that_is_not_atomic(shim: Path, tmp_path: Path) -> None:
    report = sweep.sweep(shim, "careless", tmp_path, every=1)
    assert {failure.split()[0] for failure in report.failures} == {"full", "io", "killed"}
