"""Fixed time slots for answers, so that the sampler's running time reveals nothing.

The discrete Gaussian sampler rejects proposals, and clipping loops over the data: neither runs in
constant time. An answer is therefore held until a whole number of slots of public length has passed
since the request. Only this number is visible, which is one unless a slot is too short.
"""

import math
import time
from collections.abc import Callable

from wg_core.errors import ConfigError


def wait_for_slot_end(
    start_time: float,
    slot_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Sleep until the current slot ends; return the number of slots since ``start_time``.

    Args:
        start_time: Value of ``clock()`` when the request arrived, before private data were used.
        slot_seconds: Length of a slot.

    Raises:
        ConfigError: ``slot_seconds`` is not positive and finite.
    """
    if not 0 < slot_seconds < math.inf:
        raise ConfigError(f"time slot: {slot_seconds!r} seconds, expected a positive number")
    slots = max(1, math.ceil((clock() - start_time) / slot_seconds))
    end = start_time + slots * slot_seconds
    while (seconds_left := end - clock()) > 0:
        sleep(seconds_left)
    return slots
