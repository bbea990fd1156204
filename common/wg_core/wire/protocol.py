"""The words of the wire: message types, file kinds, requests and tokens. One place for each.

Over the network these records travel inside Flower messages as bytes; over the air gap inside
files. Both paths decode them here.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from msgspec import UNSET

from wg_core import grammar
from wg_core.errors import DecodeError
from wg_core.privacy.schema import MACHINE, MachineMark
from wg_core.wire import canonical, signing
from wg_core.wire.handover import Handover

PROTOCOL_VERSION = 1

QUERY_STATISTICS = "query.statistics"
TRAIN_FINETUNE = "train.finetune"
MESSAGE_TYPES = frozenset({QUERY_STATISTICS, TRAIN_FINETUNE})

STATISTICS_KIND = "wgs"
WEIGHTS_KIND = "wgw"
LEDGER_KIND = "wgl"
HEAD_KIND = "wgh"
STATISTICS_LIMIT = 64 << 20
WEIGHTS_LIMIT = 32 << 20  # Largest weights package: it travels in one message
LEDGER_LIMIT = 1 << 30
MESSAGE_LIMIT = 64 << 10
NOTE_LIMIT = grammar.NOTE_LIMIT
ROTATION_LIMIT = 256 << 10
TRUST_LIMIT = 512 << 10
"""Room for the links and hand-overs of more changes than a plant follows."""
ENROLMENT_LIMIT = 256 << 10
ENROLMENT_REPLY_LIMIT = 192 << 20
REPLACED_LOG_LIMIT = 32 << 20  # Largest export of a replaced ledger that a site can show
"""A first entry may hold what every lineage of an earlier ledger had spent."""

ENROL_PATH = "/wg/v1/enrol"
RENEW_PATH = "/wg/v1/renew"
TRUST_PATH = "/wg/v1/trust"
WITNESS_PATH = "/wg/v1/witness"
ROTATE_PATH = "/wg/v1/rotate"

WHY_HEADER = "weightgate-why"  # Of an answer 403: why, in one word
REVOKED = "revoked"  # The operator shut the site out that the certificate is of

TOKEN_PREFIX = "wgj1."  # noqa: S105 - a prefix, not a secret
TOKEN_LIMIT = 4 << 10

SHA256 = grammar.SHA256
RELEASE_ID_LIMIT = 64
"""Most hex digits of a release's id. The server's tables hold as many, and no more."""
FREE = "0"  # Epsilon of a question for the public statement alone
NUMBER_LIMIT = 40  # Most characters of an epsilon or delta that is asked for or released
ORIGIN_LIMIT = grammar.ORIGIN_LIMIT
CODE_LIMIT = 40  # Most characters of a refusal's word

_RELEASE_ID = re.compile(rf"[0-9a-f]{{1,{RELEASE_ID_LIMIT}}}")
_CODE = re.compile(rf"[a-z][a-z0-9-]{{0,{CODE_LIMIT - 1}}}")


def check_site_name(name: str) -> str:
    """Return ``name`` if it is a DNS label (RFC 1123), or refuse it: ``DecodeError``."""
    if not grammar.SITE_NAME.fullmatch(name):
        raise DecodeError(
            f"site name {name!r}: expected 1 to 63 lower-case letters, digits and inner hyphens"
        )
    return name


def check_release_id(text: str) -> str:
    """Return a release's id, which becomes a key of a table, if it is hex of bounded length.

    Raises:
        DecodeError: It is not.
    """
    if not _RELEASE_ID.fullmatch(text):
        raise DecodeError(
            f"release id {text[:40]!r}: expected 1 to {RELEASE_ID_LIMIT} lower-case hex digits"
        )
    return text


def check_number_length(text: str, subject: str) -> str:
    """Return a number as text, if a table can hold it; its grammar is ``numbers``' matter.

    Raises:
        DecodeError: It is longer than ``NUMBER_LIMIT``.
    """
    if len(text) > NUMBER_LIMIT:
        raise DecodeError(f"{subject}: {len(text)} characters, at most {NUMBER_LIMIT} are accepted")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsQuery:
    """The server asks one site for one release.

    Attributes:
        request_id: Logical request, stable over restarts of either side; a repeated one is
            answered with the stored bytes and charged once.
        site: The site that is asked.
        encoder: SHA-256 of the public encoder that the site must hold, hex.
        epsilon: Epsilon asked for, decimal string; ``0``: nothing but the public statement.
        delta: Delta asked for, decimal string.
        purpose: What the release is for, in the operator's words; goes to the ledger.
        expires: Unix time in seconds after which the site does not answer.
        statistics: ``machine``: of the machine that the site states; absent: of its classes.
    """

    version: int = PROTOCOL_VERSION
    request_id: str
    site: str
    encoder: str
    epsilon: str
    delta: str
    purpose: str
    expires: int
    statistics: MachineMark = UNSET

    def __post_init__(self) -> None:
        if self.is_free and self.statistics == MACHINE:
            raise DecodeError("query: machine statistics at epsilon 0: nothing is released at it")

    @property
    def is_free(self) -> bool:
        """True if it asks for the public statement alone, which costs nothing."""
        return self.epsilon == FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A site's answer that is no data: why, in one word that does not depend on the data.

    Attributes:
        request_id: The request refused.
        code: One of ``fleet.REFUSALS``.
    """

    version: int = PROTOCOL_VERSION
    request_id: str
    code: str

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise DecodeError(f"refusal: code {self.code[:40]!r}, expected one lower-case word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The server delivers one weights package; the package's bytes travel beside this record."""

    version: int = PROTOCOL_VERSION
    request_id: str
    site: str
    package_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A site received a package. Whether it was any good is private, and is not said."""

    version: int = PROTOCOL_VERSION
    request_id: str
    package_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """Token that ``wg-server enroll`` prints: a one-time right to enrol one site.

    Attributes:
        site: Name of the site that may enrol.
        enrol_url: ``https://host:port`` of the enrolment listener.
        ca_sha256: SHA-256 of the server's CA certificate in DER, hex.
        encoder: SHA-256 of the encoder package that the site will get, hex.
        secret: One-time secret, hex.
        expires: Unix time in seconds.
    """

    version: int = PROTOCOL_VERSION
    site: str
    enrol_url: str
    ca_sha256: str
    encoder: str
    secret: str
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest:
    """Request to enrol: public halves of keys made on site, nothing else.

    Attributes:
        site: Name of the site.
        secret: The join token's secret.
        csr_pem: Certificate signing request (PKCS #10, PEM) for the TLS client certificate.
        node_public_key: Flower node authentication key, PEM (SubjectPublicKeyInfo).
        signing_key: Raw Ed25519 key that signs statistics, hex.
        ledger_origin: Origin line of the site's ledger checkpoints.
        ledger_key: Raw key that signs the ledger's checkpoints, Ed25519 and ML-DSA-44, hex.
        genesis: First entry of the ledger, canonical JSON: the log can have no other beginning.
        checkpoint: The ledger's signed checkpoint of size 1.
        replaced: Export of the ledger that the first entry names, base64; empty if it names none,
            or the export is not there.
    """

    version: int = PROTOCOL_VERSION
    site: str
    secret: str
    csr_pem: str
    node_public_key: str
    signing_key: str
    ledger_origin: str
    ledger_key: str
    genesis: str
    checkpoint: str
    replaced: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """A site says that another key signs its ledger from now on.

    Attributes:
        entry: The ledger's ROTATION entry, signed by the old and by the new key.
        proof: ``tlog-proof`` in the newest checkpoint, with the consistency proof for the
            witness as extra data.
    """

    version: int = PROTOCOL_VERSION
    entry: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentReply:
    """Answer to an enrolment.

    Attributes:
        certificate_pem: The TLS client certificate.
        ca_pem: The server's CA certificate (its hash is in the join token).
        fleet_url: ``https://host:port`` of the fleet listener.
        server_name: The server's name, as in its witness and package signatures.
        server_key: Raw Ed25519 key that signs weights packages, hex.
        witness_name: Key name of the witness.
        witness_key: Raw witness key, Ed25519 and ML-DSA-44, hex.
        encoder: The public encoder package, base64 (its hash is in the join token).
        cosignature: The server's cosignature of the checkpoint of size 1; empty if it has cosigned
            a larger one of this ledger already.
    """

    version: int = PROTOCOL_VERSION
    certificate_pem: str
    ca_pem: str
    fleet_url: str
    server_name: str
    server_key: str
    witness_name: str
    witness_key: str
    encoder: str
    cosignature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Keys by which a plant believes its server.

    Attributes:
        authority: SHA-256 of the root certificate that it pins (DER), hex.
        packages: Raw Ed25519 key of weights packages, hex.
        witness: Raw key of cosignatures, hex.
    """

    version: int = PROTOCOL_VERSION
    authority: str
    packages: str
    witness: str

    def __post_init__(self) -> None:
        if not SHA256.fullmatch(self.authority):
            raise DecodeError("pins: authority: not 64 lower-case hex digits")
        for field in ("packages", "witness"):
            signing.public_from_hex(getattr(self, field), subject=f"pins: {field}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Keys of a server as of today, and the handovers that led to them.

    Attributes:
        authority: PEM: the root certificate of today, then links from earlier ones to later ones.
        pins: Pins of today.
        handovers: From earlier keys of packages and cosignatures to later ones.
    """

    version: int = PROTOCOL_VERSION
    authority: str
    pins: Pins
    handovers: tuple[Handover, ...]


def encode_token(token: JoinToken) -> str:
    """Text form of a join token, one word without white space."""
    body = base64.urlsafe_b64encode(canonical.encode(token)).decode("ascii").rstrip("=")
    return TOKEN_PREFIX + body


def decode_token(text: str) -> JoinToken:
    """Read a join token.

    Raises:
        DecodeError: The text is no token of this version.
    """
    if not text.startswith(TOKEN_PREFIX) or len(text) > TOKEN_LIMIT:
        raise DecodeError(f"join token: expected one word beginning with {TOKEN_PREFIX!r}")
    body = text[len(TOKEN_PREFIX) :]
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("join token: damaged, copy it again") from error
    token = canonical.decode(JoinToken, data, subject="join token", limit=TOKEN_LIMIT)
    check_site_name(token.site)
    if not SHA256.fullmatch(token.encoder):
        raise DecodeError("join token: encoder: not 64 lower-case hex digits")
    return token
