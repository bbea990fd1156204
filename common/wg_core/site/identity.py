"""Keys of a plant, generated on site and stored with mode 0600; only public keys leave.

Four keys have four uses: TLS client certificate (P-256), Flower node authentication (P-384, the
curve that Flower itself uses), statistics signatures (Ed25519) and ledger checkpoints (Ed25519 and
ML-DSA-44 in one file). The server ignores the names in a certificate request: the join token names
the site.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wg_core.site.home import ClientHome
from wg_core.wire import canonical, key_files, signing


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """Public keys of a plant.

    Attributes:
        csr_pem: Certificate signing request for the TLS client certificate.
        node_public_key: Flower node key, PEM.
        signing_key: Raw Ed25519 key that signs statistics, hex.
        ledger_key: Raw key that signs the ledger's checkpoints, Ed25519 and ML-DSA-44, hex.
        ledger_origin: Origin line of the plant's ledger checkpoints.
    """

    csr_pem: str
    node_public_key: str
    signing_key: str
    ledger_key: str
    ledger_origin: str


def create_identity(home: ClientHome, site: str) -> PublicIdentity:
    """Generate the plant's keys that do not exist yet, and return all public keys."""
    home.create_private_folder()
    for path, curve in ((home.tls_key, ec.SECP256R1()), (home.node_key, ec.SECP384R1())):
        if not path.exists():
            key_files.save_private_keys(path, ec.generate_private_key(curve))
    for path, generate in (
        (home.signing_key, signing.generate_key),
        (home.ledger_key, signing.generate_hybrid_key),
    ):
        if not path.exists():
            signing.save(path, generate())
    return read_public_identity(home, site)


def read_public_identity(home: ClientHome, site: str) -> PublicIdentity:
    """Return the public keys of a plant's home.

    Raises:
        ConfigError: A key is missing or damaged.
    """
    ledger_key = signing.public_bytes(signing.load(home.ledger_key))
    node = key_files.load_ec_key(home.node_key).public_key()
    return PublicIdentity(
        csr_pem=certificate_request(home, site),
        node_public_key=node.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode("ascii"),
        signing_key=signing.public_bytes(signing.load(home.signing_key)).hex(),
        ledger_key=ledger_key.hex(),
        ledger_origin=ledger_origin(site, ledger_key),
    )


def ledger_origin(site: str, ledger_key: bytes) -> str:
    """Return the origin (unique name) of a plant's ledger, from site name and first ledger key."""
    return f"weightgate/{site}/{canonical.sha256_hex(ledger_key)[:16]}"


def certificate_request(home: ClientHome, site: str) -> str:
    """Return a certificate signing request (PKCS #10, PEM) for the TLS key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(key_files.load_ec_key(home.tls_key), hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")
