"""Keys of the server that plants pin: the authority, and the package and witness keys.

Each plant reports its pinned keys when it connects and every hour, and receives the current keys
with the hand-overs that lead to them. The server therefore knows which plants still pin old keys.
"""

from collections.abc import Iterator
from pathlib import Path

from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import canonical, handover, protocol, signing
from wg_core.wire.handover import Handover, KeyUse
from wg_core.wire.protocol import ServerKeyPins, ServerTrust
from wg_server.fleet.witness import witness_key_name
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


def handed_over_keys(home: ServerHome) -> Iterator[tuple[KeyUse, str, Path]]:
    """Yield (use, name, file) of each key that plants pin in addition to the authority."""
    config = home.read_config()
    yield handover.PACKAGES_USE, config.name, home.signing_key
    yield handover.WITNESS_USE, witness_key_name(config), home.witness_key


def read_handovers(home: ServerHome) -> tuple[Handover, ...]:
    """Read the hand-overs from earlier keys to later ones, oldest first.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: The file is damaged.
    """
    path = home.handovers_file
    if not path.is_file():
        return ()
    return canonical.read_record(tuple[Handover, ...], path)


def current_pins(home: ServerHome) -> ServerKeyPins:
    """Return the server's current keys, which an up-to-date plant pins."""
    packages, witness = (
        signing.public_bytes(signing.load(path)).hex() for _, _, path in handed_over_keys(home)
    )
    authority = pki.certificate_sha256(pki.load_certificate(home.ca_cert))
    return ServerKeyPins(authority=authority, packages=packages, witness=witness)


def store_site_pins(
    home: ServerHome, store: ServerStore, site: str, pins_data: bytes
) -> ServerTrust:
    """Store the keys that a site reports as pinned; return the current ones and hand-overs.

    Raises:
        DecodeError: The data is not a valid ``ServerKeyPins`` record.
    """
    pins = canonical.decode(
        ServerKeyPins, pins_data, input_name="pins", max_bytes=protocol.MESSAGE_BYTES_LIMIT
    )
    store.store_pins(site, canonical.encode(pins).decode())
    certificates = [pki.load_certificate(home.ca_cert), *pki.read_link_certificates(home)]
    return ServerTrust(
        authority="".join(map(pki.certificate_to_pem, certificates)),
        pins=current_pins(home),
        handovers=read_handovers(home),
    )


def can_follow_handovers_by_site(home: ServerHome, store: ServerStore) -> dict[str, bool]:
    """Find the enrolled sites that still pin an old key.

    Returns:
        By the site's name, True if hand-overs lead from its keys to the current ones; False: it
        needs a new join token.
    """
    today, links = current_pins(home), read_handovers(home)
    names = {use: name for use, name, _ in handed_over_keys(home)}
    laggards = {}
    for site in store.sites("enrolled"):
        if not site.pins:
            continue
        try:
            pins = canonical.decode(
                ServerKeyPins, site.pins.encode(), input_name=f"pins of {site.name}"
            )
        except DecodeError:
            continue
        if pins == today:
            continue
        try:
            for use, name in names.items():
                handover.find_key_handovers(
                    use, name, getattr(pins, use), getattr(today, use), links
                )
        except VerificationError:
            laggards[site.name] = False
        else:
            laggards[site.name] = True
    return laggards
