"""The route by which a node fetches a large package: ranges of a file, in bounded memory.

``GET /wg/v1/packages/ID`` with one ``Range`` (RFC 9110, section 14). It stands behind the same
guards as every route of the fleet listener. A package is there for the site that it was made for,
while its campaign waits for the receipt; for anybody else there is no such thing.
"""

import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from wg_core.errors import DecodeError
from wg_core.wire import fleet, protocol
from wg_server.fleet.guards import SITE_STATE
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.site import Site

log = logging.getLogger(__name__)

RANGE_LIMIT = 16 << 20  # Most bytes in one answer; a longer range is answered with its beginning
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")


def package_routes(home: ServerHome, queue: CampaignQueue) -> APIRouter:
    """The route, to be mounted behind the guards."""
    router = APIRouter()

    def find(site: str, request_id: str) -> tuple[Path, int] | None:
        """The file and its size, if this site may have it."""
        try:
            fleet.check_request_id(request_id)
        except DecodeError:
            return None
        path = home.package(request_id)
        if not queue.may_fetch(site, request_id) or not path.is_file():
            return None
        return path, path.stat().st_size

    @router.get(f"{protocol.PACKAGE_PATH}/{{request_id}}")
    async def package(request: Request, request_id: str) -> Response:
        site: Site = getattr(request.state, SITE_STATE)
        package_file = await run_in_threadpool(find, site.name, request_id)
        if package_file is None:
            log.warning("site %s: asked for a package that is not its own", site.name)
            return PlainTextResponse("no such package for this site\n", 404)
        path, size = package_file
        byte_range = _RANGE.fullmatch(request.headers.get("range", ""))
        start, last = (int(byte_range[1]), int(byte_range[2])) if byte_range else (0, -1)
        if byte_range is None or last < start or start >= size:
            return PlainTextResponse(
                "expected one range of bytes\n", 416, {"content-range": f"bytes */{size}"}
            )
        stop = min(last + 1, start + RANGE_LIMIT, size)
        return StreamingResponse(
            _pieces(path, start, stop),
            206,
            {
                "content-range": f"bytes {start}-{stop - 1}/{size}",
                "content-length": str(stop - start),
            },
            media_type="application/octet-stream",
        )

    return router


async def _pieces(path: Path, start: int, stop: int) -> AsyncIterator[bytes]:
    """A part of a file; the listener asks for the next piece when the last one left."""
    with await run_in_threadpool(path.open, "rb") as stream:
        stream.seek(start)
        while start < stop:
            piece = await run_in_threadpool(stream.read, min((256 << 10), stop - start))
            if not piece:
                raise OSError(f"{path}: cut short")  # the length was promised: end the connection
            start += len(piece)
            yield piece
