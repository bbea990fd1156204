"""Read-only pages of the console; changes are in ``actions``."""

import datetime
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.responses import Response

from wg_core.errors import ConfigError, WgError
from wg_core.wire.protocol import check_site_name
from wg_server.campaigns import auditor_export, campaign_orders
from wg_server.console import page_data
from wg_server.console.page_data import Alert, SiteRow
from wg_server.console.request_handling import PageContext, PageNotFound
from wg_server.generator import versions
from wg_server.generator.card_checks import read_checks
from wg_server.generator.evaluation.method_scores import COMPLETED_HEAD, HEAD_ALONE
from wg_server.generator.versions import InstalledVersions
from wg_server.site.backup_records import LastBackup
from wg_server.store import operators, quarantine
from wg_server.store.campaigns import OPEN_CAMPAIGN_STATES
from wg_server.store.queue import RETRIABLE_TASK_STATES, CampaignQueue
from wg_server.store.stored_site import StoredSite

_MEASURED_FAMILY_KEYS = (
    "head",
    "network",
    "refused",
    "others_refused",
    "head_found",
    "network_found",
)
_FAMILY_CARD_KEYS = (*_MEASURED_FAMILY_KEYS, "epsilon", "delta")
"""Keys of the model card's figures on each of the operator's families."""


def show_overview(context: PageContext) -> Response:
    """Show the overview page: alerts, counts of sites and releases, open campaigns, and backup."""
    source, texts, current_time = context.source, context.texts, time.time()
    newest = page_data.campaign_rows(source, texts, current_time)
    figures: Counter[str] = Counter()

    def rows() -> Iterator[SiteRow]:
        for page in source.store.site_pages():
            for row in page_data.site_rows(source, texts, current_time, page):
                figures["enrolled"] += row.site.state == "enrolled"
                figures["online"] += row.is_online
                figures["releases"] += row.release_count
                yield row

    alerts = page_data.list_alerts(source, texts, rows(), newest)
    backup = LastBackup.load(source.home)
    return context.render_page(
        "overview",
        alerts=[*_generator_alerts(context), *alerts],
        enrolled=figures["enrolled"],
        online=figures["online"],
        releases=figures["releases"],
        running=[row for row in newest if row.campaign.state in OPEN_CAMPAIGN_STATES],
        disk=shutil.disk_usage(source.home.root).free,
        backup=backup.created if backup else None,
    )


def show_sites(context: PageContext) -> Response:
    """Show a page of the list of sites."""
    match = context.request.query_params.get("find", "")[:63]
    offset = _parse_query_number(context.request.query_params.get("from", "0"))
    store = context.source.store
    page, count = store.search_and_count_sites(
        match, offset=offset, rows_per_page=page_data.ROWS_PER_PAGE
    )
    rows = [
        replace(row, budget=page_data.read_site_budget(store, row.site.name))
        for row in page_data.site_rows(context.source, context.texts, time.time(), page)
    ]
    return context.render_page(
        "sites", rows=rows, match=match, first=offset, count=count, step=page_data.ROWS_PER_PAGE
    )


def show_site(context: PageContext) -> Response:
    """Show one site with its status and the possible actions."""
    name = context.request.path_params["site"]
    store = context.source.store
    [row] = page_data.site_rows(
        context.source, context.texts, time.time(), [_requested_site(context)]
    )
    notes = [
        note
        for note in quarantine.list_release_summaries(store.engine, "quarantined")
        if note.site == name
    ]
    return context.render_page(
        "site", row=replace(row, budget=page_data.read_site_budget(store, name)), held=notes
    )


def _requested_site(context: PageContext) -> StoredSite:
    """Return the site that a page shows."""
    try:
        return context.source.store.require_site(context.request.path_params["site"])
    except ConfigError as error:
        raise PageNotFound(str(error)) from error


def send_auditor_export(context: PageContext) -> Response:
    """Send the auditor's export of one site as a ZIP archive; see ``wg-server export``."""
    name = _requested_site(context).name
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "evidence"
        auditor_export.export_for_auditors(context.source.home, out, [name])
        archive = shutil.make_archive(str(Path(folder) / "archive"), "zip", out)
        data = Path(archive).read_bytes()
    headers = {"content-disposition": f'attachment; filename="evidence-{name}.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


def show_campaigns(context: PageContext) -> Response:
    """Show the list of the newest campaigns."""
    rows = page_data.campaign_rows(context.source, context.texts, time.time())
    return context.render_page("campaigns", rows=rows)


def show_campaign(context: PageContext) -> Response:
    """Show one campaign: each site with its reason, and the possible actions."""
    current_time = time.time()
    try:
        stored_campaign = CampaignQueue(context.source.store.engine).find_campaign(
            context.request.path_params["id"]
        )
    except ConfigError as error:
        raise PageNotFound(str(error)) from error
    return context.render_page(
        "campaign",
        row=page_data.campaign_row(context.texts, stored_campaign, current_time),
        parts_of=page_data.task_rows(context.source, context.texts, stored_campaign, current_time),
        retried=RETRIABLE_TASK_STATES,
    )


def show_new_campaign(context: PageContext) -> Response:
    """Show the form for a new campaign."""
    enrolled_names = [row.name for row in context.source.store.sites("enrolled")]
    hours = campaign_orders.DEFAULT_TIME_LIMIT // datetime.timedelta(hours=1)
    return context.render_page("new_campaign", sites=enrolled_names, hours=hours)


def show_generators(context: PageContext) -> Response:
    """Show the model cards of the generators."""
    return context.render_page("generator", versions=_version_rows(context))


def show_operator_log(context: PageContext) -> Response:
    """Show the log of operators' actions."""
    before = context.request.query_params.get("before")
    rows, older = page_data.read_log_page(
        context.source, _parse_query_number(before) if before else None
    )
    newest = operators.read_log(context.source.store, limit=1)
    return context.render_page(
        "audit",
        rows=rows,
        older=older,
        before=before,
        broken=operators.first_broken_entry_number(context.source.store),
        digest=newest[0].digest if newest else "",
        link=_log_subject_path,
    )


def _generator_alerts(context: PageContext) -> list[Alert]:
    """Return an alert if there is no usable generator, without which no campaign can start."""
    home, texts = context.source.home, context.texts
    if not home.encoder_file.is_file():
        return [Alert("bad", texts("alert no zoo"), "/generator")]
    try:
        versions.usable_version(home)
    except WgError as error:
        words = texts("alert generator", why=texts.translate_error(str(error)))
        return [Alert("bad", words, "/generator")]
    return []


def _version_rows(context: PageContext) -> list[Mapping[str, Any]]:
    """List the generator versions for a page, the installed version first."""
    home = context.source.home
    try:
        installation = versions.read_installed_versions(home)
    except WgError:
        installation = InstalledVersions()
    in_use = CampaignQueue(context.source.store.engine).generator_ids_in_use()
    rows = [
        {
            "id": version.id,
            "created": version.summary.created,
            "standing": {installation.version: "installed", installation.before: "before"}.get(
                version.id, ""
            ),
            "running": version.id in in_use,
            **_card_for_page(version.card),
        }
        for version in versions.list_versions(home)
    ]
    return sorted(rows, key=lambda row: row["standing"] != "installed")


def _card_for_page(card: Mapping[str, Any]) -> Mapping[str, Any]:
    """Prepare a model card for the page; a damaged card is shown as empty."""
    context: dict[str, Any] = {}
    try:
        checks = read_checks(card)
        scenarios = [
            (name, *(float(rows[method]["accuracy"]) for method in (COMPLETED_HEAD, HEAD_ALONE)))
            for name, rows in sorted(card.get("scenarios", {}).items())
        ]
        context |= {
            "card": card,
            "checks": checks,
            "scenarios": scenarios,
            "own_families": {
                family: [
                    (x, float(figures[x]), float(figures.get(f"{x}_error", "0")))
                    for x in _FAMILY_CARD_KEYS
                    if x in figures
                ]
                for family, figures in card.get("own_families", {}).items()
            },
            "passes": all(check.passed for check in checks),
        }
    except (WgError, ValueError, KeyError, TypeError, AttributeError):
        context |= {"card": None, "passes": False}
    return context


def _log_subject_path(action: str, subject: str) -> str:
    """Return the path of the page about the subject of a log entry; empty without such a page."""
    if action.startswith("campaign"):
        return f"/campaigns/{subject}"
    if action in ("enroll", "revoke"):
        try:
            return f"/sites/{check_site_name(subject)}"
        except WgError:
            return ""
    return ""


def _parse_query_number(text: str) -> int:
    """Parse a number in the query of a page's URL; zero if the text is no valid number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
