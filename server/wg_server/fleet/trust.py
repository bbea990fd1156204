"""What plants believe this server by: its authority, and its keys of packages and cosignatures.

Each plant says what it pins, when it connects and each hour, and gets what is to be believed today
with all that leads there. So the server knows whom a change of keys has left behind.
"""

from collections.abc import Iterator
from pathlib import Path

from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import canonical, handover, protocol, signing
from wg_core.wire.handover import Handover, Use
from wg_core.wire.protocol import Pins, Trust
from wg_server.fleet.witness import witness_name
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store


def keys(home: ServerHome) -> Iterator[tuple[Use, str, Path]]:
    """The keys that plants pin beside the authority: use, name, and file."""
    config = home.config()
    yield handover.PACKAGES, config.name, home.signing_key
    yield handover.WITNESS, witness_name(config), home.witness_key


def handovers(home: ServerHome) -> tuple[Handover, ...]:
    """From earlier keys to later ones, the oldest first.

    Raises:
        ConfigError: They cannot be read.
        DecodeError: They are damaged.
    """
    path = home.handovers
    if not path.is_file():
        return ()
    data = atomic.read_bytes(path, limit=protocol.TRUST_LIMIT)
    return canonical.decode(tuple[Handover, ...], data, subject=str(path))


def of_today(home: ServerHome) -> Pins:
    """Return the pins of a plant that has followed every change."""
    packages, witness = (
        signing.public_bytes(signing.load(path)).hex() for _, _, path in keys(home)
    )
    authority = pki.fingerprint(pki.load_certificate(home.ca_cert))
    return Pins(authority=authority, packages=packages, witness=witness)


def answer(home: ServerHome, store: Store, site: str, data: bytes) -> Trust:
    """Take down what a site pins, and say what is to be believed.

    Raises:
        DecodeError: It is no ``Pins``.
    """
    pins = canonical.decode(Pins, data, subject="pins", limit=protocol.MESSAGE_LIMIT)
    store.note_pins(site, canonical.encode(pins).decode())
    certificates = [pki.load_certificate(home.ca_cert), *pki.links(home)]
    return Trust(
        authority="".join(map(pki.to_pem, certificates)),
        pins=of_today(home),
        handovers=handovers(home),
    )


def left_behind(home: ServerHome, store: Store) -> dict[str, bool]:
    """Enrolled sites that have not followed a change yet; whether they can without a token."""
    today, links = of_today(home), handovers(home)
    names = {use: name for use, name, _ in keys(home)}
    laggards = {}
    for site in store.sites("enrolled"):
        if not site.pins:
            continue
        try:
            pins = canonical.decode(Pins, site.pins.encode(), subject=f"pins of {site.name}")
        except DecodeError:
            continue
        if pins == today:
            continue
        try:
            for use, name in names.items():
                handover.follow_keys(use, name, getattr(pins, use), getattr(today, use), links)
        except VerificationError:
            laggards[site.name] = False
        else:
            laggards[site.name] = True
    return laggards
