"""Messages of one phase of a campaign: sent, sent again, answered.

A message that is lost (the node died after pulling it, the server restarted, the line was cut past
its life) is sent again under the same logical request id, and the plant answers with the bytes it
made the first time. So nothing is charged twice and nothing is applied twice.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from wg_common import logs
from wg_common.wire import canonical, fleet
from wg_common.wire.fleet import Envelope
from wg_common.wire.protocol import Refusal
from wg_server.campaigns.isolation import isolated
from wg_server.campaigns.phases import Phase
from wg_server.fleet.adapter import LOST, FleetRun, FleetState, Reply
from wg_server.store.queue import Campaign, CampaignQueue, Task
from wg_server.store.site import Site
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
MESSAGE_TRIES = 100
_TRANSIENT = frozenset({"peer", "witness", fleet.UNAVAILABLE})
"""Refusals that another try may cure; the site could not, rather than would not."""
_TRANSIENT_TRIES = 10


@dataclass(slots=True)
class _Flight:
    """A message on its way."""

    site: str
    sent: float
    expires: float


class Exchange:
    """Asks each open task's site, until all have answered or the phase's time is over."""

    def __init__(
        self,
        run: FleetRun,
        store: Store,
        state: FleetState,
        campaign_id: str,
        phase: Phase,
        message_seconds: float,
    ) -> None:
        self._run = run
        self._store = store
        self._queue = CampaignQueue(store.engine)
        self._state = state
        self._id = campaign_id
        self._phase = phase
        self._seconds = message_seconds
        self._flights: dict[str, _Flight] = {}
        self._not_before: dict[str, float] = {}

    def work(self, stop: threading.Event) -> None:
        """Do it; ends early where the campaign is cancelled, or at ``stop``."""
        phase = self._phase
        while not stop.is_set():
            campaign = self._queue.show(self._id)
            tasks = {task.site: task for task in campaign.tasks if task.state == phase.state}
            if campaign.state == "cancelling" or not tasks or time.time() > phase.until(campaign):
                break
            sites = {site.name: site for site in self._store.sites() if site.state == "enrolled"}
            for name in tasks.keys() - sites.keys():
                self._queue.update(self._id, name, state="failed", code="revoked")
            self._drop_lost(tasks)
            self._ask(campaign, tasks, sites)
            for reply in self._run.poll(set(self._flights)):
                flight = self._flights.pop(reply.message_id)
                if flight.site in tasks and flight.site in sites:
                    self._handle(campaign, tasks[flight.site], sites[flight.site], reply)
            stop.wait(TICK_SECONDS)
        for message_id in self._flights:
            self._run.forget(message_id)

    def _drop_lost(self, tasks: dict[str, Task]) -> None:
        """Give up messages that expired, or whose node started anew after they were sent."""
        now = time.monotonic()
        for message_id, flight in list(self._flights.items()):
            restarted = self._state.activated(flight.site) > flight.sent
            if restarted or now > flight.expires or flight.site not in tasks:
                self._run.forget(message_id)
                del self._flights[message_id]

    def _ask(self, campaign: Campaign, tasks: dict[str, Task], sites: dict[str, Site]) -> None:
        """Send to each site that is there and has no message on its way."""
        online = self._state.online(sites.values())
        busy = {flight.site for flight in self._flights.values()}
        now = time.monotonic()
        for name, task in tasks.items():
            if name not in online or name in busy or now < self._not_before.get(name, 0.0):
                continue
            if task.messages >= MESSAGE_TRIES:
                self._queue.update(self._id, name, state="failed", code="tries")
                continue
            self._not_before[name] = now + min(2.0**task.messages, 30.0)
            about = logs.about(site=name, request=self._phase.request(task))
            with about, isolated(self._queue, self._id, name, "message"):
                self._send(campaign, task, sites[name])

    def _send(self, campaign: Campaign, task: Task, site: Site) -> None:
        envelope = self._phase.envelope(campaign, task)
        seconds = self._seconds + self._phase.patience(task)
        sent = time.monotonic()
        message_id = self._run.send(site, self._phase.kind, envelope, seconds)
        if message_id is None:
            return
        self._flights[message_id] = _Flight(task.site, sent, sent + seconds)
        log.info("campaign %s: %s sent to %s", self._id, self._phase.kind, task.site)
        self._queue.update(self._id, task.site, messages=1, bytes_sent=len(envelope.payload))

    def _handle(self, campaign: Campaign, task: Task, site: Site, reply: Reply) -> None:
        about = logs.about(site=task.site, request=self._phase.request(task))
        with about, isolated(self._queue, self._id, task.site, "answer"):
            if reply.envelope is None:
                self._declined(task, reply.error)
            elif reply.envelope.kind == "refusal":
                self._refused(task, reply.envelope)
            else:
                found = self._phase.accept(campaign, task, site, reply.envelope)
                self._queue.update(self._id, task.site, **found)

    def _declined(self, task: Task, error: str) -> None:
        if error != LOST:
            why = f"{error}: {fleet.MEANING.get(error, '')}"
            log.warning("campaign %s: %s declined: %s", self._id, task.site, why)
            self._queue.update(self._id, task.site, state="refused", code=error)

    def _refused(self, task: Task, envelope: Envelope) -> None:
        code = canonical.decode(Refusal, envelope.record, what="refusal").code
        why = fleet.REFUSALS.get(code, "a word that this version does not know")
        log.warning("campaign %s: %s refused: %s: %s", self._id, task.site, code, why)
        again = code in _TRANSIENT and task.messages < _TRANSIENT_TRIES
        state = self._phase.state if again else "refused"
        self._queue.update(self._id, task.site, code=code, state=state)
