"""How long tests wait for what must come: so long that only what hangs takes longer."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 600.0
"""Less than the limit of a whole test in ``pyproject.toml``, so that what hangs is named."""


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Look again and again until something is so; ``what`` is said of it where it hangs."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < end, f"{what} took more than {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.02)
