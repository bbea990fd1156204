"""Interface of the node: handlers of the server's messages, limits and intervals, refusals.

The node itself knows neither data nor models, so these handlers are all that a server can reach
through it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wg_core.ledger.witness import AskWitness
from wg_core.site.home import ClientHome
from wg_core.wire.protocol import StatisticsQuery

ApplyPackage = Callable[[ClientHome, Path], object]
"""Function that verifies and applies a ``.wgw`` file, once per package, or raises."""


class AnswerQuery(Protocol):
    """Function that answers a query with the bytes of a ``.wgs`` file, or raises ``WgError``."""

    def __call__(
        self,
        home: ClientHome,
        query: StatisticsQuery,
        *,
        witness: AskWitness | None,
        clock: Callable[[], float],
    ) -> bytes:
        """Answer a statistics query, or raise a refusal; ``clock`` gives the time of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHandlers:
    """Functions that handle the server's messages at a plant, one for each message type."""

    answer_query: AnswerQuery
    apply_package: ApplyPackage


_IDLE_PAUSE_DIVISOR = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Limits and intervals of a node, none of which changes a release.

    Attributes:
        poll_seconds: Shortest pause between two polls for messages.
        idle_poll_seconds: Longest pause. An idle node pauses for a twentieth of its idle time, so
            that a large fleet costs its server little, and for at least ten times the duration of
            the server's last answer, so that a busy server is not loaded with polls.
        backoff_seconds: First pause after an error. The pause doubles up to
            ``backoff_limit_seconds``, and a random part of up to its own length is added.
        backoff_limit_seconds: Longest pause after an error, before the random part.
        max_message_objects: Most Flower objects in one message.
        max_message_bytes: Most bytes of one message, and of one answer of the server.
        renewal_interval_seconds: Shortest time between two renewals of the certificate.
        apply_retry_seconds: Pause before a package that did not fit on the disk is tried again.
    """

    poll_seconds: float = 1.0
    idle_poll_seconds: float = 60.0
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 60.0
    max_message_objects: int = 64
    max_message_bytes: int = 64 << 20
    renewal_interval_seconds: float = 600.0
    apply_retry_seconds: float = 60.0

    def poll_pause_seconds(self, idle_seconds: float, answer_seconds: float = 0.0) -> float:
        """Return the seconds that the node waits before its next poll for messages.

        Args:
            idle_seconds: Time since the last message.
            answer_seconds: Time that the server took to answer the last poll.
        """
        busy_share = 10.0
        pause = max(idle_seconds / _IDLE_PAUSE_DIVISOR, answer_seconds * busy_share)
        return min(max(self.poll_seconds, pause), self.idle_poll_seconds)


class MessageDeclined(Exception):
    """Refusal of a message; the argument is a word of ``flower_messages.DECLINE_MEANINGS``.

    The word depends on the message alone, not on any data of the plant.
    """
