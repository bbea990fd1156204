"""The rules and the dashboard in ``deploy/monitoring`` speak of series that a server has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from wg_core import yaml_settings
from wg_server.console.health_probes import HealthProbe
from wg_server.console.metrics import ServerMetrics
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

FOLDER = Path(__file__).parents[3] / "deploy" / "monitoring"
SERIES = re.compile(r"\b(weightgate|process)_[a-z_]+\b")


def read(name: str) -> Any:
    return yaml_settings.read_yaml((FOLDER / name).read_bytes(), input_name=name)


def dashboard() -> Any:
    return json.loads((FOLDER / "grafana" / "weightgate.json").read_text())


def expressions() -> Iterator[str]:
    for rule in read("weightgate.rules.yaml")["groups"][0]["rules"]:
        yield rule["expr"]
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.fixture
def known(home: ServerHome, store: ServerStore) -> set[str]:
    """Names of all series of a server."""
    metrics = ServerMetrics(
        home, store, (HealthProbe("worker", lambda: True),), lambda sites: set()
    )
    text = generate_latest(metrics.registry).decode()
    names = set()
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    return names


def test_every_series_of_the_rules_and_the_dashboard_is_there(known: set[str]) -> None:
    named = {match[0] for text in expressions() for match in SERIES.finditer(text)}
    assert len(named) > 15
    assert named <= known


def test_every_series_of_the_server_is_looked_at(known: set[str]) -> None:
    named = {match[0] for text in expressions() for match in SERIES.finditer(text)}
    ours = {name for name in known if name.startswith("weightgate_")}
    unseen = {name for name in ours if name.endswith(("_count", "_sum", "_created"))}
    assert ours - named == unseen


def test_every_alert_says_what_to_do_and_is_tested() -> None:
    rules = read("weightgate.rules.yaml")["groups"][0]["rules"]
    tests = (FOLDER / "weightgate.rules.test.yaml").read_text()
    for rule in rules:
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["alert"] in tests, rule["alert"]
    assert {"critical", "warning"} <= {rule["labels"]["severity"] for rule in rules}


def test_panels_have_titles_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"] and not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


def test_the_compose_file_mounts_what_is_there() -> None:
    services = read("compose.yaml")["services"]
    mounts = [each for service in services.values() for each in service["volumes"]]
    for source in (each.split(":")[0] for each in mounts if each.startswith("./")):
        assert (FOLDER / source).is_file(), source


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian: prometheus)")
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    words = ["promtool", "test", "rules", "weightgate.rules.test.yaml"]
    done = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    words = ["promtool", "check", "rules", "weightgate.rules.yaml"]
    assert subprocess.run(words, cwd=FOLDER, capture_output=True).returncode == 0
