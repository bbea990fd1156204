"""``wg-client requests``: requests of the server, and decisions on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli.options import STATISTICS_KIND_TITLES, home_option
from wg_common.cli import json_option, next_step, print_result
from wg_common.language import text
from wg_core.errors import UsageError
from wg_core.privacy.schema import MACHINE_STATISTICS, statistics_kind
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_core.ledger.entries import Decision
    from wg_core.release.approval import WaitingRequest

_STATE_TITLES = {
    "answered": text("answered"),
    "waiting": text("waiting"),
    "approved": text("approved"),
    "denied": text("denied"),
}


@click.command()
@home_option
@click.argument("request_id", metavar="[ID]", required=False)
@click.option("--approve", is_flag=True, help="Let this request be answered.")
@click.option("--deny", is_flag=True, help="Refuse this request.")
@click.option(
    "--by",
    "name",
    metavar="NAME",
    help="Person who decides; a role will do. It stays on the ledger, and auditors read it.",
)
@json_option
def requests(
    home: ClientHome,
    request_id: str | None,
    approve: bool,
    deny: bool,
    name: str | None,
    as_json: bool,
) -> None:
    """List what the server asks, show one request, or decide it (privacy.approve: human).

    One request is shown with its release and the cost. A decision and NAME go on the ledger.
    """
    if approve or deny:
        if approve and deny:
            raise UsageError("--approve and --deny: one of the two, found both")
        if request_id is None or name is None:
            raise UsageError("--approve, --deny: need the ID of a request, and --by NAME")
        _decide_request(home, request_id, name, approve, as_json)
    elif name is not None:
        raise UsageError("--by: with --approve or --deny")
    elif request_id is None:
        _list_requests(home, as_json)
    else:
        _show_request(home, request_id, as_json)


def _list_requests(home: ClientHome, as_json: bool) -> None:
    """List the server's requests that have not expired, with the plant's decisions."""
    from wg_core.release import approval

    rows = [
        _request_document(home, request)
        for request in approval.list_waiting_requests(home, time.time())
    ]
    hint = text("no requests")
    if _read_config(home).privacy.approve != "human":
        hint = text(
            "no requests: privacy.approve in client.yaml is 'policy', so the policy alone decides"
        )
    lines = [
        line
        for row in rows
        for line in (
            text(
                "{request}  {state} {of}, epsilon {epsilon}, until {expires}",
                of=STATISTICS_KIND_TITLES[row["statistics"]],
                request=row["request_id"][:16],
                state=_STATE_TITLES[row["state"]],
                epsilon=row["epsilon"],
                expires=_format_time(row["expires"]),
            ),
            f"    {row['purpose']}",
        )
    ]
    if waits := [row["request_id"][:16] for row in rows if row["state"] == "waiting"]:
        command = "wg-client requests --home {home} {request}"
        lines.append(next_step(command, home=home.root, request=waits[0]))
    print_result({"requests": rows}, lines or [hint], as_json)


def _show_request(home: ClientHome, request_id: str, as_json: bool) -> None:
    """Show one request of the server, with the contents and privacy cost of its release."""
    from wg_client.release import preview
    from wg_core.release import approval

    request = approval.find_waiting_request(home, request_id, time.time())
    query = request.query
    overview = preview.preview_release(
        home, epsilon=query.epsilon, delta=query.delta, statistics=statistics_kind(query.statistics)
    )
    document = {
        **_request_document(home, request),
        "would_leave": canonical.to_builtins(overview.would_leave),
        "cost": canonical.to_builtins(overview.cost),
    }
    print_result(document, _request_lines(document, home), as_json)


def _decide_request(
    home: ClientHome, request_id: str, decider_name: str, is_approved: bool, as_json: bool
) -> None:
    from wg_core.release import approval
    from wg_core.release.query_answers import open_ledger
    from wg_core.site import locks

    config = _read_config(home)
    request = approval.find_waiting_request(home, request_id, time.time())
    with locks.lock_ledger(home), open_ledger(home) as ledger:
        decision = approval.record_decision(
            config, ledger, request.query, is_approved=is_approved, person_name=decider_name
        )
    lines = [
        text(
            "request {request}: {word} by {name}; ledger entry {entry}",
            request=decision.request_id[:16],
            word=_STATE_TITLES["approved" if is_approved else "denied"],
            name=decision.name,
            entry=decision.head.seq,
        ),
        text(
            "next: nothing to do; the server asks again within minutes, while 'wg-client run' is"
            " running"
        )
        if is_approved
        else text("next: nothing to do; the server is told when it asks again"),
    ]
    print_result({**_request_document(home, request), "entry": decision.head.seq}, lines, as_json)


def _read_config(home: ClientHome) -> Any:
    from wg_core.site import config as configuration

    return configuration.load(home)


def _request_document(home: ClientHome, request: WaitingRequest) -> dict[str, Any]:
    """Return a request of the server, and the decision on it, as a JSON document."""
    from wg_core.ledger.budget_ledger import Ledger

    config, query = _read_config(home), request.query
    with Ledger.open(home.ledger) as ledger:
        decision = ledger.newest_decision(config.data.name, query.request_id)
        is_charged = ledger.find_charge(config.data.name, request_id=query.request_id) is not None
    return {
        "request_id": query.request_id,
        "state": _request_state(decision, is_charged),
        "by": None if decision is None else decision.name,
        "came": request.came,
        "expires": query.expires,
        "epsilon": query.epsilon,
        "delta": query.delta,
        "purpose": query.purpose,
        "recipient": config.server.name,
        "statistics": statistics_kind(query.statistics),
    }


def _request_state(decision: Decision | None, is_charged: bool) -> str:
    if is_charged:
        return "answered"
    if decision is None:
        return "waiting"
    return "approved" if decision.approved else "denied"


def _request_lines(document: dict[str, Any], home: ClientHome) -> Iterator[str]:
    cost, leaves = document["cost"], document["would_leave"]
    by = text(" by {name}", name=document["by"]) if document["by"] else ""
    state = _STATE_TITLES[document["state"]]
    yield text("request {request}: {state}{by}", request=document["request_id"], state=state, by=by)
    yield text(
        "  asked by {recipient}, came {when}",
        recipient=document["recipient"],
        when=_format_time(document["came"]),
    )
    yield text("  purpose: {purpose}", purpose=document["purpose"])
    yield text(
        "  epsilon {epsilon} at delta {delta}", epsilon=document["epsilon"], delta=document["delta"]
    )
    if document["statistics"] == MACHINE_STATISTICS:
        yield text(
            "what would leave, once: {count} noisy integers of the stated machine, without labels;"
            " how large the noise is: wg-client check --of machine",
            count=leaves["integers"],
        )
    else:
        yield text("what would leave, once: {count} noisy integers", count=leaves["integers"])
    yield text(
        "what it would cost: epsilon {after:.4g} in all, with {spent:.4g} spent; the cap is {cap}",
        after=cost["after"],
        spent=cost["spent"],
        cap=cost["cap_epsilon"],
    )
    if document["state"] == "waiting":
        short = document["request_id"][:16]
        yield next_step(
            "wg-client requests --home {home} {request} --approve --by NAME",
            home=home.root,
            request=short,
        )
        yield text(
            "  or: {command}",
            command=f"wg-client requests --home {home.root} {short} --deny --by NAME",
        )


def _format_time(unix_time: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_time))


COMMANDS = (requests,)
