"""A campaign charges no site whose class names nobody is known to share."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from tests.server.campaigns.nodes import SITES, Nodes, Stage, make_stage, states, stored
from tests.server.generators import install

from wg_core.errors import ConfigError, DecodeError
from wg_server.campaigns import campaign_orders, expected_benefit, release_intake, status_reasons
from wg_server.campaigns.campaign_orders import CampaignOrder
from wg_server.campaigns.expected_benefit import ClassNameOverlap
from wg_server.site.home import ServerHome
from wg_server.store import site_refusals
from wg_server.store.campaigns import NO_EARLIER_ANSWER_CODE, NO_SHARED_CLASS_NAMES_CODE, Campaign
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore

LEFT_OUT = ("cancelled", NO_SHARED_CLASS_NAMES_CODE)


@pytest.fixture
def stage(home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch) -> Stage:
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

    monkeypatch.setattr(release_intake, "recipient_without_statistics", stated_by)
    for number, site in enumerate(SITES):
        stage.store.add_release(stored(site, epsilon=str(number)))  # the first is a statement
    return stated


def start(stage: Stage, **words: object) -> Campaign:
    order = CampaignOrder(grace_seconds=0.0, **words)  # type: ignore[arg-type]
    return campaign_orders.queue_campaign(stage.home, stage.store, order)


def test_a_fleet_that_has_stated_nothing_is_first_asked_at_no_cost(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="--epsilon 0"):
        start(stage)
    assert stage.queue.newest_campaigns() == []
    assert states(start(stage, epsilon="0")) == dict.fromkeys(SITES, ("waiting", ""))


def test_a_site_that_is_alone_with_its_class_names_is_not_asked_and_it_is_said_why(
    stage: Stage, names: dict[str, str]
) -> None:
    campaign = start(stage)
    assert states(campaign) == dict.fromkeys(SITES[:2], ("waiting", "")) | {"plant-c": LEFT_OUT}
    status = site_refusals.site_statuses_by_name(stage.store, site_names=["plant-c"])["plant-c"]
    part = campaign.find_task("plant-c")
    said = [status_reasons.explain_task(campaign, part, status, 0.0, code) for code in ("en", "ja")]
    assert "to keep its budget" in said[0].cause and "予算" in said[1].cause
    assert all("--epsilon 0" in reason.advice for reason in said)
    with stage.working():
        ended = stage.wait(campaign, lambda found: found.finished is not None)
    assert ended.state == "done" and ended.find_task("plant-c").tries == 0
    assert status_reasons.describe_campaign(ended, 0.0).startswith("2 of 2")
    again = campaign_orders.retry_site(stage.home, stage.store, campaign.id, "plant-c")
    assert states(again)["plant-c"] == ("waiting", "")


def test_a_site_of_unknown_names_is_not_charged_and_it_is_said_why(
    stage: Stage, names: dict[str, str]
) -> None:
    names |= {"plant-b": "x", "plant-c": ""}
    campaign = start(stage)
    assert states(campaign)["plant-c"] == ("cancelled", NO_EARLIER_ANSWER_CODE)
    status = site_refusals.site_statuses_by_name(stage.store, site_names=["plant-c"])["plant-c"]
    said = status_reasons.explain_task(campaign, campaign.find_task("plant-c"), status, 0.0)
    assert "has not sent its class names" in said.cause and "--epsilon 0" in said.advice


@pytest.mark.parametrize(
    "words", [{"asks_sites_without_shared_classes": True}, {"epsilon": "0"}], ids=str
)
def test_questions_that_are_free_or_wanted_go_out_all_the_same(
    stage: Stage, names: dict[str, str], words: dict[str, object]
) -> None:
    assert states(start(stage, **words)) == dict.fromkeys(SITES, ("waiting", ""))


def test_a_site_that_is_named_is_not_charged_either_where_nobody_shares_its_class_names(
    stage: Stage, names: dict[str, str]
) -> None:
    assert states(start(stage, sites=SITES[1:])) == {
        "plant-b": ("waiting", ""),
        "plant-c": LEFT_OUT,
    }
    with pytest.raises(ConfigError, match="--unshared"):
        start(stage, sites=["plant-c"])


def test_where_no_two_sites_share_a_name_nobody_is_asked(
    stage: Stage, names: dict[str, str]
) -> None:
    names.update(dict(zip(SITES, "abc", strict=True)))
    with pytest.raises(ConfigError, match="nobody is asked"):
        start(stage)
    assert stage.queue.newest_campaigns() == []


def test_the_overlap_is_said_name_by_name() -> None:
    sites = {"a": frozenset("xy"), "b": frozenset("yz"), "c": frozenset("q"), "d": None}
    found = ClassNameOverlap(sites)
    assert found.describe_overlap() == "2 of 4 sites have a class name in common: y (2)"
    assert found.skip_codes_by_site() == {
        "c": NO_SHARED_CLASS_NAMES_CODE,
        "d": NO_EARLIER_ANSWER_CODE,
    }


def test_what_others_bring_is_said_as_the_card_has_it() -> None:
    figures = {"alone": {"gain": 0.091, "gain_error": 0.021}}
    card = {"scenarios": {"no labels, epsilon 4": figures, "no labels, epsilon 1": figures}}
    (said,) = expected_benefit.class_gain_lines(card, 8.0)
    assert "epsilon 4" in said and "+9.1 ± 2.1 points" in said
    assert "nothing" in next(expected_benefit.class_gain_lines(card, 0.5))


def test_what_a_machine_release_brings_is_said_by_kind() -> None:
    gain = {"even": {expected_benefit.STATISTIC_GAIN_KEY: {"gain": 0.013, "error": 0.004}}}
    ships = [dict.fromkeys(("raw", "standardised"), word) for word in ("conditioned", "template")]
    kinds = {
        "gearbox": {"ships": ships[0], "worth": gain},
        "rotating_machine": {"ships": ships[1], "worth": gain},
    }
    card = {"sheets": {"kinds": kinds}}
    used, unused = expected_benefit.machine_gain_lines(card)
    assert "gearbox" in used and "+1.3 ± 0.4 points" in used and "(even)" in used
    assert "nothing is made from statistics" in unused
    assert [expected_benefit.uses_statistic(card, kind) for kind in kinds] == [True, False]


def test_what_a_statistic_brings_a_soft_sensor_is_said_if_one_is_made() -> None:
    error = {"sheet alone": {"heat duty, %": 6.32}, "sheet and statistic": {"heat duty, %": 4.34}}
    checks = [{"name": "saved", "value": value, "bound": 0.0} for value in (0.3, -0.1)]
    made, failed = ({"error": error, "checks": [check]} for check in checks)
    card = {"sheets": {"sensors": {"heat_exchanger": made, "stirred_vessel": failed}}}
    (said,) = expected_benefit.machine_gain_lines(card)
    assert said.startswith("heat_exchanger") and "heat duty, % 6.3 → 4.3" in said
    kinds = ("heat_exchanger", "stirred_vessel")
    assert [expected_benefit.uses_statistic(card, kind) for kind in kinds] == [True, False]
