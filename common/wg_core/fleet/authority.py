"""Following a server to its new certificate authority, if the old one vouches for it.

A plant pins one root. A later authority has another key; the one before it has signed a certificate
of that key, a *link* (RFC 4210, section 4.4). The plant goes from the root that it pins along links
to the root of today, and pins that one alone from then on. Who has only stolen the server's TLS key
has no link to show.

*Not guaranteed* where the authority's own key was stolen: its thief can sign links. That is what
enrolling anew is for.
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
from wg_core.wire.handover import LINKS_LIMIT, way

log = logging.getLogger(__name__)

_PEM_LIMIT = 64 << 10


def follow(home: ClientHome, data: bytes) -> bool:
    """Pin the server's authority of today; whether it is another one than before.

    One that the pinned root does not vouch for is named in the log, and changes nothing.

    Args:
        data: As of ``newest_root``.

    Raises:
        ConfigError: The pinned root is missing or damaged.
        StorageError: The disk cannot be written.
    """
    pinned_root = read_root(home)
    try:
        root = newest_root(pinned_root, data, datetime.datetime.now(datetime.UTC))
    except (DecodeError, VerificationError) as error:
        log.error("%s", error)
        return False
    if root == pinned_root:
        return False
    atomic.write_bytes(home.ca_certificate, root.public_bytes(serialization.Encoding.PEM))
    log.info("the server has a new authority, which the old one vouches for: %s", fingerprint(root))
    return True


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate in DER, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def read_root(home: ClientHome) -> x509.Certificate:
    """The root that a home pins.

    Raises:
        ConfigError: It is missing or damaged.
    """
    try:
        data = atomic.read_bytes(home.ca_certificate, limit=_PEM_LIMIT)
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise ConfigError(f"{home.ca_certificate}: not a PEM certificate") from error


def newest_root(
    pinned_root: x509.Certificate, data: bytes, current_time: datetime.datetime
) -> x509.Certificate:
    """The root of today, if links lead to it from the pinned one.

    Args:
        pinned_root: The root that is trusted.
        data: PEM: the root of today, then links in any order.
        current_time: The time at which all must be good.

    Raises:
        DecodeError: It is not 1 to ``LINKS_LIMIT`` + 1 certificates.
        VerificationError: No way leads from ``pinned_root`` to the root.
    """
    try:
        root, *links = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise DecodeError("authority: not PEM certificates") from error
    if len(links) > LINKS_LIMIT:
        raise DecodeError(f"authority: {len(links)} links, at most {LINKS_LIMIT} are followed")
    if root == pinned_root:
        return root
    path = way(
        pinned_root,
        links,
        follow=lambda certificate, link: (
            link if _vouches(certificate, link, current_time) else None
        ),
        is_destination=lambda certificate: certificate.public_key() == root.public_key(),
    )
    if path is None or not _vouches(root, root, current_time):
        raise VerificationError(
            "authority: the server names one that the pinned authority does not vouch for; nothing"
            " was changed. Ask the operator; if the authority was replaced after a theft, enrol"
            " again with 'wg-client init --replace'"
        )
    return root


def issued_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    """Return whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _vouches(
    issuer: x509.Certificate, link: x509.Certificate, current_time: datetime.datetime
) -> bool:
    """Return whether one authority signed that another of the same name is one, too."""
    try:
        basic = link.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return (
        basic.ca
        and isinstance(link.public_key(), ec.EllipticCurvePublicKey)
        and link.subject == issuer.subject
        and link.not_valid_before_utc <= current_time <= link.not_valid_after_utc
        and issued_by(link, issuer)
    )
