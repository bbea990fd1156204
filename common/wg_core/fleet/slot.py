"""The time slot of one question: nothing of the answer leaves before it ends.

How long an answer takes depends on the records. So the first thing that leaves waits for the end of
a public time slot, whatever the thing is: the ledger's checkpoint for the witness (the server is
the witness, and sees when it is asked), the answer, a refusal. What leaves later goes at once: the
work between the two depends on nothing private.

*Guarantee.* Whoever watches the line sees a whole number of slots, one for work that fits
(``release.freeze`` refuses a slot that the records might outlast).
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from wg_core.privacy import timing

T = TypeVar("T")


class Stopped(Exception):
    """The node stops before an answer may leave."""


class Slot:
    """A slot that begins now."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        """Begin the slot.

        Args:
            seconds: Its length; 0 for a message whose answer may leave at any time.
            stop: Set when the node is to stop.
        """
        self._seconds = seconds
        self._stop = stop
        self._started = time.monotonic()
        self._over = seconds == 0
        self.arrived = time.time()

    def send(self, leave: Callable[[], T]) -> T:
        """Let something leave the plant, when the slot has ended.

        Raises:
            Stopped: The node is to stop. Nothing is sent early: the server asks again.
        """
        if not self._over:
            timing.hold(self._started, self._seconds, sleep=self._sleep)
            self._over = True
        return leave()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped
