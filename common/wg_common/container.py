"""The container of files that travel: named sections behind a canonical header.

Layout: 8 bytes of magic, 4 bytes big-endian header length, header (RFC 8785: kind, version, and
name, size and SHA-256 of each section), then the sections in that order, and nothing after them.
A flipped byte is found at decoding, and the message names the section. Authenticity is another
matter: a signature section signs a manifest section, see ``wg_common.signing``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from wg_common import canonical
from wg_common.errors import DecodeError

MAGIC = b"WGATE\x00\x01\n"
HEADER_LIMIT = 64 << 10
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Section:
    """Header line of one section."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Header:
    """What the container holds, in order."""

    kind: str
    version: int
    sections: tuple[Section, ...]


def encode(kind: str, version: int, sections: Mapping[str, bytes]) -> bytes:
    """Pack sections in the mapping's order."""
    rows = tuple(
        Section(name, len(data), canonical.sha256_hex(data)) for name, data in sections.items()
    )
    header = canonical.encode(Header(kind, version, rows))
    return b"".join((MAGIC, _LENGTH.pack(len(header)), header, *sections.values()))


def decode(
    data: bytes, *, kind: str, version: int, names: tuple[str, ...], limit: int
) -> dict[str, bytes]:
    """Unpack a container that must hold exactly the named sections, in order.

    Raises:
        DecodeError: Anything about the bytes is not as named; the message says what.
    """
    if len(data) > limit:
        raise DecodeError(f"{kind} file: {len(data)} bytes, at most {limit} are accepted")
    start = len(MAGIC) + _LENGTH.size
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise DecodeError(f"{kind} file: not a weightgate file (wrong first bytes)")
    (size,) = _LENGTH.unpack_from(data, len(MAGIC))
    if size > HEADER_LIMIT or start + size > len(data):
        raise DecodeError(f"{kind} file: header of {size} bytes does not fit")
    header = canonical.decode(
        Header, data[start : start + size], what=f"{kind} file header", limit=HEADER_LIMIT
    )
    if header.kind != kind:
        raise DecodeError(f"{kind} file: found kind {header.kind!r}")
    if header.version != version:
        raise DecodeError(f"{kind} file: version {header.version}, this program reads {version}")
    found = tuple(section.name for section in header.sections)
    if found != names:
        raise DecodeError(f"{kind} file: sections {found}, expected {names}")
    position = start + size
    sections: dict[str, bytes] = {}
    for section in header.sections:
        if section.size < 0 or position + section.size > len(data):
            raise DecodeError(f"{kind} file: section {section.name!r} is cut short")
        body = data[position : position + section.size]
        if canonical.sha256_hex(body) != section.sha256:
            raise DecodeError(f"{kind} file: section {section.name!r} does not match its hash")
        sections[section.name] = body
        position += section.size
    if position != len(data):
        raise DecodeError(f"{kind} file: {len(data) - position} bytes after the last section")
    return sections
