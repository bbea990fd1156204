"""``wg-server enroll``, ``sites`` and ``revoke``: manage the sites of the fleet."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import click

from wg_common import cli
from wg_common.auditor_record import BUDGET_UNKNOWN
from wg_common.language import ENGLISH, LanguageCode, current_language, list_names, text
from wg_core.wire import protocol
from wg_server.campaigns import status_reasons
from wg_server.cli.options import DurationOption, current_user, format_time, home_option
from wg_server.fleet import trust
from wg_server.fleet.enrolment import create_join_token
from wg_server.site.home import ServerHome
from wg_server.store import ledger_succession, quarantine, site_refusals
from wg_server.store.operators import logged_action
from wg_server.store.server_store import ServerStore


@click.command()
@home_option
@click.argument("site")
@click.option(
    "--expires", type=DurationOption(), default="1h", show_default=True, help="Token's life."
)
@click.option("--replace", is_flag=True, help="Let an enrolled site enrol again with new keys.")
@cli.json_option
def enroll(home: ServerHome, site: str, expires: float, replace: bool, as_json: bool) -> None:
    """Print a one-time join token for SITE."""
    again = "again" if replace else ""
    with (
        ServerStore.open(home) as store,
        logged_action(store, current_user(), "enroll", site, again),
    ):
        token = create_join_token(home, store, site, expires, may_replace=replace)
    token_text = protocol.encode_join_token(token)
    if as_json:
        cli.print_json(
            {"site": site, "token": token_text, "expires": token.expires, "encoder": token.encoder}
        )
    else:
        cli.print_line(token_text)
        cli.print_progress(text("good for one home, until {time}", time=format_time(token.expires)))
        cli.print_progress(
            text(
                "encoder {encoder}: tell the plant's owner, who is asked for it",
                encoder=token.encoder,
            )
        )
        cli.print_progress(
            text(
                "next, at the plant: wg-client init --home HOME --join-file FILE --data FOLDER,"
                " with the token in FILE"
            )
        )


@click.command()
@home_option
@cli.json_option
def sites(home: ServerHome, as_json: bool) -> None:
    """List the sites."""
    with ServerStore.open(home) as store:
        documents = _site_documents(
            home, store, ENGLISH.code if as_json else current_language().code
        )
        if as_json:
            cli.print_json({"sites": list(documents)})
            return
        unknown = [_print_site(row) for row in documents]
    if not unknown:
        cli.print_line(text("no sites yet"))
        cli.print_progress(cli.next_step("wg-server enroll --home {home} SITE", home=home.root))
    if any(unknown):
        cli.print_progress(
            text(
                "budget unknown: the site released on an earlier ledger that the one in use does"
                " not name. Ask the plant for the home that holds the newest of them: there, after"
                " 'wg-server enroll --replace', 'wg-client keys --renew ledger --stolen' carries"
                " the spend over. If it is lost, count all that was released on every ledger:"
                " 'wg-server export'"
            )
        )


def _site_documents(
    home: ServerHome, store: ServerStore, language: LanguageCode
) -> Iterator[Mapping[str, Any]]:
    """Yield the ``--json`` document of each site, with reasons in a language."""
    current_time, laggards = time.time(), trust.can_follow_handovers_by_site(home, store)
    forked_origins = {origin for origin, *_ in store.list_fork_evidence()}
    quarantine_counts = Counter(
        note.site for note in quarantine.list_release_summaries(store.engine, "quarantined")
    )
    for page in store.site_pages():
        names = [site.name for site in page]
        statuses = site_refusals.site_statuses_by_name(store, site_names=names)
        successions = ledger_succession.classify_successions_by_site(
            page, store.logs_of_sites(names)
        )
        for site in page:
            absence = status_reasons.explain_absence(statuses[site.name], current_time, language)
            behind = (
                status_reasons.explain_key_change(laggards[site.name], language)
                if site.name in laggards
                else None
            )
            yield {
                "site": site.name,
                "state": site.state,
                "enrolled": site.enrolled or None,
                "last_seen": site.last_seen or None,
                "certificate_expires": statuses[site.name].certificate_expiry,
                "ledger_origin": site.ledger_origin,
                "ledger_fork": site.ledger_origin in forked_origins,
                "ledger_succession": successions.get(site.name),
                "quarantined": quarantine_counts[site.name],
                "away": absence.cause,
                "do": absence.advice,
                "old_keys": behind.cause if behind else "",
                "old_keys_do": behind.advice if behind else "",
            }


def _print_site(row: Mapping[str, Any]) -> bool:
    """Print the lines about a site; return whether the site's privacy spend is unknown."""
    unknown: bool = row["ledger_succession"] == BUDGET_UNKNOWN
    troubles = [text("LEDGER FORK: evidence kept")] if row["ledger_fork"] else []
    troubles += [text("BUDGET UNKNOWN")] if unknown else []
    if row["quarantined"]:
        troubles.append(text("QUARANTINED: {count}", count=row["quarantined"]))
    last_seen = text("seen {time}", time=format_time(row["last_seen"] or 0))
    words = list_names([f"{row['site']:24} {row['state']:9}", last_seen, *troubles], "  ")
    cli.print_line(words)
    expiry = format_time(row["certificate_expires"] or 0)
    cli.print_line(text("    certificate until {time}", time=expiry))
    for why, do in (("away", "do"), ("old_keys", "old_keys_do")):
        if row[why]:
            cli.print_line(text("    {why}; do: {do}", why=row[why], do=row[do]))
    return unknown


@click.command()
@home_option
@click.argument("site")
@cli.json_option
def revoke(home: ServerHome, site: str, as_json: bool) -> None:
    """Shut SITE out, from its next request on."""
    with ServerStore.open(home) as store, logged_action(store, current_user(), "revoke", site):
        store.revoke_site(site, time.time())
    cli.print_result_lines(
        as_json, {"site": site, "state": "revoked"}, text("{site}: revoked", site=site)
    )
