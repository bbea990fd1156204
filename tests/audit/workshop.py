"""A workshop for forged logs: what really happened, and a forger's tools.

The forger is the plant: it has the ledger's signing key and its own, writes any entries, makes
their sums fit, and signs any beginning. It does not have the witness's key.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.core.ledger.conftest import DELTA, ORIGIN, WITNESS, Site, closed_form, cosign_newest

from wg_core.ledger import charging, database, entries, merkle
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import export as exports
from wg_core.ledger import signed_note as notes
from wg_core.ledger.budget_ledger import Ledger, round_up_decimal
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import Charge, Dataset, Entry, Genesis, Release, Rotation
from wg_core.ledger.log_state import ROTATION_CONTEXT, LedgerState
from wg_core.ledger.trust_anchors import TrustAnchors
from wg_core.privacy import events
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import bundle, canonical, container, signing
from wg_core.wire.bundle import StatisticsBundle
from wg_core.wire.protocol import LEDGER_FILE_KIND
from wg_core.wire.signing import PrivateKey

if TYPE_CHECKING:
    from tests.audit.conftest import Exported

NEW_ORIGIN = "weightgate/plant-a/0022"
WHEN = 1_700_000_000
DAY = 86_400

Stated = TypeVar("Stated", Charge, ChargeRequest)


@dataclass
class Truth:
    """What happened: seven charges, six releases, all received by a server that cosigned them.

    Attributes:
        site: The plant.
        exported: What the server wrote down.
        folder: Where forgeries may put their files.
        entries: The log.
        heads: Its cosigned checkpoints by size.
        payloads: Released bytes by index of their charge.
        rng: Where a forger has a choice.
    """

    site: Site
    exported: Exported
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    heads: dict[int, bytes] = field(default_factory=dict)
    payloads: dict[int, bytes] = field(default_factory=dict)
    rng: random.Random = field(default_factory=random.Random)

    @property
    def keys(self) -> TrustAnchors:
        """The true keys."""
        return self.site.anchors

    @property
    def checkpoint(self) -> Path:
        """The newest cosigned checkpoint, got from the server."""
        return self.exported.folder / "plant-a" / "checkpoint.note"

    @property
    def export(self) -> Path:
        """The true export."""
        return self.folder / "true.wgl"

    def charges(self) -> list[int]:
        """Indices of charges that have a release."""
        return sorted(self.payloads)


@dataclass(frozen=True)
class Forgery:
    """A log, and what an auditor has to see through it, as arguments of ``verify``."""

    path: Path
    brought: dict[str, Any]


def make_truth(site: Site, exported: Exported, folder: Path) -> Truth:
    """Let it happen."""
    truth = Truth(site, exported, folder)
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        truth.heads[ledger.size] = site.cosign(ledger)
        site.release(ledger, "r2", "0.5")
        site.register(ledger, "welds", b"other data")
        make_release(site, ledger, site.request("w1", "0.3", "welds"))
        truth.heads[ledger.size] = site.cosign(ledger)
        ledger.charge(site.request("r3", "0.25"))
        site.release(ledger, "r4", "0.75")
        site.release(ledger, "r5", "1.25")
        make_release(site, ledger, site.request("w2", "0.6", "welds"))
        truth.heads[ledger.size] = newest = site.cosign(ledger)
        truth.entries = [entries.decode(ledger.entry_bytes(seq)) for seq in range(ledger.size)]
        for entry in truth.entries:
            payload = ledger.released_bytes(entry.head.seq) if isinstance(entry, Charge) else None
            if payload is not None:
                truth.payloads[entry.head.seq] = payload
        folder.mkdir(exist_ok=True)
        ledger.export(truth.export)
        received = exported.folder / "plant-a"
        received.mkdir(parents=True)
        for seq in truth.payloads:
            data = bundle.encode(covered(ledger, seq))
            (received / f"{seq:02}.wgs").write_bytes(data)
    exported.saw(ORIGIN, site.key, newest)
    return truth


def covered(ledger: Ledger, charge: int) -> StatisticsBundle:
    """A release with its entries and proofs."""
    released, payload = ledger.find_release(charge), ledger.released_bytes(charge)
    if released is None or payload is None:
        raise ValueError(f"charge {charge} has no release")
    return StatisticsBundle(
        release=payload,
        charge_entry=ledger.entry_bytes(charge),
        release_entry=ledger.entry_bytes(released.seq),
        charge_proof=ledger.inclusion_proof(charge, witness=WITNESS),
        release_proof=ledger.inclusion_proof(released.seq, witness=WITNESS),
    )


def make_release(site: Site, ledger: Ledger, request: ChargeRequest) -> int:
    charged = ledger.charge(request)
    ledger.record_release(charged.seq, site.payload(request))
    return charged.seq


# --- the forger's tools


def settle(given: Iterable[Entry], heads: Mapping[int, bytes] | None = None) -> list[Entry]:
    """Make a list of entries a log: indices, chain, lineages, sums and anchors all fit.

    What a charge states of itself (event, mechanism, epsilon) is left as the forger wants it.
    """
    done: list[Entry] = []
    moved: dict[int, int] = {}
    lineages: dict[str, str] = {}
    units: dict[str, list[int]] = {}
    leaves: list[bytes] = []
    known = heads or {}
    anchored = (0, "")
    for seq, entry in enumerate(given):
        moved[entry.head.seq] = seq
        prev = leaves[-1].hex() if leaves else ""
        entry = replace_head(entry, seq=seq, prev=prev)
        if isinstance(entry, Dataset):
            old = entry.lineage
            if old not in lineages:
                lineages[old] = entries.lineage_id(entry.head.origin, seq)
            entry = dataclasses.replace(entry, lineage=lineages[old])
        elif isinstance(entry, Charge):
            lineage = lineages.get(entry.lineage, entry.lineage)
            before = units.setdefault(lineage, [])
            after = [*before, int(entry.event.mu_squared)]
            entry = dataclasses.replace(
                entry,
                lineage=lineage,
                state=dataclasses.replace(
                    entry.state,
                    charges_before=len(before),
                    mu_squared_before=str(sum(before)),
                    mu_squared_after=str(sum(after)),
                    epsilon_before=epsilon_of(sum(before)),
                    epsilon_after=epsilon_of(sum(after)),
                    anchored_size=anchored[0],
                    anchored_root=anchored[1],
                ),
            )
            before.append(int(entry.event.mu_squared))
        elif isinstance(entry, Release):
            entry = dataclasses.replace(entry, charge=moved.get(entry.charge, entry.charge))
        done.append(entry)
        leaves.append(merkle.leaf_hash(entries.encode(entry)))
        if seq + 1 in known:
            head = checkpoints.decode(known[seq + 1])[0]
            if head.root == merkle.root(leaves):
                anchored = (seq + 1, head.root.hex())
    return done


def relink(given: Iterable[Entry]) -> list[Entry]:
    """Indices and chain fit, and nothing else."""
    done: list[Entry] = []
    prev = ""
    for seq, entry in enumerate(given):
        done.append(replace_head(entry, seq=seq, prev=prev))
        prev = merkle.leaf_hash(entries.encode(done[-1])).hex()
    return done


def replace_head(entry: Entry, **changes: Any) -> Entry:
    """An entry with another head."""
    return dataclasses.replace(entry, head=dataclasses.replace(entry.head, **changes))


def write(
    path: Path,
    log: Iterable[Entry | bytes],
    key: PrivateKey,
    heads: Mapping[int, bytes] | None = None,
    payloads: Mapping[int, bytes] | None = None,
    *,
    watcher: PrivateKey | None = None,
) -> Path:
    """A ledger file: true checkpoints where they still hold, and a newest one of the forger's.

    Args:
        path: The file.
        log: Entries.
        key: Signs the newest checkpoint.
        heads: Cosigned checkpoints; those that another log has are left out.
        payloads: Released bytes.
        watcher: Cosigns the newest checkpoint under the witness's name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = database.create_ledger_file(path)
    leaves: list[bytes] = []
    connection.execute("begin")
    database.install_schema(connection)
    for seq, item in enumerate(log):
        data = item if isinstance(item, bytes) else entries.encode(item)
        leaves.append(merkle.leaf_hash(data))
        connection.execute("insert into entries values (?, ?, ?)", (seq, data, leaves[-1]))
    kept = {
        size: data
        for size, data in (heads or {}).items()
        if size < len(leaves) and checkpoints.decode(data)[0].root == merkle.root(leaves[:size])
    }
    newest = checkpoints.sign(Checkpoint(ORIGIN, len(leaves), merkle.root(leaves)), [key])
    if watcher is not None:
        newest = newest.with_signatures(checkpoints.cosign(newest, WITNESS, watcher, WHEN))
    if heads and len(leaves) in heads:
        true = checkpoints.decode(heads[len(leaves)])
        if true[0].root == merkle.root(leaves):
            newest = true[1]
    for size, data in {**kept, len(leaves): newest.encode()}.items():
        connection.execute("insert into heads values (?, ?, 1)", (size, data))
    for charge, payload in (payloads or {}).items():
        connection.execute("insert into outbox values (?, ?)", (charge, payload))
    connection.execute("commit")
    connection.close()
    return path


def insider(entry: Stated, **changes: Any) -> Stated:
    """A charge with another mechanism, guarantee, epsilon or delta, whose own arithmetic fits.

    Whoever holds the signing key can put any such charge on the log.
    """
    mechanism = dataclasses.replace(
        entry.mechanism, **{k: v for k, v in changes.items() if hasattr(entry.mechanism, k)}
    )
    guarantee = dataclasses.replace(
        entry.guarantee, **{k: v for k, v in changes.items() if hasattr(entry.guarantee, k)}
    )
    sensitivity, sigma = int(mechanism.sensitivity_squared), float.fromhex(mechanism.sigma)
    return dataclasses.replace(
        entry,
        mechanism=dataclasses.replace(
            mechanism, rho=charging.zcdp_rho(Fraction(sensitivity), sigma)
        ),
        guarantee=guarantee,
        event=events.gaussian_event(sensitivity, sigma),
        epsilon=changes.get("epsilon", entry.epsilon),
        delta=changes.get("delta", entry.delta),
    )


def epsilon_of(units: int) -> str:
    if not units:
        return "0"
    event = PrivacyEvent(mechanism="gaussian", mu_squared=str(units))
    return round_up_decimal(closed_form([event], float(DELTA)))


def settled(t: Truth, log: Iterable[Entry], **brought: Any) -> Forgery:
    """A log that the plant signs, with sums that fit, and the true checkpoints that still hold."""
    done = settle(log, t.heads)
    return Forgery(write(t.folder / "forged.sqlite", done, t.site.key, t.heads), brought)


def changed(t: Truth, change: Callable[[Charge], Charge], seq: int | None = None) -> list[Entry]:
    """The true log with one charge changed; any of those with a release, if none is named."""
    at = t.rng.choice(t.charges()) if seq is None else seq
    return [
        change(entry) if entry.head.seq == at and isinstance(entry, Charge) else entry
        for entry in t.entries
    ]


def without(t: Truth, *charges: int) -> list[Entry]:
    """The true log without charges and their releases."""
    return [
        entry
        for entry in t.entries
        if entry.head.seq not in charges
        and not (isinstance(entry, Release) and entry.charge in charges)
    ]


def first_of(t: Truth, kind: type[Any]) -> Any:
    return next(entry for entry in t.entries if isinstance(entry, kind))


def named(t: Truth, seq: int, name: str) -> bool:
    entry = t.entries[seq]
    return isinstance(entry, Charge) and entry.dataset == name


def wider(charge: Charge, times: float) -> str:
    return (float.fromhex(charge.mechanism.sigma) * times).hex()


def sql(path: Path, *statements: str, **values: bytes) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement, values)
    raw.close()


def edit_head(path: Path, change: Callable[[notes.Note], notes.Note]) -> None:
    """Change the newest checkpoint of a ledger file."""
    with closing(sqlite3.connect(path)) as raw, raw:
        size, data = raw.execute("select max(size), note from heads").fetchone()
        note = change(checkpoints.decode(data)[1]).encode()
        raw.execute("update heads set note = ? where size = ?", (note, size))
    raw.close()


def rotated(t: Truth, *, old: PrivateKey) -> Path:
    """An empty log that rotates to a key of the forger's; ``old`` signs for the old key."""
    new = t.site.signing_key
    log = settle(t.entries[:3])
    identifier = notes.key_ids(ORIGIN, notes.LOG_ROLE, new.public_key())[0].hex()
    head = dataclasses.replace(
        log[-1].head,
        kind=entries.ROTATION_KIND,
        seq=3,
        prev=merkle.leaf_hash(entries.encode(log[-1])).hex(),
        key_id=identifier,
    )
    keys = signing.public_bytes(t.site.key).hex(), signing.public_bytes(new).hex()
    statement = entries.rotation_signed_bytes(head, *keys)
    rotation = Rotation(
        head=head,
        new_key=keys[1],
        old_signature=signing.sign(old, ROTATION_CONTEXT, statement).hex(),
        new_signature=signing.sign(new, ROTATION_CONTEXT, statement).hex(),
    )
    return write(t.folder / "forged.sqlite", [*log, rotation], new)


def successor(t: Truth, old: Any, key: PrivateKey | None = None) -> Path:
    """A new log of the site, with nothing on it, that the witness cosigned."""
    path = t.folder / "successor.sqlite"
    with Ledger.create(
        path,
        origin=NEW_ORIGIN,
        key=key or t.site.signing_key,
        site="plant-a",
        predecessor=old,
        clock=lambda: WHEN,
    ) as new:
        new.enrol_witness(WITNESS, signing.public_bytes(t.site.witness_key))
        cosign_newest(new, t.site.witness_key, WHEN)
    return path


def saw_successor(t: Truth, word: Any) -> Path:
    """The server's folder after the site enrolled again with the new log."""
    with closing(sqlite3.connect(t.folder / "successor.sqlite")) as raw, raw:
        (data,) = raw.execute("select note from heads order by size desc limit 1").fetchone()
    raw.close()
    record = dataclasses.replace(t.exported, folder=t.folder / "server", logs=list(t.exported.logs))
    record.saw(NEW_ORIGIN, t.site.signing_key, bytes(data), word)
    return record.folder


def unchecked_genesis(apply: Callable[..., Entry]) -> Callable[..., Entry]:
    """A writer that takes any first entry."""

    def unchecked(self: LedgerState, data: bytes) -> Entry:
        entry = entries.decode(data)
        if isinstance(entry, Genesis) and entry.predecessor is not None:
            bare = dataclasses.replace(entry, predecessor=None)
            apply(self, entries.encode(bare))
            leaf = merkle.leaf_hash(data)
            self.last_leaf_hash, self.leaf_hashes, self.frontier = leaf, [leaf], merkle.Frontier()
            self.frontier.append(leaf)
            return entry
        return apply(self, data)

    return unchecked


def with_entries(t: Truth, log: list[Entry]) -> list[Path]:
    """The received files, each with the forged log's entries in place of its own."""
    folder = t.folder / "received"
    folder.mkdir()
    releases = {e.charge: e for e in log if isinstance(e, Release)}
    for charge in t.charges():
        found = bundle.decode_statistics((t.checkpoint.parent / f"{charge:02}.wgs").read_bytes())
        found = dataclasses.replace(
            found,
            charge_entry=entries.encode(log[charge]),
            release_entry=entries.encode(releases[charge]),
        )
        (folder / f"{charge:02}.wgs").write_bytes(bundle.encode(found))
    return [folder]


def export_of(t: Truth, forged: Forgery) -> Path:
    out = t.folder / "forged.wgl"
    exports.write_export(forged.path, out)
    return out


def of_another_root(manifest: bytes) -> bytes:
    document = json.loads(manifest)
    document["root"] = "00" * 32
    return canonical.encode(document)


def repacked(
    t: Truth,
    export: Path,
    *,
    entries: Callable[[list[bytes]], list[bytes]] | None = None,
    heads: Callable[[list[bytes]], list[bytes]] | None = None,
    manifest: Callable[[bytes], bytes] | None = None,
) -> Path:
    """An export with other sections, under a header that fits them."""
    sections = container.decode(
        export.read_bytes(),
        kind=LEDGER_FILE_KIND,
        version=exports.VERSION,
        section_names=exports.SECTION_NAMES,
        max_bytes=1 << 30,
    )
    if entries is not None:
        lines = entries(sections["entries"].splitlines())
        sections["entries"] = b"".join(line + b"\n" for line in lines)
        sections["hashes"] = b"".join(map(merkle.leaf_hash, lines))
    if heads is not None:
        lines = heads(sections["heads"].splitlines())
        sections["heads"] = b"".join(line + b"\n" for line in lines)
        document = json.loads(sections["manifest"])
        document["heads"] = len(lines)
        sections["manifest"] = canonical.encode(document)
    if manifest is not None:
        sections["manifest"] = manifest(sections["manifest"])
    out = t.folder / "repacked.wgl"
    out.write_bytes(container.encode(LEDGER_FILE_KIND, exports.VERSION, sections))
    return out
