"""HTTPS client for witnesses other than the server (c2sp.org/tlog-witness, ``add-checkpoint``).

A request is one POST below the witness's submission prefix. The ledger accepts only a cosignature
under the key in ``client.yaml``, whoever answers; TLS only keeps strangers from reading the request
and delaying the answer.
"""

import ssl
from http import HTTPStatus
from pathlib import Path

import httpx

from wg_core.connection import server_link, transport
from wg_core.errors import PeerError
from wg_core.ledger import witness as rules
from wg_core.site.config import WitnessConfig
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT

ADD_CHECKPOINT_PATH = "/add-checkpoint"


def witness_client(witness: WitnessConfig) -> rules.AskWitness:
    """Return a function that sends a witness a request to cosign, and returns its signatures.

    Each call opens a new connection.

    Raises:
        ConfigError: The witness's CA certificate file cannot be used.
    """
    context = _tls_context(witness)

    def post(request: bytes) -> bytes:
        try:
            url = witness.url.rstrip("/")
            client = transport.open_client(url, context, max_body_bytes=NOTE_CHARACTERS_LIMIT)
            with client:
                status, body = server_link.post(client, ADD_CHECKPOINT_PATH, request)
        except PeerError as error:
            raise PeerError(str(error).replace("the server", "the witness")) from error
        try:
            return rules.read_cosignature_lines(status, body)
        except rules.WitnessRefused as refused:
            if refused.last_seen_size is not None or status not in _STATUS_MEANINGS:
                raise
            raise rules.WitnessRefused(status, _STATUS_MEANINGS[status]) from refused

    return post


_STATUS_MEANINGS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "refused the request as malformed (400)",
    HTTPStatus.FORBIDDEN: "knows this ledger with another key (403); give its operator the"
    " verifier key that 'wg-client keys' prints",
    HTTPStatus.NOT_FOUND: "does not know this ledger (404); give its operator the origin and"
    " verifier key that 'wg-client keys' prints",
    HTTPStatus.CONFLICT: "has seen another root of the same size (409): the ledger was copied or"
    " edited",
    HTTPStatus.UNPROCESSABLE_ENTITY: "finds that the ledger did not grow from what it saw (422):"
    " it was copied, rolled back or edited",
}


def _tls_context(witness: WitnessConfig) -> ssl.SSLContext:
    if witness.ca:
        return server_link.pinned_tls_context(Path(witness.ca))
    context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
