"""``wg-client keys``: show and renew the ledger key and the certificate."""

import functools
from datetime import UTC, datetime

import click

from wg_client.cli.options import home_option, join_token_options
from wg_common.cli import json_option, print_result
from wg_common.language import text
from wg_core.errors import UsageError
from wg_core.site.home import ClientHome

_RENEWAL_CHOICES = ("certificate", "ledger")


@click.command()
@home_option
@click.option(
    "--renew",
    type=click.Choice(_RENEWAL_CHOICES),
    help="Get a fresh TLS certificate now, which a running node does by itself when it is due; or"
    " sign the ledger with a new key, for which the old one signs.",
)
@click.option(
    "--stolen",
    is_flag=True,
    help="The ledger's key is stolen or lost: give this ledger up. All that was spent moves to a"
    " new one, and every key is made anew. Needs a join token, --reason, and a stopped node.",
)
@functools.partial(join_token_options, is_required=False)
@click.option("--reason", help="With --stolen: why, in a few words; goes on the new ledger.")
@click.option("--encoder", metavar="HASH", help="SHA-256 of the encoder, if it is to change.")
@json_option
def keys(
    home: ClientHome,
    renew: str | None,
    stolen: bool,
    token: str | None,
    reason: str | None,
    encoder: str | None,
    as_json: bool,
) -> None:
    """Show the ledger's key and its witnesses; or renew a key or the certificate.

    The operator of a new witness needs what is shown. To resume an interrupted renewal, run the
    command again.
    """
    if stolen and renew == "ledger":
        if token is None or reason is None:
            raise UsageError("--stolen: needs --join-file FILE (or --join -) and --reason")
        _replace_ledger(home, token, reason, encoder, as_json)
    elif stolen or any(word is not None for word in (token, reason, encoder)):
        raise UsageError("--join-file, --reason, --encoder: with --renew ledger --stolen")
    elif renew == "certificate":
        _renew_certificate(home, as_json)
    elif renew == "ledger":
        _renew_ledger_key(home, as_json)
    else:
        _show_ledger_key(home, as_json)


def _renew_certificate(home: ClientHome, as_json: bool) -> None:
    from wg_core.fleet import certificate
    from wg_core.site import config as configuration

    config = configuration.load(home)
    certificate.renew(home, config)
    expires = certificate.expiry_time(home)
    expiry = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    document = {"site": config.site, "certificate_expires": expires}
    print_result(document, [f"{home.certificate}: good until {expiry}"], as_json)


def _show_ledger_key(home: ClientHome, as_json: bool) -> None:
    from wg_core.connection import cosigning
    from wg_core.site import config as configuration

    config = configuration.load(home)
    ledger, cosigned = cosigning.signed_sizes(home, config)
    document = {
        "ledger_origin": ledger.name,
        "ledger_vkeys": ledger.verifier_keys,
        "entries": ledger.entry_count,
        "needed": config.witnesses_needed,
        "witnesses": [
            {
                "name": witness.name,
                "vkeys": witness.verifier_keys,
                "cosigned": witness.entry_count,
            }
            for witness in cosigned
        ],
    }
    lines = [
        text("ledger: {origin}", origin=ledger.name),
        *(text("verifier key: {vkey}", vkey=vkey) for vkey in ledger.verifier_keys),
        *(
            text(
                "  {name:32} cosigned {count} of {size} entries",
                name=witness.name,
                count=witness.entry_count,
                size=ledger.entry_count,
            )
            for witness in cosigned
        ),
        text(
            "{needed} of {count} must cosign before a release is sent",
            needed=config.witnesses_needed,
            count=len(cosigned),
        ),
    ]
    print_result(document, lines, as_json)


def _renew_ledger_key(home: ClientHome, as_json: bool) -> None:
    from wg_client.fleet import key_rotation
    from wg_core.wire import signing

    renewal = key_rotation.rotate_ledger_key(home)
    lines = [
        f"entry {renewal.entry_index}: signed by both keys, known to the server",
        f"ledger key, for auditors: {signing.display_key(bytes.fromhex(renewal.public_key))}",
    ]
    print_result({"entry": renewal.entry_index, "ledger_key": renewal.public_key}, lines, as_json)


def _replace_ledger(
    home: ClientHome, token: str, reason: str, encoder_hash: str | None, as_json: bool
) -> None:
    from wg_client.fleet import reenrolment
    from wg_core.release.budget import read_plant_spending

    config = reenrolment.replace_compromised_ledger(home, token, reason, encoder_hash=encoder_hash)
    spend = read_plant_spending(home, config)
    old_ledgers = [str(path) for path in sorted(home.root.glob("ledger-*.sqlite"))]
    document = {
        "site": config.site,
        "old_ledgers": old_ledgers,
        "epsilon_spent": spend.epsilon,
        "cap_epsilon": spend.cap_epsilon,
        "cap_delta": spend.cap_delta,
    }
    lines = [
        f"{config.site}: a new ledger and new keys, enrolled with {config.server.name}",
        f"epsilon {spend.epsilon:.4g} of {spend.cap_epsilon} stays spent at {spend.cap_delta}",
        f"for auditors: {', '.join(old_ledgers)}; wg-audit verify --previous",
    ]
    print_result(document, lines, as_json)


COMMANDS = (keys,)
