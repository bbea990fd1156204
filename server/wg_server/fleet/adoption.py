"""Certificates that a restored server gave out, and does not remember.

A plant that renewed its certificate after the backup has one that the restored store does not
know; without more it would be shut out, and have to enrol again. Such a certificate is taken into
the store if it was made in the time that the server does not remember, by this server's authority
(TLS has checked that), for a site that is enrolled. What else a request needs stays: Flower's node
signature must be by that site's key.

*Not guaranteed:* that it was not revoked in that time. Revocations since a backup are lost with it:
``wg-server restore`` says so, and revoking again is the operator's.
"""

import logging

from cryptography import x509
from cryptography.x509.oid import NameOID

from wg_server.site import pki
from wg_server.site.recovery import Recovery
from wg_server.store.site import Site
from wg_server.store.sites import Store

log = logging.getLogger(__name__)


def adopt(store: Store, recovery: Recovery, der: bytes, current_time: float) -> Site | None:
    """The site that an unknown certificate belongs to, if it is one of those; it is taken in.

    Args:
        der: A certificate that TLS has verified.
        current_time: Unix time.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    slack = pki.CLOCK_SLACK.total_seconds()
    issue_time = certificate.not_valid_before_utc.timestamp() + slack
    expires = certificate.not_valid_after_utc.timestamp()
    since, end = recovery.since - slack, recovery.until + slack
    if not since <= issue_time <= end or expires <= current_time:
        return None
    fingerprint = pki.fingerprint(certificate)
    if store.adopt_certificate(str(name.value), fingerprint, expires):
        log.warning("site %s: its certificate is newer than the backup; taken in", name.value)
    # Else it is known: revoked, or another request brought it just now.
    return store.authenticate(fingerprint, current_time)
