"""Recording of why enrolled sites' nodes are refused, for the operator's commands.

A node with a wrong clock, or with another node key than the enrolled one, is refused before it can
send anything. The site is known all the same, since its certificate is valid.
"""

import time

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wg_server.fleet.adapter import clock_skew_seconds, is_clock_refused
from wg_server.fleet.guards import SITE_STATE_KEY, TROUBLE_STATE_KEY, Guard
from wg_server.store import site_refusals
from wg_server.store.server_store import ServerStore


class RefusalRecorder(Guard):
    """Middleware that stores in the database why an enrolled site's request was refused.

    Responses pass unchanged. The stored reason is deleted after the next successful request.
    """

    def __init__(self, app: ASGIApp, store: ServerStore) -> None:
        super().__init__(app)
        self._store = store
        self._noted: dict[str, float] = {}
        self._well: set[str] = set()

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, send_watched)
        current_time = time.time()
        skew = clock_skew_seconds(scope, current_time)
        if skew is None:
            return  # not a Flower request: only these have a signed time and a node key
        site = scope["state"][SITE_STATE_KEY].name
        if status == 401 and is_clock_refused(skew):
            await self._record_refusal(site, site_refusals.CLOCK_TROUBLE, skew, current_time)
        elif status == 403 and TROUBLE_STATE_KEY in scope["state"]:
            await self._record_refusal(site, scope["state"][TROUBLE_STATE_KEY], 0.0, current_time)
        elif 200 <= status < 300 and site not in self._well:
            self._well.add(site)
            self._noted.pop(site, None)
            await run_in_threadpool(site_refusals.delete_connection_trouble, self._store, site)

    async def _record_refusal(
        self, site: str, code: str, figure: float, current_time: float
    ) -> None:
        note_seconds = 10.0
        if current_time - self._noted.get(site, 0.0) > note_seconds:
            self._noted[site] = current_time
            self._well.discard(site)
            await run_in_threadpool(
                site_refusals.store_connection_trouble,
                self._store,
                site,
                code,
                figure,
                current_time,
            )
