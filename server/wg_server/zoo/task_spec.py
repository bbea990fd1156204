"""Specification of a zoo task, sufficient to render or read it again."""

from dataclasses import dataclass
from typing import Literal

from wg_core.wire import canonical

SourceKind = Literal[
    "procedural", "procedural-windows", "procedural-texts", "npz", "folder", "table"
]
FILE_SOURCE_KINDS = ("npz", "folder", "table")
"""Source kinds that read the operator's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """Specification of one zoo entry: all that its bytes depend on, except the encoder.

    Attributes:
        version: Version of this specification.
        seed: Seed of the task's source.
        kind: Kind of the source.
        family: Index of the task's family in the source.
        site: Index of the site in the family.
        sites: Number of sites of the family.
        per_class: Records of each class.
        strength: Deviation of a site's camera or sensors from clean ones, 0 to 1, in decimal.
        only: Kind of family that a procedural source draws; empty: all kinds.
        path: Path of the operator's files from which records are read; empty if procedural.
        name: Name of the source in provenance.
        licence: Licence in provenance.
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

    def entry_key(self, encoder: str) -> str:
        """Return the name of the zoo entry, hex."""
        return canonical.sha256_hex(canonical.encode(self) + encoder.encode())[:32]

    @property
    def is_own(self) -> bool:
        """True if the task's records are the operator's files: plants may then get its family."""
        return self.kind in FILE_SOURCE_KINDS
