"""Requests that a person must decide on, and the decisions, recorded by name on the ledger.

With ``privacy.approve: human`` a request that the policy allows is stored in ``requests/`` and
refused with the word ``approval``; the server asks again. ``record_decision`` writes a DECISION
entry; the next time the request arrives it is answered if it was approved. An approval is for one
request at one price, for one purpose and recipient: a charge with other terms is invalid on the
log.

Not guaranteed: that a decision is independent of the data. A person may look at them first, and the
server sees the decision and its time. A ledger keeps names for ever, and auditors read them; a role
is a name, too.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from wg_core import atomic
from wg_core.errors import ApprovalPending, ConfigError, PolicyRefused, UsageError, WgError
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.entries import Decision
from wg_core.privacy.schema import (
    GRADIENTS,
    ReleaseField,
    ReleaseKind,
    release_kind,
    statistics_kind,
)
from wg_core.site.config import HUMAN_APPROVAL, ClientConfig
from wg_core.site.home import ClientHome
from wg_core.site.policy import PrivacyPrice
from wg_core.text_grammars import check_name
from wg_core.wire import canonical, flower_messages
from wg_core.wire.protocol import StatisticsQuery

log = logging.getLogger(__name__)

WAITING_REQUESTS_LIMIT = 256  # Most requests stored, so that a server cannot fill the disk
EXPORT_RECIPIENT = "whoever gets the exported file"  # Recipient of a private head


class RequestToApprove(PrivacyPrice, Protocol):
    """Request for a release, by a server or by a command of the plant."""

    @property
    def request_id(self) -> str:
        """Id of the request."""

    @property
    def purpose(self) -> str:
        """Purpose of the release."""

    @property
    def statistics(self) -> ReleaseField:
        """Kind of release: ``machine``, ``gradients``, or UNSET for class statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRequest:
    """Release request that waits for a decision; ``came`` is its first arrival, Unix seconds."""

    query: StatisticsQuery
    came: int


def require_approval(
    home: ClientHome,
    config: ClientConfig,
    ledger: Ledger,
    query: StatisticsQuery,
    current_time: float,
) -> None:
    """Return if a release request is approved or needs no approval; raise otherwise.

    Raises:
        ApprovalPending: Nobody has decided yet; the request is stored.
        PolicyRefused: The request was denied, or approved on other terms.
    """
    if config.privacy.approve != HUMAN_APPROVAL:
        return
    request_id = query.request_id
    decision = ledger.newest_decision(config.data.name, request_id)
    if decision is None:
        _store_waiting_request(home, query, current_time)
        raise ApprovalPending(
            f"request {request_id}: waits for a person; see 'wg-client requests --home"
            f" {home.root} {request_id}'"
        )
    if not decision.approved:
        raise PolicyRefused(f"request {request_id}: denied by {decision.name}")
    kind = statistics_kind(query.statistics)
    difference = decision.describe_first_difference(
        query.epsilon, query.delta, query.purpose, config.server.name, kind
    )
    if difference:
        raise PolicyRefused(f"request {request_id}: {difference}")


def record_decision(
    config: ClientConfig,
    ledger: Ledger,
    query: RequestToApprove,
    *,
    is_approved: bool,
    person_name: str,
) -> Decision:
    """Write a person's decision to the ledger.

    Args:
        ledger: Open ledger of the plant, with its lock held.
        person_name: Name or role of the person, which stays on the ledger for ever.

    Raises:
        UsageError: The name is not allowed.
        VerificationError: The request was charged before the decision.
    """
    try:
        check_name(person_name)
    except WgError as error:
        raise UsageError(f"--by: {error}") from error
    ledger.record_decision(
        partial(
            Decision,
            request_id=query.request_id,
            dataset=config.data.name,
            epsilon=query.epsilon,
            delta=query.delta,
            purpose=query.purpose,
            recipient=release_recipient(config, release_kind(query.statistics)),
            approved=is_approved,
            name=person_name,
            statistics=query.statistics,
        )
    )
    decision = ledger.newest_decision(config.data.name, query.request_id)
    if decision is None:
        raise ConfigError(f"request {query.request_id}: the decision was not written")
    log.info("request %s: %s", query.request_id, "approved" if is_approved else "denied")
    return decision


def approve_by_command(
    config: ClientConfig, ledger: Ledger, query: RequestToApprove, person_name: str | None
) -> None:
    """Record a person's approval of a release that a command of the plant makes.

    Raises:
        PolicyRefused: An approval is required, and no name is given.
        UsageError: The name is not allowed, or no approval is required.
    """
    if config.privacy.approve != HUMAN_APPROVAL:
        if person_name is not None:
            raise UsageError("--by: for plants whose privacy.approve is 'human', found 'policy'")
        return
    if person_name is None:
        raise PolicyRefused(
            "privacy.approve is 'human': a person decides each release, and the name goes on the"
            " ledger; say who: --by NAME"
        )
    record_decision(config, ledger, query, is_approved=True, person_name=person_name)


def release_recipient(config: ClientConfig, kind: ReleaseKind) -> str:
    """Return the recipient of a kind of release: the server, or users of an exported head."""
    return EXPORT_RECIPIENT if kind == GRADIENTS else config.server.name


def list_waiting_requests(home: ClientHome, current_time: float) -> list[WaitingRequest]:
    """List the stored requests, oldest first, and delete expired ones.

    Raises:
        DecodeError: A file of a request is damaged.
    """
    requests = []
    for path in sorted(home.waiting_requests.glob("*.json")):
        request = canonical.read_record(WaitingRequest, path)
        if current_time >= request.query.expires:
            path.unlink(missing_ok=True)
        else:
            requests.append(request)
    return sorted(requests, key=lambda request: request.came)


def find_waiting_request(home: ClientHome, id_prefix: str, current_time: float) -> WaitingRequest:
    """Find a request that waits for a decision, by the beginning of its id.

    Raises:
        ConfigError: No request, or several requests, match.
    """
    matches = [
        request
        for request in list_waiting_requests(home, current_time)
        if request.query.request_id.startswith(id_prefix)
    ]
    if len(matches) != 1 or not id_prefix:
        raise ConfigError(
            f"request {id_prefix!r}: {len(matches)} requests begin with it; 'wg-client requests"
            f" --home {home.root}' lists them"
        )
    return matches[0]


def _store_waiting_request(home: ClientHome, query: StatisticsQuery, current_time: float) -> None:
    """Store a request that waits for a decision, once, if there is room."""
    request_id = flower_messages.check_request_id(query.request_id)
    request = WaitingRequest(query=query, came=int(current_time))
    path = home.waiting_requests / f"{request_id}.json"
    if path.is_file():
        return
    if len(list_waiting_requests(home, current_time)) >= WAITING_REQUESTS_LIMIT:
        log.warning("request %s: not kept: %d wait already", request_id, WAITING_REQUESTS_LIMIT)
        return
    atomic.write_private_bytes(path, canonical.encode(request))
