"""Change of the certificate authority, signed by the old one, so that no plant enrols again.

The new authority has the old one's name and a new key. The old key signs a certificate of the new
key, called a *link*, and is then deleted. After that

- the listeners show a certificate of the new authority together with the link: a plant that pins
  the old root follows the link, and a plant that pins the new root needs none;
- client certificates are issued by the new authority; those of the old one are accepted until they
  expire, as its certificate stays among the roots;
- plants receive the new root from the server, check the link, and pin only the new root.

A running server picks up these changes by itself. A plant that was offline during several changes
follows several links.

*Not for a stolen key.* A thief of the old key can sign links, too. After a theft, trust must be
established again by join tokens from a new home.

The steps have a fixed order: running an interrupted command again completes it.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from wg_core import atomic
from wg_core.wire import key_files
from wg_server.operation import staged_files
from wg_server.operation.backup import lock_keys
from wg_server.site import pki
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)

_FILES_IN_INSTALL_ORDER = ("ca.key", "ca.pem", "links.pem")
"""Files in the order in which they replace the old ones."""


@dataclass(frozen=True, slots=True)
class RotatedAuthority:
    """SHA-256 (hex) of the old and new CA certificate, and expiry of the new one (Unix time)."""

    before: str
    after: str
    expires: float


def rotate_authority(home: ServerHome) -> RotatedAuthority:
    """Create a new authority, or complete an interrupted change. A server may run meanwhile.

    Raises:
        ConfigError: The home is not initialised, or its authority cannot be used.
        StorageError: The disk cannot be written; run the command again.
    """
    config = home.read_config()
    with lock_keys(home):
        folder = home.next_authority_folder
        staged_files.prepare_staging_folder(folder, partial(_make_authority_files, home))
        old = pki.load_certificate(folder / "old.pem")
        retired_file = home.retired_authorities_folder / f"{pki.certificate_sha256(old)[:16]}.pem"
        atomic.copy_file(folder / "old.pem", retired_file)
        staged_files.install_staged_files(folder, _FILES_IN_INSTALL_ORDER)
        pki.renew_server_certificate(home, config)  # its name or hosts may have changed since
        staged_files.discard_staging_folder(folder)
    new = pki.load_certificate(home.ca_cert)
    expires = new.not_valid_after_utc.timestamp()
    return RotatedAuthority(pki.certificate_sha256(old), pki.certificate_sha256(new), expires)


def _make_authority_files(home: ServerHome, staging_folder: Path) -> None:
    """Write the new authority's key and certificates into a folder."""
    old_key = key_files.load_ec_key(home.ca_key)
    old = pki.load_certificate(home.ca_cert)
    name, key = old.subject, ec.generate_private_key(ec.SECP256R1())
    link = pki.sign_authority_certificate(name, key, name, old_key, expiry=old.not_valid_after_utc)
    root = pki.sign_authority_certificate(name, key, name, key)
    key_files.save_private_keys(staging_folder / "ca.key", key)
    _write_text(staging_folder / "ca.pem", pki.certificate_to_pem(root))
    _write_text(
        staging_folder / "links.pem",
        "".join(map(pki.certificate_to_pem, [link, *pki.read_link_certificates(home)])),
    )
    _write_text(staging_folder / "old.pem", pki.certificate_to_pem(old))


def _write_text(path: Path, text: str) -> None:
    atomic.write_bytes(path, text.encode("ascii"))
