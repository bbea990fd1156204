"""The whole history of a log, verified from bytes alone: no data, no network, no trust.

Reads a ledger file or an export and checks chain, arithmetic, keys, every checkpoint against the
entries, every cosignature of a known witness, and the anchors that charges name. Costs in
epsilon are the auditor's matter (``wg_common.audit``): this module only collects what is to be
checked.

What the log cannot prove by itself: that its first key is the site's (compare it with the key
from enrolment), that a witness's key is the witness's (the same), and that no newer copy exists
(ask the witness).
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wg_common import canonical, signing
from wg_common.errors import VerificationError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import database, merkle
from wg_common.ledger import note as notes
from wg_common.ledger.checkpoint import Cosignature
from wg_common.ledger.entries import Charge, Entry
from wg_common.ledger.export import ExportReader, summarise
from wg_common.ledger.heads import check_head
from wg_common.ledger.state import LedgerState, WitnessKey
from wg_common.privacy.events import PrivacyEvent


class Source(Protocol):
    """Where a log's bytes come from."""

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Each entry's bytes and the leaf hash stored beside it, in order."""

    def heads(self) -> list[bytes]:
        """Signed checkpoints by size."""

    def finish(self, state: LedgerState, heads: int) -> None:
        """Check what only this kind of source holds."""

    def close(self) -> None:
        """Let go of the file."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint that holds, with the cosignatures that hold."""

    size: int
    root: str
    cosignatures: tuple[Cosignature, ...]


@dataclass(slots=True)
class StatedFigures:
    """What charges state about lineages that hold Gaussian releases only, as columns.

    ``mu_squared`` in units of 2^-40; two rows a charge: before and after it.
    """

    seq: array[int] = field(default_factory=lambda: array("q"))
    mu_squared: array[float] = field(default_factory=lambda: array("d"))
    delta: array[float] = field(default_factory=lambda: array("d"))
    epsilon: array[float] = field(default_factory=lambda: array("d"))

    def add(self, seq: int, mu_squared: str, delta: str, epsilon: str) -> None:
        """Add a row."""
        self.seq.append(seq)
        self.mu_squared.append(float(mu_squared))
        self.delta.append(float(delta))
        self.epsilon.append(float(epsilon))


@dataclass(frozen=True, slots=True)
class MixedFigure:
    """What a charge states about a lineage that holds DP-SGD runs, after it."""

    seq: int
    events: tuple[PrivacyEvent, ...]
    delta: str
    epsilon: str


@dataclass(slots=True)
class History:
    """A log that holds.

    Attributes:
        state: The fold over all entries.
        root: Root over all entries.
        heads: Checkpoints, by size.
        figures: Stated epsilons of Gaussian lineages.
        mixed: Stated epsilons of lineages with DP-SGD runs.
        bytes: Number of bytes of entries.
    """

    state: LedgerState
    root: bytes
    heads: list[SignedHead]
    figures: StatedFigures
    mixed: list[MixedFigure]
    bytes: int

    @property
    def witnessed_size(self) -> int:
        """Size of the newest checkpoint with a cosignature; zero if there is none."""
        return max((head.size for head in self.heads if head.cosignatures), default=0)


def open_source(path: Path) -> Source:
    """A ledger file, an export, or the home folder of a client.

    Raises:
        ConfigError: None of these is there.
        DecodeError: The file is neither.
    """
    ledger = path / "ledger.sqlite" if path.is_dir() else path
    if ledger.suffix == ".sqlite" or _is_sqlite(ledger):
        return _DatabaseSource(ledger)
    return _ExportSource(ledger)


def read(
    source: Source,
    *,
    ledger_key: bytes | None = None,
    witness: tuple[str, bytes] | None = None,
) -> History:
    """Verify a log.

    Args:
        source: From ``open_source``.
        ledger_key: A signing key of the log known from elsewhere; one of its keys must be it.
        witness: Name and key of a witness known from elsewhere; its cosignatures count even if
            the log does not name it, and it must have cosigned.

    Raises:
        VerificationError: The log does not hold; the message names the entry, checkpoint or proof.
        DecodeError: The bytes are no log.
    """
    state = LedgerState()
    heads = _by_size(source.heads())
    roots: dict[int, str] = {}
    figures, mixed = StatedFigures(), list[MixedFigure]()
    total = 0
    for data, leaf in source.entries():
        entry = state.apply(data)
        if state.prev != leaf:
            raise VerificationError(f"entry {state.size - 1}: does not match its stored hash")
        total += len(data)
        if state.size in heads:
            roots[state.size] = state.frontier.root().hex()
            check_head(state, heads[state.size])
        if isinstance(entry, Charge):
            _collect(entry, state, roots, figures, mixed)
    _check_ends(state, heads)
    known = [*state.witnesses]
    if witness is not None:
        known.append(WitnessKey(witness[0], witness[1], -1))
    signed = [_signed(note, known) for _, note in sorted(heads.items())]
    source.finish(state, len(heads))
    history = History(state, state.frontier.root(), signed, figures, mixed, total)
    _check_anchors(history, ledger_key, witness)
    return history


def stored_entries(source: Source) -> Iterator[Entry]:
    """The entries of a log that was verified, once more, one at a time."""
    from wg_common.ledger import entries

    for data, _ in source.entries():
        yield entries.decode(data)


def _collect(
    entry: Charge,
    state: LedgerState,
    roots: dict[int, str],
    figures: StatedFigures,
    mixed: list[MixedFigure],
) -> None:
    seq, stated = entry.head.seq, entry.state
    anchor = roots.get(stated.anchored_size, "")
    if stated.anchored_root != anchor:
        raise VerificationError(
            f"entry {seq}: names a cosigned checkpoint of size {stated.anchored_size} with root "
            f"{stated.anchored_root or '(none)'}, found {anchor or 'no such checkpoint'}"
        )
    lineage = state.lineage(entry.lineage)
    if lineage.runs:
        mixed.append(MixedFigure(seq, lineage.events(), stated.cap_delta, stated.epsilon_after))
        return
    figures.add(seq, stated.mu_squared_before, stated.cap_delta, stated.epsilon_before)
    figures.add(seq, stated.mu_squared_after, stated.cap_delta, stated.epsilon_after)


def _by_size(raw: list[bytes]) -> dict[int, bytes]:
    heads: dict[int, bytes] = {}
    for index, data in enumerate(raw):
        head, _ = checkpoints.decode(data, what=f"checkpoint {index}")
        if heads and head.size <= max(heads):
            raise VerificationError(f"checkpoint {index}: of size {head.size}, out of order")
        heads[head.size] = data
    return heads


def _check_ends(state: LedgerState, heads: dict[int, bytes]) -> None:
    if state.size == 0:
        raise VerificationError("entry 0: is missing, the log is empty")
    newest = max(heads, default=0)
    if newest > state.size:
        raise VerificationError(
            f"entry {state.size}: is missing; a signed checkpoint covers {newest} entries"
        )
    if newest < state.size:
        raise VerificationError(f"entry {newest}: no signed checkpoint covers it")
    if 0 in heads:
        raise VerificationError("checkpoint 0: of an empty log")


def _signed(data: bytes, known: list[WitnessKey]) -> SignedHead:
    head, note = checkpoints.decode(data, what="checkpoint")
    found = []
    for witness in known:
        identifier = notes.key_id(witness.name, notes.COSIGNATURE, witness.public_key)
        if notes.signatures_of(note, witness.name, identifier):
            key = signing.public_from_bytes(witness.public_key)
            try:
                cosignature = checkpoints.verify_cosignature(note, witness.name, key)
            except VerificationError as error:
                raise VerificationError(f"checkpoint of size {head.size}: {error}") from error
            if cosignature not in found:
                found.append(cosignature)
    return SignedHead(head.size, head.root.hex(), tuple(found))


def _check_anchors(
    history: History, ledger_key: bytes | None, witness: tuple[str, bytes] | None
) -> None:
    if ledger_key is not None and ledger_key not in [k.public_key for k in history.state.keys]:
        raise VerificationError(
            f"the log is signed by {history.state.public_key.hex()}, expected {ledger_key.hex()}"
        )
    if witness is not None and not any(
        cosignature.name == witness[0]
        for head in history.heads
        for cosignature in head.cosignatures
    ):
        raise VerificationError(f"witness {witness[0]} cosigned no checkpoint of this log")


class _DatabaseSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = database.connect_to_read(path)
        try:
            database.check_format(path, self._db)
            with database.explained(path):
                self._db.execute("begin")
        except BaseException:
            self._db.close()
            raise

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        with database.explained(self._path):
            rows = self._db.execute("select seq, entry, hash from entries order by seq")
            for index, (seq, entry, leaf) in enumerate(rows):
                if seq != index:
                    raise VerificationError(f"entry {index}: is missing")
                if not isinstance(entry, bytes):
                    raise VerificationError(f"entry {index}: is damaged")
                yield entry, leaf

    def heads(self) -> list[bytes]:
        with database.explained(self._path):
            rows = self._db.execute("select note from heads order by size").fetchall()
        return [bytes(row[0]) for row in rows]

    def finish(self, state: LedgerState, heads: int) -> None:
        """Check every stored payload against its RELEASE entry, and the file itself."""
        del heads
        with database.explained(self._path):
            (found,) = self._db.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                raise VerificationError(f"{self._path}: the file is damaged: {found}")
            for charge, payload in self._db.execute("select charge, payload from outbox"):
                known = state.charges.get(charge)
                digest = canonical.sha256_hex(payload)
                if known is None or known.payload_sha256 != digest:
                    raise VerificationError(
                        f"outbox of charge {charge}: not the bytes of its RELEASE entry"
                    )

    def close(self) -> None:
        self._db.close()


class _ExportSource:
    def __init__(self, path: Path) -> None:
        self._reader = ExportReader(path)

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.entries()

    def heads(self) -> list[bytes]:
        return self._reader.heads()

    def finish(self, state: LedgerState, heads: int) -> None:
        """Check manifest and consistency proofs, then each section's hash."""
        expected = summarise(state, heads)
        found = self._reader.manifest
        if found != expected:
            fields = [
                name for name in found.__slots__ if getattr(found, name) != getattr(expected, name)
            ]
            raise VerificationError(f"export manifest: {', '.join(fields)} not as the entries say")
        notes_by_size = [checkpoints.decode(note)[0] for note in self._reader.heads()]
        pairs = list(itertools.pairwise(notes_by_size))
        proofs = self._reader.proofs()
        if len(proofs) != len(pairs):
            raise VerificationError(
                f"consistency proof: {len(proofs)} are there, expected {len(pairs)}"
            )
        for index, (proof, (old, new)) in enumerate(zip(proofs, pairs, strict=True)):
            try:
                if (proof.old_size, proof.new_size) != (old.size, new.size):
                    raise VerificationError(
                        f"from {proof.old_size} to {proof.new_size}, "
                        f"expected {old.size} to {new.size}"
                    )
                path = [bytes.fromhex(x) for x in proof.path]
                merkle.verify_consistency(old.size, old.root, new.size, new.root, path)
            except (VerificationError, ValueError) as error:
                raise VerificationError(f"consistency proof {index}: {error}") from error
        self._reader.check_sections()

    def close(self) -> None:
        self._reader.close()


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(16) == b"SQLite format 3\x00"
    except OSError:
        return False
