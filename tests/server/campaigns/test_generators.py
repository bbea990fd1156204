"""A campaign goes on with the generator that it began with, or ends before a plant is asked."""

from __future__ import annotations

import pytest
from tests.server.campaigns.nodes import SITES, Nodes, Stage, make_stage, states
from tests.server.generators import candidate, install

from wg_core.errors import ConfigError, PolicyRefused
from wg_server.campaigns import campaign_orders, status_reasons
from wg_server.campaigns.campaign_orders import CampaignOrder
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store import operators, site_refusals
from wg_server.store.server_store import ServerStore


@pytest.fixture
def stage(home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return make_stage(home, store, monkeypatch, Nodes())


def test_without_a_generator_nobody_is_asked(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="no generator yet"):
        campaign_orders.queue_campaign(stage.home, stage.store, CampaignOrder())
    candidate(stage.home, passes=False)
    with pytest.raises(ConfigError, match="no generator is installed"):
        campaign_orders.queue_campaign(stage.home, stage.store, CampaignOrder())
    assert stage.queue.newest_campaigns() == [] and stage.nodes.asked == []


def test_a_campaign_goes_on_with_its_generator_over_a_retrain_and_a_restart(stage: Stage) -> None:
    """Of the three sites one is away until the generator was exchanged and the server restarted."""
    first = install(stage.home, b"first")
    stage.nodes.away = {"plant-c"}
    campaign = campaign_orders.queue_campaign(
        stage.home,
        stage.store,
        CampaignOrder(sites=SITES, grace_seconds=0.0, asks_sites_without_shared_classes=True),
    )
    with stage.working():
        stage.wait(campaign, lambda found: found.find_task("plant-b").state == "delivered")
    second = install(stage.home, b"second", passes=False)
    assert versions.prune_versions(stage.home, stage.queue.generator_ids_in_use()) == []
    stage.nodes.away = set()
    with stage.working():
        found = stage.wait(campaign, lambda found: found.finished is not None)
    assert states(found) == dict.fromkeys(("plant-a", "plant-b", "plant-c"), ("delivered", ""))
    assert found.state == "done"
    assert set(stage.generators) == {first.id}
    install(stage.home, b"third")
    assert stage.queue.generator_ids_in_use() == set()
    assert versions.prune_versions(stage.home, stage.queue.generator_ids_in_use()) == [first.id]
    assert versions.read_installed_versions(stage.home).before == second.id


def test_a_generator_that_is_gone_ends_the_campaign_before_another_plant_is_asked(
    stage: Stage,
) -> None:
    version = install(stage.home)
    stage.nodes.away = {"plant-b", "plant-c"}
    order = CampaignOrder(
        sites=SITES, min_sites=2, grace_seconds=0.0, asks_sites_without_shared_classes=True
    )
    campaign = campaign_orders.queue_campaign(stage.home, stage.store, order)
    with stage.working():
        stage.wait(campaign, lambda found: found.find_task("plant-a").state == "released")
    version.heads_path.write_bytes(b"damaged")
    stage.nodes.away = set()
    with stage.working():
        found = stage.wait(campaign, lambda found: found.finished is not None)
    assert stage.nodes.asked == [("plant-a", "query")]
    assert found.state == "failed" and not stage.packages
    assert "not the package that its model card names" in found.reason
    assert status_reasons.describe_campaign(found, 0.0) == found.reason
    statuses = site_refusals.site_statuses_by_name(stage.store, campaign_id=found.id)
    for task in found.tasks:
        assert (task.state, task.code) == ("failed", status_reasons.GENERATOR_UNUSABLE_CODE)
        said = status_reasons.explain_task(found, task, statuses[task.site], 0.0)
        assert said.cause == "the generator with which the campaign started cannot be used"
        assert said.advice.startswith("wg-server generator")
    (entry,) = operators.read_log(stage.store, limit=9)
    assert (entry.operator, entry.through) == (stage.home.read_config().name, "server")
    assert (entry.action, entry.subject) == ("campaign failed", campaign.id)
    assert entry.detail == found.reason
    assert stage.queue.newest_failure_time() == found.finished


def test_after_that_a_retry_goes_on_with_what_is_installed_and_asks_nobody_twice(
    stage: Stage,
) -> None:
    version = install(stage.home)
    order = CampaignOrder(
        sites=SITES, min_sites=3, grace_seconds=0.0, asks_sites_without_shared_classes=True
    )
    campaign = campaign_orders.queue_campaign(stage.home, stage.store, order)
    stage.nodes.away = {"plant-c"}
    with stage.working():
        stage.wait(campaign, lambda found: found.find_task("plant-b").state == "released")
        version.heads_path.unlink()
        stage.wait(campaign, lambda found: found.finished is not None)
    with pytest.raises(ConfigError, match="cannot be read"):
        campaign_orders.retry_site(stage.home, stage.store, campaign.id, "plant-a")
    after = install(stage.home, b"after")
    for site in ("plant-a", "plant-b", "plant-c"):
        campaign_orders.retry_site(stage.home, stage.store, campaign.id, site)
    stage.nodes.away = set()
    with stage.working():
        found = stage.wait(campaign, lambda found: found.finished is not None)
    assert found.state == "done" and found.reason == ""
    assert set(stage.generators) == {after.id} == {found.generator}
    questions = [site for site, kind in stage.nodes.asked if kind == "query"]
    assert sorted(questions) == ["plant-a", "plant-b", "plant-c"]


def test_where_no_package_can_be_made_the_campaign_has_failed_and_says_so(stage: Stage) -> None:
    install(stage.home)

    def refuse(site: str) -> None:
        raise PolicyRefused("no package for this site")

    stage.before_package = refuse
    campaign = campaign_orders.queue_campaign(
        stage.home, stage.store, CampaignOrder(sites=SITES, asks_sites_without_shared_classes=True)
    )
    with stage.working():
        found = stage.wait(campaign, lambda found: found.finished is not None)
    assert (found.state, found.reason) == (
        "failed",
        "no site was served, and 3 of 3 failed: policy",
    )
    first, *_ = found.tasks
    statuses = site_refusals.site_statuses_by_name(stage.store, campaign_id=found.id)
    said = status_reasons.explain_task(found, first, statuses[first.site], 0.0)
    assert (
        said.advice == "see the server's log for this site; then wg-server campaign resume ID SITE"
    )
