"""The admin listener: liveness for a supervisor, metrics for Prometheus (text format 0.0.4).

It binds to loopback unless the configuration says otherwise. ``/healthz`` says one word and needs
nothing; everything else needs the bearer token in the home. The server has no page that changes
anything: that is what the command line is for.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wg_common.ledger.auditor_record import BUDGET_UNKNOWN
from wg_server.store import quarantine, succession
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

_METRICS = "text/plain; version=0.0.4"


def admin_app(
    store: Store, token: str, healthy: Callable[[], bool], online: Callable[[], int]
) -> Starlette:
    """The admin listener's application.

    Args:
        store: The store.
        token: Bearer token.
        healthy: Whether the server still works.
        online: Number of nodes that are there.
    """

    def healthz(request: Request) -> Response:
        good = healthy()
        return PlainTextResponse("ok\n" if good else "failing\n", 200 if good else 503)

    def metrics(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return PlainTextResponse("unauthorised\n", 401, headers={"www-authenticate": "Bearer"})
        return Response(render_metrics(store, healthy(), online()), media_type=_METRICS)

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", metrics)])


def render_metrics(store: Store, healthy: bool, online: int) -> str:
    """Gauges in Prometheus' text format."""
    totals = CampaignQueue(store.engine).totals()
    said = succession.of_sites(store.sites(), store.logs())
    unknown = sum(found == BUDGET_UNKNOWN for found in said.values())
    quarantined = len(quarantine.notes(store, "quarantined"))
    lines = [
        *_gauge("up", "Whether the server works.", {"": int(healthy)}),
        *_gauge("nodes_online", "Nodes that are connected.", {"": online}),
        *_gauge("sites", "Sites by state.", Counter(site.state for site in store.sites())),
        *_gauge("campaigns", "Campaigns by state.", totals.campaigns),
        *_gauge("tasks", "Sites' parts in campaigns by state.", totals.tasks),
        *_gauge("messages", "Messages sent.", {"": totals.messages}),
        *_gauge("bytes_received", "Payload received.", {"": totals.bytes_received}),
        *_gauge("bytes_sent", "Payload sent.", {"": totals.bytes_sent}),
        *_gauge("budget_unknown", "Sites with an earlier ledger that is not named.", {"": unknown}),
        *_gauge("quarantined", "Releases in quarantine.", {"": quarantined}),
        *_gauge("fork_evidence", "Ledgers caught with two stories.", {"": store.forks()}),
    ]
    return "\n".join(lines) + "\n"


def _gauge(name: str, text: str, values: dict[str, int]) -> list[str]:
    full = f"weightgate_{name}"
    rows = [
        f'{full}{{state="{state}"}} {value}' if state else f"{full} {value}"
        for state, value in sorted(values.items())
    ]
    return [f"# HELP {full} {text}", f"# TYPE {full} gauge", *rows]
