"""Certificate authority of the server, its own certificate, and those of its clients.

A later authority has the same name and another key (``operation.authority_rotation``). Plants that
know an earlier authority reach it by link certificates, each signed by the previous authority (RFC
4210, section 4.4).

All keys are on elliptic curve P-256, all certificates are X.509 v3 (RFC 5280). A client certificate
is issued for a request whose key was generated at the plant; the request's subject is ignored, and
the certificate carries the name that the join token is bound to. Certificates carry no revocation
information: the server checks its store at every request, see ``wg_server.fleet.guards``.
"""

import datetime
import ipaddress
import time
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical, key_files
from wg_server.site.home import ServerConfig, ServerHome

CA_LIFETIME_YEARS = 10
SERVER_CERTIFICATE_LIFETIME = datetime.timedelta(days=825)
CLIENT_CERTIFICATE_LIFETIME = datetime.timedelta(days=30)
"""Lifetime of a client certificate. A node renews its certificate after a third of this time, so
that a plant may be offline for the other two thirds. Revocation takes effect at once."""
CLOCK_SLACK = datetime.timedelta(minutes=10)  # Certificates are valid from this long before issue
CSR_LENGTH_LIMIT = 16 << 10
_PEM_BYTES_LIMIT = 64 << 10
_PAIR_TRIES, _PAIR_SECONDS = 40, 0.05
_ALLOWED_CURVES = (ec.SECP256R1, ec.SECP384R1)


def create_authority(home: ServerHome, config: ServerConfig) -> None:
    """Create the certificate authority (CA) and the server's certificate.

    Raises:
        ConfigError: A CA exists already; another one would disconnect every plant.
    """
    if home.ca_key.exists():
        raise ConfigError(f"{home.ca_key}: there is a certificate authority already")
    key = ec.generate_private_key(ec.SECP256R1())
    name = _common_name(f"{config.name} CA")
    _save_key(home.ca_key, key)
    _save_certificate(home.ca_cert, sign_authority_certificate(name, key, name, key))
    renew_server_certificate(home, config)


def sign_authority_certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    expiry: datetime.datetime | None = None,
) -> x509.Certificate:
    """Sign a CA certificate for ``key``: a root, or a link from an earlier root to the next one.

    Args:
        issuer: Name of the signing authority; equal to ``subject`` for a root.
        expiry: End of validity, if earlier than ``CA_LIFETIME_YEARS`` from now.
    """
    current_time = _current_second()
    end = current_time + datetime.timedelta(days=365 * CA_LIFETIME_YEARS)
    public = issuer_key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(current_time - CLOCK_SLACK)
        .not_valid_after(min(end, expiry) if expiry else end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def root_certificate_files(home: ServerHome) -> list[Path]:
    """Return the authority's certificate files: the current one first, then the retired ones."""
    return [home.ca_cert, *sorted(home.retired_authorities_folder.glob("*.pem"))]


def read_link_certificates(home: ServerHome) -> list[x509.Certificate]:
    """Return the certificate that each earlier authority signed for the next one, newest first."""
    return _load_certificates(home.ca_links_file) if home.ca_links_file.is_file() else []


def renew_server_certificate(home: ServerHome, config: ServerConfig) -> None:
    """Create a new key and certificate for the listeners, signed by the current authority.

    The certificate file also holds the authority's links, which plants that know an earlier
    authority follow.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = dict.fromkeys((config.advertise or config.host, config.host, "localhost", "127.0.0.1"))
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    certificate = (
        _leaf_certificate_builder(home, config.name, key.public_key(), SERVER_CERTIFICATE_LIFETIME)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(_load_authority(home)[1], hashes.SHA256())
    )
    _save_key(home.tls_key, key)
    _save_certificate(home.tls_cert, certificate, *read_link_certificates(home))


def issue_client_certificate(
    home: ServerHome,
    site: str,
    csr_pem: str,
    lifetime: datetime.timedelta = CLIENT_CERTIFICATE_LIFETIME,
) -> x509.Certificate:
    """Issue a client certificate for a certificate request that a plant made.

    Args:
        site: Name in the certificate; the subject of the request is ignored.
        csr_pem: PKCS #10 request, PEM.

    Raises:
        DecodeError: The request is invalid, see ``read_certificate_request``.
    """
    public = read_certificate_request(csr_pem)
    uri = x509.UniformResourceIdentifier(f"weightgate:site:{site}")
    return (
        _leaf_certificate_builder(home, site, public, lifetime)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(_load_authority(home)[1], hashes.SHA256())
    )


def read_certificate_request(csr_pem: str) -> ec.EllipticCurvePublicKey:
    """Return the public key of a plant's certificate request (PKCS #10, PEM).

    Raises:
        DecodeError: The request is damaged, not signed by its own key, or has an unsupported key
            type.
    """
    if len(csr_pem) > CSR_LENGTH_LIMIT:
        raise DecodeError(f"certificate request: {len(csr_pem)} bytes, at most {CSR_LENGTH_LIMIT}")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode("ascii"))
        signed = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature) as error:
        raise DecodeError("certificate request: not a PKCS #10 request in PEM") from error
    public = request.public_key()
    if not signed:
        raise DecodeError("certificate request: not signed by its own key")
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(
        public.curve, _ALLOWED_CURVES
    ):
        raise DecodeError("certificate request: expected a key on P-256 or P-384")
    return public


def public_key_sha256(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key (SubjectPublicKeyInfo, DER), hex."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return canonical.sha256_hex(der)


def certificate_sha256(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate in DER, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def certificate_to_pem(certificate: x509.Certificate) -> str:
    """Encode a certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate from a PEM file.

    Raises:
        ConfigError: The file is missing or damaged.
    """
    try:
        return x509.load_pem_x509_certificate(atomic.read_bytes(path, limit=_PEM_BYTES_LIMIT))
    except ValueError as error:
        raise ConfigError(f"{path}: not a PEM certificate") from error


def canonical_node_key(pem: str) -> bytes:
    """Check a Flower node key (PEM), and return the PEM bytes by which Flower identifies the node.

    Raises:
        DecodeError: The text is not a PEM public key on P-256 or P-384.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
    except (ValueError, TypeError) as error:
        raise DecodeError("node key: not a PEM public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _ALLOWED_CURVES):
        raise DecodeError("node key: expected a key on P-256 or P-384")
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _leaf_certificate_builder(
    home: ServerHome, name: str, public_key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    ca, _ = _load_authority(home)
    issuer = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    current_time = _current_second()
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(current_time - CLOCK_SLACK)
        .not_valid_after(min(current_time + lifetime, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _current_second() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _save_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    key_files.save_private_keys(path, key)
    path.parent.chmod(0o700)


def _save_certificate(path: Path, *certificates: x509.Certificate) -> None:
    atomic.write_bytes(path, "".join(map(certificate_to_pem, certificates)).encode("ascii"))


def _load_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(atomic.read_bytes(path, limit=_PEM_BYTES_LIMIT))
    except ValueError as error:
        raise ConfigError(f"{path}: no PEM certificates") from error


def _load_authority(home: ServerHome) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Load the authority's certificate and private key as a matching pair."""
    for _ in range(_PAIR_TRIES):
        certificate, key = load_certificate(home.ca_cert), key_files.load_ec_key(home.ca_key)
        if certificate.public_key() == key.public_key():
            return certificate, key
        time.sleep(_PAIR_SECONDS)  # another process is putting new ones in place
    raise ConfigError(
        f"{home.ca_cert}: not of the key beside it: a change of the authority was cut off; run"
        " 'wg-server keys --renew authority' again"
    )
