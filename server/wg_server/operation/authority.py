"""A new certificate authority, which the old one vouches for: no plant enrols again.

The new authority has the old one's name and a new key. The old one signs a certificate of that key,
a *link*, and its own key is deleted. From then on

- the listeners show a certificate of the new authority, with the link behind it: a plant that pins
  the old root follows the link, one that pins the new root needs none;
- client certificates are made by the new authority; those of the old one are let in until they
  expire, as its certificate is kept among the roots;
- plants learn the new root from the server, check the link, and pin the new root alone.

A running server takes all that up by itself. A plant that was away during several changes follows
several links.

*Not for a stolen key.* A thief of the old key can sign links, too. After a theft trust is made
anew, by join tokens: a new home.

The order is fixed. A command that was cut off is finished by running it again.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from wg_core import atomic
from wg_core.wire import key_files
from wg_server.operation import staged
from wg_server.operation.backup import changing_keys
from wg_server.site import pki
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)

_PIECES = ("ca.key", "ca.pem", "links.pem")
"""In the order in which they take the place of the old ones."""


@dataclass(frozen=True, slots=True)
class RotatedAuthority:
    """SHA-256 of the certificates of both authorities, hex; the time at which the new one ends."""

    before: str
    after: str
    expires: float


def rotate_authority(home: ServerHome) -> RotatedAuthority:
    """Make a new authority, or finish a change that was cut off. A server may run meanwhile.

    Raises:
        ConfigError: The home is not initialised, or its authority cannot be used.
        StorageError: The disk cannot be written; run it again.
    """
    config = home.config()
    with changing_keys(home):
        folder = home.next_authority
        staged.prepare(folder, partial(_make, home))
        old = pki.load_certificate(folder / "old.pem")
        retired_file = home.retired_authorities / f"{pki.fingerprint(old)[:16]}.pem"
        atomic.copy(folder / "old.pem", retired_file)
        staged.install(folder, _PIECES)
        pki.renew_server(home, config)  # its name or hosts may have changed since
        staged.discard(folder)
    new = pki.load_certificate(home.ca_cert)
    expires = new.not_valid_after_utc.timestamp()
    return RotatedAuthority(pki.fingerprint(old), pki.fingerprint(new), expires)


def _make(home: ServerHome, stage: Path) -> None:
    """Put all that is new into a folder."""
    old_key = key_files.load_ec(home.ca_key)
    old = pki.load_certificate(home.ca_cert)
    name, key = old.subject, ec.generate_private_key(ec.SECP256R1())
    link = pki.authority_certificate(name, key, name, old_key, expiry=old.not_valid_after_utc)
    root = pki.authority_certificate(name, key, name, key)
    key_files.save(stage / "ca.key", key)
    _write(stage / "ca.pem", pki.to_pem(root))
    _write(stage / "links.pem", "".join(map(pki.to_pem, [link, *pki.links(home)])))
    _write(stage / "old.pem", pki.to_pem(old))


def _write(path: Path, text: str) -> None:
    atomic.write_bytes(path, text.encode("ascii"))
