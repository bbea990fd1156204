"""Rate limit with a sliding window for each key (address or token), in bounded memory."""

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable


class SlidingWindowLimit:
    """Limit on tries per key; beyond ``keys_limit`` keys, the least recently used is dropped."""

    def __init__(
        self, tries_limit: int, keys_limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = tries_limit
        self._keys = keys_limit
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def count_try(self, key: str, *, window_seconds: float = 60.0) -> bool:
        """Count a try of a key, or return False if the window has ``tries_limit`` of it already."""
        current_time = self._clock()
        times = self._seen.setdefault(key, deque())
        self._seen.move_to_end(key)
        while times and current_time - times[0] >= window_seconds:
            times.popleft()
        if len(times) >= self._limit:
            return False
        times.append(current_time)
        while len(self._seen) > self._keys:
            self._seen.popitem(last=False)
        return True


def client_network(host: str) -> str:
    """Return the network that an address is counted for: the address itself, or its /64 in IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
