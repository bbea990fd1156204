"""What is expected of others' releases rises with their number and epsilon, and stays in bounds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wg_server.campaigns.worth import LEAST_POINTS, by_model
from wg_server.cli import campaign
from wg_server.generator import versions
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.expectation import CEILING, expected_points, known_share
from wg_server.generator.weights import head_generation
from wg_server.site.home import ServerHome

D = 6
PRIORS = Priors(np.eye(D), np.full(D, 0.01), np.full(D, 0.02), np.full(D, 0.05), 50 * np.eye(D))


def _share(sites: int, epsilon: float, records: int = 20) -> float:
    return known_share(PRIORS, sites, epsilon, 1e-5, classes=4, records=records)


def test_more_sites_more_records_and_a_larger_epsilon_tell_more() -> None:
    shares = [_share(1, 0.5), _share(1, 2), _share(8, 2), _share(8, 2, records=80), _share(800, 8)]
    assert shares[0] >= 0 and shares == sorted(set(shares)) and shares[-1] < 1


def test_no_site_tells_nothing() -> None:
    assert _share(0, 4) == pytest.approx(0, abs=1e-9)


def test_points_lie_between_chance_and_the_ceiling() -> None:
    points = [expected_points(PRIORS, n, 4, 1e-5, classes=4, records=20) for n in (1, 10, 1000)]
    assert 0 < points[0] < points[1] < points[2] < 100 * (CEILING - 1 / 4)


@pytest.mark.parametrize(("sites", "worth"), [(40, "about"), (1, "nothing")])
def test_a_campaign_says_first_what_its_sites_are_worth_to_one_another(
    sites: int, worth: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = SimpleNamespace(priors=PRIORS)
    monkeypatch.setattr(head_generation, "load_generator", lambda _: SimpleNamespace(parts=parts))
    monkeypatch.setattr(versions, "ready", lambda _: SimpleNamespace(heads=None))
    progress = SimpleNamespace(sites_asked=sites)
    queued: Any = SimpleNamespace(tasks=sites * [None], progress=progress)
    campaign._say_expected(queued, by_model(ServerHome(Path("home")), 4.0, 1e-5))
    said = capsys.readouterr().err
    assert f"{sites - 1} other sites" in said and worth in said


def test_a_generator_that_cannot_be_read_expects_by_names(home: ServerHome) -> None:
    expected = by_model(home, 4.0, 1e-5)
    assert expected(0) == 0.0 and expected(1) >= LEAST_POINTS
