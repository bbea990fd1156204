"""What ``check`` points out before a release is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import MakePlant

from wg_client.release.preview import preview_release
from wg_client.release.release_hints import RecordCounts, class_statistics_hints
from wg_core.site.config import PrivacyConfig

ROOT = Path(__file__).parents[3]


def hints(
    records_by_label: dict[str, int] | None = None,
    noise: float = 8.0,
    cap_epsilon: float = 8.0,
    cap_delta: float = 1e-5,
) -> tuple[str, ...]:
    counts = RecordCounts(
        path="",
        records=60,
        unlabelled=0,
        per_label=records_by_label or {"ok": 60, "never": 0},
        modality="windows",
        units=60,
    )
    return class_statistics_hints(counts, noise, cap_epsilon, cap_delta)


@pytest.mark.parametrize(
    ("records_by_label", "message"),
    [
        ({"ok": 60, "never": 0}, "classes that have no label here (never): +3 points"),
        ({"ok": 60, "rare": 10}, "rarely add more than two points"),
        ({"ok": 60, "scratch": 20}, "keep your budget: every class has 20 labels"),
    ],
)
def test_a_usual_plant_is_told_what_others_releases_may_bring_it(
    records_by_label: dict[str, int], message: str
) -> None:
    (found,) = hints(records_by_label)
    assert message in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cap_epsilon": 1e6}, "cap_epsilon 1e+06: nobody is protected"),
        ({"cap_delta": 0.01}, "may fail for one of 60 units; take 2e-04"),
        ({"records_by_label": {"rare": 3}}, "8 records per class"),
        ({"noise": 8e9}, "too few records for this epsilon"),
    ],
)
def test_a_price_that_buys_or_promises_nothing_is_pointed_out(
    change: dict[str, Any], message: str
) -> None:
    _, found = hints(**change)
    assert message in found


def test_one_record_at_almost_no_epsilon_under_a_huge_cap(make_plant: MakePlant) -> None:
    privacy = PrivacyConfig(cap_epsilon="1000000", max_request_epsilon="4")
    found = preview_release(make_plant({0: 1}, privacy=privacy).home, epsilon="1e-4")
    assert len(found.hints) == 4
