"""``wg-server campaign``: ask sites for statistics, and deliver weights made from them."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

import click

from wg_common import cli
from wg_common.language import current_language, template, text
from wg_common.options import DELTA_TYPE, PrivacyParameter
from wg_core.errors import PeerError
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    DEFAULT_DELTA,
    MACHINE_STATISTICS,
    STATISTICS_KINDS,
    StatisticsKind,
)
from wg_core.wire import canonical, protocol
from wg_server.campaigns import campaign_orders, expected_benefit, schedule, status_reasons
from wg_server.campaigns.campaign_orders import CampaignOrder, queue_campaign, retry_site
from wg_server.cli.options import DurationOption, current_user, format_time, home_option
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store import site_refusals
from wg_server.store.campaigns import (
    NO_EARLIER_ANSWER_CODE,
    NO_SUPPORTED_MACHINE_CODE,
    STATISTIC_UNUSED_CODE,
    Campaign,
)
from wg_server.store.operators import logged_action
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

_campaign_id_argument = click.argument("campaign_id", metavar="ID")


@click.group()
def campaign() -> None:
    """Ask sites for statistics, and deliver weights made from them."""


@campaign.command("start")
@home_option
@click.option("--sites", "names", default="", help="Names with commas. Default: all worth asking.")
@click.option(
    "--epsilon",
    type=PrivacyParameter(accepted_word=protocol.STATEMENT_EPSILON),
    default="1",
    show_default=True,
    help="Epsilon asked of each site; 0: weights by class names and data sheet alone.",
)
@click.option(
    "--delta",
    type=DELTA_TYPE,
    default=DEFAULT_DELTA,
    show_default=True,
    help="Delta asked of each site.",
)
@click.option(
    "--statistics",
    type=click.Choice(STATISTICS_KINDS),
    default=CLASS_STATISTICS,
    show_default=True,
    help="Statistics to ask for: of the classes, or of the machine that a site's data sheet"
    " states.",
)
@click.option(
    "--unshared",
    "asks_unshared",
    is_flag=True,
    help="Ask also those with whom no other site is known to share a class name.",
)
@click.option("--purpose", default="weights", show_default=True, help="Goes on the ledgers.")
@click.option(
    "--collect-for", type=DurationOption(), help="Time that a site has to answer, once it is asked."
)
@click.option(
    "--deliver-for",
    type=DurationOption(),
    help="Time that a site has to fetch its package, once it is offered.",
)
@click.option(
    "--min-sites",
    type=click.IntRange(min=1),
    help="Releases to wait for before packages are made.  [default: 2, or as many as there are]",
)
@click.option(
    "--grace",
    type=DurationOption(),
    default="10m",
    show_default=True,
    help="Time to wait for the other sites after that.",
)
@click.option("--wait", is_flag=True, help="Return when it has ended.")
@cli.json_option
def campaign_start(
    home: ServerHome,
    names: str,
    epsilon: str,
    delta: str,
    statistics: StatisticsKind,
    asks_unshared: bool,
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
    with ServerStore.open(home) as store:
        order = CampaignOrder(
            sites=[name.strip() for name in names.split(",") if name.strip()],
            epsilon=epsilon,
            delta=delta,
            purpose=purpose,
            collect_seconds=collect_for,
            deliver_seconds=deliver_for,
            min_sites=min_sites,
            grace_seconds=grace,
            statistics_kind=statistics,
            asks_sites_without_shared_classes=asks_unshared,
        )
        if epsilon != protocol.STATEMENT_EPSILON:
            _print_expected_benefit(store, home, order)
        with logged_action(store, current_user(), "campaign start", order.id, order.summary):
            campaign = queue_campaign(home, store, order)
        if statistics == MACHINE_STATISTICS:
            _print_skipped_sites(campaign)
        cli.print_progress(text("campaign {id} queued", id=campaign.id))
        if wait:
            campaign = _wait_for_end(CampaignQueue(store.engine), campaign, home)
        _show_campaign(store, campaign, as_json)
    if not wait:
        cli.print_progress(
            cli.next_step(
                "wg-server campaign show --home {home} {id}", home=home.root, id=campaign.id
            )
        )
    elif campaign.state != "done":
        raise PeerError(f"campaign {campaign.id}: {campaign.state}")


@campaign.command("show")
@home_option
@click.argument("campaign_id", metavar="[ID]", required=False)
@cli.json_option
def campaign_show(home: ServerHome, campaign_id: str | None, as_json: bool) -> None:
    """List campaigns, newest first; or show one: its state at each site, why, and what to do."""
    with ServerStore.open(home) as store:
        if campaign_id is None:
            _list_campaigns(store, home, as_json)
        else:
            _show_campaign(store, CampaignQueue(store.engine).find_campaign(campaign_id), as_json)


@campaign.command("cancel")
@home_option
@_campaign_id_argument
@cli.json_option
def campaign_cancel(home: ServerHome, campaign_id: str, as_json: bool) -> None:
    """End a campaign; what plants released stays released."""
    _change_campaign(home, "campaign cancel", CampaignQueue.cancel_campaign, as_json, campaign_id)


@campaign.command("pause")
@home_option
@_campaign_id_argument
@cli.json_option
def campaign_pause(home: ServerHome, campaign_id: str, as_json: bool) -> None:
    """Ask no site for now; deadlines are postponed by the pause."""
    _change_campaign(home, "campaign pause", CampaignQueue.pause_campaign, as_json, campaign_id)


@campaign.command("resume")
@home_option
@_campaign_id_argument
@click.argument("site", required=False)
@cli.json_option
def campaign_resume(home: ServerHome, campaign_id: str, site: str | None, as_json: bool) -> None:
    """Resume a paused campaign; or ask one SITE again.

    SITE is one that refused, failed or was left out, even if the campaign has ended. A release that
    it made already is used, and nothing is charged twice.
    """
    if site is None:
        _change_campaign(
            home, "campaign resume", CampaignQueue.resume_campaign, as_json, campaign_id
        )
        return
    with ServerStore.open(home) as store:
        with logged_action(store, current_user(), "campaign retry", campaign_id, site):
            campaign = retry_site(home, store, campaign_id, site)
        _show_campaign(store, campaign, as_json)


def _list_campaigns(store: ServerStore, home: ServerHome, as_json: bool) -> None:
    campaigns = CampaignQueue(store.engine).newest_campaigns(with_tasks=as_json)
    if as_json:
        cli.print_json(
            {"campaigns": [_campaign_document(store, campaign) for campaign in campaigns]}
        )
        return
    for campaign in campaigns:
        progress = campaign.progress
        cli.print_line(f"{campaign.id}  {campaign.state:10} {format_time(campaign.created)}")
        cli.print_line(
            text(
                "    {count}/{sites} served, epsilon {epsilon}, {statistics}: {purpose}",
                count=progress.served_count,
                sites=progress.task_counts_by_state.total(),
                epsilon=campaign.epsilon,
                statistics=campaign.statistics,
                purpose=campaign.purpose,
            )
        )
    if not campaigns:
        cli.print_line(text("no campaigns yet"))
        cli.print_progress(cli.next_step("wg-server campaign start --home {home}", home=home.root))


def _print_skipped_sites(campaign: Campaign) -> None:
    """Print how many sites a campaign for machine statistics does not ask, and why."""
    counts = Counter(task.code for task in campaign.tasks)
    if count := counts[NO_SUPPORTED_MACHINE_CODE]:
        cli.print_progress(
            text(
                "not asked, since no data sheet of a machine that is read here is known of them:"
                " {count} sites; --sites asks by name",
                count=count,
            )
        )
    if count := counts[NO_EARLIER_ANSWER_CODE]:
        cli.print_progress(
            text(
                "not asked, since they have stated no data sheet yet: {count} sites; '--epsilon 0'"
                " asks for it, at no cost",
                count=count,
            )
        )
    if count := counts[STATISTIC_UNUSED_CODE]:
        cli.print_progress(
            text(
                "not asked, since the networks for their machines use no statistic: {count} sites;"
                " '--epsilon 0' brings these, at no cost",
                count=count,
            )
        )


def _print_expected_benefit(store: ServerStore, home: ServerHome, order: CampaignOrder) -> None:
    """Print what sites can gain: shared class names, skipped sites, and the model card's gains."""
    version = versions.usable_version(home)
    if order.statistics_kind == MACHINE_STATISTICS:
        for line in expected_benefit.machine_gain_lines(version.card):
            cli.print_progress(line)
        return
    names = campaign_orders.enrolled_class_name_overlap(store, version)
    if names.class_names_by_site:
        cli.print_progress(names.describe_overlap())
    if lone_sites := sorted(
        names.skip_codes_by_site().keys() & set(order.sites or names.class_names_by_site)
    ):
        decision = (
            template("asked, although no other site is known to share a class name: {sites}")
            if order.asks_sites_without_shared_classes
            else template("not asked, since no other site is known to share a class name: {sites}")
        )
        cli.print_progress(text(decision, sites=expected_benefit.abbreviate_name_list(lone_sites)))
    for line in expected_benefit.class_gain_lines(version.card, float(order.epsilon)):
        cli.print_progress(line)


def _change_campaign(
    home: ServerHome,
    action: str,
    apply_change: Callable[[CampaignQueue, str], Campaign],
    as_json: bool,
    campaign_id: str,
) -> None:
    """Change a campaign in the name of the current user, and print the campaign."""
    with ServerStore.open(home) as store:
        with logged_action(store, current_user(), action, campaign_id):
            campaign = apply_change(CampaignQueue(store.engine), campaign_id)
        _show_campaign(store, campaign, as_json)


def _show_campaign(store: ServerStore, campaign: Campaign, as_json: bool) -> None:
    if as_json:
        cli.print_json(_campaign_document(store, campaign))
        return
    current_time, statuses = (
        time.time(),
        site_refusals.site_statuses_by_name(store, campaign_id=campaign.id),
    )
    code = current_language().code
    summary = status_reasons.describe_campaign(campaign, current_time, code)
    cli.print_line(
        text(
            "campaign {id}: {state}: {summary}",
            id=campaign.id,
            state=campaign.state,
            summary=summary,
        )
    )
    for task in campaign.tasks:
        reason = status_reasons.explain_task(
            campaign, task, statuses[task.site], current_time, code
        )
        cli.print_line(f"  {task.site:24} {task.state:10} {reason.cause}".rstrip())
        if reason.advice:
            cli.print_line(text("  {space:35} do: {do}", space="", do=reason.advice))


def _campaign_document(store: ServerStore, campaign: Campaign) -> Mapping[str, object]:
    current_time, statuses = (
        time.time(),
        site_refusals.site_statuses_by_name(store, campaign_id=campaign.id),
    )
    document: dict[str, object] = dict(canonical.to_builtins(campaign))
    del document["tasks"], document["counted"]
    document["summary"] = status_reasons.describe_campaign(campaign, current_time)
    sites = document["sites"] = []
    for task in campaign.tasks:
        reason = status_reasons.explain_task(campaign, task, statuses[task.site], current_time)
        end = schedule.step_deadline(campaign, task)
        sites.append(
            {
                **canonical.to_builtins(task),
                "deadline": end,
                "why": reason.cause,
                "do": reason.advice,
            }
        )
    return document


def _wait_for_end(queue: CampaignQueue, campaign: Campaign, home: ServerHome) -> Campaign:
    """Wait until a campaign ends, and print each change of state on standard error.

    An interrupt ends only the waiting, and says so.
    """
    last_line: str = ""
    try:
        while campaign.finished is None:
            if schedule.has_only_absent_sites(campaign, time.time()):
                cli.print_progress(text("the campaign goes on for the sites that are not there"))
                break
            states = Counter(task.state for task in campaign.tasks)
            words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            line = text("campaign {state}: sites: {words}", state=campaign.state, words=words)
            if line != last_line:
                last_line = line
                cli.print_progress(last_line)
            time.sleep(0.2)
            campaign = queue.find_campaign(campaign.id)
    except KeyboardInterrupt:
        cli.print_progress(
            text(
                "the campaign goes on without this command. See it: wg-server campaign show --home"
                " {home} {id}; end it: wg-server campaign cancel --home {home} {id}",
                home=home.root,
                id=campaign.id,
            )
        )
        raise
    return campaign
