"""Contact sheets of the procedural library: what is rendered, to look at.

One PNG for each kind. A row is a family, a block of pictures in it a class: a few pictures at the
family's first site, and below them the same number at its second, another sheet and camera.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common import atomic, streams
from wg_common.streams import Stream
from wg_server.zoo.plan import SourcePlan, ZooPlan
from wg_server.zoo.procedural import families

ROWS = 8
COLUMNS = 8
_GAP = 6
_SMALL = 2
_WHITE = 255


def write(plan: ZooPlan, out: Path, *, rows: int = ROWS, columns: int = COLUMNS) -> list[Path]:
    """Render a sheet for each kind that the plan's procedural sources draw.

    Args:
        plan: Its seed and strengths are used; other sources are passed over.
        out: Folder; made if needed.
        columns: Classes shown of a family, at most.

    Returns:
        The files written, by kind.
    """
    written = []
    for kind in families.KINDS:
        found = _families(plan, kind, rows)
        if not found:
            continue
        image = sheet(found, columns)
        path = out / f"{kind}.png"
        out.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, _png(image))
        written.append(path)
    return written


def sheet(found: list[tuple[families.Family, float]], columns: int = COLUMNS) -> NDArray[np.uint8]:
    """One picture, ``[h, w, 3]``: rows are families with the strength of their cameras."""
    size = families.SIZE
    block = 2 * size + _SMALL
    width = columns * (size + _SMALL) - _SMALL
    page = np.full((len(found) * (block + _GAP) - _GAP, width, 3), _WHITE, np.uint8)
    for row, (family, strength) in enumerate(found):
        shown = np.arange(min(len(family.classes), columns))
        for number in range(2):
            weak = 0.3 if number == 0 else 1.0
            site = families.draw_site(family, number, strength=weak * strength)
            rng = streams.rng(Stream.SHEET, *family.seed, number)
            pictures = families.render(family, site, shown, rng)
            if pictures.ndim == 3:
                pictures = np.repeat(pictures[..., None], 3, axis=3)
            top = row * (block + _GAP) + number * (size + _SMALL)
            for column, picture in enumerate(pictures):
                left = column * (size + _SMALL)
                page[top : top + size, left : left + size] = picture
    return page


def _families(plan: ZooPlan, kind: str, count: int) -> list[tuple[families.Family, float]]:
    """The first families of a kind, as the plan's tasks draw them."""
    found: list[tuple[families.Family, float]] = []
    for number, source in enumerate(plan.sources):
        if source.kind != "procedural" or source.only not in ("", kind):
            continue
        found += _drawn(source, plan.seed + 7919 * number, kind, count - len(found))
    return found


def _drawn(
    source: SourcePlan, seed: int, kind: str, count: int
) -> list[tuple[families.Family, float]]:
    found: list[tuple[families.Family, float]] = []
    for index in range(source.families):
        if len(found) >= count:
            break
        family = families.draw_family((seed, index), source.only or None)
        if family.kind == kind:
            found.append((family, source.strength))
    return found


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", optimize=True)
    return out.getvalue()
