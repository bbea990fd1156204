"""Time slot of one query: nothing of the answer leaves before the slot ends.

The time that an answer takes depends on the records. So the first output waits for the end of a
public time slot, whatever it is: the ledger's checkpoint for the witness (the server is the witness
and sees when it is asked), the answer, or a refusal. Later output leaves at once, because the work
between the two depends on nothing private.

*Guarantee.* An observer of the connection sees a whole number of slots, and one slot if the work
fits (``release.freeze`` refuses a slot that the records might exceed).
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from wg_core.privacy import time_slots

T = TypeVar("T")


class NodeStopped(Exception):
    """The node is stopped before an answer may leave."""


class AnswerSlot:
    """Time slot of one answer, which begins on construction."""

    def __init__(self, slot_seconds: float, stop: threading.Event) -> None:
        """Begin the time slot of one answer.

        Args:
            slot_seconds: Length of the slot; 0 for an answer that may leave at any time.
        """
        self._seconds = slot_seconds
        self._stop = stop
        self._started = time.monotonic()
        self._over = slot_seconds == 0
        self.arrival_time = time.time()

    def send_at_end(self, send: Callable[[], T]) -> T:
        """Wait for the end of the time slot, then call ``send`` and return its result.

        Raises:
            NodeStopped: The node is stopped. Nothing is sent early: the server asks again.
        """
        if not self._over:
            time_slots.wait_for_slot_end(self._started, self._seconds, sleep=self._sleep)
            self._over = True
        return send()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise NodeStopped
