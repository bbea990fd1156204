"""``wg-server campaign``: ask sites for statistics, and deliver weights made from them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from wg_common import cli
from wg_common.errors import PeerError
from wg_common.options import DELTA, EPSILON
from wg_common.wire import canonical, fleet
from wg_server.cli.options import Duration, accept_option, home_option, when
from wg_server.generator.evaluation import gate
from wg_server.site.home import ServerHome
from wg_server.store.queue import Campaign, CampaignQueue
from wg_server.store.sites import Store

_OWN_WORDS = {
    "quarantined": "its release cannot be what it says, and enters nobody's weights;"
    " see 'wg-server releases list'",
}
"""Why a site's part ended, where the word is this server's own."""


@click.group()
def campaign() -> None:
    """Ask sites for statistics, and deliver weights made from them."""


@campaign.command("start")
@home_option
@click.option("--sites", "names", default="", help="Names with commas; all enrolled if not given.")
@click.option(
    "--epsilon", type=EPSILON, default="1", show_default=True, help="Epsilon asked of each site."
)
@click.option(
    "--delta", type=DELTA, default="1e-5", show_default=True, help="Delta asked of each site."
)
@click.option("--purpose", default="weights", show_default=True, help="Goes on the ledgers.")
@click.option("--collect-for", type=Duration(), help="How long sites may take to answer.")
@click.option("--deliver-for", type=Duration(), help="How long they may take to fetch.")
@click.option("--wait", is_flag=True, help="Return when it has ended.")
@accept_option
@cli.json_option
def campaign_start(
    root: Path,
    names: str,
    epsilon: str,
    delta: str,
    purpose: str,
    collect_for: float | None,
    deliver_for: float | None,
    wait: bool,
    accept_generator: str,
    as_json: bool,
) -> None:
    """Queue a campaign; a running server works on it, if it accepts the generator too."""
    home = ServerHome(root)
    if home.generator.is_file():
        gate.check(home, accept=accept_generator)
    default = home.config().campaign_hours * 3600.0
    with Store.open(home) as store:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        enrolled = [site.name for site in store.sites() if site.state == "enrolled"]
        queue = CampaignQueue(store.engine)
        found = queue.add(
            wanted or enrolled,
            epsilon=epsilon,
            delta=delta,
            purpose=purpose,
            encoder=home.encoder_id(),
            collect_seconds=collect_for or default,
            deliver_seconds=deliver_for or default,
        )
        cli.note(f"campaign {found.id} queued")
        if wait:
            found = _wait(queue, found, root)
    _show(found, as_json)
    if not wait:
        cli.note(f"next: wg-server campaign show --home {root} {found.id}")
    if wait and found.state != "done":
        raise PeerError(f"campaign {found.id}: {found.state}")


@campaign.command("list")
@home_option
@cli.json_option
def campaign_list(root: Path, as_json: bool) -> None:
    """List campaigns, newest first."""
    with Store.open(ServerHome(root)) as store:
        found = CampaignQueue(store.engine).all()
    if as_json:
        cli.emit({"campaigns": [_document(each) for each in found]})
        return
    for each in found:
        served = sum(task.state == "delivered" for task in each.tasks)
        cli.say(f"{each.id}  {each.state:10} {when(each.created)}")
        cli.say(f"    {served}/{len(each.tasks)} served, epsilon {each.epsilon}: {each.purpose}")
    if not found:
        cli.say(f"no campaigns yet; next: wg-server campaign start --home {root}")


@campaign.command("show")
@home_option
@click.argument("campaign_id", metavar="ID")
@cli.json_option
def campaign_show(root: Path, campaign_id: str, as_json: bool) -> None:
    """Show how far a campaign got at each site."""
    with Store.open(ServerHome(root)) as store:
        found = CampaignQueue(store.engine).show(campaign_id)
    _show(found, as_json)


@campaign.command("cancel")
@home_option
@click.argument("campaign_id", metavar="ID")
@cli.json_option
def campaign_cancel(root: Path, campaign_id: str, as_json: bool) -> None:
    """End a campaign; what plants released stays released."""
    with Store.open(ServerHome(root)) as store:
        found = CampaignQueue(store.engine).cancel(campaign_id)
    _show(found, as_json)


def _show(found: Campaign, as_json: bool) -> None:
    if as_json:
        cli.emit(_document(found))
        return
    cli.say(f"campaign {found.id}: {found.state} {found.reason}".rstrip())
    for task in found.tasks:
        why = fleet.REFUSALS.get(task.code, fleet.MEANING.get(task.code, ""))
        why = _OWN_WORDS.get(task.code, why)
        words = f"{task.code}: {why}" if why else task.code
        cli.say(f"  {task.site:24} {task.state:10} {words}".rstrip())


def _document(found: Campaign) -> Mapping[str, object]:
    document: dict[str, object] = dict(canonical.to_builtins(found))
    document["sites"] = document.pop("tasks")
    return document


def _wait(queue: CampaignQueue, found: Campaign, root: Path) -> Campaign:
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
            f"the campaign goes on without this command. See it: wg-server campaign show --home"
            f" {root} {found.id}; end it: wg-server campaign cancel --home {root} {found.id}"
        )
        raise
    return found
