from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from tests.server import postgres
from tests.server.rows import add_sites

from wg_server.console.admin import admin_app
from wg_server.console.health_probes import HealthProbe, server_probes
from wg_server.console.metrics import ServerMetrics
from wg_server.site.backup_records import LastBackup
from wg_server.site.home import ServerHome
from wg_server.store import schema
from wg_server.store.database import open_engine
from wg_server.store.server_store import ServerStore

TOKEN = {"authorization": "Bearer secret"}
Client = Callable[[ASGIApp], httpx.Client]


def metrics_of(
    home: ServerHome, store: ServerStore, probes: tuple[HealthProbe, ...] = ()
) -> ServerMetrics:
    return ServerMetrics(home, store, probes, lambda sites: {"plant-a"} & {s.name for s in sites})


def series(client: httpx.Client) -> dict[str, float]:
    """Values by name and labels, read as Prometheus reads them."""
    text = client.get("/metrics", headers=TOKEN).text
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def enrol(store: ServerStore, name: str) -> None:
    keys = dict.fromkeys(("node_key", "signing_key", "ledger_key"), name)
    add_sites(store, [name], enrolled=1.0, last_seen=5.0, **keys)
    store.add_certificate(name, name, 99.0)


def test_probes_need_nothing_and_metrics_the_token(
    home: ServerHome, store: ServerStore, client_of: Client
) -> None:
    answers = {"worker": True, "database": True}
    probes = (
        HealthProbe("worker", lambda: answers["worker"], is_cured_by_restart=True),
        HealthProbe("database", lambda: answers["database"]),
    )
    client = client_of(admin_app("secret", metrics_of(home, store, probes).registry, probes))
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer secre"}).status_code == 401
    codes = {}
    for down in ("", "database", "worker"):
        answers.update(worker=down != "worker", database=down != "database")
        found = [client.get(f"/{page}") for page in ("livez", "readyz", "healthz")]
        codes[down] = [each.status_code for each in found]
        assert series(client)["weightgate_ready{check=worker}"] == (down != "worker")
    assert codes == {"": [200] * 3, "database": [200, 503, 503], "worker": [503] * 3}
    assert client.get("/readyz").text == "worker: failing\ndatabase: ok\n"
    assert client.get("/healthz").text == "failing\n"


def test_a_server_without_its_database_says_so_and_has_metrics_all_the_same(
    home: ServerHome, client_of: Client
) -> None:
    """Found by hand: with PostgreSQL stopped, /healthz said 200 and /metrics 500."""
    if not postgres.available():
        pytest.skip(postgres.MISSING)
    with postgres.cluster() as url:
        store = ServerStore(open_engine(url))
        probes = server_probes(home, store, lambda: True, min_free_bytes=1)
        client = client_of(admin_app("secret", metrics_of(home, store, probes).registry, probes))
        assert client.get("/readyz").status_code == 200
        assert "weightgate_nodes_online" in series(client)
    assert client.get("/livez").status_code == 200  # a new start is no cure
    assert client.get("/healthz").status_code == 503
    assert "database: failing\n" in client.get("/readyz").text
    found = series(client)
    assert found["weightgate_ready{check=database}"] == 0
    assert found["weightgate_ready{check=certificate}"] == 1
    assert "weightgate_nodes_online" not in found and "weightgate_disk_free_bytes" in found
    store.close()


@pytest.mark.parametrize("check", ["disk", "certificate"])
def test_a_full_disk_and_a_certificate_that_ended_are_not_ready(
    home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    floor = 1 << 62 if check == "disk" else 1
    if check == "certificate":
        later = time.time() + 900 * 86400
        monkeypatch.setattr("wg_server.console.health_probes.time.time", lambda: later)
    probes = server_probes(home, store, lambda: True, min_free_bytes=floor)
    assert [probe.name for probe in probes if not probe.is_healthy()] == [check]
    home.tls_cert.unlink()
    assert not all(probe.is_healthy() for probe in probes)  # what cannot be read is not good


@pytest.mark.parametrize("then", ["away", "another", "empty"])
def test_a_database_file_that_is_gone_is_not_ready(
    home: ServerHome, store: ServerStore, then: str
) -> None:
    (database,) = [
        probe
        for probe in server_probes(home, store, lambda: True, min_free_bytes=1)
        if probe.name == "database"
    ]
    assert database.is_healthy()
    copy = home.database_file.with_suffix(".moved")
    home.database_file.rename(copy)
    if then == "another":
        home.database_file.write_bytes(copy.read_bytes())
    elif then == "empty":
        home.database_file.touch()
    assert not database.is_healthy()
    copy.replace(home.database_file)
    assert database.is_healthy()


def test_a_site_of_today_was_seen_when_it_enrolled(
    home: ServerHome, store: ServerStore, client_of: Client
) -> None:
    """The rule that a site was not seen for a day must not fire before its first day is over."""
    enrol(store, "plant-a")
    enrol(store, "plant-b")
    with store.engine.begin() as connection:  # one is new, one enrolled again after months
        table = schema.site_table
        connection.execute(table.update().values(enrolled=900.0))
        connection.execute(table.update().where(table.c.name == "plant-a").values(last_seen=0.0))
    found = series(client_of(admin_app("secret", metrics_of(home, store).registry, ())))
    for site in ("plant-a", "plant-b"):
        assert found[f"weightgate_site_last_seen_timestamp_seconds{{site={site}}}"] == 900


def test_series_are_bounded_by_enrolment_and_counters_count(
    home: ServerHome, store: ServerStore, tmp_path: Path, client_of: Client
) -> None:
    store.store_join_token("invited", "s", 1.0)
    enrol(store, "plant-a")
    enrol(store, "plant-b")
    client = client_of(admin_app("secret", metrics_of(home, store).registry, ()))
    found = series(client)
    assert found["weightgate_sites{state=enrolled}"] == 2
    assert found["weightgate_nodes_online"] == 1
    assert found["weightgate_site_online{site=plant-a}"] == 1
    assert found["weightgate_site_online{site=plant-b}"] == 0
    assert found["weightgate_site_certificate_expiry_timestamp_seconds{site=plant-b}"] == 99
    assert not [name for name in found if "site=invited" in name]
    assert found["weightgate_last_backup_timestamp_seconds"] == 0
    assert (
        found["weightgate_certificate_expiry_timestamp_seconds{certificate=server}"] > time.time()
    )
    LastBackup(created=7).save(home)
    assert series(client)["weightgate_last_backup_timestamp_seconds"] == 7
    text = client.get("/metrics", headers=TOKEN).text
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    for name, kind in kinds.items():
        assert (kind == "counter") == name.endswith("_total"), name
    assert {kinds[f"weightgate_{each}_total"] for each in ("sent_bytes", "received_bytes")} == {
        "counter"
    }


def test_requests_and_log_lines_are_counted(
    home: ServerHome, store: ServerStore, client_of: Client
) -> None:
    def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("x", 200 if request.url.path == "/good" else 503)

    metrics = metrics_of(home, store)
    app = Starlette(routes=[Route("/good", page), Route("/bad", page)])
    client, admin = (
        client_of(metrics.add_request_meter(app, "fleet")),
        client_of(admin_app("secret", metrics.registry, ())),
    )
    for path in ("/good", "/good", "/bad"):
        client.get(path)
    found = series(admin)
    assert found["weightgate_requests_total{listener=fleet}{status=2xx}"] == 2
    assert found["weightgate_requests_total{listener=fleet}{status=5xx}"] == 1
    assert found["weightgate_request_seconds_count{listener=fleet}"] == 3
    assert found["weightgate_log_lines_total{level=error}"] == 0
    logger = logging.Logger("test")
    logger.addHandler(metrics.log_handler())
    for say in (logger.info, logger.warning, logger.error, logger.critical):
        say("x")
    found = series(admin)
    assert found["weightgate_log_lines_total{level=warning}"] == 1
    assert found["weightgate_log_lines_total{level=error}"] == 2
