"""Forged logs, for tests: what a plant or a thief could hand to an auditor.

``Truth`` is what really happened; each forgery is a log (and sometimes files) that tells less of
it. One that is marked ``alone`` holds perfectly by itself: only what came from elsewhere can refute
it.
"""

# long: one list, so that a reader sees at once what is missing

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

from tests.audit.workshop import (
    DAY,
    NEW_ORIGIN,
    WHEN,
    Forgery,
    Truth,
    changed,
    edit_head,
    epsilon_of,
    export_of,
    first_of,
    insider,
    make_release,
    named,
    of_another_root,
    relink,
    repacked,
    replace_head,
    rotated,
    saw_successor,
    settle,
    settled,
    sql,
    successor,
    unchecked_genesis,
    wider,
    with_entries,
    without,
    write,
)
from tests.core.ledger.conftest import ORIGIN, WITNESS

from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import entries, log_succession
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import Charge, Dataset, Entry, Genesis, Release
from wg_core.ledger.log_state import LedgerState
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import canonical, signing

Forge = Callable[[Truth], Forgery]
FORGERIES: dict[str, Forge] = {}
ALONE: set[str] = set()
BECAUSE: dict[str, str] = {}


def forgery(because: str, *, alone: bool = False) -> Callable[[Forge], Forge]:
    """Put a forgery on the list.

    Args:
        because: Why it must be refused, as a pattern: not for bad workmanship.
        alone: It holds by itself.
    """

    def add(forge: Forge) -> Forge:
        name = forge.__name__.replace("_", " ")
        FORGERIES[name], BECAUSE[name] = forge, because
        if alone:
            ALONE.add(name)
        return forge

    return add


# --- whose log it is


@forgery("0 of 1 known witnesses", alone=True)
def an_empty_log_cosigned_by_a_key_of_its_own(t: Truth) -> Forgery:
    witness = dataclasses.replace(
        first_of(t, entries.Witness), public_key=signing.public_bytes(t.site.signing_key).hex()
    )
    log = settle([t.entries[0], witness, t.entries[2]])
    path = write(t.folder / "forged.sqlite", log, t.site.key, watcher=t.site.signing_key)
    return Forgery(path, {"anchors": t.keys})


@forgery("0 of 1 known witnesses", alone=True)
def an_empty_log_that_enrols_the_true_witness_and_another_of_its_name(t: Truth) -> Forgery:
    true = first_of(t, entries.Witness)
    own = dataclasses.replace(true, public_key=signing.public_bytes(t.site.signing_key).hex())
    log = settle([t.entries[0], true, own, t.entries[2]])
    path = write(t.folder / "forged.sqlite", log, t.site.key, watcher=t.site.signing_key)
    return Forgery(path, {"anchors": t.keys})


@forgery("0 of 1 known witnesses", alone=True)
def spends_left_out_and_cosigned_by_a_key_of_its_own(t: Truth) -> Forgery:
    own = dataclasses.replace(
        first_of(t, entries.Witness), public_key=signing.public_bytes(t.site.signing_key).hex()
    )
    kept = without(t, *t.rng.sample(t.charges(), 3))
    log = settle([t.entries[0], own, *kept[2:]])
    path = write(t.folder / "forged.sqlite", log, t.site.key, watcher=t.site.signing_key)
    return Forgery(path, {"anchors": t.keys})


@forgery("the log is signed by .* expected", alone=True)
def a_log_of_a_thief_under_another_key(t: Truth) -> Forgery:
    key = t.site.signing_key
    public = signing.public_bytes(key)
    identifier = notes.key_ids(ORIGIN, notes.LOG_ROLE, key.public_key())[0].hex()
    first = t.entries[0]
    log = [dataclasses.replace(first_of(t, Genesis), ledger_key=public.hex()), *t.entries[1:3]]
    done = settle([replace_head(entry, key_id=identifier) for entry in log])
    assert isinstance(first, Genesis)
    path = write(t.folder / "forged.sqlite", done, key)
    return Forgery(path, {"anchors": TrustAnchors(ledger_key=t.keys.ledger_key)})


@forgery("cosignature of .* does not hold", alone=True)
def a_cosignature_of_another_log(t: Truth) -> Forgery:
    """The witness did cosign something of this site; the log does not name the witness."""
    log = settle([t.entries[0], t.entries[2]])
    path = write(t.folder / "forged.sqlite", log, t.site.key)
    other = checkpoints.sign(Checkpoint(NEW_ORIGIN, len(log), bytes(32)), [t.site.key])
    lines = checkpoints.cosign(other, WITNESS, t.site.witness_key, WHEN)
    edit_head(path, lambda note: note.with_signatures(lines))
    return Forgery(path, {"anchors": t.keys})


@forgery("cosignature of .* does not hold")
def a_true_cosignature_pasted_on_another_size(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", settle(t.entries[:3]), t.site.key)
    lines = [x for x in checkpoints.decode(t.heads[5])[1].signatures if x.name == WITNESS]
    edit_head(path, lambda note: note.with_signatures(lines))
    return Forgery(path, {"anchors": t.keys})


@forgery("cosignature of .* does not hold")
def a_cosignature_whose_time_was_changed(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries, t.site.key, t.heads)

    def later(note: notes.Note) -> notes.Note:
        lines = tuple(
            dataclasses.replace(x, signature=(WHEN + 9 * DAY).to_bytes(8, "big") + x.signature[8:])
            if x.name == WITNESS
            else x
            for x in note.signatures
        )
        return dataclasses.replace(note, signatures=lines)

    edit_head(path, later)
    return Forgery(path, {"anchors": t.keys, "max_age": DAY, "current_time": WHEN + 9 * DAY})


@forgery("1 of 2 known witnesses", alone=True)
def a_second_witness_that_is_the_forger(t: Truth) -> Forgery:
    """Two of two are asked for; one is the true one, the other signed nothing."""
    other = TrustedWitness("second.example/w", signing.public_bytes(t.site.signing_key))
    anchors = dataclasses.replace(t.keys, witnesses=(*t.keys.witnesses, other))
    return Forgery(t.export, {"anchors": anchors})


@forgery("ledger-rotation: the signature does not hold")
def a_rotation_that_the_old_key_did_not_sign(t: Truth) -> Forgery:
    return Forgery(rotated(t, old=t.site.signing_key), {"anchors": t.keys})


@forgery("0 of 1 known witnesses", alone=True)
def an_empty_log_under_a_key_that_the_true_one_rotated_to(t: Truth) -> Forgery:
    """The rotation is true, and nothing else: the witness never saw this log."""
    return Forgery(rotated(t, old=t.site.key), {"anchors": t.keys})


# --- which copy it is


@forgery("this copy is older than the checkpoint", alone=True)
def an_old_export(t: Truth) -> Forgery:
    size = t.rng.choice([5, 10])
    path = write(t.folder / "forged.sqlite", t.entries[:size], t.site.key, t.heads)
    return Forgery(path, {"anchors": t.keys, "checkpoints": [t.checkpoint]})


@forgery("what was spent in between is left out", alone=True)
def an_old_export_beside_the_servers_record(t: Truth) -> Forgery:
    path = write(t.folder / "forged.sqlite", t.entries[:10], t.site.key, t.heads)
    return Forgery(path, {"server": t.exported.folder})


@forgery("at most 604800 s are accepted", alone=True)
def a_stale_log_where_a_fresh_one_is_asked_for(t: Truth) -> Forgery:
    return Forgery(
        t.export, {"anchors": t.keys, "max_age": 7 * DAY, "current_time": WHEN + 30 * DAY}
    )


@forgery("covers 17 entries, the log given has 13", alone=True)
def the_tail_told_anew_after_a_true_checkpoint(t: Truth) -> Forgery:
    """Cosigned up to entry 10, and from there another story with fewer charges."""
    late = [seq for seq in t.charges() if seq >= 10]
    return settled(
        t, without(t, *t.rng.sample(late, 2)), anchors=t.keys, checkpoints=[t.checkpoint]
    )


@forgery("there are two histories", alone=True)
def a_tail_that_is_longer_than_the_true_one(t: Truth) -> Forgery:
    late = [seq for seq in t.charges() if seq >= 10]
    filler = first_of(t, entries.Witness)
    log = [*without(t, *late), *(filler for _ in range(9))]
    return settled(t, log, anchors=t.keys, checkpoints=[t.checkpoint])


@forgery("carries another charge entry", alone=True)
def a_burned_charge_that_is_hidden(t: Truth) -> Forgery:
    burned = [
        e.head.seq for e in t.entries if isinstance(e, Charge) and e.head.seq not in t.payloads
    ]
    return settled(t, without(t, *burned), server=t.exported.folder)


@forgery("knows no site 'plant-b'", alone=True)
def another_sites_log(t: Truth) -> Forgery:
    genesis = dataclasses.replace(first_of(t, Genesis), site="plant-b")
    return settled(t, [genesis, *t.entries[1:3]], server=t.exported.folder)


@forgery("never saw log", alone=True)
def another_log_of_the_site_under_the_same_key(t: Truth) -> Forgery:
    return Forgery(successor(t, None, key=t.site.key), {"server": t.exported.folder})


# --- bytes


@forgery("which is no charge")
def an_entry_taken_out_and_the_rest_linked_again(t: Truth) -> Forgery:
    seq = t.rng.choice(t.charges())
    log = relink(entry for entry in t.entries if entry.head.seq != seq)
    return Forgery(write(t.folder / "forged.sqlite", log, t.site.key, t.heads), {})


@forgery("has index")
def an_index_that_comes_twice(t: Truth) -> Forgery:
    log = list(t.entries)
    at = t.rng.choice(t.charges())
    log[at + 2 if at + 2 < len(log) else at] = replace_head(log[at], seq=at)
    return Forgery(write(t.folder / "forged.sqlite", log, t.site.key, t.heads), {})


@forgery("hash chain breaks")
def a_charge_edited_with_its_stored_hash(t: Truth) -> Forgery:
    log = changed(t, lambda c: dataclasses.replace(c, epsilon="0.001"))
    path = write(t.folder / "forged.sqlite", log, t.site.key, t.heads)
    return Forgery(path, {})


@forgery("entries were changed")
def a_charge_edited_under_the_old_checkpoint(t: Truth) -> Forgery:
    log = settle(changed(t, lambda c: insider(c, sigma=wider(c, 50)), t.charges()[0]))
    path = write(t.folder / "forged.sqlite", log, t.site.key)
    head = t.heads[max(t.heads)]
    sql(path, "update heads set note = :note", note=head)
    return Forgery(path, {})


@forgery("out of order")
def two_signed_checkpoints_of_one_size(t: Truth) -> Forgery:
    export = export_of(t, settled(t, t.entries))
    return Forgery(
        repacked(t, export, heads=lambda lines: [*lines, lines[-1]]), {"anchors": t.keys}
    )


@forgery("expected 32 for each of 17")
def an_export_that_says_more_entries_than_it_holds(t: Truth) -> Forgery:
    return Forgery(repacked(t, t.export, entries=lambda lines: lines[:-2]), {})


@forgery("hash chain breaks")
def an_export_with_one_entry_of_another_log(t: Truth) -> Forgery:
    other = entries.encode(changed(t, lambda c: insider(c, epsilon="0.1"), 3)[3])
    return Forgery(repacked(t, t.export, entries=lambda lines: [*lines[:3], other, *lines[4:]]), {})


@forgery("root not as the entries say")
def an_export_whose_manifest_names_another_root(t: Truth) -> Forgery:
    return Forgery(repacked(t, t.export, manifest=of_another_root), {})


# --- what a charge says


@forgery("the mechanism costs")
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


@forgery("mu_squared is 0, not positive")
def a_charge_of_nothing(t: Truth) -> Forgery:
    log = settle(t.entries, t.heads)
    seq = t.rng.choice(t.charges())
    data = entries.encode(log[seq])
    document = json.loads(data)
    document["event"]["mu_squared"] = "0"
    lines: list[Entry | bytes] = [*log[:seq], canonical.encode(document), *log[seq + 1 :]]
    return Forgery(write(t.folder / "forged.sqlite", lines, t.site.key), {})


@forgery("states a squared sensitivity")
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


@forgery("states a squared sensitivity")
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


@forgery("unknown to this auditor")
def more_records_of_a_unit_than_the_sensitivity_allows(t: Truth) -> Forgery:
    words = "at most 40 records of a unit count"
    return settled(t, changed(t, lambda c: insider(c, records_per_unit=words, unit="part")))


@forgery(r"states epsilon 0\.1, which is not that")
def a_spend_that_is_stated_smaller(t: Truth) -> Forgery:
    def smaller(charge: Charge) -> Charge:
        return dataclasses.replace(
            charge, state=dataclasses.replace(charge.state, epsilon_after="0.1")
        )

    t.entries = settle(t.entries)
    return Forgery(write(t.folder / "forged.sqlite", relink(changed(t, smaller)), t.site.key), {})


@forgery("charges before is 0")
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
                epsilon_after=epsilon_of(int(units)),
            ),
        )

    t.entries = settle(t.entries)
    seq = t.rng.choice([x for x in t.charges()[1:] if named(t, x, "parts")])
    return Forgery(write(t.folder / "forged.sqlite", relink(changed(t, anew, seq)), t.site.key), {})


@forgery(r"the cap is 1\.5")
def a_spend_above_the_cap(t: Truth) -> Forgery:
    """Every figure is true; the cap is not kept."""
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


@forgery("in the file", alone=True)
def more_noise_than_the_file_has(t: Truth) -> Forgery:
    """Every release is charged at a small part of what it cost; each charge holds by itself."""
    from tests.core.ledger.conftest import schema

    from wg_core.privacy import mechanism

    sigma = mechanism.noise_scale(schema(), 0.067, 1e-5).hex()
    log = [
        insider(entry, sigma=sigma, epsilon="0.067") if isinstance(entry, Charge) else entry
        for entry in t.entries
    ]
    done = settle(log)
    path = write(t.folder / "forged.sqlite", done, t.site.key)
    return Forgery(path, {"statistics": with_entries(t, done)})


@forgery("there are two histories", alone=True)
def the_files_of_charges_that_are_left_out(t: Truth) -> Forgery:
    left_out = t.rng.choice(t.charges())
    return settled(t, without(t, left_out), statistics=[t.checkpoint.parent])


@forgery("there are two histories", alone=True)
def a_release_that_is_left_out_so_that_its_charge_looks_burned(t: Truth) -> Forgery:
    charge = t.rng.choice(t.charges())
    log = [e for e in t.entries if not (isinstance(e, Release) and e.charge == charge)]
    return settled(t, log, statistics=[t.checkpoint.parent])


@forgery("carries another charge entry", alone=True)
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


@forgery("covered by 2 RELEASE entries", alone=True)
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


@forgery("was released at")
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


@forgery("which is no charge")
def a_release_without_a_charge(t: Truth) -> Forgery:
    charge = t.rng.choice(t.charges())
    log = [
        dataclasses.replace(e, charge=2) if isinstance(e, Release) and e.charge == charge else e
        for e in t.entries
        if not (isinstance(e, Charge) and e.head.seq == charge)
    ]
    return settled(t, log)


@forgery("request is 'r9'")
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


@forgery("by its name or its content")
def one_content_in_two_lineages(t: Truth) -> Forgery:
    """Junk under a new name, and then that name for data that were spent."""
    site = dataclasses.replace(t.site, folder=t.folder / "split", memory=None)
    site.folder.mkdir()

    def by_name(self: LedgerState, name: str, commitment: str) -> list[Any]:
        found = [x for x in self.lineages.values() if name in x.dataset_names]
        return found or [x for x in self.lineages.values() if commitment in x.commitments]

    with mock.patch.object(LedgerState, "lineages_of_dataset", by_name), site.create() as ledger:
        site.release(ledger, "r1", "2.5")
        site.register(ledger, "fresh", b"junk")
        site.register(ledger, "fresh", b"data")
        make_release(site, ledger, site.request("r2", "2.4", "fresh"))
    return Forgery(site.path, {})


@forgery("no new budget")
def a_new_budget_for_a_known_name(t: Truth) -> Forgery:
    again = dataclasses.replace(first_of(t, Dataset), lineage="f" * 16)
    return settled(t, [*t.entries, again])


@forgery("lineage is")
def a_charge_to_another_lineage(t: Truth) -> Forgery:
    welds = next(e for e in t.entries if isinstance(e, Dataset) and e.name == "welds")
    seq = t.rng.choice([x for x in t.charges() if x > welds.head.seq and named(t, x, "parts")])
    return settled(t, changed(t, lambda c: dataclasses.replace(c, lineage=welds.lineage), seq))


@forgery("is not registered")
def a_charge_of_data_that_were_never_registered(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: dataclasses.replace(c, dataset="ghosts")))


@forgery("commitment is")
def a_charge_of_other_content(t: Truth) -> Forgery:
    return settled(t, changed(t, lambda c: dataclasses.replace(c, commitment="00" * 32)))


@forgery("cap .30, 1e-5., but lineage")
def a_cap_that_is_raised_later(t: Truth) -> Forgery:
    raised = dataclasses.replace(first_of(t, Dataset), cap_epsilon="30")
    return settled(t, [*t.entries, raised])


@forgery(r"cap .3, 0\.1., but lineage")
def a_cap_at_a_larger_delta_later(t: Truth) -> Forgery:
    raised = dataclasses.replace(first_of(t, Dataset), cap_delta="0.1")
    return settled(t, [*t.entries, raised])


@forgery("cap epsilon is '30'")
def a_charge_under_a_cap_of_its_own(t: Truth) -> Forgery:
    def own(charge: Charge) -> Charge:
        return dataclasses.replace(
            charge, state=dataclasses.replace(charge.state, cap_epsilon="30")
        )

    return settled(t, changed(t, own))


@forgery("refresh rule")
def a_budget_that_comes_back_each_year(t: Truth) -> Forgery:
    log = [
        dataclasses.replace(e, refresh_rule="yearly") if isinstance(e, Dataset) else e
        for e in t.entries
    ]
    return settled(t, log)


# --- successors


@forgery("its account leaves out log", alone=True)
def a_new_log_that_names_none_before_it(t: Truth) -> Forgery:
    return Forgery(successor(t, None), {"server": saw_successor(t, "budget unknown")})


@forgery("its account leaves out log", alone=True)
def a_new_log_beside_a_checkpoint_of_the_old_one(t: Truth) -> Forgery:
    return Forgery(successor(t, None), {"checkpoints": [t.checkpoint]})


@forgery("another spend than the old log had", alone=True)
def a_successor_that_forgets_the_spend(t: Truth) -> Forgery:
    old = log_succession.read_predecessor(t.site.path, "lost")
    spends = tuple(dataclasses.replace(x, events=(), charges=0) for x in old.spends)
    path = successor(t, dataclasses.replace(old, spends=spends))
    return Forgery(path, {"previous": [t.site.path]})


@forgery("another spend than the old log had", alone=True)
def a_successor_that_leaves_out_a_lineage(t: Truth) -> Forgery:
    old = log_succession.read_predecessor(t.site.path, "lost")
    path = successor(t, dataclasses.replace(old, spends=old.spends[:1]))
    return Forgery(path, {"previous": [t.site.path]})


@forgery("as of 5 entries, .* covers 17", alone=True)
def a_successor_of_an_older_state(t: Truth) -> Forgery:
    early = write(t.folder / "early.sqlite", t.entries[:5], t.site.key, t.heads)
    path = successor(t, log_succession.read_predecessor(early, "lost"))
    return Forgery(path, {"previous": [early], "server": saw_successor(t, "names its predecessor")})


@forgery("as of 5 entries, .* covers 17", alone=True)
def a_successor_of_an_older_state_beside_a_checkpoint(t: Truth) -> Forgery:
    early = write(t.folder / "early.sqlite", t.entries[:5], t.site.key, t.heads)
    path = successor(t, log_succession.read_predecessor(early, "lost"))
    return Forgery(path, {"checkpoints": [t.checkpoint]})


@forgery("0 of 1 known witnesses", alone=True)
def a_successor_of_a_log_that_was_made_up(t: Truth) -> Forgery:
    log = settle(without(t, *t.charges()))
    invented = write(t.folder / "invented.sqlite", log, t.site.key, watcher=t.site.signing_key)
    path = successor(t, log_succession.read_predecessor(invented, "lost"))
    anchors = TrustAnchors(witnesses=t.keys.witnesses)
    return Forgery(path, {"anchors": anchors, "previous": [invented]})


@forgery("entry 0: .*no Ed25519 signature of")
def a_predecessors_checkpoint_that_its_key_did_not_sign(t: Truth) -> Forgery:
    old = log_succession.read_predecessor(t.site.path, "lost")
    other = dataclasses.replace(old, key=signing.public_bytes(t.site.witness_key).hex())
    with mock.patch.object(LedgerState, "_check_predecessor", lambda self, found: None):
        return Forgery(successor(t, other), {})


@forgery("in two lineages")
def a_spend_inherited_twice_so_that_one_hides_the_other(t: Truth) -> Forgery:
    old = log_succession.read_predecessor(t.site.path, "lost")
    twin = dataclasses.replace(
        old.spends[0], names=("x",), commitments=("00" * 32,), events=(), charges=0
    )
    with mock.patch.object(LedgerState, "apply_entry", unchecked_genesis(LedgerState.apply_entry)):
        path = successor(t, dataclasses.replace(old, spends=(*old.spends, twin)))
    return Forgery(path, {})
