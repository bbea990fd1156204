"""Message exchange of all campaigns: sending, sending again, and receiving answers.

A lost message (the node stopped after pulling it, the server restarted, or the connection was down
past the message's lifetime) is sent again with the same logical request id, and the plant answers
with the bytes it made the first time. Nothing is therefore charged or applied twice.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from wg_core import logs
from wg_core.wire import canonical, flower_messages
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Refusal
from wg_server.campaigns.campaign_phases import CampaignPhase
from wg_server.campaigns.task_isolation import fail_task_on_error
from wg_server.fleet.adapter import LOST_REPLY_CODE, FlowerLink, FlowerRun, NodeReply
from wg_server.store.campaigns import Campaign, CampaignTask
from wg_server.store.queue import CampaignQueue, TaskChanges, TaskTraffic
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)

MESSAGE_TRIES_LIMIT = 100
MAX_IN_FLIGHT_BYTES = 128 << 20
"""Largest total size of messages in flight, in bytes: Flower's link state holds them in memory."""
MESSAGE_OVERHEAD_BYTES = 8 << 10  # Memory of a message in flight besides its payload
_TRANSIENT_REFUSAL_CODES = frozenset({"peer", "witness", flower_messages.PLANT_UNAVAILABLE})
"""Refusal codes of a site that could not answer, so that another try may succeed."""
_APPROVAL_POLL_SECONDS = 60.0  # Pause between repeats of a request that awaits a person's decision


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """Current request of one campaign to one site."""

    campaign: Campaign
    task: CampaignTask
    site: StoredSite
    phase: CampaignPhase

    @property
    def request_key(self) -> tuple[str, str, str]:
        """Key of the request: campaign, site, and logical id."""
        return self.campaign.id, self.task.site, self.phase.request_id_of_task(self.task)


@dataclass(frozen=True, slots=True)
class _PendingMessage:
    """Message without a reply so far: request, bytes, monotonic times of sending and expiry."""

    request_key: tuple[str, str, str]
    size_bytes: int
    send_time: float
    expiry_time: float


class MessageExchange:
    """Exchange of messages with sites for all campaigns, over a Flower run opened when needed."""

    def __init__(
        self, store: ServerStore, flower_link: FlowerLink, message_lifetime_seconds: float
    ) -> None:
        self._store = store
        self._queue = CampaignQueue(store.engine)
        self._state = flower_link
        self._seconds = message_lifetime_seconds
        self._flights: dict[str, _PendingMessage] = {}
        self._not_before: dict[tuple[str, str, str], float] = {}
        self._stack = ExitStack()
        self._run: FlowerRun | None = None
        self._since = 0.0
        self._unsent: Iterator[SiteRequest] = iter(())

    def close(self) -> None:
        """Withdraw all messages in flight; they can be sent again with the same request ids."""
        self._flights.clear()
        self._not_before.clear()
        self._unsent = iter(())
        self._run = None
        self._stack.close()

    @property
    def has_messages_in_flight(self) -> bool:
        """True while messages are in flight."""
        return bool(self._flights)

    def poll_replies(self) -> list[NodeReply]:
        """Return new replies, to be passed to ``handle_replies``."""
        if self._run is None or not self._flights:
            return []
        return self._run.poll_replies(set(self._flights))

    def handle_replies(
        self,
        replies: Sequence[NodeReply],
        find_current_request: Callable[[str, str], SiteRequest | None],
    ) -> None:
        """Process replies that answer a current request; drop all others.

        Args:
            find_current_request: Returns the current request of a campaign (by id) to a site (by
                name), or None.
        """
        for reply in replies:
            key = self._flights.pop(reply.message_id).request_key
            ask = find_current_request(*key[:2])
            if ask is not None and ask.request_key == key:
                self._handle_reply(ask, reply)

    def send_requests(self, requests: Sequence[SiteRequest]) -> bool:
        """Send each request that is not in flight, whose site is connected, and that is due again.

        Args:
            requests: All current requests; messages in flight that are not among them are
                withdrawn.

        Returns:
            True if some requests may still be unsent, see ``send_remaining_requests``.
        """
        # Age after which an idle Flower run is closed, which frees its memory.
        run_seconds = 3600.0
        self._drop_obsolete_messages({ask.request_key for ask in requests})
        self._unsent = self._sendable_requests(requests)
        unsent = self.send_remaining_requests()
        old = time.monotonic() - self._since > run_seconds
        if self._run is not None and not self._flights and (old or not requests):
            self.close()
        return unsent

    def send_remaining_requests(self, *, time_limit_seconds: float = 5.0) -> bool:
        """Send requests for at most ``time_limit_seconds``, so that answers are read in between.

        At most ``MAX_IN_FLIGHT_BYTES`` are in flight at a time.

        Returns:
            True if some requests may still be unsent, for lack of time or of room in flight.
        """
        start = time.monotonic()
        room = MAX_IN_FLIGHT_BYTES - sum(flight.size_bytes for flight in self._flights.values())
        while room > 0:
            if (ask := next(self._unsent, None)) is None:
                return False
            campaign_id, name, request = ask.request_key
            run = self._open_flower_run()  # not isolated: a failure here concerns all sites
            with (
                logs.log_context(campaign=campaign_id, site=name, request=request),
                fail_task_on_error(self._queue, campaign_id, name, "message"),
            ):
                room -= self._send_message(run, ask)
            if time.monotonic() - start > time_limit_seconds:
                break
        return True

    def _open_flower_run(self) -> FlowerRun:
        """Return the open Flower run, or open a new one."""
        if self._run is None:
            self._run = self._stack.enter_context(self._state.open_run())
            self._since = time.monotonic()
        return self._run

    def _drop_obsolete_messages(self, request_keys: set[tuple[str, str, str]]) -> None:
        """Drop messages that expired, that are no longer requested, or whose node restarted."""
        current_time = time.monotonic()
        for message_id, flight in list(self._flights.items()):
            has_restarted = (
                self._state.last_activation_time(flight.request_key[1]) > flight.send_time
            )
            if (
                has_restarted
                or current_time > flight.expiry_time
                or flight.request_key not in request_keys
            ):
                if self._run is not None:
                    self._run.withdraw_message(message_id)
                del self._flights[message_id]
        self._not_before = {key: t for key, t in self._not_before.items() if key in request_keys}

    def _sendable_requests(self, requests: Sequence[SiteRequest]) -> Iterator[SiteRequest]:
        """Yield the requests to send now: not in flight, to a connected site, after any pause."""
        if not requests:
            return
        online = self._state.online_sites({ask.site.name: ask.site for ask in requests}.values())
        flying = {flight.request_key for flight in self._flights.values()}
        current_time = time.monotonic()
        for ask in requests:
            key = ask.request_key
            if (
                ask.task.site not in online
                or key in flying
                or current_time < self._not_before.get(key, 0.0)
            ):
                continue
            is_undecided = ask.task.code == flower_messages.AWAITING_APPROVAL
            if ask.task.tries >= MESSAGE_TRIES_LIMIT and not is_undecided:
                self._queue.update_task(
                    ask.campaign.id, ask.task.site, state="failed", code="tries"
                )
                continue
            pause = (
                _APPROVAL_POLL_SECONDS if is_undecided else min(2.0 ** min(ask.task.tries, 5), 30.0)
            )
            self._not_before[key] = current_time + pause
            yield ask

    def _send_message(self, run: FlowerRun, request: SiteRequest) -> int:
        """Send the message of one request; return the number of bytes in flight that it adds."""
        task, phase = request.task, request.phase
        asked_at = task.asked or time.time()
        envelope = phase.build_envelope(request.campaign, replace(task, asked=asked_at))
        seconds = self._seconds
        send_time = time.monotonic()
        message_id = run.send_message(request.site, phase.message_type, envelope, seconds)
        if message_id is None:
            return 0
        size = MESSAGE_OVERHEAD_BYTES + len(envelope.payload)
        self._flights[message_id] = _PendingMessage(
            request.request_key, size, send_time, send_time + seconds
        )
        log.info("campaign %s: %s sent to %s", request.campaign.id, phase.message_type, task.site)
        self._queue.update_task(
            request.campaign.id,
            task.site,
            traffic=TaskTraffic(messages=1, bytes_sent=len(envelope.payload)),
            asked=asked_at,
        )
        return size

    def _handle_reply(self, site_request: SiteRequest, reply: NodeReply) -> None:
        campaign_id, name, request = site_request.request_key
        with (
            logs.log_context(campaign=campaign_id, site=name, request=request),
            fail_task_on_error(self._queue, campaign_id, name, "answer"),
        ):
            if reply.envelope is None:
                self._record_decline(site_request, reply.error_code)
            elif reply.envelope.kind == "refusal":
                self._record_refusal(site_request, reply.envelope)
            else:
                changes = site_request.phase.accept_answer(
                    site_request.campaign, site_request.task, site_request.site, reply.envelope
                )
                self._queue.update_task(
                    campaign_id, name, required_state=site_request.task.state, **changes
                )

    def _record_decline(self, request: SiteRequest, error_code: str) -> None:
        if error_code != LOST_REPLY_CODE:
            why = f"{error_code}: {flower_messages.DECLINE_MEANINGS.get(error_code, '')}"
            log.warning("campaign %s: %s declined: %s", request.campaign.id, request.task.site, why)
            self._queue.update_task(
                request.campaign.id, request.task.site, state="refused", code=error_code
            )

    def _record_refusal(self, request: SiteRequest, envelope: Envelope) -> None:
        transient_tries = 10
        code = canonical.decode(Refusal, envelope.record, input_name="refusal").code
        why = flower_messages.REFUSAL_MEANINGS.get(code, "a word that this version does not know")
        if code != request.task.code:
            part = (request.campaign.id, request.task.site)
            log.warning("campaign %s: %s refused: %s: %s", *part, code, why)
        again = code in _TRANSIENT_REFUSAL_CODES and request.task.tries < transient_tries
        again = again or code == flower_messages.AWAITING_APPROVAL
        changes: TaskChanges = {"code": code} if again else {"code": code, "state": "refused"}
        self._queue.update_task(request.campaign.id, request.task.site, **changes)
