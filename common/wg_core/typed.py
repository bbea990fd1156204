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

_LOCK = threading.Lock()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def json_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return msgspec's JSON decoder of a type, created once."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        with _LOCK:
            decoder = _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder


def decode_json(data: bytes, kind: type[T]) -> T:
    """Decode JSON into a typed record.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: The data do not fit the type.
    """
    return json_decoder(kind).decode(data)


def convert(document: object, kind: type[T]) -> T:
    """Convert plain dictionaries, lists and scalars into a typed record.

    Raises:
        msgspec.ValidationError: The document does not fit the type.
    """
    json_decoder(kind)  # analyses the type under the lock
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error}{_allowed_values_text(kind, str(error))}") from error


def _allowed_values_text(kind: Any, error: str) -> str:
    """Return the allowed values of an enum for msgspec's error, as text; empty for other errors."""
    place = re.fullmatch(r"Invalid enum value .* - at `\$(.*)`", error, re.DOTALL)
    if place is None:
        return ""
    nodes: list[Any] = [msgspec.inspect.type_info(kind)]
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
