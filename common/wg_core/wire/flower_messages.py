"""Format of Flower messages between server and node, and the words by which a node refuses them.

A node runs one app, which is installed with it. A Flower run names the hash of its app, and a node
whose app has another hash declines its messages. So the hash only ensures equal versions: no code
is ever sent.
"""

import re
from dataclasses import dataclass
from typing import Literal

from wg_core.errors import DecodeError
from wg_core.wire import canonical, protocol

CONFIG_RECORD_NAME = "wg"  # Name of a message's single ConfigRecord, which holds an `Envelope`

EnvelopeKind = Literal["query", "delivery", "statistics", "receipt", "refusal"]
_ENVELOPE_KINDS = frozenset({"query", "delivery", "statistics", "receipt", "refusal"})
_REQUEST_ID_PATTERN = re.compile(r"[0-9a-f]{32}")

APP_MISMATCH = "WG-APP-MISMATCH"
MESSAGE_TYPE_DENIED = "WG-TYPE-DENIED"
MESSAGE_TOO_LARGE = "WG-TOO-LARGE"
MESSAGE_MALFORMED = "WG-MALFORMED"

DECLINE_MEANINGS = {
    APP_MISMATCH: "the server and this plant run different versions of weightgate; this side speaks"
    f" protocol {protocol.PROTOCOL_VERSION}: update the older side",
    MESSAGE_TYPE_DENIED: "this plant does not answer messages of this type",
    MESSAGE_TOO_LARGE: "more bytes or objects than this plant accepts",
    MESSAGE_MALFORMED: "not a message of this version, or damaged",
}
"""Meaning of each word by which a node declines a message, for the logs of both sides."""

PLANT_UNAVAILABLE = "unavailable"
"""Word of refusal for every failure caused by a plant's data, disk, snapshot or earlier crash."""

AWAITING_APPROVAL = "approval"  # Word of refusal until a person at the plant decides; asked again

REFUSAL_MEANINGS = {
    AWAITING_APPROVAL: "a person at the plant decides on this request, and has not yet; it is"
    " asked again until the campaign's time is over",
    PLANT_UNAVAILABLE: "the plant could not answer, for reasons of its own that it does not tell:"
    " its engineer finds them in the plant's log; asking again may help",
    "policy": "the plant's policy does not allow this request",
    "machine": "the plant has no machine statistics: it states no machine that its encoder reads,"
    " or has not frozen its data since it does; nothing was charged",
    "budget": "the privacy budget of the plant's data does not cover this request",
    "peer": "the plant could not reach this server while it worked on the request",
    "witness": "the plant's ledger is not cosigned by this server, or by too few witnesses",
    "verification": "what was sent is not what this plant was offered, or is for another one",
}
"""Meaning of each word of refusal, for the operator."""

QUERY_REFUSAL_WORDS = frozenset(
    {"policy", "budget", "machine", "peer", "witness", AWAITING_APPROVAL}
)
"""Words of refusal of a query that reveal nothing private; in other cases "unavailable" is sent."""

DELIVERY_REFUSAL_WORDS = frozenset({"policy", "peer", "verification"})
"""Words of refusal of a delivery that reveal nothing private."""

APP_NAME = "weightgate/fleet"
_APP_FIELDS = {
    "name": APP_NAME,
    "protocol": protocol.PROTOCOL_VERSION,
    "message_types": sorted(protocol.MESSAGE_TYPES),
}
APP_HASH = canonical.sha256_hex(canonical.encode(_APP_FIELDS))
"""Hash of the node's app, on which both sides must agree."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Content of one Flower message between server and node.

    Attributes:
        record: Encoded record of ``wg_core.wire.protocol``; empty in a message of ``statistics``.
        payload: Bytes of the file that is sent; empty if none is.
    """

    kind: EnvelopeKind
    record: bytes = b""
    payload: bytes = b""

    def fields(self) -> dict[str, str | bytes]:
        """Return the envelope as fields of a Flower ConfigRecord."""
        return {"kind": self.kind, "record": self.record, "payload": self.payload}


def read_envelope(fields: dict[str, object], *, input_name: str) -> Envelope:
    """Read an envelope strictly from the fields of a Flower ConfigRecord.

    Raises:
        DecodeError: A field is missing, unknown or of another type.
    """
    if set(fields) != {"kind", "record", "payload"}:
        raise DecodeError(f"{input_name}: fields {sorted(fields)}, expected kind, record, payload")
    kind, record, payload = fields["kind"], fields["record"], fields["payload"]
    if not (
        isinstance(kind, str)
        and kind in _ENVELOPE_KINDS
        and isinstance(record, bytes)
        and isinstance(payload, bytes)
    ):
        raise DecodeError(f"{input_name}: a field is of the wrong type, or of unknown kind")
    if len(record) > protocol.MESSAGE_BYTES_LIMIT:
        raise DecodeError(f"{input_name}: a record of {len(record)} bytes")
    return Envelope(kind, record, payload)  # type: ignore[arg-type]  # checked against _ENVELOPE_KINDS


def check_request_id(text: str) -> str:
    """Return a request id after checking that it is 32 hex digits, so safe as a file name.

    Raises:
        DecodeError: The text is not 32 lower-case hex digits.
    """
    if not _REQUEST_ID_PATTERN.fullmatch(text):
        raise DecodeError(f"request id {text[:40]!r}: expected 32 lower-case hex digits")
    return text
