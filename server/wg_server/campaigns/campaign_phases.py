"""Phases of a campaign: collection of statistics, and delivery of packages."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.schema import statistics_field
from wg_core.wire import canonical, flower_messages, protocol
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Delivery, Receipt, StatisticsQuery
from wg_server.campaigns import release_intake, schedule
from wg_server.campaigns.release_intake import QueryTerms
from wg_server.fleet.witness import LedgerWitness
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign, CampaignTask
from wg_server.store.queue import TaskChanges, TaskTraffic
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPhase:
    """Phase of a campaign: which message its sites get, and how an answer changes their tasks.

    Attributes:
        task_state: State of the tasks that this phase sends messages for.
        message_type: Message type, one of ``wg_core.wire.protocol``.
        request_id_of_task: Returns the id of a task's request, which repeated messages share.
        build_envelope: Returns the message to a site, for a task whose ``asked`` is set.
        accept_answer: Checks an answer, and returns the changes for ``CampaignQueue.update_task``.
    """

    task_state: str
    message_type: str
    request_id_of_task: Callable[[CampaignTask], str]
    build_envelope: Callable[[Campaign, CampaignTask], Envelope]
    accept_answer: Callable[[Campaign, CampaignTask, StoredSite, Envelope], TaskChanges]


def collection_phase(store: ServerStore, witness: LedgerWitness) -> CampaignPhase:
    """Return the phase that sends statistics queries and receives releases with ledger proofs."""

    def envelope(campaign: Campaign, task: CampaignTask) -> Envelope:
        query = StatisticsQuery(
            request_id=task.query_id,
            site=task.site,
            encoder=campaign.encoder,
            epsilon=campaign.epsilon,
            delta=campaign.delta,
            purpose=campaign.purpose,
            expires=int(schedule.answer_deadline(campaign, task)),
            statistics=statistics_field(campaign.statistics),
        )
        return Envelope("query", canonical.encode(query))

    def accept(
        campaign: Campaign, task: CampaignTask, site: StoredSite, answer: Envelope
    ) -> TaskChanges:
        _require_envelope_kind(answer, "statistics")
        terms = QueryTerms(
            encoder_sha256=campaign.encoder,
            epsilon=campaign.epsilon,
            delta=campaign.delta,
            statistics_kind=campaign.statistics,
        )
        release = release_intake.accept_release(
            site, answer.payload, terms, witness=witness, current_time=time.time()
        )
        stored_release = store.find_release(release.release_id)  # the operator may have judged it
        is_used = release.is_usable if stored_release is None else stored_release.is_usable
        log.info("campaign %s: %s released %s", campaign.id, task.site, release.release_id)
        return {
            "release": release,
            "traffic": TaskTraffic(bytes_received=len(answer.payload)),
            "answered": time.time(),
            "state": "released" if is_used else "failed",
            "code": "" if is_used else release_intake.QUARANTINED_CODE,
            "release_id": release.release_id,
        }

    return CampaignPhase(
        task_state="waiting",
        message_type=protocol.QUERY_MESSAGE_TYPE,
        request_id_of_task=lambda task: task.query_id,
        build_envelope=envelope,
        accept_answer=accept,
    )


def delivery_phase(home: ServerHome) -> CampaignPhase:
    """Return the phase that sends packages and receives receipts."""

    def envelope(campaign: Campaign, task: CampaignTask) -> Envelope:
        delivery = Delivery(
            request_id=task.delivery_id, site=task.site, package_sha256=task.package_sha256
        )
        data = atomic.read_bytes(
            home.package_path(task.delivery_id), limit=protocol.WEIGHTS_BYTES_LIMIT
        )
        return Envelope("delivery", canonical.encode(delivery), data)

    def accept(
        campaign: Campaign, task: CampaignTask, site: StoredSite, answer: Envelope
    ) -> TaskChanges:
        _require_envelope_kind(answer, "receipt")
        receipt = canonical.decode(Receipt, answer.record, input_name="receipt")
        is_hash = protocol.SHA256_PATTERN.fullmatch(receipt.package_sha256)
        if receipt.request_id != task.delivery_id or not is_hash:
            raise VerificationError("receipt: of another delivery")
        log.info("campaign %s: delivered to %s", campaign.id, task.site)
        changes: TaskChanges = {"state": "delivered", "code": ""}
        if receipt.package_sha256 != task.package_sha256:
            # The plant got an earlier package that this server, restored since, does not know.
            log.warning("campaign %s: %s had a package already", campaign.id, task.site)
            return {**changes, "package_sha256": receipt.package_sha256}
        return changes

    return CampaignPhase(
        task_state="packaged",
        message_type=protocol.DELIVERY_MESSAGE_TYPE,
        request_id_of_task=lambda task: task.delivery_id,
        build_envelope=envelope,
        accept_answer=accept,
    )


def _require_envelope_kind(envelope: Envelope, kind: flower_messages.EnvelopeKind) -> None:
    if envelope.kind != kind:
        raise DecodeError(f"reply: kind {envelope.kind!r}, expected {kind!r}")
