"""The plant's TLS client certificate: loading, check against the home's key, renewal."""

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from wg_core import atomic
from wg_core.connection import server_link
from wg_core.errors import DecodeError, VerificationError
from wg_core.fleet import authority, server_trust
from wg_core.site import identity
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import key_files

_FILE_BYTES_LIMIT = 1 << 16


def renew(home: ClientHome, config: ClientConfig) -> None:
    """Replace the TLS client certificate by a new one for the same key.

    The server's current authority is pinned first, if the pinned authority signed for it.

    Raises:
        PeerError: The server cannot be reached or refuses.
        VerificationError: The answer is not a certificate for this key.
    """
    with server_link.ServerLink.open(home, config.server.fleet_url) as connection:
        server_trust.refresh_server_trust(home, config, connection)
        pem = connection.renew_certificate(identity.certificate_request(home, config.site))
    atomic.write_bytes(home.certificate, check_client_certificate(pem, home))


def expiry_time(home: ClientHome) -> float:
    """Return the expiry time of the TLS client certificate, Unix seconds."""
    certificate = parse_certificate(atomic.read_bytes(home.certificate, limit=_FILE_BYTES_LIMIT))
    return certificate.not_valid_after_utc.timestamp()


def is_renewal_due(home: ClientHome, current_time: float) -> bool:
    """Return whether the TLS client certificate must be renewed.

    Renewal is due after a third of the certificate's lifetime, or when its authority is replaced,
    so that a plant that was off for up to two thirds of the lifetime can still renew.
    """
    certificate = parse_certificate(atomic.read_bytes(home.certificate, limit=_FILE_BYTES_LIMIT))
    if not authority.is_issued_by(certificate, authority.read_pinned_root(home)):
        return True
    start = certificate.not_valid_before_utc.timestamp()
    end = certificate.not_valid_after_utc.timestamp()
    return current_time > start + (end - start) / 3


def check_client_certificate(pem: bytes, home: ClientHome) -> bytes:
    """Return the first certificate of a PEM text as PEM, if it is for this home's TLS key.

    Raises:
        DecodeError: The text is not a certificate.
        VerificationError: The certificate is not for this home's key.
    """
    certificate = parse_certificate(pem)
    kind = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    public = key_files.load_ec_key(home.tls_key).public_key().public_bytes(*kind)
    if certificate.public_key().public_bytes(*kind) != public:
        raise VerificationError("the server returned a certificate for another key")
    return certificate.public_bytes(serialization.Encoding.PEM)


def parse_certificate(pem: bytes) -> x509.Certificate:
    """Load a certificate from its PEM text; raise ``DecodeError`` if the text is malformed."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise DecodeError("not a PEM certificate") from error
