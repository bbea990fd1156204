"""Admin listener: probes for a supervisor, metrics for Prometheus, and the console.

It binds to loopback unless the configuration says otherwise. Probes need no authentication, and
answer with one word, or with one line per check. ``/metrics`` needs the bearer token in the home;
the console needs a login.

========== =====================================================================================
/livez     whether the process works; if not, restart it
/readyz    whether the server can work now, one line per check
/healthz   the same in one word
/console   pages for operators (``app``)
========== =====================================================================================
"""

import hmac
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from wg_server.console.health_probes import HealthProbe


def admin_app(
    metrics_token: str,
    metrics_registry: CollectorRegistry,
    probes: Sequence[HealthProbe],
    console_routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return the ASGI application of the admin listener.

    Args:
        metrics_token: Bearer token of ``/metrics``.
        metrics_registry: Metrics of ``/metrics``.
        probes: Probes of the server.
        console_routes: Routes of the console.
    """

    def livez(request: Request) -> Response:
        return _status_response(
            all(probe.is_healthy() for probe in probes if probe.is_cured_by_restart)
        )

    def readyz(request: Request) -> Response:
        states = {probe: probe.is_healthy() for probe in probes}
        lines = [f"{probe.name}: {'ok' if good else 'failing'}\n" for probe, good in states.items()]
        ready = all(good for probe, good in states.items() if probe.is_essential)
        return PlainTextResponse("".join(lines), 200 if ready else 503)

    def healthz(request: Request) -> Response:
        return _status_response(all(probe.is_healthy() for probe in probes if probe.is_essential))

    def metrics(request: Request) -> Response:
        authorization = request.headers.get("authorization", "")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {metrics_token}".encode()):
            return PlainTextResponse("unauthorised\n", 401, headers={"www-authenticate": "Bearer"})
        return Response(generate_latest(metrics_registry), media_type=CONTENT_TYPE_LATEST)

    pages = (livez, readyz, healthz, metrics)
    return Starlette(
        routes=[*(Route(f"/{page.__name__}", page) for page in pages), *console_routes]
    )


def _status_response(is_good: bool) -> Response:
    return PlainTextResponse("ok\n" if is_good else "failing\n", 200 if is_good else 503)
