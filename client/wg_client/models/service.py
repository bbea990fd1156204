"""Predictions over HTTP on loopback, with the results, limits and errors of ``wg-client predict``.

``POST /predict/NAME`` with the bytes of a file of one record returns its prediction as JSON; the
suffix of NAME determines how the file is read. At a home of logs, a log returns a prediction for
each window. ``GET /`` names the model. No web page can reach the service: a request with the
``Origin`` or ``Sec-Fetch-Site`` of another page is refused, and, since DNS may be rebound, so is a
``Host`` that is not a loopback name.

Not guaranteed: authentication. Every user of this machine has access.
"""

import asyncio
import threading
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from wg_client.models.predict import Prediction, records_modality
from wg_client.models.predictor import Predictor
from wg_core.errors import WgError
from wg_core.snapshot import UnusableItem
from wg_core.wire import canonical

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
REQUEST_SECONDS_LIMIT = 30.0  # Longest time from connecting to the request's last byte
CONCURRENT_REQUESTS_LIMIT = 16
"""Most requests at a time; together, their bodies have at most the size of one record file."""
_FOREIGN_FETCH_SITES = ("cross-site", "same-site")
"""Values of ``Sec-Fetch-Site`` of other pages; every port of loopback is the same site."""


class _DeadlineConnection(H11Protocol):
    """HTTP connection for one request, which is dropped unless the request arrives in time."""

    _deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECONDS_LIMIT, self._drop_incomplete_request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline."""
        self._deadline.cancel()
        super().connection_lost(exc)

    def _drop_incomplete_request(self) -> None:
        if self.cycle is None or self.cycle.more_body:
            self.transport.abort()


SERVER_OPTIONS: dict[str, Any] = {
    "host": "127.0.0.1",
    "http": _DeadlineConnection,
    "ws": "none",
    "lifespan": "off",
    "log_level": "warning",
    "headers": [("Connection", "close")],  # the deadline is that of a connection's first request
}
"""Options of the uvicorn server of ``prediction_app``."""


class _WebPageRefusal:
    """Middleware that refuses requests from web pages, before their bodies are read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a request from a web page, and pass on any other."""
        headers = Headers(raw=scope.get("headers", []))
        origin = headers.get("origin")
        if (
            origin not in (None, f"http://{headers.get('host')}")
            or headers.get("sec-fetch-site") in _FOREIGN_FETCH_SITES
        ):
            refusal = JSONResponse({"error": "requests from web pages are refused"}, 403)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def prediction_app(predictor: Predictor) -> Starlette:
    """Build the ASGI application that serves a model."""
    limit = records_modality(predictor.manifest).file_limit
    lock = threading.Lock()  # a network computes one batch at a time
    sizes: dict[Request, int] = {}  # Bytes in memory of each request in progress

    def answer(body: bytearray, name: str) -> tuple[list[Prediction], list[UnusableItem]]:
        with lock:
            return predictor.predict_bytes(body, name)

    async def predict(request: Request) -> Response:
        if len(sizes) >= CONCURRENT_REQUESTS_LIMIT:
            return JSONResponse(
                {"error": f"{CONCURRENT_REQUESTS_LIMIT} requests already wait"}, 503
            )
        body, sizes[request] = bytearray(), 0
        try:
            async for part in request.stream():
                body += part
                sizes[request] = len(body)
                if len(body) > limit:
                    return JSONResponse({"error": f"more than {limit} bytes"}, 413)
                if sum(sizes.values()) > limit:
                    return JSONResponse({"error": "too many bytes already wait"}, 503)
            rows, problems = await run_in_threadpool(answer, body, request.path_params["name"])
        except ClientDisconnect:  # nobody is there to read an answer
            return Response(status_code=400)
        except (WgError, OSError, ValueError) as error:  # a person has to look at this record
            return JSONResponse({"error": str(error), "verdict": "look"}, 422)
        finally:
            del sizes[request]
        document = {"predictions": rows, "left_out": problems}
        return JSONResponse(canonical.to_builtins(document), 200)

    async def about(_: Request) -> Response:
        manifest = predictor.manifest
        document = {"package": manifest.package_id, "model": predictor.model_name}
        return JSONResponse({**document, "labels": list(manifest.labels)}, 200)

    return Starlette(
        routes=[Route("/", about), Route("/predict/{name}", predict, methods=["POST"])],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=ALLOWED_HOSTS),
            Middleware(_WebPageRefusal),
        ],
    )
