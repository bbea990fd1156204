"""Specification of a task of the zoo, from which it can be rendered or read again."""

from dataclasses import dataclass
from typing import Literal

from wg_core.wire import canonical

SourceKind = Literal[
    "procedural", "procedural-windows", "procedural-texts", "npz", "folder", "table"
]
FILE_SOURCE_KINDS = ("npz", "folder", "table")
"""Kinds of sources that read files of the operator; the others are procedural."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """Specification of one task; its zoo entry depends only on this and on the encoder.

    Attributes:
        version: Version of this format.
        seed: Seed of the task's source.
        kind: Kind of the source.
        family: Index of the task's family in the source.
        site: Index of the site in the family.
        sites: Number of sites of the family.
        per_class: Largest number of records of each class.
        strength: Deviation of a site's camera or sensors from ideal ones, 0 to 1, decimal string.
        only: Kind of family that a procedural source draws; empty: all kinds.
        path: Path of the operator's files from which records are read; empty if procedural.
        name: Name of the source.
        licence: Licence of the source's records.
    """

    version: int = 1
    seed: int
    kind: SourceKind
    family: int
    site: int
    sites: int
    per_class: int
    strength: str
    only: str
    path: str
    name: str
    licence: str

    def entry_key(self, encoder_sha256: str) -> str:
        """Return the key, 32 hex digits, of the task's zoo entry with features of an encoder."""
        return canonical.sha256_hex(canonical.encode(self) + encoder_sha256.encode())[:32]

    @property
    def has_operator_records(self) -> bool:
        """True if the records come from the operator's files, and not from a procedural source."""
        return self.kind in FILE_SOURCE_KINDS
