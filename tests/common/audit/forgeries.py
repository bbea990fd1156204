"""A workshop of forged logs, for tests: what a plant or a thief could hand to an auditor.

The forger is the plant: it has the ledger's signing key and its own, writes any entries, makes
their sums fit, and signs any beginning. It does not have the witness's key. ``Truth`` is what
really happened; each forgery is a log (and sometimes files) that tells less of it. A forgery marked
``alone`` holds perfectly by itself: only what came from elsewhere can refute it.

It is more than 500 lines because it is one list: a reader sees at once what is missing.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from wg_common import canonical, container, signing, statistics_file
from wg_common.ledger import charging, database, entries, merkle, recovery
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import export as exports
from wg_common.ledger import note as notes
from wg_common.ledger.anchors import Anchors, KnownWitness
from wg_common.ledger.charging import ChargeRequest
from wg_common.ledger.checkpoint import Checkpoint
from wg_common.ledger.entries import Charge, Dataset, Entry, Genesis, Release, Rotation
from wg_common.ledger.state import ROTATION_CONTEXT, LedgerState
from wg_common.ledger.store import Ledger, rounded_up
from wg_common.privacy import events
from wg_common.privacy.events import PrivacyEvent
from wg_common.protocol import LEDGER_KIND
from wg_common.statistics_file import CoveredStatistics

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from tests.common.audit.conftest import Exported
    from tests.common.ledger.conftest import Site

NAME = "server.example/witness"
ORIGIN = "weightgate/plant-a/0011"
NEW_ORIGIN = "weightgate/plant-a/0022"
WHEN = 1_700_000_000
DAY = 86_400


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
    def keys(self) -> Anchors:
        """The true keys."""
        return Anchors(
            ledger_key=signing.public_bytes(self.site.key),
            witnesses=(KnownWitness(NAME, signing.public_bytes(self.site.witness_key)),),
        )

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


Forge = Callable[[Truth], Forgery]
FORGERIES: dict[str, Forge] = {}
ALONE: set[str] = set()
BECAUSE: dict[str, str] = {}


def make_truth(site: Site, exported: Exported, folder: Path) -> Truth:
    """Let it happen."""
    truth = Truth(site, exported, folder)
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        truth.heads[ledger.size] = site.cosign(ledger)
        site.release(ledger, "r2", "0.5")
        site.register(ledger, "welds", b"other data")
        _release(site, ledger, site.request("w1", "0.3", "welds"))
        truth.heads[ledger.size] = site.cosign(ledger)
        ledger.charge(site.request("r3", "0.25"))
        site.release(ledger, "r4", "0.75")
        site.release(ledger, "r5", "1.25")
        _release(site, ledger, site.request("w2", "0.6", "welds"))
        truth.heads[ledger.size] = newest = site.cosign(ledger)
        truth.entries = [entries.decode(ledger.entry(seq)) for seq in range(ledger.size)]
        for entry in truth.entries:
            payload = ledger.outbox(entry.head.seq) if isinstance(entry, Charge) else None
            if payload is not None:
                truth.payloads[entry.head.seq] = payload
        folder.mkdir(exist_ok=True)
        ledger.export(truth.export)
        received = exported.folder / "plant-a"
        received.mkdir(parents=True)
        for seq in truth.payloads:
            data = statistics_file.encode_covered(covered(ledger, seq))
            (received / f"{seq:02}.wgs").write_bytes(data)
    exported.saw(ORIGIN, site.key, newest)
    return truth


def covered(ledger: Ledger, charge: int) -> CoveredStatistics:
    """A release with its entries and proofs."""
    released, payload = ledger.release_of(charge), ledger.outbox(charge)
    if released is None or payload is None:
        raise ValueError(f"charge {charge} has no release")
    return CoveredStatistics(
        release=payload,
        charge_entry=ledger.entry(charge),
        release_entry=ledger.entry(released.seq),
        charge_proof=ledger.inclusion_proof(charge, witness=NAME),
        release_proof=ledger.inclusion_proof(released.seq, witness=NAME),
    )


def _release(site: Site, ledger: Ledger, request: ChargeRequest) -> int:
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
                    epsilon_before=_epsilon(sum(before)),
                    epsilon_after=_epsilon(sum(after)),
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
    key: Ed25519PrivateKey,
    heads: Mapping[int, bytes] | None = None,
    payloads: Mapping[int, bytes] | None = None,
    *,
    watcher: Ed25519PrivateKey | None = None,
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
    connection = database.create(path)
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
        newest = newest.with_signatures([checkpoints.cosign(newest, NAME, watcher, WHEN)])
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


def insider(entry: Charge, **changes: Any) -> Charge:
    """A charge with another mechanism, guarantee or epsilon, whose own arithmetic fits."""
    mechanism = dataclasses.replace(
        entry.mechanism, **{k: v for k, v in changes.items() if hasattr(entry.mechanism, k)}
    )
    guarantee = dataclasses.replace(
        entry.guarantee, **{k: v for k, v in changes.items() if hasattr(entry.guarantee, k)}
    )
    sensitivity, sigma = int(mechanism.sensitivity_squared), float.fromhex(mechanism.sigma)
    return dataclasses.replace(
        entry,
        mechanism=dataclasses.replace(mechanism, rho=charging.rho(Fraction(sensitivity), sigma)),
        guarantee=guarantee,
        event=events.gaussian_event(sensitivity, sigma),
        epsilon=changes.get("epsilon", entry.epsilon),
    )


def _epsilon(units: int) -> str:
    from tests.common.ledger.conftest import DELTA, closed_form

    if not units:
        return "0"
    event = PrivacyEvent(mechanism="gaussian", mu_squared=str(units))
    return rounded_up(closed_form([event], float(DELTA)))


def forgery(*, alone: bool = False, because: str = "") -> Callable[[Forge], Forge]:
    """Put a forgery on the list.

    Args:
        alone: It holds by itself.
        because: If it does not, why it must be refused, as a pattern: not for bad workmanship.
    """

    def add(forge: Forge) -> Forge:
        name = forge.__name__.replace("_", " ")
        FORGERIES[name] = forge
        if alone:
            ALONE.add(name)
        else:
            BECAUSE[name] = because
        return forge

    return add


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


# --- whose log it is


@forgery(alone=True)
def an_empty_log_cosigned_by_a_key_of_its_own(t: Truth) -> Forgery:
    witness = dataclasses.replace(
        _entry(t, entries.Witness), public_key=signing.public_bytes(t.site.signing_key).hex()
    )
    log = settle([t.entries[0], witness, t.entries[2]])
    path = write(t.folder / "forged.sqlite", log, t.site.key, watcher=t.site.signing_key)
    return Forgery(path, {"anchors": t.keys})


@forgery(alone=True)
def an_empty_log_that_enrols_the_true_witness_and_another_of_its_name(t: Truth) -> Forgery:
    true = _entry(t, entries.Witness)
    own = dataclasses.replace(true, public_key=signing.public_bytes(t.site.signing_key).hex())
    log = settle([t.entries[0], true, own, t.entries[2]])
    path = write(t.folder / "forged.sqlite", log, t.site.key, watcher=t.site.signing_key)
    return Forgery(path, {"anchors": t.keys})


@forgery(alone=True)
def spends_left_out_and_cosigned_by_a_key_of_its_own(t: Truth) -> Forgery:
    own = dataclasses.replace(
        _entry(t, entries.Witness), public_key=signing.public_bytes(t.site.signing_key).hex()
    )
    kept = without(t, *t.rng.sample(t.charges(), 3))
    log = settle([t.entries[0], own, *kept[2:]])
    path = write(t.folder / "forged.sqlite", log, t.site.key, watcher=t.site.signing_key)
    return Forgery(path, {"anchors": t.keys})


@forgery(alone=True)
def a_log_of_a_thief_under_another_key(t: Truth) -> Forgery:
    key = t.site.signing_key
    public = signing.public_bytes(key)
    identifier = notes.key_id(ORIGIN, notes.ED25519, public).hex()
    first = t.entries[0]
    log = [dataclasses.replace(_entry(t, Genesis), ledger_key=public.hex()), *t.entries[1:3]]
    done = settle([replace_head(entry, key_id=identifier) for entry in log])
    assert isinstance(first, Genesis)
    path = write(t.folder / "forged.sqlite", done, key)
    return Forgery(path, {"anchors": Anchors(ledger_key=t.keys.ledger_key)})


@forgery(alone=True)
def a_cosignature_of_another_log(t: Truth) -> Forgery:
    """The witness did cosign something of this site; the log does not name the witness."""
    log = settle([t.entries[0], t.entries[2]])
    path = write(t.folder / "forged.sqlite", log, t.site.key)
    other = checkpoints.sign(Checkpoint(NEW_ORIGIN, len(log), bytes(32)), [t.site.key])
    line = checkpoints.cosign(other, NAME, t.site.witness_key, WHEN)
    _edit_head(path, lambda note: note.with_signatures([line]))
    return Forgery(path, {"anchors": t.keys})


@forgery(because="cosignature of .* does not hold")
def a_true_cosignature_pasted_on_another_size(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", settle(t.entries[:3]), t.site.key)
    lines = [x for x in checkpoints.decode(t.heads[5])[1].signatures if x.name == NAME]
    _edit_head(path, lambda note: note.with_signatures(lines))
    return Forgery(path, {"anchors": t.keys})


@forgery(because="cosignature of .* does not hold")
def a_cosignature_whose_time_was_changed(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries, t.site.key, t.heads)

    def later(note: notes.Note) -> notes.Note:
        lines = tuple(
            dataclasses.replace(x, signature=(WHEN + 9 * DAY).to_bytes(8, "big") + x.signature[8:])
            if x.name == NAME
            else x
            for x in note.signatures
        )
        return dataclasses.replace(note, signatures=lines)

    _edit_head(path, later)
    return Forgery(path, {"anchors": t.keys, "max_age": DAY, "now": WHEN + 9 * DAY})


@forgery(alone=True)
def a_second_witness_that_is_the_forger(t: Truth) -> Forgery:
    """Two of two are asked for; one is the true one, the other signed nothing."""
    other = KnownWitness("second.example/w", signing.public_bytes(t.site.signing_key))
    anchors = dataclasses.replace(t.keys, witnesses=(*t.keys.witnesses, other))
    return Forgery(t.export, {"anchors": anchors})


@forgery(because="ledger-rotation: the signature does not hold")
def a_rotation_that_the_old_key_did_not_sign(t: Truth) -> Forgery:
    return Forgery(_rotated(t, old=t.site.signing_key), {"anchors": t.keys})


@forgery(alone=True)
def an_empty_log_under_a_key_that_the_true_one_rotated_to(t: Truth) -> Forgery:
    """The rotation is true, and nothing else: the witness never saw this log."""
    return Forgery(_rotated(t, old=t.site.key), {"anchors": t.keys})


# --- which copy it is


@forgery(alone=True)
def an_old_export(t: Truth) -> Forgery:
    size = t.rng.choice([5, 10])
    path = write(t.folder / "forged.sqlite", t.entries[:size], t.site.key, t.heads)
    return Forgery(path, {"anchors": t.keys, "checkpoints": [t.checkpoint]})


@forgery(alone=True)
def an_old_export_beside_the_servers_record(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries[:10], t.site.key, t.heads)
    return Forgery(path, {"server": t.exported.folder})


@forgery(alone=True)
def a_stale_log_where_a_fresh_one_is_asked_for(t: Truth) -> Forgery:
    return Forgery(t.export, {"anchors": t.keys, "max_age": 7 * DAY, "now": WHEN + 30 * DAY})


@forgery(alone=True)
def the_tail_told_anew_after_a_true_checkpoint(t: Truth) -> Forgery:
    """Cosigned up to entry 10, and from there another story with fewer charges."""
    late = [seq for seq in t.charges() if seq >= 10]
    return settled(
        t, without(t, *t.rng.sample(late, 2)), anchors=t.keys, checkpoints=[t.checkpoint]
    )


@forgery(alone=True)
def a_tail_that_is_longer_than_the_true_one(t: Truth) -> Forgery:
    late = [seq for seq in t.charges() if seq >= 10]
    filler = _entry(t, entries.Witness)
    log = [*without(t, *late), *(filler for _ in range(9))]
    return settled(t, log, anchors=t.keys, checkpoints=[t.checkpoint])


@forgery(alone=True)
def a_burned_charge_that_is_hidden(t: Truth) -> Forgery:
    burned = [
        e.head.seq for e in t.entries if isinstance(e, Charge) and e.head.seq not in t.payloads
    ]
    return settled(t, without(t, *burned), server=t.exported.folder)


@forgery(alone=True)
def another_sites_log(t: Truth) -> Forgery:
    genesis = dataclasses.replace(_entry(t, Genesis), site="plant-b")
    return settled(t, [genesis, *t.entries[1:3]], server=t.exported.folder)


@forgery(alone=True)
def another_log_of_the_site_under_the_same_key(t: Truth) -> Forgery:
    return Forgery(_successor(t, None, key=t.site.key), {"server": t.exported.folder})


# --- bytes


@forgery(because="is missing; a signed checkpoint covers 17")
def the_tail_cut_off(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries, t.site.key, t.heads)
    cut = t.rng.randrange(3, len(t.entries))
    _sql(path, f"delete from entries where seq >= {cut}")
    return Forgery(path, {})


@forgery(because="no signed checkpoint covers it")
def the_tail_and_its_checkpoint_cut_off(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries, t.site.key, t.heads)
    _sql(path, "delete from entries where seq >= 12", "delete from heads where size > 10")
    return Forgery(path, {})


@forgery(because="has index")
def an_entry_taken_out(t: Truth) -> Forgery:
    seq = t.rng.choice(t.charges())
    log = [entry for entry in t.entries if entry.head.seq != seq]
    return Forgery(write(t.folder / "forged.sqlite", log, t.site.key, t.heads), {})


@forgery(because="which is no charge")
def an_entry_taken_out_and_the_rest_linked_again(t: Truth) -> Forgery:
    seq = t.rng.choice(t.charges())
    log = relink(entry for entry in t.entries if entry.head.seq != seq)
    return Forgery(write(t.folder / "forged.sqlite", log, t.site.key, t.heads), {})


@forgery(because="has index")
def two_entries_in_each_others_place(t: Truth) -> Forgery:
    log = list(t.entries)
    at = t.rng.randrange(3, len(log) - 1)
    log[at], log[at + 1] = log[at + 1], log[at]
    return Forgery(write(t.folder / "forged.sqlite", log, t.site.key, t.heads), {})


@forgery(because="has index")
def an_index_that_comes_twice(t: Truth) -> Forgery:
    log = list(t.entries)
    at = t.rng.choice(t.charges())
    log[at + 2 if at + 2 < len(log) else at] = replace_head(log[at], seq=at)
    return Forgery(write(t.folder / "forged.sqlite", log, t.site.key, t.heads), {})


@forgery(because="hash chain breaks")
def a_charge_edited_with_its_stored_hash(t: Truth) -> Forgery:
    log = changed(t, lambda c: dataclasses.replace(c, epsilon="0.001"))
    path = write(t.folder / "forged.sqlite", log, t.site.key, t.heads)
    return Forgery(path, {})


@forgery(because="entries were changed")
def a_charge_edited_under_the_old_checkpoint(t: Truth) -> Forgery:
    log = settle(changed(t, lambda c: insider(c, sigma=_wider(c, 50)), t.charges()[0]))
    path = write(t.folder / "forged.sqlite", log, t.site.key)
    head = t.heads[max(t.heads)]
    _sql(path, "update heads set note = :note", note=head)
    return Forgery(path, {})


@forgery(because="out of order")
def two_signed_checkpoints_of_one_size(t: Truth) -> Forgery:
    export = _export_of(t, settled(t, t.entries))
    return Forgery(
        _repacked(t, export, heads=lambda lines: [*lines, lines[-1]]), {"anchors": t.keys}
    )


@forgery(because="names a cosigned checkpoint of size 5")
def a_checkpoint_that_a_charge_names_taken_out(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries, t.site.key, t.heads)
    _sql(path, "delete from heads where size = 5")
    return Forgery(path, {})


@forgery(because="expected 32 for each of 17")
def an_export_that_says_more_entries_than_it_holds(t: Truth) -> Forgery:
    return Forgery(_repacked(t, t.export, entries=lambda lines: lines[:-2]), {})


@forgery(because="hash chain breaks")
def an_export_with_one_entry_of_another_log(t: Truth) -> Forgery:
    other = entries.encode(changed(t, lambda c: insider(c, epsilon="0.1"), 3)[3])
    return Forgery(
        _repacked(t, t.export, entries=lambda lines: [*lines[:3], other, *lines[4:]]), {}
    )


@forgery(because="caps not as the entries say")
def an_export_whose_manifest_raises_the_cap(t: Truth) -> Forgery:
    return Forgery(_repacked(t, t.export, manifest=lambda m: _capped(m)), {})


# --- what a charge says


@forgery(because="the mechanism costs")
def a_charge_of_less_than_its_noise_costs(t: Truth) -> Forgery:
    return settled(
        t,
        changed(
            t,
            lambda c: dataclasses.replace(
                c, event=PrivacyEvent(mechanism="gaussian", mu_squared="1")
            ),
        ),
    )


@forgery(because="do not describe a gaussian charge")
def a_charge_of_nothing(t: Truth) -> Forgery:
    log = settle(t.entries, t.heads)
    seq = t.rng.choice(t.charges())
    data = entries.encode(log[seq])
    document = json.loads(data)
    document["event"]["mu_squared"] = "0"
    lines: list[Entry | bytes] = [*log[:seq], canonical.encode(document), *log[seq + 1 :]]
    return Forgery(write(t.folder / "forged.sqlite", lines, t.site.key), {})


@forgery(because="states a squared sensitivity")
def a_smaller_sensitivity_than_the_blocks_have(t: Truth) -> Forgery:
    share = t.rng.choice([2, 100, 10_000])

    def smaller(charge: Charge) -> Charge:
        mechanism = charge.mechanism
        return insider(
            charge,
            sensitivity_squared=str(int(mechanism.sensitivity_squared) // share),
            sigma=(float.fromhex(mechanism.sigma) / share**0.5).hex(),
        )

    return settled(t, changed(t, smaller))


@forgery(because="states a squared sensitivity")
def a_smaller_sensitivity_under_the_true_noise(t: Truth) -> Forgery:
    return settled(
        t,
        changed(
            t,
            lambda c: insider(
                c, sensitivity_squared=str(int(c.mechanism.sensitivity_squared) // 100)
            ),
        ),
    )


@forgery(because="states a squared sensitivity")
def lighter_blocks_than_the_sensitivity(t: Truth) -> Forgery:
    return settled(
        t,
        changed(
            t,
            lambda c: insider(
                c,
                blocks=tuple(
                    dataclasses.replace(b, weight=b.weight * 2) for b in c.mechanism.blocks
                ),
            ),
        ),
    )


@forgery(because="states a squared sensitivity")
def more_records_of_a_unit_than_the_sensitivity_allows(t: Truth) -> Forgery:
    words = "at most 40 records of a unit count"
    return settled(t, changed(t, lambda c: insider(c, records_per_unit=words, unit="part")))


@forgery(because="promises something to each 'part'")
def a_unit_of_which_each_record_counts(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: insider(c, unit="part")))


@forgery(because="neighbouring relation")
def a_neighbouring_relation_of_its_own(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: insider(c, adjacency="one pixel")))


@forgery(because="for itself")
def a_release_that_states_less_epsilon_than_it_costs(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: dataclasses.replace(c, epsilon="0.05")))


@forgery(because="for itself")
def a_release_that_states_a_larger_delta(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: dataclasses.replace(c, delta="0.5", epsilon="0.05")))


@forgery(because=r"states epsilon 0\.1, which is not that")
def a_spend_that_is_stated_smaller(t: Truth) -> Forgery:
    def smaller(charge: Charge) -> Charge:
        return dataclasses.replace(
            charge, state=dataclasses.replace(charge.state, epsilon_after="0.1")
        )

    t.entries = settle(t.entries)
    return Forgery(write(t.folder / "forged.sqlite", relink(changed(t, smaller)), t.site.key), {})


@forgery(because="charges before is 0")
def a_sum_that_starts_anew(t: Truth) -> Forgery:
    def anew(charge: Charge) -> Charge:
        units = charge.event.mu_squared
        return dataclasses.replace(
            charge,
            state=dataclasses.replace(
                charge.state,
                mu_squared_before="0",
                mu_squared_after=units,
                charges_before=0,
                epsilon_before="0",
                epsilon_after=_epsilon(int(units)),
            ),
        )

    t.entries = settle(t.entries)
    seq = t.rng.choice([x for x in t.charges()[1:] if _named(t, x, "parts")])
    return Forgery(write(t.folder / "forged.sqlite", relink(changed(t, anew, seq)), t.site.key), {})


@forgery(because=r"the cap is 1\.5")
def a_spend_above_the_cap(t: Truth) -> Forgery:
    """Every figure is true; the cap is not kept."""
    with mock.patch.object(type(t.site), "cap", "1.5", create=True):
        log = [
            dataclasses.replace(entry, cap_epsilon="1.5") if isinstance(entry, Dataset) else entry
            for entry in t.entries
        ]
    log = [
        dataclasses.replace(entry, state=dataclasses.replace(entry.state, cap_epsilon="1.5"))
        if isinstance(entry, Charge)
        else entry
        for entry in log
    ]
    return settled(t, log)


# --- releases and files


@forgery(alone=True)
def more_noise_than_the_file_has(t: Truth) -> Forgery:
    """Every release is charged at a small part of what it cost; each charge holds by itself."""
    from tests.common.ledger.conftest import schema

    from wg_common.privacy import mechanism

    sigma = mechanism.sigma_for(schema(), 0.067, 1e-5).hex()
    log = [
        insider(entry, sigma=sigma, epsilon="0.067") if isinstance(entry, Charge) else entry
        for entry in t.entries
    ]
    done = settle(log)
    path = write(t.folder / "forged.sqlite", done, t.site.key)
    return Forgery(path, {"statistics": _with_entries(t, done)})


@forgery(alone=True)
def the_files_of_charges_that_are_left_out(t: Truth) -> Forgery:
    left_out = t.rng.choice(t.charges())
    return settled(t, without(t, left_out), statistics=[t.checkpoint.parent])


@forgery(alone=True)
def a_release_that_is_left_out_so_that_its_charge_looks_burned(t: Truth) -> Forgery:
    charge = t.rng.choice(t.charges())
    log = [e for e in t.entries if not (isinstance(e, Release) and e.charge == charge)]
    return settled(t, log, statistics=[t.checkpoint.parent])


@forgery(alone=True)
def the_charge_of_another_file(t: Truth) -> Forgery:
    """The releases of a cheap and of a dear charge in each other's place."""
    releases = {e.charge: e for e in t.entries if isinstance(e, Release)}
    one, two = releases[3], releases[5]
    log = [
        dataclasses.replace(
            e,
            payload_sha256=(two if e.charge == 3 else one).payload_sha256,
            payload_size=(two if e.charge == 3 else one).payload_size,
        )
        if isinstance(e, Release) and e.charge in (3, 5)
        else e
        for e in t.entries
    ]
    done = settle(log)
    path = write(t.folder / "forged.sqlite", done, t.site.key)
    return Forgery(path, {"statistics": [t.checkpoint.parent]})


@forgery(alone=True)
def one_file_under_two_charges(t: Truth) -> Forgery:
    """A dear release is covered a second time, by a cheap charge."""
    releases = {e.charge: e for e in t.entries if isinstance(e, Release)}
    log = [
        dataclasses.replace(e, payload_sha256=releases[3].payload_sha256)
        if isinstance(e, Release) and e.charge == 5
        else e
        for e in t.entries
    ]
    done = settle(log)
    path = write(t.folder / "forged.sqlite", done, t.site.key)
    return Forgery(path, {"statistics": [t.checkpoint.parent / "03.wgs"]})


@forgery(because="was released at")
def two_releases_of_one_charge(t: Truth) -> Forgery:
    releases = [e for e in t.entries if isinstance(e, Release)]
    one, two = t.rng.sample(releases, 2)
    late = max(one, two, key=lambda e: e.head.seq)
    early = one if late is two else two
    log = [
        dataclasses.replace(e, charge=early.charge, request_id=early.request_id) if e is late else e
        for e in t.entries
        if not (isinstance(e, Charge) and e.head.seq == late.charge)
    ]
    return settled(t, log)


@forgery(because="which is no charge")
def a_release_without_a_charge(t: Truth) -> Forgery:
    charge = t.rng.choice(t.charges())
    log = [
        dataclasses.replace(e, charge=2) if isinstance(e, Release) and e.charge == charge else e
        for e in t.entries
        if not (isinstance(e, Charge) and e.head.seq == charge)
    ]
    return settled(t, log)


@forgery(because="request is 'r9'")
def a_release_of_another_request(t: Truth) -> Forgery:
    charge = t.rng.choice(t.charges())
    log = [
        dataclasses.replace(e, request_id="r9")
        if isinstance(e, Release) and e.charge == charge
        else e
        for e in t.entries
    ]
    return settled(t, log)


# --- lineages and caps


@forgery(because="by its name or its content")
def one_content_in_two_lineages(t: Truth) -> Forgery:
    """Junk under a new name, and then that name for data that were spent."""
    site = dataclasses.replace(t.site, folder=t.folder / "split", memory=None)
    site.folder.mkdir()

    def by_name(self: LedgerState, name: str, commitment: str) -> list[Any]:
        found = [x for x in self.lineages.values() if name in x.names]
        return found or [x for x in self.lineages.values() if commitment in x.commitments]

    with mock.patch.object(LedgerState, "bound_lineages", by_name), site.create() as ledger:
        site.release(ledger, "r1", "2.5")
        site.register(ledger, "fresh", b"junk")
        site.register(ledger, "fresh", b"data")
        _release(site, ledger, site.request("r2", "2.4", "fresh"))
    return Forgery(site.path, {})


@forgery(because="no new budget")
def a_new_budget_for_a_known_name(t: Truth) -> Forgery:
    again = dataclasses.replace(_entry(t, Dataset), lineage="f" * 16)
    return settled(t, [*t.entries, again])


@forgery(because="lineage is")
def a_charge_to_another_lineage(t: Truth) -> Forgery:
    welds = next(e for e in t.entries if isinstance(e, Dataset) and e.name == "welds")
    seq = t.rng.choice([x for x in t.charges() if x > welds.head.seq and _named(t, x, "parts")])
    return settled(t, changed(t, lambda c: dataclasses.replace(c, lineage=welds.lineage), seq))


@forgery(because="is not registered")
def a_charge_of_data_that_were_never_registered(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: dataclasses.replace(c, dataset="ghosts")))


@forgery(because="commitment is")
def a_charge_of_other_content(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: dataclasses.replace(c, commitment="00" * 32)))


@forgery(because="cap .30, 1e-5., but lineage")
def a_cap_that_is_raised_later(t: Truth) -> Forgery:
    raised = dataclasses.replace(_entry(t, Dataset), cap_epsilon="30")
    return settled(t, [*t.entries, raised])


@forgery(because=r"cap .3, 0\.1., but lineage")
def a_cap_at_a_larger_delta_later(t: Truth) -> Forgery:
    raised = dataclasses.replace(_entry(t, Dataset), cap_delta="0.1")
    return settled(t, [*t.entries, raised])


@forgery(because="cap epsilon is '30'")
def a_charge_under_a_cap_of_its_own(t: Truth) -> Forgery:
    def own(charge: Charge) -> Charge:
        return dataclasses.replace(
            charge, state=dataclasses.replace(charge.state, cap_epsilon="30")
        )

    return settled(t, changed(t, own))


@forgery(because="refresh rule")
def a_budget_that_comes_back_each_year(t: Truth) -> Forgery:
    log = [
        dataclasses.replace(e, refresh_rule="yearly") if isinstance(e, Dataset) else e
        for e in t.entries
    ]
    return settled(t, log)


# --- successors


@forgery(alone=True)
def a_new_log_that_names_none_before_it(t: Truth) -> Forgery:
    return Forgery(
        _successor(t, None),
        {"server": _saw_successor(t, "budget unknown")},
    )


@forgery(alone=True)
def a_new_log_beside_a_checkpoint_of_the_old_one(t: Truth) -> Forgery:
    return Forgery(_successor(t, None), {"checkpoints": [t.checkpoint]})


@forgery(alone=True)
def a_successor_that_forgets_the_spend(t: Truth) -> Forgery:
    old = recovery.predecessor(t.site.path, "lost")
    spends = tuple(dataclasses.replace(x, events=(), charges=0) for x in old.spends)
    path = _successor(t, dataclasses.replace(old, spends=spends))
    return Forgery(path, {"previous": [t.site.path]})


@forgery(alone=True)
def a_successor_that_leaves_out_a_lineage(t: Truth) -> Forgery:
    old = recovery.predecessor(t.site.path, "lost")
    path = _successor(t, dataclasses.replace(old, spends=old.spends[:1]))
    return Forgery(path, {"previous": [t.site.path]})


@forgery(alone=True)
def a_successor_of_an_older_state(t: Truth) -> Forgery:
    early = write(t.folder / "early.sqlite", t.entries[:5], t.site.key, t.heads)
    path = _successor(t, recovery.predecessor(early, "lost"))
    return Forgery(
        path, {"previous": [early], "server": _saw_successor(t, "names its predecessor")}
    )


@forgery(alone=True)
def a_successor_of_a_log_that_was_made_up(t: Truth) -> Forgery:
    log = settle(without(t, *t.charges()))
    invented = write(t.folder / "invented.sqlite", log, t.site.key, watcher=t.site.signing_key)
    path = _successor(t, recovery.predecessor(invented, "lost"))
    anchors = Anchors(witnesses=t.keys.witnesses)
    return Forgery(path, {"anchors": anchors, "previous": [invented]})


@forgery(because="entry 0: .*no signature of")
def a_predecessors_checkpoint_that_its_key_did_not_sign(t: Truth) -> Forgery:
    old = recovery.predecessor(t.site.path, "lost")
    other = dataclasses.replace(old, key=signing.public_bytes(t.site.witness_key).hex())
    with mock.patch.object(LedgerState, "_check_predecessor", lambda self, found: None):
        return Forgery(_successor(t, other), {})


@forgery(because="in two lineages")
def a_spend_inherited_twice_so_that_one_hides_the_other(t: Truth) -> Forgery:
    old = recovery.predecessor(t.site.path, "lost")
    twin = dataclasses.replace(
        old.spends[0], names=("x",), commitments=("00" * 32,), events=(), charges=0
    )
    with mock.patch.object(LedgerState, "apply", _unchecked_genesis(LedgerState.apply)):
        path = _successor(t, dataclasses.replace(old, spends=(*old.spends, twin)))
    return Forgery(path, {})


# --- DP-SGD: slow to account, so these make logs of their own


def training(
    t: Truth, change: Callable[[ChargeRequest], ChargeRequest], steps: int = 100
) -> Forgery:
    """A log with one DP-SGD run, charged in another way than its contribution was made."""
    site = dataclasses.replace(t.site, folder=t.folder / "training", memory=None)
    site.folder.mkdir()
    true = site.training(steps=steps)
    data = site.contribution(true)
    with mock.patch("wg_common.ledger.state.check_mechanism", lambda entry: None):
        site.create().close()
        with Ledger.open(site.path, site.key, accountant=_free) as ledger:
            seq = ledger.charge(change(true)).seq
            ledger.record_release(seq, data)
    path = site.folder / "t1.wgc"
    path.write_bytes(data)
    return Forgery(site.path, {"statistics": [path]})


@forgery(because="event is .*steps=2")
def fewer_steps_of_training_than_were_made(t: Truth) -> Forgery:
    def fewer(request: ChargeRequest) -> ChargeRequest:
        event = dataclasses.replace(request.event, steps=2)
        words = request.mechanism.subsampling.replace("100 steps", "2 steps")
        mechanism = dataclasses.replace(request.mechanism, subsampling=words)
        return dataclasses.replace(request, event=event, mechanism=mechanism)

    return training(t, fewer)


@forgery(because="its mechanism says")
def steps_that_the_mechanism_does_not_have(t: Truth) -> Forgery:
    return training(
        t, lambda r: dataclasses.replace(r, event=dataclasses.replace(r.event, steps=2))
    )


@forgery(because="noise multiplier")
def more_noise_in_training_than_the_mechanism_has(t: Truth) -> Forgery:
    return training(
        t,
        lambda r: dataclasses.replace(
            r, event=dataclasses.replace(r.event, noise_multiplier="15.0")
        ),
    )


@forgery(because="mechanism is 'dp-sgd' on the ledger")
def statistics_that_are_charged_as_training(t: Truth) -> Forgery:
    """A dear release under a DP-SGD charge that costs little and holds by itself."""
    site = dataclasses.replace(t.site, folder=t.folder / "training", memory=None)
    site.folder.mkdir()
    run = site.training("r1", "0.9")
    site.create().close()
    with Ledger.open(site.path, site.key, accountant=_free) as ledger:
        seq = ledger.charge(run).seq
        ledger.record_release(seq, site.payload(site.request("r1", "2.5")))
        data = statistics_file.encode_covered(covered(ledger, seq))
    path = site.folder / "r1.wgs"
    path.write_bytes(data)
    return Forgery(site.path, {"statistics": [path]})


@forgery(because=r"epsilon is '0\.01' on the ledger")
def training_that_states_less_than_it_costs(t: Truth) -> Forgery:
    return training(t, lambda r: dataclasses.replace(r, epsilon="0.01"))


def _free(events: object, delta: float) -> float:
    del events, delta
    return 0.0


# --- inside


def _entry(t: Truth, kind: type[Any]) -> Any:
    return next(entry for entry in t.entries if isinstance(entry, kind))


def _named(t: Truth, seq: int, name: str) -> bool:
    entry = t.entries[seq]
    return isinstance(entry, Charge) and entry.dataset == name


def _wider(charge: Charge, times: float) -> str:
    return (float.fromhex(charge.mechanism.sigma) * times).hex()


def _sql(path: Path, *statements: str, **values: bytes) -> None:
    with sqlite3.connect(path) as raw:
        for statement in statements:
            raw.execute(statement, values)
    raw.close()


def _edit_head(path: Path, change: Callable[[notes.Note], notes.Note]) -> None:
    """Change the newest checkpoint of a ledger file."""
    with sqlite3.connect(path) as raw:
        size, data = raw.execute("select max(size), note from heads").fetchone()
        note = change(checkpoints.decode(data)[1]).encode()
        raw.execute("update heads set note = ? where size = ?", (note, size))
    raw.close()


def _rotated(t: Truth, *, old: Ed25519PrivateKey) -> Path:
    """An empty log that rotates to a key of the forger's; ``old`` signs for the old key."""
    new = t.site.signing_key
    log = settle(t.entries[:3])
    identifier = notes.key_id(ORIGIN, notes.ED25519, signing.public_bytes(new)).hex()
    head = dataclasses.replace(
        log[-1].head,
        kind=entries.ROTATION,
        seq=3,
        prev=merkle.leaf_hash(entries.encode(log[-1])).hex(),
        key_id=identifier,
    )
    keys = signing.public_bytes(t.site.key).hex(), signing.public_bytes(new).hex()
    statement = entries.rotation_statement(head, *keys)
    rotation = Rotation(
        head=head,
        new_key=keys[1],
        old_signature=signing.sign(old, ROTATION_CONTEXT, statement).hex(),
        new_signature=signing.sign(new, ROTATION_CONTEXT, statement).hex(),
    )
    return write(t.folder / "forged.sqlite", [*log, rotation], new)


def _successor(t: Truth, old: Any, key: Ed25519PrivateKey | None = None) -> Path:
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
        new.enrol_witness(NAME, signing.public_bytes(t.site.witness_key))
        note = checkpoints.decode(new.checkpoint())[1]
        line = checkpoints.cosign(note, NAME, t.site.witness_key, WHEN)
        new.add_cosignature(note.with_signatures([line]).encode(), NAME)
    return path


def _saw_successor(t: Truth, word: Any) -> Path:
    """The server's folder after the site enrolled again with the new log."""
    with sqlite3.connect(t.folder / "successor.sqlite") as raw:
        (data,) = raw.execute("select note from heads order by size desc limit 1").fetchone()
    raw.close()
    record = dataclasses.replace(t.exported, folder=t.folder / "server", logs=list(t.exported.logs))
    record.saw(NEW_ORIGIN, t.site.signing_key, bytes(data), word)
    return record.folder


def _unchecked_genesis(apply: Callable[..., Entry]) -> Callable[..., Entry]:
    """A writer that takes any first entry."""

    def unchecked(self: LedgerState, data: bytes) -> Entry:
        entry = entries.decode(data)
        if isinstance(entry, Genesis) and entry.predecessor is not None:
            bare = dataclasses.replace(entry, predecessor=None)
            apply(self, entries.encode(bare))
            leaf = merkle.leaf_hash(data)
            self.prev, self.leaves, self.frontier = leaf, [leaf], merkle.Frontier()
            self.frontier.append(leaf)
            return entry
        return apply(self, data)

    return unchecked


def _with_entries(t: Truth, log: list[Entry]) -> list[Path]:
    """The received files, each with the forged log's entries in place of its own."""
    folder = t.folder / "received"
    folder.mkdir()
    releases = {e.charge: e for e in log if isinstance(e, Release)}
    for charge in t.charges():
        found = statistics_file.decode_covered(
            (t.checkpoint.parent / f"{charge:02}.wgs").read_bytes()
        )
        found = dataclasses.replace(
            found,
            charge_entry=entries.encode(log[charge]),
            release_entry=entries.encode(releases[charge]),
        )
        (folder / f"{charge:02}.wgs").write_bytes(statistics_file.encode_covered(found))
    return [folder]


def _export_of(t: Truth, forged: Forgery) -> Path:
    out = t.folder / "forged.wgl"
    exports.write(forged.path, out)
    return out


def _capped(manifest: bytes) -> bytes:
    document = json.loads(manifest)
    for cap in document["caps"]:
        cap["cap_epsilon"] = "30"
    return canonical.encode(document)


def _repacked(
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
        kind=LEDGER_KIND,
        version=exports.VERSION,
        names=exports.SECTIONS,
        limit=1 << 30,
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
    out.write_bytes(container.encode(LEDGER_KIND, exports.VERSION, sections))
    return out
