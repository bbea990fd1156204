"""Building records of given types, in as many threads as there are.

msgspec learns what a type is made of when it is first asked for it, and crashes the process where
two threads ask at once (0.22). A server's threads do, at its first requests. So everything that
turns data into records goes through here, and one thread at a time learns.
"""

import threading
from typing import Any, TypeVar

import msgspec

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
    return msgspec.convert(document, kind)
