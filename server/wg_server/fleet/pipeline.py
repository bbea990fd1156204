"""Flower's Fleet API as one ASGI step: Flower's own checks and handlers, in one turn of a thread.

Flower 1.42.0 puts four middlewares and FastAPI's injection around each handler, with six hops
between threads and event loop: most of what a request of a node cost. What they check is checked
here, in their order and by their functions: media type, message, signed time, node id; then our
guard; then the handler.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastapi import HTTPException
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.error import http_error_translator
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import (
    PROTOBUF_REQUEST_TYPES,
    ProtobufTranslationMiddleware,
)
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.routers.fleet.router import router
from flwr.superlink.servicer.fleet import fleet_handlers as handlers
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Any, LinkState], Any]  # Answers a protobuf message with another one

Judge = Callable[[Request, object], object | None]
"""Looks at a request that Flower has authenticated: raises, answers it, or lets it through."""

_BY_NAME: Mapping[str, Handler] = {
    "register-node": partial(handlers.register_node, enable_supernode_auth=True),
    "activate-node": handlers.activate_node,
    "deactivate-node": handlers.deactivate_node,
    "unregister-node": partial(handlers.unregister_node, enable_supernode_auth=True),
    "send-node-heartbeat": handlers.send_node_heartbeat,
    "pull-messages": lambda message, state: handlers.pull_messages(
        message, state, state.object_store
    ),
    "push-messages": handlers.push_messages,
    "get-run": handlers.get_run,
    "get-fab": handlers.get_fab,
    "push-object": handlers.push_object,
    "pull-object": handlers.pull_object,
    "confirm-message-received": lambda message, state: handlers.confirm_message_received(
        message, state, state.object_store
    ),
}

HANDLERS = {f"{router.prefix}/{name}": handler for name, handler in _BY_NAME.items()}
"""By path, each route of Flower's router."""


class FleetApi:
    """Answers what is under the Fleet API's prefix, and hands everything else on."""

    def __init__(self, app: ASGIApp, state: LinkState, judge: Judge) -> None:
        self._app = app
        self._state = state
        self._judge = judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection's scope."""
        if scope["type"] != "http" or scope["path"] not in HANDLERS:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await http_error_translator(request, self._answer)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        kind = PROTOBUF_REQUEST_TYPES.get((request.method, request.url.path))
        if kind is None:
            raise HTTPException(405, "Method Not Allowed")
        translation = ProtobufTranslationMiddleware
        translation._check_request_media_type(request)
        message = translation._parse_request(await request.body(), kind)
        request.state.protobuf_request = message
        answer = await run_in_threadpool(self._handle, request, message)
        return Response(answer, media_type=PROTOBUF_MEDIA_TYPE)

    def _handle(self, request: Request, message: object) -> bytes:
        authenticate_node(request)
        answer: Any = self._judge(request, message)
        if answer is None:
            answer = HANDLERS[request.url.path](message, self._state)
        return bytes(answer.SerializeToString())
