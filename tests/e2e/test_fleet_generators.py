"""What a fleet notices of the server's generators: a retrain under way changes nothing for it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.e2e import fleet_support
from tests.e2e.fleet_support import enrol_plant, finished, make_home, running
from tests.e2e.product import DIMENSION, generator_package
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.server.generators import candidate, install

from wg_common import weights_file
from wg_core.errors import ConfigError, VerificationError
from wg_core.wire import signing
from wg_server.campaigns import campaign_orders, packaging
from wg_server.campaigns.campaign_orders import CampaignOrder
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store import quarantine
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

NAMES = ("plant-a", "plant-b", "plant-c", "plant-d")


def _made_with(server: ServerHome, campaign: Campaign) -> set[str]:
    """Generators that the campaign's packages name."""
    key = signing.load(server.signing_key).public_key()
    paths = [server.package_path(task.delivery_id) for task in campaign.tasks]
    return {
        weights_file.decode_weights_package(path.read_bytes(), key)[0].generator for path in paths
    }


def _start(server: ServerHome, order: CampaignOrder) -> Campaign:
    with ServerStore.open(server) as store:
        return campaign_orders.queue_campaign(server, store, order)


def test_a_generator_whose_card_fails_takes_nothing_from_a_campaign_of_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plants are served, the generator is exchanged, the server starts again, two more come."""
    monkeypatch.setattr(fleet_support, "DIMENSION", DIMENSION)
    server = make_home(tmp_path / "server")
    heads = generator_package(server.encoder_file.read_bytes())
    first = install(server, heads)
    with running(server, packaging.make_package):
        plants = [enrol_plant(server, tmp_path / name, name) for name in NAMES]
        campaign = _start(
            server,
            CampaignOrder(sites=NAMES, grace_seconds=0.0, asks_sites_without_shared_classes=True),
        )
        with ServerStore.open(server) as store:
            queue = CampaignQueue(store.engine)
            with plants[0].running(), plants[1].running():
                wait_until(
                    lambda: queue.find_campaign(campaign.id).find_task("plant-b").served > 0,
                    "two plants",
                )
                # A retrain whose card fails: it is not installed, and then it is, by its id.
                second = candidate(server, b"no generator at all", passes=False)
                assert versions.installed_version(server).id == first.id
                versions.install_version(server, second)
                versions.prune_versions(server, queue.generator_ids_in_use())
    with running(server, packaging.make_package):
        with plants[0].running(), plants[1].running(), plants[2].running(), plants[3].running():
            done = finished(server, campaign)
            wait_until(lambda: all(plant.applied for plant in plants), "applying")
        assert done.state == "done" and done.generator == first.id
        assert _made_with(server, done) == {first.summary.generator}
        for plant in plants:
            with plant.ledger() as ledger:
                assert ledger.read_spending("line-1").charge_count == 1
        # The next campaign begins with what is installed, and fails for a reason of its own.
        versions.install_version(
            server, versions.read_version(server, versions.read_installed_versions(server).before)
        )
        again = _start(
            server,
            CampaignOrder(sites=NAMES, epsilon="0.5", asks_sites_without_shared_classes=True),
        )
        with plants[0].running(), plants[1].running(), plants[2].running(), plants[3].running():
            assert finished(server, again).state == "done"
        assert again.generator == first.id


@pytest.mark.parametrize("state", ["none", "candidate", "damaged"])
def test_a_server_without_a_usable_generator_serves_all_but_campaigns(
    tmp_path: Path, state: str
) -> None:
    server = make_home(tmp_path / "server")
    version = versions.installed_version(server)
    if state == "damaged":
        version.heads_path.write_bytes(b"damaged")
    else:
        server.installed_generator_file.unlink()
        versions.prune_versions(server, [])
        if state == "candidate":
            candidate(server, passes=False)
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")  # witnessed as well
        config = server.read_config()
        ready = httpx.get(
            f"http://{config.admin_host}:{config.admin_port}/readyz",
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )
        assert ready.status_code == 200
        assert f"generator: {'failing' if state == 'damaged' else 'ok'}\n" in ready.text
        with plant.running(), ServerStore.open(server) as store:
            wait_until(lambda: store.require_site("plant-a").last_seen > 0, "the node")
            with pytest.raises((ConfigError, VerificationError)):
                campaign_orders.queue_campaign(server, store, CampaignOrder())
            assert CampaignQueue(store.engine).newest_campaigns() == []
            assert not quarantine.list_release_summaries(store.engine)
        with plant.ledger() as ledger:
            assert ledger.read_spending("line-1").charge_count == 0
