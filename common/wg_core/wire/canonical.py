"""Canonical encoding of every record that crosses a trust boundary.

Records are frozen dataclasses of strings, integers below 2^53, booleans, tuples and further
records; they are encoded as RFC 8785 canonical JSON. Real numbers are encoded as decimal strings,
because canonical JSON has no exact real numbers. Decoding is strict by construction: a document is
accepted only if encoding the decoded record gives the same bytes, so unknown fields, duplicate
keys, alternative spellings of a number and white space are refused. If a class has a field
``version``, only the version that is its default is accepted.

Not guaranteed: that a record's values make sense; each record checks them in ``__post_init__``.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import rfc8785

from wg_core import atomic, typed_records
from wg_core.errors import DecodeError, check_byte_count

T = TypeVar("T")

INTEGER_LIMIT = 1 << 53
"""Bound on a record's integers: a double holds them exactly (RFC 8785, section 3.2.2.3)."""
Count = Annotated[int, msgspec.Meta(ge=0, lt=INTEGER_LIMIT)]  # Number of things, or an index
UnixSeconds = Annotated[int, msgspec.Meta(gt=-INTEGER_LIMIT, lt=INTEGER_LIMIT)]  # Unix time
RECORD_BYTES_LIMIT = 1 << 20  # Default limit on the size of a record, in bytes


def encode(record: object) -> bytes:
    """Encode a record dataclass as RFC 8785 canonical JSON (UTF-8)."""
    return rfc8785.dumps(msgspec.to_builtins(record))


def decode(
    record_type: type[T], data: bytes, *, input_name: str, max_bytes: int = RECORD_BYTES_LIMIT
) -> T:
    """Decode canonical JSON strictly into a record of this program's version.

    Args:
        data: Encoded record, untrusted.
        input_name: Name of the document for error messages, such as "statistics manifest".

    Raises:
        DecodeError: The data are too large, of another version, not JSON or not canonical, or a
            field is unknown or of a wrong type.
    """
    check_byte_count(len(data), max_bytes, input_name)
    known = _record_version(record_type)
    if known is not None and (version := stated_version(data, input_name=input_name)) != known:
        raise DecodeError(
            f"{input_name}: version {version}, this program reads {known}: update the older program"
        )
    record = decode_known_fields(record_type, data, input_name=input_name)
    try:
        again = encode(record)
    except rfc8785.CanonicalizationError as error:
        raise DecodeError(f"{input_name}: {error}") from error
    if again != data:
        raise DecodeError(f"{input_name}: unknown or repeated fields, or not canonical (RFC 8785)")
    return record


def read_record(record_type: type[T], path: Path, *, max_bytes: int = RECORD_BYTES_LIMIT) -> T:
    """Read a file with the canonical JSON of one record, strictly.

    Raises:
        ConfigError: The file is missing, cannot be read, or is not a regular file.
        DecodeError: The same conditions as for ``decode``.
    """
    data = atomic.read_bytes(path, limit=max_bytes)
    return decode(record_type, data, input_name=str(path), max_bytes=max_bytes)


def decode_known_fields(record_type: type[T], data: bytes, *, input_name: str) -> T:
    """Decode a record from JSON in any formatting, ignoring fields that the class lacks.

    Raises:
        DecodeError: The data are not JSON, or a field is missing or of another type.
    """
    try:
        return typed_records.decode_json(data, record_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{input_name}: {error}") from error


class _VersionOnlyRecord(msgspec.Struct):
    version: int


def _record_version(record_type: object) -> int | None:
    """Return the default of a record class's field ``version``; None if it has no such field."""
    field = getattr(record_type, "__dataclass_fields__", {}).get("version")
    return field.default if field is not None and isinstance(field.default, int) else None


def stated_version(data: bytes, *, input_name: str) -> int:
    """Return the version that a JSON document states; ``DecodeError`` if it states none."""
    return decode_known_fields(_VersionOnlyRecord, data, input_name=input_name).version


def to_builtins(record: object) -> Any:
    """Return a record as plain dictionaries, lists and scalars, for display."""
    return msgspec.to_builtins(record, enc_hook=_text_to_str)


def _text_to_str(value: object) -> str:
    """Return a translatable text (``language.Text``, a ``str``) as a plain string for msgspec."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of bytes, in lower-case hex."""
    return hashlib.sha256(data).hexdigest()
