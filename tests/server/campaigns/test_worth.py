"""A campaign asks no site at which the releases of others would buy nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from tests.server.campaigns.nodes import SITES, Nodes, Stage, make_stage, states, stored
from tests.server.generators import install

from wg_core.errors import ConfigError, DecodeError
from wg_server.campaigns import intake, reasons, starting, worth
from wg_server.campaigns.starting import Order
from wg_server.site.home import ServerHome
from wg_server.store import troubles
from wg_server.store.campaigns import NOT_WORTH, Campaign
from wg_server.store.releases import StoredRelease
from wg_server.store.sites import Store

LEFT_OUT = ("cancelled", NOT_WORTH)


@pytest.fixture
def stage(home: ServerHome, store: Store, monkeypatch: pytest.MonkeyPatch) -> Stage:
    install(home)
    return make_stage(home, store, monkeypatch, Nodes())


@pytest.fixture
def names(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Class names that each site stated, as letters: ``plant-c`` is alone with its own."""
    stated = {"plant-a": "xy", "plant-b": "yz", "plant-c": "q"}

    def stated_by(release: StoredRelease) -> SimpleNamespace:
        if not stated[release.site]:
            raise DecodeError("damaged")
        return SimpleNamespace(labels=tuple(stated[release.site]))

    monkeypatch.setattr(intake, "stated_by", stated_by)
    for number, site in enumerate(SITES):
        stage.store.add_release(stored(site, epsilon=str(number)))  # the first is a statement
    return stated


def start(stage: Stage, **words: object) -> Campaign:
    return starting.start(stage.home, stage.store, Order(grace_seconds=0.0, **words))  # type: ignore[arg-type]


def test_a_fleet_that_has_said_nothing_is_asked_as_a_whole(stage: Stage) -> None:
    assert states(start(stage)) == dict.fromkeys(SITES, ("waiting", ""))


def test_a_site_that_is_alone_with_its_class_names_is_not_asked_and_it_is_said_why(
    stage: Stage, names: dict[str, str]
) -> None:
    campaign = start(stage)
    assert states(campaign) == dict.fromkeys(SITES[:2], ("waiting", "")) | {"plant-c": LEFT_OUT}
    sight = troubles.sights(stage.store, names=["plant-c"])["plant-c"]
    part = campaign.task("plant-c")
    said = [reasons.of_task(campaign, part, sight, 0.0, code) for code in ("en", "ja")]
    assert "its budget is kept" in said[0].why and "予算" in said[1].why
    assert all("--epsilon 0" in reason.do for reason in said)
    with stage.working():
        ended = stage.wait(campaign, lambda found: found.finished is not None)
    assert ended.state == "done" and ended.task("plant-c").tries == 0
    assert reasons.of_campaign(ended, 0.0).startswith("2 of 2")
    again = starting.retry(stage.home, stage.store, campaign.id, "plant-c")
    assert states(again)["plant-c"] == ("waiting", "")


def test_a_site_of_unknown_names_may_be_of_any_kind(stage: Stage, names: dict[str, str]) -> None:
    names["plant-b"] = ""
    assert states(start(stage)) == dict.fromkeys(SITES, ("waiting", ""))


@pytest.mark.parametrize("words", [{"sites": SITES}, {"epsilon": "0"}], ids=str)
def test_sites_that_are_named_and_questions_that_are_free_go_out_all_the_same(
    stage: Stage, names: dict[str, str], words: dict[str, object]
) -> None:
    assert states(start(stage, **words)) == dict.fromkeys(SITES, ("waiting", ""))


def test_where_the_model_expects_less_than_two_points_of_all_nobody_is_asked(
    stage: Stage, names: dict[str, str]
) -> None:
    for points, asked in ((1.9, []), (2.0, ["plant-a", "plant-b"])):
        found = worth.left_out(stage.store, SITES, lambda others, p=points: p * bool(others), "")  # type: ignore[misc]
        assert [site for site in SITES if site not in found] == asked
    names.update(dict(zip(SITES, "abc", strict=True)))
    with pytest.raises(ConfigError, match="nobody is asked"):
        start(stage)
    assert stage.queue.all() == []
