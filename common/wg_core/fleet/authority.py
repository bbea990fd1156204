"""Adoption of a server's new certificate authority, if the pinned authority signed for it.

A plant pins one root certificate. A new authority has another key, for which the previous authority
signed a *link* certificate (RFC 4210, section 4.4). The plant follows links from its pinned root to
the current root, and then pins only the latter. A thief of the server's TLS key alone has no link
to show.

*Not guaranteed* if the authority's own key was stolen: the thief can sign links. In that case the
plant must enrol again.
"""

import datetime
import logging

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.site.home import ClientHome
from wg_core.wire.handover import HANDOVERS_LIMIT, find_handover_path

log = logging.getLogger(__name__)

_PEM_BYTES_LIMIT = 64 << 10


def pin_current_authority(home: ClientHome, certificates_pem: bytes) -> bool:
    """Pin the server's current certificate authority; return True if it is a new one.

    If no chain of link certificates leads from the pinned root to the current one, an error is
    logged and nothing changes.

    Args:
        certificates_pem: PEM certificates: the current root, then link certificates.

    Raises:
        ConfigError: The pinned root is missing or damaged.
        StorageError: The disk cannot be written.
    """
    pinned_root = read_pinned_root(home)
    try:
        root = newest_root(pinned_root, certificates_pem, datetime.datetime.now(datetime.UTC))
    except (DecodeError, VerificationError) as error:
        log.error("%s", error)
        return False
    if root == pinned_root:
        return False
    atomic.write_bytes(home.ca_certificate, root.public_bytes(serialization.Encoding.PEM))
    digest = certificate_sha256(root)
    log.info("the server has a new authority, which the old one vouches for: %s", digest)
    return True


def certificate_sha256(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate in DER, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def read_pinned_root(home: ClientHome) -> x509.Certificate:
    """Read the root certificate that a home pins.

    Raises:
        ConfigError: The certificate is missing or damaged.
    """
    try:
        data = atomic.read_bytes(home.ca_certificate, limit=_PEM_BYTES_LIMIT)
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise ConfigError(f"{home.ca_certificate}: not a PEM certificate") from error


def newest_root(
    pinned_root: x509.Certificate, certificates_pem: bytes, current_time: datetime.datetime
) -> x509.Certificate:
    """Return the server's current root, if link certificates lead there from the pinned root.

    A link certificate is a later root's certificate, signed by the root before it.

    Args:
        certificates_pem: PEM certificates: the current root, then links in any order.
        current_time: Time at which all certificates must be valid.

    Raises:
        DecodeError: The data are not 1 to ``HANDOVERS_LIMIT`` + 1 certificates.
        VerificationError: No chain of links leads from ``pinned_root`` to the current root.
    """
    try:
        root, *links = x509.load_pem_x509_certificates(certificates_pem)
    except ValueError as error:
        raise DecodeError("authority: not PEM certificates") from error
    if len(links) > HANDOVERS_LIMIT:
        raise DecodeError(f"authority: {len(links)} links, at most {HANDOVERS_LIMIT} are followed")
    if root == pinned_root:
        return root
    path = find_handover_path(
        pinned_root,
        links,
        next_key=lambda certificate, link: (
            link if _is_valid_link(certificate, link, current_time) else None
        ),
        is_destination=lambda certificate: certificate.public_key() == root.public_key(),
    )
    if path is None or not _is_valid_link(root, root, current_time):
        raise VerificationError(
            "authority: the server names one that the pinned authority does not vouch for; nothing"
            " was changed. Ask the operator; if the authority was replaced after a theft, enrol"
            " again with 'wg-client init --replace'"
        )
    return root


def is_issued_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    """Return whether a root certificate signed another certificate."""
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_valid_link(
    issuer: x509.Certificate, link: x509.Certificate, current_time: datetime.datetime
) -> bool:
    """Return whether ``issuer`` signed ``link``, a valid CA certificate of the same name."""
    try:
        basic = link.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return (
        basic.ca
        and isinstance(link.public_key(), ec.EllipticCurvePublicKey)
        and link.subject == issuer.subject
        and link.not_valid_before_utc <= current_time <= link.not_valid_after_utc
        and is_issued_by(link, issuer)
    )
