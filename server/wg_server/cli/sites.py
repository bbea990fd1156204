"""``wg-server enroll``, ``sites`` and ``revoke``: who may take part."""

import time
from collections import Counter

import click

from wg_core import cli
from wg_core.ledger.auditor_record import BUDGET_UNKNOWN
from wg_core.wire import protocol
from wg_server.campaigns import absence, reasons
from wg_server.cli.options import Duration, home_option, this_user, when
from wg_server.fleet import trust
from wg_server.fleet.enrolment import make_token
from wg_server.site.home import ServerHome
from wg_server.store import quarantine, succession
from wg_server.store.operators import recorded
from wg_server.store.sites import Store


@click.command()
@home_option
@click.argument("site")
@click.option("--expires", type=Duration(), default="1h", show_default=True, help="Token's life.")
@click.option("--replace", is_flag=True, help="Let an enrolled site enrol again with new keys.")
@cli.json_option
def enroll(home: ServerHome, site: str, expires: float, replace: bool, as_json: bool) -> None:
    """Print a one-time join token for SITE."""
    again = "again" if replace else ""
    with Store.open(home) as store, recorded(store, this_user(), "enroll", site, again):
        token = make_token(home, store, site, expires, replace=replace)
    text = protocol.encode_token(token)
    if as_json:
        cli.emit({"site": site, "token": text, "expires": token.expires, "encoder": token.encoder})
    else:
        cli.say(text)
        cli.note(f"good for one home, until {when(token.expires)}")
        cli.note(f"encoder {token.encoder}: tell the plant's owner, who is asked for it")
        cli.note(
            "next, at the plant: wg-client init --home HOME --join-file FILE --data FOLDER, with"
            " the token in FILE"
        )


@click.command()
@home_option
@cli.json_option
def sites(home: ServerHome, as_json: bool) -> None:
    """List the sites."""
    with Store.open(home) as store:
        rows, sights, now = store.sites(), absence.sights(store), time.time()
        forked = {origin for origin, *_ in store.evidence()}
        successions = succession.of_sites(store.sites(), store.logs())
        quarantine_counts = Counter(
            note.site for note in quarantine.notes(store.engine, "quarantined")
        )
        laggards = trust.left_behind(home, store)
    behind = {name: reasons.of_keys(follows) for name, follows in laggards.items()}
    absences = {name: reasons.of_site(sight, now) for name, sight in sights.items()}
    if as_json:
        document = [
            {
                "site": site.name,
                "state": site.state,
                "enrolled": site.enrolled or None,
                "last_seen": site.last_seen or None,
                "certificate_expires": sights[site.name].certificate,
                "ledger_origin": site.ledger_origin,
                "ledger_fork": site.ledger_origin in forked,
                "ledger_succession": successions.get(site.name),
                "quarantined": quarantine_counts[site.name],
                "away": absences[site.name].why,
                "do": absences[site.name].do,
                "old_keys": behind[site.name].why if site.name in behind else "",
            }
            for site in rows
        ]
        cli.emit({"sites": document})
        return
    for site in rows:
        fork = "  LEDGER FORK: evidence kept" if site.ledger_origin in forked else ""
        unknown = "  BUDGET UNKNOWN" if successions.get(site.name) == BUDGET_UNKNOWN else ""
        quarantined = (
            f"  QUARANTINED: {quarantine_counts[site.name]}" if quarantine_counts[site.name] else ""
        )
        troubles = f"{fork}{unknown}{quarantined}"
        cli.say(f"{site.name:24} {site.state:9} seen {when(site.last_seen)}{troubles}")
        cli.say(f"    certificate until {when(sights[site.name].certificate or 0)}")
        if absences[site.name].why:
            cli.say(f"    {absences[site.name].why}; do: {absences[site.name].do}")
        if site.name in behind:
            cli.say(f"    {behind[site.name].why}; do: {behind[site.name].do}")
    if not rows:
        cli.say(f"no sites yet; next: wg-server enroll --home {home.root} SITE")
    if BUDGET_UNKNOWN in successions.values():
        cli.note(
            "budget unknown: the site released on an earlier ledger that the one in use does not"
            " name. Ask the plant for the home that holds the newest of them: there, after"
            " 'wg-server enroll --replace', 'wg-client keys --renew ledger --stolen' carries the"
            " spend over. If it is lost, count all that was released on every ledger:"
            " 'wg-server export'"
        )


@click.command()
@home_option
@click.argument("site")
@cli.json_option
def revoke(home: ServerHome, site: str, as_json: bool) -> None:
    """Shut SITE out, from its next request on."""
    with (
        Store.open(home) as store,
        recorded(store, this_user(), "revoke", site),
    ):
        store.revoke(site, time.time())
    cli.answer(as_json, {"site": site, "state": "revoked"}, f"{site}: revoked")
