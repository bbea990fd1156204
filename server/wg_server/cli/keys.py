"""``wg-server keys``: show the public keys that others verify with, and rotate them."""

from collections.abc import Callable, Mapping

import click

from wg_common import cli
from wg_common.language import text
from wg_core.errors import UsageError
from wg_core.wire import canonical, signing
from wg_server.campaigns import auditor_export
from wg_server.cli.options import current_user, format_time, home_option
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.operators import logged_action
from wg_server.store.server_store import ServerStore


def _displayed_key_hex(key_hex: str) -> str:
    return signing.display_key(bytes.fromhex(key_hex))


def _renew_certificate(home: ServerHome, as_json: bool) -> None:
    """Create a new certificate for the server's listeners, under the same authority."""
    pki.renew_server_certificate(home, home.read_config())
    expires = pki.load_certificate(home.tls_cert).not_valid_after_utc.timestamp()
    good = text("{file}: good until {time}", file=home.tls_cert, time=format_time(expires))
    cli.print_result_lines(as_json, {"certificate_expires": expires}, good)


def _rotate_authority(home: ServerHome, as_json: bool) -> None:
    """Replace the certificate authority; the old authority signs the new one."""
    from wg_server.operation import authority_rotation

    with (
        ServerStore.open(home) as store,
        logged_action(store, current_user(), "rotate-authority", "authority"),
    ):
        rotation = authority_rotation.rotate_authority(home)
    cli.print_result_lines(
        as_json,
        canonical.to_builtins(rotation),
        text("CA {ca}, good until {time}", ca=rotation.after, time=format_time(rotation.expires)),
        text("CA {ca} is retired; its key is deleted", ca=rotation.before),
        text("join tokens that were made before name the old one: make them again"),
        cli.next_step("wg-server backup --home {home} ...", home=home.root),
    )


def _rotate_signing_keys(home: ServerHome, as_json: bool, *, are_keys_stolen: bool = False) -> None:
    """Replace the package and witness keys; old keys sign the new ones unless they are stolen."""
    from wg_server.operation import key_rotation

    why = "stolen" if are_keys_stolen else ""
    with (
        ServerStore.open(home) as store,
        logged_action(store, current_user(), "rotate-keys", "keys", why),
    ):
        new_keys = key_rotation.rotate_keys(home, are_keys_stolen=are_keys_stolen)
    cli.print_result_lines(
        as_json,
        canonical.to_builtins(new_keys),
        text("signing key {key}", key=new_keys.signing_key),
        text("witness key {key}", key=_displayed_key_hex(new_keys.witness_key)),
        text("next, for each plant: wg-server enroll --replace, wg-client init --replace")
        if are_keys_stolen
        else text(
            "next: wg-server backup --home {home} ..., then serve: plants follow", home=home.root
        ),
    )


_RENEWAL_FUNCTIONS: Mapping[str, Callable[[ServerHome, bool], None]] = {
    "certificate": _renew_certificate,
    "authority": _rotate_authority,
    "signing": _rotate_signing_keys,
}


@click.command()
@home_option
@click.option(
    "--renew",
    "renewal",
    type=click.Choice(list(_RENEWAL_FUNCTIONS)),
    help="Make a certificate, the authority or the signing keys anew. No plant enrols again.",
)
@click.option(
    "--stolen",
    is_flag=True,
    help="Signing keys are stolen or lost: they hand nothing over, and every plant enrols again.",
)
@cli.json_option
def keys(home: ServerHome, renewal: str | None, stolen: bool, as_json: bool) -> None:
    """Print the public keys that others verify with; or renew keys and certificates.

    certificate: of the listeners; a running server takes it up.

    authority: of all certificates; the old one vouches for it. A running server takes it up, and
    plants learn it when they connect. Not for a stolen key: a thief could vouch for others, too.

    signing: for packages and cosignatures, signed by the old ones, with the server stopped. Plants
    take them over when they connect; 'wg-server sites' names those that have not yet.
    """
    if stolen and renewal != "signing":
        raise UsageError("--stolen: with --renew signing")
    if renewal is None:
        _show_keys(home, as_json)
    elif stolen:
        _rotate_signing_keys(home, as_json, are_keys_stolen=True)
    else:
        _RENEWAL_FUNCTIONS[renewal](home, as_json)


def _show_keys(home: ServerHome, as_json: bool) -> None:
    public_keys = auditor_export.server_keys(home)
    cli.print_result_lines(
        as_json,
        canonical.to_builtins(public_keys),
        f"server       {public_keys.server}",
        f"CA           {public_keys.ca_sha256}",
        f"packages     {public_keys.signing_key}",
        f"encoder      {public_keys.encoder or 'none yet'}",
        f"witness      --witness-key {public_keys.witness_name}="
        f"{_displayed_key_hex(public_keys.witness_key)}",
        *(
            f"{x.site:12} --ledger-key {_displayed_key_hex(x.ledger_key)}  ({x.ledger_origin})"
            for x in public_keys.sites
        ),
    )
