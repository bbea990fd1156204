"""One canonical encoding for every record that crosses a trust boundary.

Records are frozen dataclasses of strings, integers below 2^53, booleans, tuples and further
records; they are encoded as RFC 8785 canonical JSON. Real numbers travel as decimal strings,
since canonical JSON has no exact ones. Decoding is strict by construction: a document is accepted
only if encoding what was understood gives back the same bytes, so an unknown field, a duplicate
key, a second spelling of a number or white space is refused. A record whose class has a field
``version`` is of the version that is its default, or refused with both numbers.

Not guaranteed: that a record's values make sense; each record checks that in ``__post_init__``.
"""

import hashlib
from typing import Annotated, Any, TypeVar

import msgspec
import rfc8785

from wg_core import typed
from wg_core.errors import DecodeError

T = TypeVar("T")

INTEGER_LIMIT = 1 << 53
"""Integers of a record are below this: a double holds them exactly (RFC 8785, section 3.2.2.3)."""
Count = Annotated[int, msgspec.Meta(ge=0, lt=INTEGER_LIMIT)]  # A number of things, or an index
Time = Annotated[int, msgspec.Meta(gt=-INTEGER_LIMIT, lt=INTEGER_LIMIT)]  # Unix time in seconds
RECORD_LIMIT = 1 << 20  # Largest record, in bytes, unless a caller names another limit


def encode(record: object) -> bytes:
    """Encode a record as RFC 8785 canonical JSON (UTF-8)."""
    return rfc8785.dumps(msgspec.to_builtins(record))


def decode(kind: type[T], data: bytes, *, subject: str, limit: int = RECORD_LIMIT) -> T:
    """Decode canonical bytes into a record of this program's version, or refuse them.

    Args:
        data: The bytes, from a hostile place.
        subject: What the document is, for messages ("policy.json", "statistics manifest").
        limit: Largest accepted size in bytes.

    Raises:
        DecodeError: Too large, of another version, not JSON, wrong types, unknown fields, or not
            canonical.
    """
    if len(data) > limit:
        raise DecodeError(f"{subject}: {len(data)} bytes, at most {limit} are accepted")
    expected = _version(kind)
    if expected is not None and (version := version_of(data, subject=subject)) != expected:
        raise DecodeError(
            f"{subject}: version {version}, this program reads {expected}: update the older program"
        )
    record = decode_part(kind, data, subject=subject)
    try:
        again = encode(record)
    except rfc8785.CanonicalizationError as error:
        raise DecodeError(f"{subject}: {error}") from error
    if again != data:
        raise DecodeError(f"{subject}: unknown or repeated fields, or not canonical (RFC 8785)")
    return record


def decode_part(kind: type[T], data: bytes, *, subject: str) -> T:
    """Decode what is asked for of a JSON document, whatever else it has and however it is spelt.

    Raises:
        DecodeError: Not JSON, or what is asked for is missing or of another type.
    """
    try:
        return typed.decode_json(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{subject}: {error}") from error


class _Versioned(msgspec.Struct):
    version: int


def _version(kind: object) -> int | None:
    """The version of a kind of record: its field's default; None where it has no such field."""
    field = getattr(kind, "__dataclass_fields__", {}).get("version")
    return field.default if field is not None and isinstance(field.default, int) else None


def version_of(data: bytes, *, subject: str) -> int:
    """The version that a document says it is of; ``DecodeError`` as of ``decode_part``."""
    return decode_part(_Versioned, data, subject=subject).version


def to_builtins(record: object) -> Any:
    """Plain dictionaries, lists and scalars of a record, for display."""
    return msgspec.to_builtins(record, enc_hook=_plain)


def _plain(value: object) -> str:
    """A sentence that remembers its template (``language.Text``) as the string that it is."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError


def sha256_hex(data: bytes) -> str:
    """SHA-256 of bytes, in lower-case hex."""
    return hashlib.sha256(data).hexdigest()
