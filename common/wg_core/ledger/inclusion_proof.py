"""Proofs that an entry is in a log (c2sp.org/tlog-proof), as text that is sent with the entry.

The optional ``extra`` line is not authenticated. A site without a network puts consistency proofs
there, from every log size that its witness may have cosigned last (each a
``witness.WitnessRequest`` without the checkpoint), so that a server can cosign a checkpoint that
arrives in a file.
"""

from dataclasses import dataclass

from wg_core.errors import DecodeError, check_byte_count
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.signed_note import Note

HEADER_LINE = "c2sp.org/tlog-proof@v1"
PROOF_BYTES_LIMIT = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Proof that an entry is in the tree of a signed checkpoint.

    Attributes:
        index: Index of the entry, from zero.
        path: Sibling hashes on the way from the entry's leaf to the root.
        note: Signed checkpoint, with its cosignatures.
        extra_data: Further data, not authenticated; may be empty.
    """

    index: int
    path: tuple[bytes, ...]
    note: Note
    extra_data: bytes = b""

    @property
    def checkpoint(self) -> Checkpoint:
        """Checkpoint of the proof, decoded from the note's text."""
        return checkpoints.decode_text(self.note.text)

    def encode(self) -> bytes:
        """Return the proof as text."""
        extra = f"extra {notes.encode_base64(self.extra_data)}\n" if self.extra_data else ""
        path = "".join(f"{notes.encode_base64(digest)}\n" for digest in self.path)
        head = f"{HEADER_LINE}\n{extra}index {self.index}\n{path}\n"
        return head.encode() + self.note.encode()

    def verify(self, entry_bytes: bytes) -> None:
        """Verify that an entry is in the checkpoint's tree; signatures are verified elsewhere.

        Raises:
            VerificationError: The path does not lead from the entry to the checkpoint's root.
        """
        head = self.checkpoint
        merkle.verify_inclusion(
            merkle.leaf_hash(entry_bytes), self.index, head.size, self.path, head.root
        )


def decode(data: bytes, *, input_name: str = "proof") -> Proof:
    """Decode an inclusion proof without verifying it.

    Raises:
        DecodeError: The bytes are not a proof.
    """
    check_byte_count(len(data), PROOF_BYTES_LIMIT, input_name)
    lines, body = split_at_blank_line(data, input_name=input_name)
    if lines[0] != HEADER_LINE:
        raise DecodeError(f"{input_name}: first line {lines[0][:60]!r}, expected {HEADER_LINE!r}")
    tail, extra = lines[1:], b""
    if tail and tail[0].startswith("extra "):
        text = tail.pop(0)[len("extra ") :]
        extra = notes.decode_base64(text, input_name=f"{input_name}: extra line")
        if not extra:
            raise DecodeError(f"{input_name}: the extra line is empty")
    if not tail or not tail[0].startswith("index "):
        raise DecodeError(f"{input_name}: no index line")
    index = notes.decode_decimal(tail.pop(0)[len("index ") :], input_name=f"{input_name}: index")
    _, note = checkpoints.decode(body, input_name=f"{input_name}: checkpoint")
    path = decode_hashes(tail, input_name=input_name)
    return Proof(index=index, path=path, note=note, extra_data=extra)


def split_at_blank_line(data: bytes, *, input_name: str) -> tuple[list[str], bytes]:
    """Split a proof or witness request at its first blank line: lines before it, bytes after it.

    Raises:
        DecodeError: There is no blank line, or non-ASCII bytes before it.
    """
    head, separator, body = data.partition(b"\n\n")
    if not separator:
        raise DecodeError(f"{input_name}: no blank line before the checkpoint")
    try:
        return head.decode("ascii").split("\n"), body
    except UnicodeDecodeError as error:
        raise DecodeError(f"{input_name}: not ASCII before the checkpoint") from error


def decode_hashes(lines: list[str], *, input_name: str) -> tuple[bytes, ...]:
    """Decode the hashes of a proof, 32 bytes each, from lines of base64.

    Raises:
        DecodeError: A line is not the base64 of 32 bytes, or there are too many lines.
    """
    if len(lines) > merkle.PROOF_HASHES_LIMIT:
        raise DecodeError(f"{input_name}: {len(lines)} hashes, at most {merkle.PROOF_HASHES_LIMIT}")
    hashes = tuple(notes.decode_base64(line, input_name=f"{input_name}: hash") for line in lines)
    if any(len(digest) != merkle.HASH_SIZE for digest in hashes):
        raise DecodeError(f"{input_name}: a hash is not of {merkle.HASH_SIZE} bytes")
    return hashes
