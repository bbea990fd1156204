"""Adoption of certificates that a restored server issued after its backup.

A plant that renewed its certificate after the backup has a certificate that the restored store does
not know; without adoption it would have to enrol again. Such a certificate is added to the store if
this server's authority issued it (checked by TLS) in the time that the backup does not cover, for
an enrolled site. All other checks remain: the request needs Flower's node signature by that site's
key.

*Not guaranteed:* that the certificate was not revoked in that time. Revocations since a backup are
lost: ``wg-server restore`` says so, and the operator must repeat them.
"""

import logging

from cryptography import x509
from cryptography.x509.oid import NameOID

from wg_server.site import pki
from wg_server.site.backup_records import RestoreGap
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)


def adopt_certificate(
    store: ServerStore, restore_gap: RestoreGap, certificate_der: bytes, current_time: float
) -> StoredSite | None:
    """Add an unknown certificate to the store if it may be adopted; return its site, or None.

    Args:
        restore_gap: Time range that the backup does not cover.
        certificate_der: Certificate that TLS has verified.
        current_time: Unix time.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    slack = pki.CLOCK_SLACK.total_seconds()
    issue_time = certificate.not_valid_before_utc.timestamp() + slack
    expires = certificate.not_valid_after_utc.timestamp()
    since, end = restore_gap.since - slack, restore_gap.until + slack
    if not since <= issue_time <= end or expires <= current_time:
        return None
    fingerprint = pki.certificate_sha256(certificate)
    if store.adopt_certificate(str(name.value), fingerprint, expires):
        log.warning("site %s: its certificate is newer than the backup; taken in", name.value)
    # Otherwise the store knows it: it is revoked, or another request has just adopted it.
    return store.authenticate_site(fingerprint, current_time)
