"""Thread-safe conversion of JSON and plain objects into typed records with msgspec.

msgspec analyses a type on first use, and crashes the process if two threads do so at once (0.22),
as the first requests to a server would. So every conversion of data into records goes through this
module, which analyses each type under a lock.
"""

import re
import threading
from typing import Any, TypeVar

import msgspec
import msgspec.inspect

T = TypeVar("T")

_DECODERS_LOCK = threading.Lock()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def json_decoder(record_type: type[T]) -> msgspec.json.Decoder[T]:
    """Return msgspec's JSON decoder of a type, created once."""
    decoder = _DECODERS.get(record_type)
    if decoder is None:
        with _DECODERS_LOCK:
            decoder = _DECODERS.setdefault(record_type, msgspec.json.Decoder(record_type))
    return decoder


def decode_json(data: bytes, record_type: type[T]) -> T:
    """Decode JSON into a typed record.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: The data do not fit the type.
    """
    return json_decoder(record_type).decode(data)


def convert_to_record(document: object, record_type: type[T]) -> T:
    """Convert plain dictionaries, lists and scalars into a typed record.

    Raises:
        msgspec.ValidationError: The document does not fit the type.
    """
    json_decoder(record_type)  # analyses the type under the lock
    try:
        return msgspec.convert(document, record_type)
    except msgspec.ValidationError as error:
        allowed_values = _allowed_values_text(record_type, str(error))
        raise msgspec.ValidationError(f"{error}{allowed_values}") from error


def _allowed_values_text(record_type: Any, message: str) -> str:
    """Return a text of the values allowed where msgspec found a wrong enum value; else empty."""
    place = re.fullmatch(r"Invalid enum value .* - at `\$(.*)`", message, re.DOTALL)
    if place is None:
        return ""
    nodes: list[Any] = [msgspec.inspect.type_info(record_type)]
    for step in (*re.findall(r"\.(\w+)|\[", place[1]), None):
        nodes = [part for node in nodes for part in getattr(node, "types", (node,))]  # of unions
        if step:
            fields = [field for node in nodes for field in getattr(node, "fields", ())]
            nodes = [field.type for field in fields if field.name == step]
        elif step is not None:
            nodes = [
                getattr(node, "value_type", getattr(node, "item_type", node)) for node in nodes
            ]
    values = [value for node in nodes for value in getattr(node, "values", ())]
    return f", expected one of {', '.join(map(str, values))}" if values else ""
