"""``wg-server campaign``: ask sites for statistics, and deliver weights made from them."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

import click

from wg_core import cli
from wg_core.errors import PeerError
from wg_core.options import DELTA, EPSILON
from wg_core.wire import canonical
from wg_server.campaigns import absence, reasons, schedule
from wg_server.campaigns.absence import Sight
from wg_server.campaigns.starting import Order, retry, start
from wg_server.cli.options import Duration, home_option, this_user, when
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.operators import recorded
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

_ID = click.argument("campaign_id", metavar="ID")
_epsilon_option = click.option(
    "--epsilon", type=EPSILON, default="1", show_default=True, help="Epsilon asked of each site."
)
_delta_option = click.option(
    "--delta", type=DELTA, default="1e-5", show_default=True, help="Delta asked of each site."
)
_collect_option = click.option(
    "--collect-for", type=Duration(), help="How long a site may take to answer, once it is asked."
)
_wait_option = click.option("--wait", is_flag=True, help="Return when it has ended.")


@click.group()
def campaign() -> None:
    """Ask sites for statistics, and deliver weights made from them."""


@campaign.command("start")
@home_option
@click.option("--sites", "names", default="", help="Names with commas; all enrolled if not given.")
@_epsilon_option
@_delta_option
@click.option("--purpose", default="weights", show_default=True, help="Goes on the ledgers.")
@_collect_option
@click.option(
    "--deliver-for", type=Duration(), help="How long it may take to fetch, once that is offered."
)
@click.option(
    "--min-sites",
    type=click.IntRange(min=1),
    help="Releases to wait for before packages are made.  [default: 2, or as many as there are]",
)
@click.option(
    "--grace",
    type=Duration(),
    default="10m",
    show_default=True,
    help="How long to wait for the other sites after that.",
)
@_wait_option
@cli.json_option
def campaign_start(
    home: ServerHome,
    names: str,
    epsilon: str,
    delta: str,
    purpose: str,
    collect_for: float | None,
    deliver_for: float | None,
    min_sites: int | None,
    grace: float,
    wait: bool,
    as_json: bool,
) -> None:
    """Queue a campaign; a running server works on it.

    Its packages are made with the generator that is installed now, whatever is installed later. Any
    number of campaigns go on beside one another.
    """
    with Store.open(home) as store:
        order = Order(
            sites=[name.strip() for name in names.split(",") if name.strip()],
            epsilon=epsilon,
            delta=delta,
            purpose=purpose,
            collect_seconds=collect_for,
            deliver_seconds=deliver_for,
            min_sites=min_sites,
            grace_seconds=grace,
        )
        with recorded(store, this_user(), "campaign start", order.id, order.summary):
            found = start(home, store, order)
        _started(store, found, home, wait, as_json)


@campaign.command("show")
@home_option
@click.argument("campaign_id", metavar="[ID]", required=False)
@cli.json_option
def campaign_show(home: ServerHome, campaign_id: str | None, as_json: bool) -> None:
    """List campaigns, newest first; of one, how far it is at each site, why, and what to do."""
    with Store.open(home) as store:
        if campaign_id is None:
            _list(store, home, as_json)
        else:
            _show(store, CampaignQueue(store.engine).show(campaign_id), as_json)


@campaign.command("cancel")
@home_option
@_ID
@cli.json_option
def campaign_cancel(home: ServerHome, campaign_id: str, as_json: bool) -> None:
    """End a campaign; what plants released stays released."""
    _change(home, "campaign cancel", CampaignQueue.cancel, as_json, campaign_id)


@campaign.command("pause")
@home_option
@_ID
@cli.json_option
def campaign_pause(home: ServerHome, campaign_id: str, as_json: bool) -> None:
    """Ask nobody more for now; no site's time runs meanwhile."""
    _change(home, "campaign pause", CampaignQueue.pause, as_json, campaign_id)


@campaign.command("resume")
@home_option
@_ID
@click.argument("site", required=False)
@cli.json_option
def campaign_resume(home: ServerHome, campaign_id: str, site: str | None, as_json: bool) -> None:
    """Go on with a campaign that is paused; or try one SITE again.

    That is a site which refused, failed or was left out; also after the campaign ended. A release
    that it made already is used; nothing is charged twice for it.
    """
    if site is None:
        _change(home, "campaign resume", CampaignQueue.resume, as_json, campaign_id)
        return
    with Store.open(home) as store:
        with recorded(store, this_user(), "campaign retry", campaign_id, site):
            found = retry(home, store, campaign_id, site)
        _show(store, found, as_json)


def _list(store: Store, home: ServerHome, as_json: bool) -> None:
    campaigns = CampaignQueue(store.engine).all()
    if as_json:
        sights = absence.sights(store)
        cli.emit({"campaigns": [_document(one, sights) for one in campaigns]})
        return
    for one in campaigns:
        served = sum(task.state == "delivered" or bool(task.served) for task in one.tasks)
        cli.say(f"{one.id}  {one.state:10} {when(one.created)}")
        cli.say(f"    {served}/{len(one.tasks)} served, epsilon {one.epsilon}: {one.purpose}")
    if not campaigns:
        cli.say(f"no campaigns yet; next: wg-server campaign start --home {home.root}")


def _started(
    store: Store,
    found: Campaign,
    home: ServerHome,
    wait: bool,
    as_json: bool,
) -> None:
    """Say that a campaign is queued, wait for its end where that is wanted, and show it."""
    cli.note(f"campaign {found.id} queued")
    if wait:
        found = _wait(CampaignQueue(store.engine), found, home)
    _show(store, found, as_json)
    if not wait:
        cli.note(f"next: wg-server campaign show --home {home.root} {found.id}")
    elif found.state != "done":
        raise PeerError(f"campaign {found.id}: {found.state}")


def _change(
    home: ServerHome,
    action: str,
    change: Callable[[CampaignQueue, str], Campaign],
    as_json: bool,
    campaign_id: str,
) -> None:
    """Change a campaign, under this user's name, and show it."""
    with Store.open(home) as store:
        with recorded(store, this_user(), action, campaign_id):
            found = change(CampaignQueue(store.engine), campaign_id)
        _show(store, found, as_json)


def _show(store: Store, found: Campaign, as_json: bool) -> None:
    sights = absence.sights(store)
    if as_json:
        cli.emit(_document(found, sights))
        return
    now = time.time()
    cli.say(f"campaign {found.id}: {found.state}: {reasons.of_campaign(found, now)}")
    for task in found.tasks:
        said = reasons.of_task(found, task, sights[task.site], now)
        cli.say(f"  {task.site:24} {task.state:10} {said.why}".rstrip())
        if said.do:
            cli.say(f"  {'':24} {'':10} do: {said.do}")


def _document(found: Campaign, sights: Mapping[str, Sight]) -> Mapping[str, object]:
    now = time.time()
    document: dict[str, object] = dict(canonical.to_builtins(found))
    del document["tasks"]
    document["summary"] = reasons.of_campaign(found, now)
    sites = document["sites"] = []
    for task in found.tasks:
        said = reasons.of_task(found, task, sights[task.site], now)
        end = schedule.deadline(found, task)
        sites.append(
            {**canonical.to_builtins(task), "deadline": end, "why": said.why, "do": said.do}
        )
    return document


def _wait(queue: CampaignQueue, found: Campaign, home: ServerHome) -> Campaign:
    """Wait for a campaign's end, and say each change of it on standard error.

    An interrupt ends the waiting alone, and says so.
    """
    said = ""
    try:
        while found.finished is None:
            states = Counter(task.state for task in found.tasks)
            words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            if (now := f"campaign {found.state}: sites: {words}") != said:
                said = now
                cli.note(said)
            time.sleep(0.2)
            found = queue.show(found.id)
    except KeyboardInterrupt:
        cli.note(
            "the campaign goes on without this command."
            f" See it: wg-server campaign show --home {home.root} {found.id};"
            f" end it: wg-server campaign cancel --home {home.root} {found.id}"
        )
        raise
    return found
