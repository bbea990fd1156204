from __future__ import annotations

from collections.abc import Callable

import httpx
from starlette.types import ASGIApp

from wg_server.console.admin import admin_app, render_metrics
from wg_server.store.sites import Store


def test_health_is_one_word_and_metrics_need_the_token(
    store: Store, client_of: Callable[[ASGIApp], httpx.Client]
) -> None:
    healthy = True
    client = client_of(admin_app(store, "secret", lambda: healthy, lambda: 3))
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/metrics").status_code == 401
    wrong = {"authorization": "Bearer secre"}
    assert client.get("/metrics", headers=wrong).status_code == 401
    found = client.get("/metrics", headers={"authorization": "Bearer secret"})
    assert found.status_code == 200
    assert "weightgate_nodes_online 3\n" in found.text
    healthy = False
    assert client.get("/healthz").status_code == 503


def test_metrics_are_in_the_text_format(store: Store) -> None:
    store.invite("plant-a", "s", 1.0)
    text = render_metrics(store, True, 0)
    assert 'weightgate_sites{state="invited"} 1\n' in text
    for line in text.splitlines():
        assert line.startswith(("# HELP weightgate_", "# TYPE weightgate_", "weightgate_"))
