"""A campaign for machine statistics asks who states a machine, waits for nobody, pools nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.bearings import BEARING, GEARS
from tests.server.campaigns.nodes import SITES, Nodes, Stage, make_stage, refusal, states, stored
from tests.server.campaigns.test_schedule import campaign, released, task
from tests.server.generators import install

from wg_common import catalogue, weights_file
from wg_common.nets.encoder import projected_trunk
from wg_common.weights_package import GeneratorCondition
from wg_core.errors import ConfigError
from wg_core.privacy.mechanism import noise_scale
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import CLASS_STATISTICS, MACHINE_STATISTICS, machine_schema
from wg_core.wire import signing
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.statistics_file import StatisticsManifest
from wg_server.campaigns import (
    campaign_orders,
    machine_networks,
    machine_site_selection,
    packaging,
    release_intake,
    schedule,
    status_reasons,
)
from wg_server.campaigns.campaign_orders import CampaignOrder
from wg_server.campaigns.release import DecodedRelease, PackageRecipient, recipient_from_release
from wg_server.generator.prior.evidence_pools import NO_POOLED_RELEASES
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.site.home import ServerHome
from wg_server.store import site_refusals
from wg_server.store.campaigns import (
    NO_EARLIER_ANSWER_CODE,
    NO_SUPPORTED_MACHINE_CODE,
    STATISTIC_UNUSED_CODE,
    Campaign,
)
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore

SHEET = DataSheet(rotating_machine=BEARING)
LABELS = ("normal", "inner race", "outer race")
USES = {"rotating_machine": True, "gearbox": False}


@pytest.fixture
def stage(home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch) -> Stage:
    install(home)
    monkeypatch.setattr(
        machine_site_selection, "statistic_use_by_machine_kind", lambda home, version: USES
    )
    return make_stage(home, store, monkeypatch, Nodes(plant_b=lambda _: refusal("machine")))


@pytest.fixture
def sheets(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Mapping[str, DataSheet | None]], None]:
    """Let sites state data sheets; of the others nothing is known."""

    def state(sheets: Mapping[str, DataSheet | None]) -> None:
        def stated_by(release: StoredRelease) -> SimpleNamespace:
            return SimpleNamespace(labels=LABELS, data_sheet=sheets[release.site])

        monkeypatch.setattr(release_intake, "recipient_without_statistics", stated_by)
        for site in sheets:
            stage.store.add_release(stored(site, epsilon="0"))

    return state


def start(stage: Stage, **words: object) -> Campaign:
    order = CampaignOrder(statistics_kind=MACHINE_STATISTICS, **words)  # type: ignore[arg-type]
    return campaign_orders.queue_campaign(stage.home, stage.store, order)


def said(stage: Stage, campaign: Campaign, site: str) -> status_reasons.Reason:
    status = site_refusals.site_statuses_by_name(stage.store, site_names=SITES)[site]
    return status_reasons.explain_task(campaign, campaign.find_task(site), status, 0.0)


def test_only_a_site_whose_machine_uses_a_statistic_is_asked(
    stage: Stage, sheets: Callable[[Mapping[str, DataSheet | None]], None]
) -> None:
    sheets({"plant-a": SHEET, "plant-b": None, "plant-c": DataSheet(gearbox=GEARS)})
    campaign = start(stage)  # with the usual grace of ten minutes
    with stage.working():
        ended = stage.wait(campaign, lambda campaign: campaign.finished is not None)
    assert states(ended) == {
        "plant-a": ("delivered", ""),
        "plant-b": ("cancelled", NO_SUPPORTED_MACHINE_CODE),
        "plant-c": ("cancelled", STATISTIC_UNUSED_CODE),
    }
    assert {query.statistics for query in stage.nodes.queries} == {MACHINE_STATISTICS}
    unread, unused = said(stage, ended, "plant-b"), said(stage, ended, "plant-c")
    assert (
        unread.cause.startswith("not asked: no data sheet") and "data-sheet.yaml" in unread.advice
    )
    assert "to keep its budget" in unused.cause and "use no statistic" in unused.cause
    assert "--epsilon 0" in unused.advice


def test_a_named_site_that_stated_no_machine_is_asked_and_holds_nothing_up(
    stage: Stage, sheets: Callable[[Mapping[str, DataSheet | None]], None]
) -> None:
    sheets({"plant-a": SHEET, "plant-b": None})
    campaign = start(stage, sites=["plant-a", "plant-b"])
    with stage.working():
        ended = stage.wait(campaign, lambda campaign: campaign.finished is not None)
    assert states(ended) == {"plant-a": ("delivered", ""), "plant-b": ("refused", "machine")}
    refused = said(stage, ended, "plant-b")
    assert "states no machine" in refused.cause and "data-sheet.yaml" in refused.advice


def test_a_site_that_would_pay_for_nothing_or_for_what_nobody_knows_is_not_asked_by_name_either(
    stage: Stage, sheets: Callable[[Mapping[str, DataSheet | None]], None]
) -> None:
    sheets({"plant-a": SHEET, "plant-c": DataSheet(gearbox=GEARS)})
    assert states(start(stage, sites=SITES)) == {
        "plant-a": ("waiting", ""),
        "plant-b": ("cancelled", NO_EARLIER_ANSWER_CODE),
        "plant-c": ("cancelled", STATISTIC_UNUSED_CODE),
    }
    with pytest.raises(ConfigError, match="networks use a statistic"):
        start(stage, sites=["plant-b", "plant-c"])


def test_where_no_machine_is_stated_nobody_is_asked(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="no site states a machine"):
        start(stage)
    assert stage.queue.newest_campaigns() == []


def test_the_card_says_which_machines_use_a_statistic(
    home: ServerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = {"raw": "template", "standardised": "template"}
    kinds = {
        "rotating_machine": {"ships": template | {"raw": "conditioned"}},
        "gearbox": {"ships": template},
    }
    encoder = SimpleNamespace(machine_kinds=(*kinds, "heat_exchanger"))
    monkeypatch.setattr(projected_trunk, "load_encoder", lambda _: encoder)
    checks = [{"name": "saved", "value": 0.3, "bound": 0.0}]
    sensors = {"heat_exchanger": {"error": {}, "checks": checks}}
    version: Any = SimpleNamespace(
        card={"sheets": {"kinds": kinds, "sensors": sensors}}, uses_networks=True
    )
    assert machine_site_selection.statistic_use_by_machine_kind(home, version) == USES | {
        "heat_exchanger": True
    }
    del kinds["rotating_machine"], sensors["heat_exchanger"]
    with pytest.raises(ConfigError, match="of no use here"):
        machine_site_selection.statistic_use_by_machine_kind(home, version)


def test_at_epsilon_0_there_are_no_machine_statistics() -> None:
    with pytest.raises(ConfigError, match="0 asks for no statistics"):
        CampaignOrder(statistics_kind=MACHINE_STATISTICS, epsilon="0")


def test_no_package_waits_for_other_sites_and_none_gets_better_by_them() -> None:
    parts = released("a", 1.0), task("b")
    of_classes, of_machine = (
        campaign(*parts, statistics=kind, min_sites=1)
        for kind in (CLASS_STATISTICS, MACHINE_STATISTICS)
    )
    assert (
        schedule.first_package_time(of_classes, 5.0),
        schedule.first_package_time(of_machine, 5.0),
    ) == (
        11.0,
        0.0,
    )
    assert (len(of_classes.release_arrivals), len(of_machine.release_arrivals)) == (1, 0)


def recipient(labels: tuple[str, ...] = LABELS) -> PackageRecipient:
    """A plant that released the statistics of its machine."""
    schema = machine_schema("ab" * 32, "record")
    sigma = noise_scale(schema, 1.0, 1e-5)
    manifest = StatisticsManifest(
        schema=schema,
        site="plant-a",
        dataset="line-1",
        request_id="r",
        release_id="ab",
        epsilon="1",
        delta="1e-5",
        sigma=sigma.hex(),
        sensitivity_squared=str(schema.sensitivity_squared()),
        purpose="test",
        integers_sha256="cd" * 32,
        data_sheet=SHEET,
        labels=labels,
    )
    statistics = NoisyStatistics(schema, np.zeros(schema.vector_length, dtype=np.int64), sigma)
    return recipient_from_release(manifest, DecodedRelease(manifest, statistics))


CONDITION = GeneratorCondition(
    generator="ef" * 32, data_sheet="rotating_machine", statistic="ab", epsilon="1"
)


def test_its_package_holds_networks_for_the_machine_and_nothing_of_other_sites(
    home: ServerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = install(home)
    plant = recipient()
    asked: list[PackageRecipient] = []

    def networks(_version: object, plant: PackageRecipient, *, seed: int) -> object:
        asked.append(plant)
        candidate = GeneratedCandidate("raw-mean", "diffusion", {"w": np.zeros(3, np.float32)})
        return CONDITION, catalogue.SPECTRUM_LINES_NETWORK, (candidate,)

    monkeypatch.setattr(machine_networks, "make_machine_networks", networks)
    monkeypatch.setattr(packaging, "_generate_heads", lambda *_: ((), NO_POOLED_RELEASES))
    data = packaging.make_package(home, None, plant, "0" * 32, version.id)  # type: ignore[arg-type]
    key = signing.load(home.signing_key).public_key()
    manifest, _ = weights_file.decode_weights_package(data, key)
    assert asked == [plant] and plant.machine_statistics is not None
    (candidate,) = manifest.candidates
    assert candidate.architecture == catalogue.SPECTRUM_LINES_NETWORK and manifest.labels == LABELS
    assert manifest.condition == CONDITION
    assert manifest.own_release == "ab" and manifest.pool_releases == 0
