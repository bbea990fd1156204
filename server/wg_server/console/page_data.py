"""Data of the pages, read from the store and the home without changing them."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wg_common.auditor_record import BUDGET_UNKNOWN
from wg_core import number_parsers
from wg_core.errors import WgError
from wg_core.ledger import entries as ledger
from wg_core.wire import bundle
from wg_server.campaigns import schedule, status_reasons
from wg_server.campaigns.status_reasons import Reason
from wg_server.console.health_probes import HealthProbe, certificate_expiries
from wg_server.console.messages import PageTexts
from wg_server.console.metrics import OnlineSitesLookup
from wg_server.fleet import trust
from wg_server.site import pki
from wg_server.site.backup_records import LastBackup
from wg_server.site.home import ServerHome
from wg_server.store import ledger_succession, operators, quarantine, site_refusals
from wg_server.store.campaigns import Campaign, CampaignTask
from wg_server.store.operators import LogEntry
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

CERTIFICATE_WARNING_SECONDS = {"server": 30 * 86400.0, "authority": 180 * 86400.0}
ROWS_PER_PAGE = 50  # Rows per page of sites or log entries


@dataclass(frozen=True, slots=True)
class PageSource:
    """Data sources of pages: home, store, probes, and a function that finds connected sites."""

    home: ServerHome
    store: ServerStore
    probes: Sequence[HealthProbe]
    find_online_sites: OnlineSitesLookup


@dataclass(frozen=True, slots=True)
class SiteBudget:
    """Privacy budget of a site after its newest charge, as this charge states it; decimals."""

    spent_epsilon: str
    epsilon_cap: str
    delta: str
    charge_count: int

    @property
    def rounded_spent(self) -> str:
        """Spent epsilon with two decimals, rounded up."""
        return f"{math.ceil(number_parsers.parse_decimal(self.spent_epsilon) * 100) / 100:.2f}"

    @property
    def spent_share(self) -> float:
        """Spent share of the cap, from 0 to 1."""
        return min(
            number_parsers.parse_decimal(self.spent_epsilon)
            / number_parsers.parse_decimal(self.epsilon_cap),
            1.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """Row of the table of sites.

    Attributes:
        site: Site of the row.
        is_online: True if its node is connected.
        absence_reason: Reason why it is offline, and advice; empty if it is online.
        certificate_expiry: Expiry of its newest valid certificate, Unix time; None: it has none.
        has_ledger_fork: True if evidence of a fork of its ledger is stored.
        is_budget_unknown: True if an earlier ledger's spend is not accounted for.
        quarantined_count: Number of its releases in quarantine.
        release_count: Number of its stored releases and statements.
        budget: Privacy budget of the site; None if it is unknown, or was not read.
    """

    site: StoredSite
    is_online: bool
    absence_reason: Reason
    certificate_expiry: float | None
    has_ledger_fork: bool
    is_budget_unknown: bool
    quarantined_count: int
    release_count: int
    budget: SiteBudget | None


@dataclass(frozen=True, slots=True)
class Alert:
    """Problem that needs attention: level (``bad`` or ``warn``), text, and path of a page on it."""

    level: str
    text: str
    page_path: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """Task of a site in a campaign, reason for its status, and deadline of its step (Unix time)."""

    task: CampaignTask
    reason: Reason
    deadline: float | None


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """Campaign, with a summary of its status in one sentence."""

    campaign: Campaign
    summary: str


def site_rows(
    source: PageSource, texts: PageTexts, current_time: float, sites: Sequence[StoredSite]
) -> list[SiteRow]:
    """Build the table rows of some sites, without their budgets."""
    store, names = source.store, [site.name for site in sites]
    statuses = site_refusals.site_statuses_by_name(store, site_names=names)
    forked_origins = {origin for origin, *_ in store.list_fork_evidence()}
    successions = ledger_succession.classify_successions_by_site(sites, store.logs_of_sites(names))
    quarantine_counts = Counter(
        note.site for note in quarantine.list_release_summaries(store.engine, "quarantined")
    )
    counts = quarantine.count_releases_by_site(store.engine, names)
    online = source.find_online_sites(site for site in sites if site.state == "enrolled")
    return [
        SiteRow(
            site=site,
            is_online=site.name in online,
            absence_reason=status_reasons.explain_absence(
                statuses[site.name], current_time, texts.language
            ),
            certificate_expiry=statuses[site.name].certificate_expiry,
            has_ledger_fork=site.ledger_origin in forked_origins,
            is_budget_unknown=successions.get(site.name) == BUDGET_UNKNOWN,
            quarantined_count=quarantine_counts[site.name],
            release_count=counts.get(site.name, 0),
            budget=None,
        )
        for site in sites
    ]


def read_site_budget(store: ServerStore, site: str) -> SiteBudget | None:
    """Return the budget that a site's newest charge states, or None without a readable charge."""
    newest = store.newest_release(site)
    if newest is None:
        return None
    try:
        charge = ledger.decode(bundle.decode_statistics(newest.data).charge_entry)
    except WgError:
        return None
    if not isinstance(charge, ledger.Charge):
        return None
    at = charge.state
    return SiteBudget(at.epsilon_after, at.cap_epsilon, at.cap_delta, at.charges_before + 1)


def campaign_rows(source: PageSource, texts: PageTexts, current_time: float) -> list[CampaignRow]:
    """Return rows for the 100 newest campaigns, newest first; their tasks are only counted."""
    campaigns_shown = 100
    newest = CampaignQueue(source.store.engine).newest_campaigns(campaigns_shown, with_tasks=False)
    return [campaign_row(texts, campaign, current_time) for campaign in newest]


def campaign_row(texts: PageTexts, campaign: Campaign, current_time: float) -> CampaignRow:
    """Build the row of one campaign: the campaign, and its summary in the page's language."""
    summary = status_reasons.describe_campaign(campaign, current_time, texts.language)
    sentence = texts.translate_error(summary) if campaign.reason else summary
    return CampaignRow(campaign, sentence)


def task_rows(
    source: PageSource, texts: PageTexts, campaign: Campaign, current_time: float
) -> list[TaskRow]:
    """Build the rows of a campaign's tasks, sorted by site."""
    statuses = site_refusals.site_statuses_by_name(source.store, campaign_id=campaign.id)
    return [
        TaskRow(
            task,
            status_reasons.explain_task(
                campaign, task, statuses[task.site], current_time, texts.language
            ),
            schedule.step_deadline(campaign, task),
        )
        for task in campaign.tasks
    ]


def list_alerts(
    source: PageSource,
    texts: PageTexts,
    rows: Iterable[SiteRow],
    newest_campaigns: Sequence[CampaignRow],
) -> list[Alert]:
    """Return alerts on the server, sites, and campaigns of the last day, the worst first."""
    part_hours = 24.0
    current_time = time.time()
    entries = [
        *_server_alerts(source, texts, current_time),
        *_site_alerts(source, texts, rows, current_time),
    ]
    since = current_time - part_hours * 3600
    for row in newest_campaigns:
        if row.campaign.finished is None or row.campaign.finished > since:
            for state in ("refused", "failed", "expired"):
                if number := row.campaign.progress.task_counts_by_state[state]:
                    words = texts(
                        "alert parts",
                        n=number,
                        state=texts(f"part {state}"),
                        purpose=row.campaign.purpose,
                    )
                    entries.append(Alert("warn", words, f"/campaigns/{row.campaign.id}"))
    return sorted(entries, key=lambda alert: alert.level != "bad")


def _server_alerts(source: PageSource, texts: PageTexts, current_time: float) -> list[Alert]:
    backup_seconds = 2 * 86400.0
    home, entries = source.home, []
    for probe in source.probes:
        if (
            probe.name != "generator" and not probe.is_healthy()
        ):  # the page has its own alert for it
            entries.append(Alert("bad", texts(f"alert probe {probe.name}"), "/help"))
    for name, end in certificate_expiries(home).items():
        if end - current_time < CERTIFICATE_WARNING_SECONDS[name]:
            words = texts(
                f"alert certificate {name}", span=texts.span(max(end - current_time, 1.0))
            )
            entries.append(Alert("warn", words, "/help"))
    backup = LastBackup.load(home)
    if backup is None:
        entries.append(Alert("warn", texts("alert no backup"), "/help"))
    elif current_time - backup.created > backup_seconds:
        words = texts("alert backup", span=texts.span(current_time - backup.created))
        entries.append(Alert("warn", words, "/help"))
    return entries


def _site_alerts(
    source: PageSource, texts: PageTexts, rows: Iterable[SiteRow], current_time: float
) -> list[Alert]:
    # A certificate that expires within this time, or a quarter of its life, was not renewed.
    soon_seconds = 7 * 86400.0
    entries, soon = [], min(soon_seconds, pki.CLIENT_CERTIFICATE_LIFETIME.total_seconds() / 4)
    behind = trust.can_follow_handovers_by_site(source.home, source.store)
    for row in rows:
        name, link = row.site.name, f"/sites/{row.site.name}"
        if name in behind:
            keys = status_reasons.explain_key_change(behind[name], texts.language)
            words = texts("alert away", site=name, why=keys.cause, do=keys.advice)
            entries.append(Alert("warn" if behind[name] else "bad", words, link))
        if row.has_ledger_fork:
            entries.append(Alert("bad", texts("alert fork", site=name), link))
        if row.is_budget_unknown:
            entries.append(Alert("bad", texts("alert budget", site=name), link))
        if row.quarantined_count:
            words = texts("alert quarantine", site=name, n=row.quarantined_count)
            entries.append(Alert("bad", words, link))
        if row.site.state != "enrolled":
            continue
        if row.absence_reason.advice:  # a site that exchanges files is offline and needs nothing
            words = texts(
                "alert away", site=name, why=row.absence_reason.cause, do=row.absence_reason.advice
            )
            entries.append(Alert("warn", words, link))
        elif row.certificate_expiry is not None and row.certificate_expiry - current_time < soon:
            words = texts(
                "alert ends", site=name, span=texts.span(row.certificate_expiry - current_time)
            )
            entries.append(Alert("warn", words, link))
    return entries


def read_log_page(
    source: PageSource, before_entry_number: int | None
) -> tuple[list[LogEntry], int | None]:
    """Return entries of the operators' log before a number, newest first, and where to continue.

    The second value is the ``before_entry_number`` of the next page, or None on the last page.
    """
    entries = operators.read_log(
        source.store, limit=ROWS_PER_PAGE + 1, before_entry_number=before_entry_number
    )
    return entries[:ROWS_PER_PAGE], entries[ROWS_PER_PAGE - 1].id if len(
        entries
    ) > ROWS_PER_PAGE else None
