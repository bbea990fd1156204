"""Container format of exchanged files: named sections after a canonical header.

Layout: 8 bytes of magic, 4 bytes big-endian header length, header (RFC 8785: kind, version, and
name, size and SHA-256 of each section), then the sections in that order, and nothing after them.
A changed byte is detected at decoding, and the error names the section. Who wrote a file is proved
by a section with a signature of the manifest section; see ``wg_core.wire.signing``.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from wg_core.errors import DecodeError, VerificationError, check_byte_count
from wg_core.wire import canonical

MAGIC = b"WGATE\x00\x01\n"
HEADER_BYTES_LIMIT = 64 << 10
_LENGTH_STRUCT = struct.Struct(">I")
_PREFIX_BYTES_LIMIT = len(MAGIC) + _LENGTH_STRUCT.size + HEADER_BYTES_LIMIT


@dataclass(frozen=True, slots=True)
class Section:
    """Description of a section in a container's header: name, size in bytes, SHA-256 (hex)."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a container: kind and version of the file, and its sections in order."""

    kind: str
    version: int
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class SectionSpan:
    """Position of a container section in a file (bytes), and the SHA-256 (hex) it must have."""

    name: str
    offset: int
    size: int
    sha256: str


def encode(kind: str, version: int, sections: Mapping[str, bytes]) -> bytes:
    """Pack named sections into a container, in the mapping's order."""
    rows = tuple(
        Section(name, len(data), canonical.sha256_hex(data)) for name, data in sections.items()
    )
    return b"".join((encode_header(kind, version, rows), *sections.values()))


def encode_header(kind: str, version: int, sections: tuple[Section, ...]) -> bytes:
    """Encode a container's bytes before the sections: magic, length and header."""
    header = canonical.encode(Header(kind, version, sections))
    return b"".join((MAGIC, _LENGTH_STRUCT.pack(len(header)), header))


def decode(
    data: bytes, *, kind: str, version: int, section_names: tuple[str, ...], max_bytes: int
) -> dict[str, bytes]:
    """Unpack a container that must hold exactly the named sections, in order.

    Raises:
        DecodeError: Size, kind, version, sections or hashes differ; the message says which.
    """
    check_byte_count(len(data), max_bytes, f"{kind} file")
    sections: dict[str, bytes] = {}
    for span in _section_spans(data[:_PREFIX_BYTES_LIMIT], len(data), kind, version, section_names):
        body = data[span.offset : span.offset + span.size]
        if canonical.sha256_hex(body) != span.sha256:
            raise DecodeError(f"{kind} file: section {span.name!r} does not match its hash")
        sections[span.name] = body
    return sections


def stated_kind(data: bytes) -> str:
    """Return the file kind in a container's header; ``DecodeError`` if the bytes are malformed."""
    return _decode_header_and_end(data[:_PREFIX_BYTES_LIMIT], len(data), "weightgate")[0].kind


def locate_sections(
    stream: BinaryIO, *, kind: str, version: int, section_names: tuple[str, ...], max_bytes: int
) -> tuple[SectionSpan, ...]:
    """Return the positions of a container's sections in an open file, without reading them.

    The caller must check the hash of each section that it reads.

    Raises:
        DecodeError: The header differs from what is expected, or the file has another length.
    """
    total = stream.seek(0, os.SEEK_END)
    check_byte_count(total, max_bytes, f"{kind} file")
    stream.seek(0)
    return _section_spans(stream.read(_PREFIX_BYTES_LIMIT), total, kind, version, section_names)


def read_section(stream: BinaryIO, span: SectionSpan, *, kind: str, max_bytes: int) -> bytes:
    """Read one container section of an open file.

    Raises:
        DecodeError: The section is larger than ``max_bytes`` bytes, or does not match its hash.
    """
    check_byte_count(span.size, max_bytes, f"{kind} file: section {span.name!r}")
    stream.seek(span.offset)
    data = stream.read(span.size)
    if canonical.sha256_hex(data) != span.sha256:
        raise DecodeError(f"{kind} file: section {span.name!r} does not match its hash")
    return data


def _section_spans(
    prefix: bytes, file_size: int, kind: str, version: int, section_names: tuple[str, ...]
) -> tuple[SectionSpan, ...]:
    header, position = _decode_header_and_end(prefix, file_size, kind)
    if header.kind != kind:
        raise DecodeError(f"{kind} file: found kind {header.kind!r}")
    if header.version != version:
        raise DecodeError(f"{kind} file: version {header.version}, this program reads {version}")
    present = tuple(section.name for section in header.sections)
    if present != section_names:
        raise DecodeError(f"{kind} file: sections {present}, expected {section_names}")
    spans = []
    for section in header.sections:
        if section.size < 0 or position + section.size > file_size:
            raise DecodeError(f"{kind} file: section {section.name!r} is cut short")
        spans.append(SectionSpan(section.name, position, section.size, section.sha256))
        position += section.size
    if position != file_size:
        raise DecodeError(f"{kind} file: {file_size - position} bytes after the last section")
    return tuple(spans)


def _decode_header_and_end(prefix: bytes, file_size: int, kind: str) -> tuple[Header, int]:
    """Return a container's header, and the number of bytes before the first section."""
    start = len(MAGIC) + _LENGTH_STRUCT.size
    if prefix[: len(MAGIC)] != MAGIC or len(prefix) < start:
        raise DecodeError(f"{kind} file: not a weightgate file (wrong first bytes)")
    (size,) = _LENGTH_STRUCT.unpack_from(prefix, len(MAGIC))
    if size > HEADER_BYTES_LIMIT or start + size > file_size:
        raise DecodeError(f"{kind} file: header of {size} bytes does not fit")
    data, name = prefix[start : start + size], f"{kind} file header"
    header = canonical.decode(Header, data, input_name=name, max_bytes=HEADER_BYTES_LIMIT)
    return header, start + size


def check_section_hash(section_name: str, body: bytes, stated_hash: str) -> None:
    """Check a section's bytes against the SHA-256 (hex) that the file's manifest states.

    Raises:
        VerificationError: The hashes differ.
    """
    sha256 = canonical.sha256_hex(body)
    if sha256 != stated_hash:
        raise VerificationError(f"{section_name} hash to {sha256}, the manifest says {stated_hash}")
