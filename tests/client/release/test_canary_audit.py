"""The empirical audit finds planted bugs, and passes the code as it is.

Noise is simulated from a seed, so that a verdict never changes from run to run, but for one run
with the installed sampler, which fails with a probability of 2e-5. The default suite plants a few
bugs; the slow tests all of them with twenty seeds.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.client.conftest import remembering
from tests.client.release.planted_bugs import ALL, changed_noise, halved

from wg_audit import cli
from wg_audit.installed import audit as installed
from wg_audit.installed import probes
from wg_audit.installed.audit import Report
from wg_audit.installed.plant import Fresh, Setup
from wg_audit.installed.probes import Size
from wg_client.release import canary_audit
from wg_common.nets.encoder.module import load_encoder
from wg_core.errors import ConfigError, ExitCode
from wg_core.privacy import mechanism
from wg_core.privacy.simulate import simulate_release

SMALL = Size(canaries=8, snapshots=2)
SEEDS = range(20)
QUICK = (
    "centre taken from exact statistics",
    "one salt for two snapshots",
    "noise drawn before the charge",
)


def audited(encoder: bytes, seed: int, load: Callable[[bytes], Any] = remembering) -> Report:
    rng = np.random.default_rng(seed + 1000)
    return installed.audit(
        canary_audit.plants(encoder, load=load),
        size=SMALL,
        seed=seed,
        sampler=lambda values, sigma: simulate_release(values, sigma, rng),
    )


def failed(report: Report) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def is_found(bug: str, encoder: bytes, seed: int) -> None:
    plant, check = ALL[bug]
    load = load_encoder if check == probes.ENCODER else remembering
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        report = audited(encoder, seed, load)
    assert not report.passed
    assert check in failed(report), report.checks


@pytest.mark.parametrize("bug", QUICK)
def test_a_planted_bug_is_found(bug: str, encoder_package: bytes) -> None:
    is_found(bug, encoder_package, 0)


@pytest.mark.slow
@pytest.mark.parametrize("bug", ALL)
def test_a_planted_bug_is_found_for_every_seed(bug: str, encoder_package: bytes) -> None:
    for seed in SEEDS:
        is_found(bug, encoder_package, seed)


@pytest.mark.slow
def test_the_code_as_it_is_passes_for_every_seed(encoder_package: bytes) -> None:
    for seed in SEEDS:
        report = audited(encoder_package, seed)
        assert report.passed, (seed, failed(report))
        assert report.questions == SMALL.questions
        assert report.bounds is not None
        assert report.bounds.canaries == 8 * 2 * 4


@pytest.mark.slow
def test_canaries_alone_find_halved_noise(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_noise(halved)(monkeypatch)
    report = installed.audit(canary_audit.plants(encoder_package, load=remembering))
    assert installed.CANARIES in failed(report)
    assert report.bounds is not None
    assert report.bounds.clopper_pearson > report.epsilon


def test_the_command_runs_the_installed_sampler_and_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, encoder_package: bytes
) -> None:
    monkeypatch.setattr(probes, "Size", lambda: SMALL)
    plants = canary_audit.plants(encoder_package, load=remembering)
    monkeypatch.setattr(cli, "entry_points", lambda group: [_EntryPoint(plants)])
    done = CliRunner().invoke(cli.group, ["empirical", "--json"], standalone_mode=False)
    document = json.loads(done.stdout)
    assert done.return_value == 0
    assert document["passed"]
    assert done.stderr.startswith(f"questions to made-up plants: 0/{SMALL.questions}")
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(f"questions to made-up plants: {SMALL.questions}/")


@pytest.mark.parametrize("count", [0, 2])
def test_without_the_one_program_to_audit_the_command_fails(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [object()] * count)
    with pytest.raises(ConfigError, match="nothing was audited"):
        CliRunner().invoke(cli.group, ["empirical"], standalone_mode=False, catch_exceptions=False)


def refusing(setup: Setup) -> Any:
    raise RuntimeError("no plant today")


def test_what_cannot_be_looked_at_fails() -> None:
    report = installed.audit(refusing, size=SMALL)
    assert not report.passed
    assert {probes.ANSWERED, probes.CENTRED} <= failed(report)
    assert report.bounds is None


@pytest.mark.slow
def test_a_release_that_asks_for_no_noise_is_found(
    encoder_package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanism, "release", lambda exact, sigma, sampler: exact.copy())
    assert {probes.ANSWERED, probes.EXACT, probes.ORDER} <= failed(audited(encoder_package, 0))


def test_a_failed_audit_ends_the_command_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: [_EntryPoint(refusing)])
    done = CliRunner().invoke(cli.group, ["empirical"], standalone_mode=False)
    assert done.return_value == ExitCode.VERIFICATION
    assert f"FAILS: {probes.ANSWERED} (RuntimeError: no plant today" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED")


@dataclasses.dataclass(frozen=True)
class _EntryPoint:
    """An installed client."""

    plants: Fresh

    def load(self) -> Callable[[], Fresh]:
        return lambda: self.plants


def test_the_client_is_what_the_command_finds() -> None:
    from importlib.metadata import EntryPoint

    text = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    assert f'[project.entry-points."{cli.PLANTS_GROUP}"]' in text
    value = text.split(f'"{cli.PLANTS_GROUP}"]\nclient = "')[1].split('"')[0]
    assert EntryPoint("client", value, cli.PLANTS_GROUP).load() is canary_audit.plants


def test_a_made_up_encoder_has_public_dimensions() -> None:
    from wg_core.privacy.schema import DIMENSION

    encoder = load_encoder(canary_audit.made_up_encoder())
    assert encoder.dimension == DIMENSION
    assert math.isclose(encoder.clip_radius, 1.0)
