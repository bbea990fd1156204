"""Protocol vocabulary: message types, file kinds, requests, replies and join tokens.

These records are sent inside Flower messages over the network, and inside files where there is no
network.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from msgspec import UNSET

from wg_core import text_grammars
from wg_core.errors import DecodeError
from wg_core.privacy.schema import MACHINE_STATISTICS, StatisticsField
from wg_core.wire import canonical, signing
from wg_core.wire.handover import Handover

PROTOCOL_VERSION = 1

QUERY_MESSAGE_TYPE = "query.statistics"
DELIVERY_MESSAGE_TYPE = "train.finetune"
MESSAGE_TYPES = frozenset({QUERY_MESSAGE_TYPE, DELIVERY_MESSAGE_TYPE})

STATISTICS_FILE_KIND = "wgs"
WEIGHTS_FILE_KIND = "wgw"
LEDGER_FILE_KIND = "wgl"
HEAD_FILE_KIND = "wgh"
STATISTICS_BYTES_LIMIT = 64 << 20
WEIGHTS_BYTES_LIMIT = 32 << 20  # Largest weights package, which is sent in one message
LEDGER_BYTES_LIMIT = 1 << 30
MESSAGE_BYTES_LIMIT = 64 << 10
NOTE_CHARACTERS_LIMIT = text_grammars.NOTE_CHARACTERS_LIMIT
ROTATION_BYTES_LIMIT = 256 << 10
TRUST_BYTES_LIMIT = 512 << 10
"""Room for more links and hand-overs than a plant follows."""
ENROLMENT_BYTES_LIMIT = 256 << 10
ENROLMENT_REPLY_BYTES_LIMIT = 192 << 20
REPLACED_LOG_BYTES_LIMIT = 32 << 20  # Largest export of a replaced ledger that a site can send

ENROL_PATH = "/wg/v1/enrol"
RENEW_PATH = "/wg/v1/renew"
TRUST_PATH = "/wg/v1/trust"
WITNESS_PATH = "/wg/v1/witness"
ROTATE_PATH = "/wg/v1/rotate"

REASON_HEADER = "weightgate-why"  # Header of a 403 answer with the reason, in one word
REVOKED_REASON = "revoked"  # Reason in that header: the operator revoked the site's certificate

TOKEN_PREFIX = "wgj1."  # noqa: S105 - a prefix, not a secret
TOKEN_CHARACTERS_LIMIT = 4 << 10

SHA256_PATTERN = text_grammars.SHA256_PATTERN
RELEASE_ID_DIGITS_LIMIT = 64
"""Most hex digits of a release id, as in the server's tables."""
STATEMENT_EPSILON = "0"  # Epsilon of a query for the public statement alone
NUMBER_CHARACTERS_LIMIT = 40  # Most characters of an epsilon or delta in a query or release
ORIGIN_CHARACTERS_LIMIT = text_grammars.ORIGIN_CHARACTERS_LIMIT
REFUSAL_CODE_CHARACTERS_LIMIT = 40  # Most characters of the word of a refusal

_RELEASE_ID_PATTERN = re.compile(rf"[0-9a-f]{{1,{RELEASE_ID_DIGITS_LIMIT}}}")
_REFUSAL_CODE_PATTERN = re.compile(rf"[a-z][a-z0-9-]{{0,{REFUSAL_CODE_CHARACTERS_LIMIT - 1}}}")


def check_site_name(name: str) -> str:
    """Return a site's name if it is a DNS label (RFC 1123); raise ``DecodeError`` otherwise."""
    if not text_grammars.SITE_NAME_PATTERN.fullmatch(name):
        raise DecodeError(
            f"site name {name!r}: expected 1 to 63 lower-case letters, digits and inner hyphens"
        )
    return name


def check_release_id(text: str) -> str:
    """Return a release id, which is a key of the server's tables, after checking it.

    Raises:
        DecodeError: The text is not hex, or is too long.
    """
    if not _RELEASE_ID_PATTERN.fullmatch(text):
        raise DecodeError(
            f"release id {text[:40]!r}: expected 1 to {RELEASE_ID_DIGITS_LIMIT} lower-case hex"
            " digits"
        )
    return text


def check_number_length(text: str, input_name: str) -> str:
    """Return a number's text if a server table can hold it; its grammar is not checked here.

    Raises:
        DecodeError: The text is longer than ``NUMBER_CHARACTERS_LIMIT``.
    """
    if len(text) > NUMBER_CHARACTERS_LIMIT:
        raise DecodeError(
            f"{input_name}: {len(text)} characters, at most {NUMBER_CHARACTERS_LIMIT} are accepted"
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsQuery:
    """Query of the server to one site for one release.

    Attributes:
        request_id: Id of the request, stable over restarts of either side; a repeated request is
            answered with the stored bytes and charged once.
        encoder: SHA-256 of the public encoder that the site must hold, hex.
        epsilon: Epsilon requested, decimal string; ``0``: only the public statement.
        delta: Delta requested, decimal string.
        purpose: Purpose of the release, in the operator's words; goes to the ledger.
        expires: Unix time in seconds after which the site does not answer.
        statistics: ``machine``: machine statistics; absent: class statistics.
    """

    version: int = PROTOCOL_VERSION
    request_id: str
    site: str
    encoder: str
    epsilon: str
    delta: str
    purpose: str
    expires: int
    statistics: StatisticsField = UNSET

    def __post_init__(self) -> None:
        if self.asks_only_statement and self.statistics == MACHINE_STATISTICS:
            raise DecodeError("query: machine statistics at epsilon 0: nothing is released at it")

    @property
    def asks_only_statement(self) -> bool:
        """True if the query asks for the public statement alone, which costs nothing."""
        return self.epsilon == STATEMENT_EPSILON


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Refusal of a site to answer a request, with a reason in one word that reveals no data.

    Attributes:
        code: Reason, a key of ``flower_messages.REFUSAL_MEANINGS``.
    """

    version: int = PROTOCOL_VERSION
    request_id: str
    code: str

    def __post_init__(self) -> None:
        if not _REFUSAL_CODE_PATTERN.fullmatch(self.code):
            raise DecodeError(f"refusal: code {self.code[:40]!r}, expected one lower-case word")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Announcement of a weights package to a site; the package's bytes are sent with it."""

    version: int = PROTOCOL_VERSION
    request_id: str
    site: str
    package_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Receipt of a site for a weights package, which does not say if the weights were good."""

    version: int = PROTOCOL_VERSION
    request_id: str
    package_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """Join token, printed by ``wg-server enroll``: the right to enrol one site once.

    Attributes:
        enrol_url: ``https://host:port`` of the enrolment listener.
        ca_sha256: SHA-256 of the server's CA certificate in DER, hex.
        encoder: SHA-256 of the encoder package that the site will get, hex.
        secret: One-time secret, hex.
        expires: Unix time in seconds after which the token is not valid.
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
    """Request of a site to enrol: its public keys, and the first entry of its ledger.

    Attributes:
        secret: One-time secret from the join token, hex.
        csr_pem: Certificate signing request (PKCS #10, PEM) for the TLS client certificate.
        node_public_key: Flower node authentication key, PEM (SubjectPublicKeyInfo).
        signing_key: Raw Ed25519 key that signs statistics, hex.
        ledger_origin: Origin (unique name) of the site's ledger.
        ledger_key: Raw key that signs the ledger's checkpoints, Ed25519 and ML-DSA-44, hex.
        genesis: First entry of the ledger, canonical JSON; the log can have no other first entry.
        checkpoint: Signed checkpoint of the ledger at size 1.
        replaced: Export of the ledger that the first entry names as its predecessor, base64; empty
            if there is no predecessor, or no export of it.
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
    """Notice of a site to its server that another key signs the ledger from now on.

    Attributes:
        entry: ROTATION entry of the ledger, signed by the old and by the new key.
        proof: ``tlog-proof`` of the entry in the newest checkpoint, whose extra data are a
            consistency proof for the witness.
    """

    version: int = PROTOCOL_VERSION
    entry: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentReply:
    """Reply of the server to an enrolment request.

    Attributes:
        certificate_pem: TLS client certificate.
        ca_pem: CA certificate of the server (its hash is in the join token).
        fleet_url: ``https://host:port`` of the fleet listener.
        server_name: Name of the server, as in its witness and package signatures.
        server_key: Raw Ed25519 key that signs weights packages, hex.
        witness_name: Key name of the witness.
        witness_key: Raw witness key, Ed25519 and ML-DSA-44, hex.
        encoder: Public encoder package, base64 (its hash is in the join token).
        cosignature: The server's cosignature of the checkpoint of size 1; empty if the server has
            cosigned a larger checkpoint of this ledger.
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
class ServerKeyPins:
    """Keys of a server that a plant has pinned, and by which it authenticates the server.

    Attributes:
        authority: SHA-256 of the root CA certificate (DER), hex.
        packages: Raw Ed25519 key that signs weights packages, hex.
        witness: Raw key that cosigns ledgers, hex.
    """

    version: int = PROTOCOL_VERSION
    authority: str
    packages: str
    witness: str

    def __post_init__(self) -> None:
        if not SHA256_PATTERN.fullmatch(self.authority):
            raise DecodeError("pins: authority: not 64 lower-case hex digits")
        for field in ("packages", "witness"):
            signing.public_from_hex(getattr(self, field), input_name=f"pins: {field}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTrust:
    """Current certificate authority and keys of a server, and the hand-overs that led to them.

    Attributes:
        authority: PEM certificates: the current root CA, then links from earlier roots to later
            ones, each a root's certificate signed by the root before it.
        pins: Keys that a plant should pin now.
        handovers: Hand-overs from earlier package and witness keys to later ones.
    """

    version: int = PROTOCOL_VERSION
    authority: str
    pins: ServerKeyPins
    handovers: tuple[Handover, ...]


def encode_join_token(token: JoinToken) -> str:
    """Return the text form of a join token, one word without white space."""
    body = base64.urlsafe_b64encode(canonical.encode(token)).decode("ascii").rstrip("=")
    return TOKEN_PREFIX + body


def decode_join_token(text: str) -> JoinToken:
    """Decode a join token from its text form.

    Raises:
        DecodeError: The text is not a token of this version.
    """
    if not text.startswith(TOKEN_PREFIX) or len(text) > TOKEN_CHARACTERS_LIMIT:
        raise DecodeError(f"join token: expected one word beginning with {TOKEN_PREFIX!r}")
    body = text[len(TOKEN_PREFIX) :]
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("join token: damaged, copy it again") from error
    token = canonical.decode(
        JoinToken, data, input_name="join token", max_bytes=TOKEN_CHARACTERS_LIMIT
    )
    check_site_name(token.site)
    if not SHA256_PATTERN.fullmatch(token.encoder):
        raise DecodeError("join token: encoder: not 64 lower-case hex digits")
    return token
