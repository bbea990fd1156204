"""Building records of given types, in as many threads as there are.

msgspec learns what a type is made of when it is first asked for it, and crashes the process where
two threads ask at once (0.22). A server's threads do, at its first requests. So everything that
turns data into records goes through here, and one thread at a time learns.
"""

import re
import threading
from typing import Any, TypeVar

import msgspec
import msgspec.inspect

T = TypeVar("T")

_LOCK = threading.Lock()
_KNOWN: dict[Any, msgspec.json.Decoder[Any]] = {}


def json_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder of JSON into a type; made once."""
    decoder = _KNOWN.get(kind)
    if decoder is None:
        with _LOCK:
            decoder = _KNOWN.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder


def decode_json(data: bytes, kind: type[T]) -> T:
    """Decode JSON into a type.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: As msgspec's decoder.
    """
    return json_decoder(kind).decode(data)


def convert(document: object, kind: type[T]) -> T:
    """Convert plain dictionaries, lists and scalars into a type.

    Raises:
        msgspec.ValidationError: They do not fit.
    """
    json_decoder(kind)  # learns what the type is made of
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error}{_choices(kind, str(error))}") from error


def _choices(kind: Any, error: str) -> str:
    """The words that may stand at the place of an error ``Invalid enum value``, if it is one."""
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
