"""What a node is given: handlers for the server's messages, bounds and speeds. And how it declines.

The node itself knows neither data nor models, so that everything a server can reach through it is
named here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wg_core.site.home import ClientHome
from wg_core.wire.protocol import StatisticsQuery

Witness = Callable[[bytes], bytes]
"""Takes an ``add-checkpoint`` body, returns cosignature lines; raises ``WitnessRefused``."""


ApplyPackage = Callable[[ClientHome, Path], object]
"""Verifies and applies a ``.wgw`` file, once for each package, or raises."""


class AnswerQuery(Protocol):
    """Answers a question with the bytes of a covered file (``.wgs``), or raises ``WgError``."""

    def __call__(
        self,
        home: ClientHome,
        query: StatisticsQuery,
        *,
        witness: Witness | None,
        clock: Callable[[], float],
    ) -> bytes:
        """Answer, or refuse by raising; ``now`` is when the question came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Functions of the installed app, one for each message type."""

    answer_query: AnswerQuery
    apply_package: ApplyPackage


_IDLE_SHARE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Bounds and speeds; none changes what is released.

    Attributes:
        poll_seconds: Least pause between two questions for work.
        idle_poll_seconds: Longest one: a node that was asked nothing for a while pauses for a
            twentieth of that while, so that a large fleet costs its server little; and for ten
            times as long as the last answer took, so that a busy server answers what matters.
        backoff_seconds: First pause after an error; doubles up to ``backoff_limit_seconds``,
            and up to as much again is added at random.
        backoff_limit_seconds: See ``backoff_seconds``.
        max_objects: Most Flower objects in one message.
        max_bytes: Most bytes of one message, and of one answer of the server.
        renew_again_seconds: Least time between two renewals of the certificate.
        apply_again_seconds: Pause before a package that did not fit on the disk is tried again.
    """

    poll_seconds: float = 1.0
    idle_poll_seconds: float = 60.0
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 60.0
    max_objects: int = 64
    max_bytes: int = 64 << 20
    renew_again_seconds: float = 600.0
    apply_again_seconds: float = 60.0

    def pause(self, idle_seconds: float, answer_seconds: float = 0.0) -> float:
        """Pause before the next question for work.

        Args:
            idle_seconds: Nothing came for so long.
            answer_seconds: So long the server took to say so.
        """
        busy_share = 10.0
        pause = max(idle_seconds / _IDLE_SHARE, answer_seconds * busy_share)
        return min(max(self.poll_seconds, pause), self.idle_poll_seconds)


class Declined(Exception):
    """The node declines a message; the argument is one of the words in ``wg_core.wire.fleet``.

    It says something about the message alone: nothing of the plant was looked at.
    """
