"""Commands that keep a plant going for years: certificate, keys, compromise, audit of the code."""

from datetime import UTC, datetime

import click

from wg_client.cli.options import home_option, join_options
from wg_core import errors
from wg_core.cli import json_option, show, timed_progress
from wg_core.language import text
from wg_core.site.home import ClientHome


@click.command()
@home_option
@json_option
def renew(home: ClientHome, as_json: bool) -> None:
    """Get a fresh TLS certificate now. A running node does so by itself when it is due."""
    from wg_core.fleet import certificate
    from wg_core.site import config as configuration

    config = configuration.load(home)
    certificate.renew(home, config)
    expires = certificate.expiry(home)
    when = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    document = {"site": config.site, "certificate_expires": expires}
    show(document, [f"{home.certificate}: good until {when}"], as_json)


@click.command()
@home_option
@json_option
def witnesses(home: ClientHome, as_json: bool) -> None:
    """Show who witnesses the ledger, and what a new witness's operator must be given."""
    from wg_core.connection import cosigning
    from wg_core.site import config as configuration

    config = configuration.load(home)
    origin, vkey, size, rows = cosigning.status(home, config)
    document = {
        "ledger_origin": origin,
        "ledger_vkey": vkey,
        "entries": size,
        "needed": config.witnesses_needed,
        "witnesses": [{"name": name, "vkey": key, "cosigned": seen} for name, key, seen in rows],
    }
    lines = [
        f"origin        {origin}",
        f"verifier key  {vkey}",
        *(f"  {name:32} cosigned {seen} of {size} entries" for name, _, seen in rows),
        f"{config.witnesses_needed} of {len(rows)} must cosign before a release is sent",
    ]
    show(document, lines, as_json)


@click.command("rotate-key")
@home_option
@json_option
def rotate_key(home: ClientHome, as_json: bool) -> None:
    """Sign the ledger with a new key; the old one signs for it, and the server learns it.

    Run it again if it was cut off: it goes on where it stopped.
    """
    from wg_client.fleet import rotation

    done = rotation.rotate_key(home)
    lines = [
        f"entry {done.entry}: signed by both keys, known to the server",
        f"ledger key, for auditors: {done.key}",
    ]
    show({"entry": done.entry, "ledger_key": done.key}, lines, as_json)


@click.command()
@home_option
@join_options
@click.option("--reason", required=True, help="Why, in a few words; goes on the new ledger.")
@click.option("--encoder", metavar="HASH", help="Where the encoder is to be another: its SHA-256.")
@json_option
def compromise(
    home: ClientHome, token: str, reason: str, encoder: str | None, as_json: bool
) -> None:
    """Give up a ledger whose key was lost or stolen. All that was spent moves to a new one.

    Stop the node first. Every key of the plant is made anew.
    """
    from wg_client.fleet import reenrolment
    from wg_core.release.budget import read_spend

    config = reenrolment.compromise(home, token, reason, encoder=encoder)
    spend = read_spend(home, config)
    kept = [str(path) for path in sorted(home.root.glob("ledger-*.sqlite"))]
    document = {
        "site": config.site,
        "old_ledgers": kept,
        "epsilon_spent": spend.epsilon,
        "cap_epsilon": spend.cap_epsilon,
        "cap_delta": spend.cap_delta,
    }
    lines = [
        f"{config.site}: a new ledger and new keys, enrolled with {config.server.name}",
        f"epsilon {spend.epsilon:.4g} of {spend.cap_epsilon} stays spent at {spend.cap_delta}",
        f"for auditors: {', '.join(kept)}; wg-audit verify --previous",
    ]
    show(document, lines, as_json)


@click.command()
@home_option
@json_option
def audit(home: ClientHome, as_json: bool) -> int:
    """Try to catch the installed release code, and put the outcome on the ledger.

    Made-up records only; costs no budget; about half a minute. Ends with code 5 if the code gives
    less privacy than it claims; that is recorded as well.
    """
    from wg_audit import words
    from wg_audit.installed.probes import Size
    from wg_client.release.audit import audit as run

    size = Size()
    with timed_progress(text("questions to made-up plants"), size.questions) as answered:
        report, entry = run(home, size=size, on_question=answered)
    lines = [*words.lines(report), text("recorded as ledger entry {entry}", entry=entry)]
    show({"entry": entry, **words.document(report)}, lines, as_json)
    return errors.EXIT_OK if report.passed else errors.EXIT_VERIFICATION


COMMANDS = (renew, witnesses, rotate_key, compromise, audit)
