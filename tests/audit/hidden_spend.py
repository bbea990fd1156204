"""A hundred ways to forget spend, for tests: successions, folders, clocks, endless files.

The forger is the plant, here and there with the operator's help: true keys, an honest witness. Each
kind has ten seeds. What comes of each is an auditor's command line.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.audit.workshop import (
    DAY,
    NEW_ORIGIN,
    WHEN,
    Truth,
    covered,
    epsilon_of,
    insider,
    make_release,
    settle,
    wider,
    without,
    write,
)
from tests.core.ledger.conftest import ORIGIN, WITNESS, closed_form, cosign_newest

from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import export as exports
from wg_core.ledger import log_succession
from wg_core.ledger import signed_note as notes
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.entries import Charge, InheritedSpend, Predecessor
from wg_core.wire import bundle, signing
from wg_core.wire.signing import PrivateKey

Words = list[str]
Hide = Callable[[Truth], Words]
KINDS: dict[str, Hide] = {}
SEEDS = range(10)


def kind(hide: Hide) -> Hide:
    """Put a kind on the list."""
    KINDS[hide.__name__.replace("_", " ")] = hide
    return hide


# --- what an auditor is given


def keys(t: Truth, ledger: PrivateKey | None = None) -> Words:
    """The true keys, got by telephone."""
    ledger_key = signing.public_bytes(ledger or t.site.key).hex()
    witness_key = signing.public_bytes(t.site.witness_key).hex()
    return ["--ledger-key", ledger_key, "--witness-key", f"{WITNESS}={witness_key}"]


def folder_of(t: Truth) -> Path:
    """The server's folder, for a forger to change."""
    folder = t.folder / "evidence"
    shutil.copytree(t.exported.folder, folder)
    return folder


# --- successions: the plant enrolled again, and the new log has one release


def succession(t: Truth, old: Predecessor | None) -> Words:
    """A new log after ``old``, and, by the seed, one of four sets of evidence about it."""
    key = t.site.signing_key
    path = t.folder / "successor.sqlite"
    folder = folder_of(t)
    with Ledger.create(
        path, origin=NEW_ORIGIN, key=key, site="plant-a", predecessor=old, clock=lambda: WHEN
    ) as new:
        new.accountant = closed_form
        new.enrol_witness(WITNESS, signing.public_bytes(t.site.witness_key))
        t.site.register(new, "parts")
        charge = make_release(t.site, new, t.site.request("n1", "0.2"))
        checkpoint = cosign_newest(new, t.site.witness_key, WHEN)
        data = bundle.encode(covered(new, charge))
    (folder / "plant-a" / "new.wgs").write_bytes(data)
    record = dataclasses.replace(t.exported, folder=folder, logs=list(t.exported.logs))
    record.saw(NEW_ORIGIN, key, checkpoint, "names its predecessor")
    words = ["verify", str(path)]
    if t.rng.random() < 0.25:
        return [*words, *keys(t, key)]
    words += ["--server", str(folder)]
    if t.rng.random() < 0.3:
        words += ["--previous", str(t.site.path)]
    elif t.rng.random() < 0.5:
        exports.write_export(t.site.path, folder / "plant-a" / "before.wgl")
    else:
        for path in (folder / "plant-a").glob("0*.wgs"):
            if t.rng.random() < 0.7:
                path.unlink()
    return words


@kind
def succession_without_inheritance(t: Truth) -> Words:
    """The true predecessor's last checkpoint, and nothing of what it had spent."""
    old = log_succession.read_predecessor(t.site.path, "lost")
    nothing = tuple(dataclasses.replace(x, events=(), charges=0) for x in old.spends)
    return succession(t, dataclasses.replace(old, spends=t.rng.choice([(), nothing])))


@kind
def partial_inheritance(t: Truth) -> Words:
    """A lineage, a charge, a share of the cost, or a name and content less."""
    old = log_succession.read_predecessor(t.site.path, "lost")
    spends = list(old.spends)
    at = t.rng.randrange(len(spends))
    change = t.rng.choice([_without_it, _cheaper, _fewer, _under_another_name])
    spends[at : at + 1] = change(t, spends[at])
    return succession(t, dataclasses.replace(old, spends=tuple(spends)))


def _without_it(t: Truth, spend: InheritedSpend) -> list[InheritedSpend]:
    return []


def _cheaper(t: Truth, spend: InheritedSpend) -> list[InheritedSpend]:
    share = t.rng.choice([0.05, 0.5, 0.9])
    (event,) = spend.events
    less = dataclasses.replace(event, mu_squared=str(max(1, int(int(event.mu_squared) * share))))
    return [dataclasses.replace(spend, events=(less,))]


def _fewer(t: Truth, spend: InheritedSpend) -> list[InheritedSpend]:
    (event,) = spend.events
    less = dataclasses.replace(event, mu_squared=str(int(event.mu_squared) - 1))
    return [dataclasses.replace(spend, events=(less,), charges=spend.charges - 1)]


def _under_another_name(t: Truth, spend: InheritedSpend) -> list[InheritedSpend]:
    """The data set begins a budget of its own."""
    return [dataclasses.replace(spend, names=("elsewhere",), commitments=("00" * 32,))]


@kind
def invented_predecessors(t: Truth) -> Words:
    """A log that never was, under the true key, cosigned by a key of the forger's."""
    log = settle(without(t, *t.rng.sample(t.charges(), t.rng.randint(2, 6))))
    invented = write(t.folder / "invented.sqlite", log, t.site.key, watcher=t.site.signing_key)
    words = succession(t, log_succession.read_predecessor(invented, "lost"))
    if "--previous" not in words:
        words += ["--previous", str(invented)]
    return words


@kind
def older_predecessors(t: Truth) -> Words:
    """The predecessor as the witness saw it earlier."""
    size = t.rng.choice([5, 10])
    early = write(t.folder / "early.sqlite", t.entries[:size], t.site.key, t.heads)
    words = succession(t, log_succession.read_predecessor(early, "lost"))
    if "--server" not in words or t.rng.random() < 0.5:
        words += ["--previous", str(early)]
    return words


# --- files


def restated(t: Truth, charges: list[int], folder: Path) -> Path:
    """A log that charges less for some releases; the operator helps, and has it cosigned."""
    log = [
        insider(entry, sigma=wider(entry, 20), epsilon=_epsilon(entry))
        if isinstance(entry, Charge) and entry.head.seq in charges
        else entry
        for entry in t.entries
    ]
    path = write(t.folder / "restated.sqlite", settle(log), t.site.key, watcher=t.site.witness_key)
    with closing(sqlite3.connect(path)) as raw:
        (note,) = raw.execute("select note from heads order by size desc limit 1").fetchone()
    record = dataclasses.replace(t.exported, folder=folder, logs=[])
    record.saw(ORIGIN, t.site.key, bytes(note))
    _without_files(t, folder, charges)
    return path


def _epsilon(charge: Charge) -> str:
    """Epsilon of the charge alone with twenty times the noise."""
    return epsilon_of(int(insider(charge, sigma=wider(charge, 20)).event.mu_squared))


def _without_files(t: Truth, folder: Path, charges: list[int]) -> None:
    for seq in charges:
        (folder / "plant-a" / f"{seq:02}.wgs").unlink()


def some(t: Truth) -> list[int]:
    """Some of the releases, at least one."""
    return t.rng.sample(t.charges(), t.rng.randint(1, len(t.charges())))


@kind
def missing_files(t: Truth) -> Words:
    """Releases that cost more than is charged, and whose files nobody has."""
    folder = folder_of(t)
    charges = some(t)
    if t.rng.random() < 0.3:
        _without_files(t, folder, charges)
        path = t.export
    else:
        charges = t.charges()  # entries before a changed charge are in the files' proofs
        path = restated(t, charges, folder)
    return ["verify", str(path), "--server", str(folder)]


@kind
def doubled_files(t: Truth) -> Words:
    """One file stands for several."""
    folder = folder_of(t)
    kept, *gone = t.rng.sample(t.charges(), t.rng.randint(2, 6))
    _without_files(t, folder, gone)
    source = folder / "plant-a" / f"{kept:02}.wgs"
    for seq in gone:
        shutil.copy(source, source.with_name(f"{seq:02}.wgs"))
    return ["verify", str(t.export), "--server", str(folder)]


@kind
def hidden_files(t: Truth) -> Words:
    """The files of releases that the log leaves out are there, where nobody looks."""
    folder = folder_of(t)
    charges = t.charges()
    names = [f"{seq:02}.wgs" for seq in charges]
    hidden = t.rng.choice(["sub", "upper", "suffix", "above", "dot"])
    place = folder / "plant-a"
    for name in names:
        target = {
            "sub": place / "more" / name,
            "upper": place / name.upper(),
            "suffix": place / f"{name}.bak",
            "above": folder / name,
            "dot": place / f".{name}.part",
        }[hidden]
        target.parent.mkdir(exist_ok=True)
        (place / name).rename(target)
    path = write(
        t.folder / "short.sqlite",
        settle(without(t, *charges)),
        t.site.key,
        watcher=t.site.witness_key,
    )
    with closing(sqlite3.connect(path)) as raw:
        (note,) = raw.execute("select note from heads order by size desc limit 1").fetchone()
    record = dataclasses.replace(t.exported, folder=folder, logs=[])
    record.saw(ORIGIN, t.site.key, bytes(note))
    return ["verify", str(path), "--server", str(folder)]


# --- clocks


@kind
def cosignatures_from_the_future(t: Truth) -> Words:
    """A copy of last year, cosigned in a year to come; or the only new time is of who lags."""
    size = t.rng.choice([5, 10])
    path = write(t.folder / "old.sqlite", t.entries[:size], t.site.key, t.heads)
    note = checkpoints.decode(t.heads[size])[1]
    current_time = int(time.time())
    age = ["--max-age", t.rng.choice(["1d", "30d"])]
    if t.rng.random() < 0.5:
        when = t.rng.choice([current_time + DAY, current_time + 366 * DAY, 3_976_214_400, 1 << 62])
        signed = note.replace_signatures(
            checkpoints.cosign(note, WITNESS, t.site.witness_key, when)
        )
        target = t.folder / "future.note"
        target.write_bytes(signed.encode())
        words = ["verify", str(path), *keys(t), "--checkpoint", str(target)]
        return words + (age if t.rng.random() < 0.5 else [])
    second = t.site.signing_key
    lagging = checkpoints.decode(t.heads[5])[1]
    own = tuple(x for x in lagging.signatures if x.name == ORIGIN)
    lines = checkpoints.cosign(lagging, "second.example/w", second, current_time - 60)
    target = t.folder / "lagging.note"
    target.write_bytes(notes.Note(lagging.text, (*own, *lines)).encode())
    later = write(t.folder / "later.sqlite", t.entries[:10], t.site.key, t.heads)
    other = f"second.example/w={signing.public_bytes(second).hex()}"
    words = ["verify", str(later), *keys(t), "--witness-key", other, "--witnesses", "1"]
    return [*words, "--checkpoint", str(target), *age]


# --- what never ends


@kind
def pipes_and_devices(t: Truth) -> Words:
    """A pipe that nobody writes to, or a device that never ends, in a file's place."""
    folder = folder_of(t)
    place = folder / "plant-a"
    ledger = t.folder / "home" / "ledger.sqlite"
    ledger.parent.mkdir()
    shutil.copy(t.site.path, ledger)
    spots: list[tuple[Path, Words]] = [
        (place / "x.wgs", ["verify", str(t.export), "--server", str(folder)]),
        (t.folder / "x.wgs", ["verify", str(t.export), "--statistics", str(t.folder / "x.wgs")]),
        (folder / "sites.json", ["verify", str(t.export), "--server", str(folder)]),
        (place / "checkpoint.note", ["verify", str(t.export), "--server", str(folder)]),
        (t.folder / "log.wgl", ["verify", str(t.folder / "log.wgl")]),
        (t.folder / "log.sqlite", ["verify", str(t.folder / "log.sqlite")]),
        (ledger.with_name("ledger.sqlite-wal"), ["verify", str(ledger.parent)]),
        (ledger.with_name("budget-of.json"), ["verify", str(ledger.parent)]),
        (t.folder / "n.note", ["verify", str(t.export), "--checkpoint", str(t.folder / "n.note")]),
        (t.folder / "p.wgl", ["verify", str(t.export), "--previous", str(t.folder / "p.wgl")]),
    ]
    path, words = spots[t.rng.seed_number % len(spots)]  # type: ignore[attr-defined]
    path.unlink(missing_ok=True)
    if path.suffix in (".wgl", ".note") and t.rng.random() < 0.5:
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    return words


_ENDLESS = "with recursive n(i) as (select 0 union all select i + 1 from n) select {columns} from n"
_COLUMNS = {
    "entries": "i as seq, x'' as entry, x'' as hash",
    "heads": "i as size, x'' as note, 0 as cosigned",
    "outbox": "i as charge, x'' as payload",
}


@kind
def views_and_other_schemas(t: Truth) -> Words:
    """A ledger one of whose tables is a query that goes on for ever, or something beside them."""
    path = t.folder / "view.sqlite"
    shutil.copy(t.site.path, path)
    table = t.rng.choice(list(_COLUMNS))
    endless = _ENDLESS.format(columns=_COLUMNS[table])
    nothing = f"{endless} where i < 0"
    changes = [
        [f"drop table {table}", f"create view {table} as {endless}"],
        [f"drop table {table}", f"create view {table} as {nothing}"],
        [
            f"alter table {table} rename to kept",
            f"create view {table} as select * from kept union all select * from ({endless})",
        ],
        ["create view more as " + endless],
        ["create trigger late after insert on entries begin select 1; end"],
        [f"create index slow on {table}((zeroblob(1000000)))"],
        [f"alter table {table} add column more blob generated always as (zeroblob(900000000))"],
        ["create table other(x)"],
        [f"drop table {table}"],
        ["insert into heads values (999, zeroblob(200000000), 0)"],
    ]
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in changes[t.rng.seed_number % len(changes)]:  # type: ignore[attr-defined]
            raw.execute(statement)
    return ["verify", str(path), *keys(t)]
