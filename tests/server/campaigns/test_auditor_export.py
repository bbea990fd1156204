"""What auditors get from a server: keys, checkpoints, and a folder of everything."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.core.ledger.decided import record_decision
from tests.server.cli.test_cli import document, run
from tests.server.rows import release_of
from tests.server.store.test_ledger_succession import Central, ledger_of

from wg_audit.cli import group as auditor
from wg_common import auditor_record, cli, weights_package
from wg_common.auditor_record import BUDGET_UNKNOWN, FIRST_LOG
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.errors import ConfigError, DecodeError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import export as exports
from wg_core.ledger import merkle
from wg_core.ledger import signed_note as notes
from wg_core.wire import canonical, signing
from wg_server.campaigns import auditor_export, membership
from wg_server.fleet import witness as fleet_witness
from wg_server.site.home import ServerHome
from wg_server.store import schema
from wg_server.store.pools import PooledRelease, PoolTable, StoredPool
from wg_server.store.queue import CampaignQueue, NewCampaign
from wg_server.store.server_store import ServerStore

SITE = "plant-a"


@pytest.fixture
def central(home: ServerHome, store: ServerStore, tmp_path: Path) -> Central:
    return Central(home, store, tmp_path)


def note_in(folder: Path) -> bytes:
    return (folder / SITE / auditor_record.CHECKPOINT_FILE).read_bytes()


def newest_checkpoint(home: ServerHome, site: str) -> bytes:
    """The newest checkpoint of a site's ledger, cosigned as of now."""
    with ServerStore.open(home) as store:
        return fleet_witness.LedgerWitness.open(home, store).renew_cosignature(
            store.require_site(site)
        )


def test_a_checkpoint_says_how_far_the_ledger_went_and_that_it_is_so_now(
    central: Central,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    central.work(plant)
    words = ("export", "--home", central.home.root, "--site", SITE, "--out")
    (site,) = document(capsys, *words, tmp_path / "first")["sites"]
    with ledger_of(plant) as ledger:
        assert site["checkpoint_size"] == ledger.size
    keys = document(capsys, "keys", "--home", central.home.root)
    _, note = checkpoints.decode(note_in(tmp_path / "first"))
    witness = signing.public_from_hex(keys["witness_key"])
    cosigned = checkpoints.verified_cosignature_time(note, keys["witness_name"], witness)
    log_key = signing.public_from_hex(keys["sites"][0]["ledger_key"])
    assert checkpoints.verify(note, keys["sites"][0]["ledger_origin"], log_key).size > 1
    assert len(note.signatures) == 4
    monkeypatch.setattr(fleet_witness, "time", SimpleNamespace(time=lambda: cosigned + 86_400.0))
    code, out, _ = run(capsys, *words, tmp_path / "second")
    assert code == 0 and f"{site['checkpoint_size']} ledger entries cosigned" in out
    again = checkpoints.decode(note_in(tmp_path / "second"))[1]
    later = checkpoints.verified_cosignature_time(again, keys["witness_name"], witness)
    assert later == cosigned + 86_400


def test_a_site_that_never_enrolled_has_no_checkpoint(central: Central) -> None:
    central.store.store_join_token(SITE, "s", 2e9)
    with pytest.raises(ConfigError, match="never enrolled"):
        auditor_export.export_for_auditors(central.home, central.folder / "out", [SITE])


def test_keys_are_printed_as_the_auditor_takes_them(
    central: Central, capsys: pytest.CaptureFixture[str]
) -> None:
    central.enrol(central.plant("one"))
    found = auditor_export.server_keys(central.home)
    code, out, _ = run(capsys, "keys", "--home", central.home.root)
    assert code == 0
    witness, ledger = (
        hashlib.sha256(bytes.fromhex(key)).hexdigest()
        for key in (found.witness_key, found.sites[0].ledger_key)
    )
    assert f"--witness-key {found.witness_name}={witness}" in out
    assert f"--ledger-key {ledger}" in out
    keys = [notes.decode_verifier_key(vkey, notes.COSIGNER_ROLE) for vkey in found.witness_vkeys]
    assert [name for name, _ in keys] == [found.witness_name] * 2
    assert "".join(key.raw.hex() for _, key in keys) == found.witness_key


def test_an_export_holds_checkpoints_and_every_file_as_it_came(central: Central) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    central.work(plant)
    files = [b"first", b"second"]
    for received, data in enumerate(files):
        release = release_of(SITE, data.decode(), data=data, received=float(received))
        central.store.add_release(release)
    out = central.folder / "out"
    (done,) = auditor_export.export_for_auditors(central.home, out, [SITE])
    assert (done.site, done.files, done.logs, done.succession) == (SITE, 2, 1, FIRST_LOG)
    assert sorted(path.read_bytes() for path in (out / SITE).glob("*.wgs")) == sorted(files)
    record = auditor_record.read_auditor_record(out)
    found = record.find_site(SITE)
    assert found is not None
    (log,) = found.logs
    note = (out / SITE / auditor_record.CHECKPOINT_FILE).read_text()
    assert checkpoints.decode(note.encode())[0] == checkpoints.decode(log.checkpoint.encode())[0]
    with ledger_of(plant) as ledger:
        assert (log.origin, log.key) == (ledger.origin, ledger.public_key.hex())
        assert done.checkpoint_size == ledger.size
    with pytest.raises(ConfigError, match="empty folder"):
        auditor_export.export_for_auditors(central.home, out, [SITE])


def test_an_export_names_the_earlier_ledger_and_that_its_budget_is_unknown(
    central: Central, capsys: pytest.CaptureFixture[str]
) -> None:
    old, idle, new = (central.plant(name) for name in ("one", "two", "three"))
    central.enrol(old)
    central.work(old)
    central.enrol(idle)
    central.enrol(new)
    out = central.folder / "out"
    code, text, _ = run(capsys, "export", "--home", central.home.root, "--out", out, "--site", SITE)
    assert code == 0 and "BUDGET UNKNOWN" in text
    found = auditor_record.read_auditor_record(out).find_site(SITE)
    assert found is not None
    said = [(log.origin, log.succession) for log in found.logs]
    with ledger_of(old) as one, ledger_of(new) as three:
        assert said == [(one.origin, FIRST_LOG), (three.origin, BUDGET_UNKNOWN)]
    rows = document(capsys, "sites", "--home", central.home.root)["sites"]
    assert rows[0]["ledger_succession"] == BUDGET_UNKNOWN
    code, text, err = run(capsys, "sites", "--home", central.home.root)
    assert "BUDGET UNKNOWN" in text and "wg-client keys --renew ledger --stolen" in err


def test_a_site_of_before_that_was_never_cosigned_is_exported_without_a_checkpoint(
    central: Central,
) -> None:
    central.enrol(central.plant("one"))
    with central.store.engine.begin() as connection:
        connection.execute(schema.cosigned_checkpoint_table.delete())
    (done,) = auditor_export.export_for_auditors(central.home, central.folder / "out", [SITE])
    assert (done.checkpoint_size, done.succession) == (0, FIRST_LOG)
    assert not (central.folder / "out" / SITE).exists()
    found = auditor_record.read_auditor_record(central.folder / "out").find_site(SITE)
    assert found is not None and found.logs[0].checkpoint == ""


def test_an_attested_checkpoint_is_no_new_one(central: Central) -> None:
    """Cosigning what is remembered anew must not move what the witness remembers."""
    plant = central.plant("one")
    central.enrol(plant)
    central.work(plant)
    before, after = (newest_checkpoint(central.home, SITE) for _ in range(2))
    assert checkpoints.decode(before)[0] == checkpoints.decode(after)[0]
    with ledger_of(plant) as ledger:
        record_decision(ledger)
    central.work(plant)


@pytest.mark.parametrize(
    "text", ["", "a+b", "n+00000000+AQ==", "n+zz+!!", "a b+00000000+AA==", "n+00000000+"]
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="key"):
        notes.decode_verifier_key(text, notes.LOG_ROLE)


def test_a_verifier_key_is_bound_to_its_name() -> None:
    for text in notes.encode_verifier_keys(
        "one", notes.LOG_ROLE, signing.generate_hybrid_key().public_key()
    ):
        with pytest.raises(DecodeError, match="of another key"):
            notes.decode_verifier_key(text.replace("one+", "two+"), notes.LOG_ROLE)


def test_the_auditor_reads_what_the_server_exports(
    central: Central, capsys: pytest.CaptureFixture[str]
) -> None:
    """Freshness and successors, from the operator's command to the auditor's verdict."""
    plant = central.plant("one")
    central.enrol(plant)
    central.work(plant)
    old = central.folder / "old.wgl"
    exports.write_export(plant.ledger, old)
    central.work(plant)
    new = central.folder / "new.wgl"
    exports.write_export(plant.ledger, new)
    evidence = central.folder / "evidence"
    words = ("export", "--home", central.home.root, "--site", SITE, "--out")
    assert run(capsys, *words, evidence)[0] == 0
    code, text, _ = audit(capsys, new, "--server", evidence, "--max-age", "1d")
    assert code == 0 and text.startswith("verified")
    keys = auditor_export.server_keys(central.home)
    given = ["--ledger-key", keys.sites[0].ledger_key]
    given += ["--witness-key", f"{keys.witness_name}={keys.witness_key}", "--checkpoint"]
    given.append(str(evidence / SITE / auditor_record.CHECKPOINT_FILE))
    code, text, _ = audit(capsys, new, *given)
    assert code == 8 and text.startswith("partly verified")
    for brought in (("--server", evidence), given):
        code, _, err = audit(capsys, old, *brought)
        assert code == 5 and "older" in err

    fresh = central.plant("two")
    central.enrol(fresh)
    central.work(fresh)
    later = central.folder / "later"
    assert run(capsys, *words, later)[0] == 0
    code, text, _ = audit(capsys, fresh.ledger, "--server", later)
    assert code == 5 and text.startswith("budget unknown")


def audit(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.run_program(auditor, ["verify", *map(str, words)])
    shown = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, shown.out, shown.err


def test_the_sites_release_is_shown_to_be_in_the_tree_that_its_package_names(
    central: Central, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = central.plant("one")
    central.enrol(plant)
    central.work(plant)
    _package_of(central, ["r1", "r2", "r3"], own="r2")
    out, ledger = central.folder / "out", central.folder / "plant.wgl"
    auditor_export.export_for_auditors(central.home, out, [SITE])
    (proof,) = (out / SITE).glob(f"*{auditor_record.MEMBERSHIP_SUFFIX}")
    member = auditor_record.read_membership_proof(proof)
    member.verify()
    assert (member.release_id, member.size, member.index) == ("r2", 3, 1)
    with ledger_of(plant) as opened:
        opened.export(ledger)
    words = ["verify", str(ledger), "--server", str(out)]
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.run_program(auditor, words)
    assert f"release r2 is one of the 3 of root {member.root}" in capsys.readouterr().out
    proof.write_bytes(canonical.encode(dataclasses.replace(member, release_id="r9")))
    with pytest.raises(SystemExit, match=r"^5$"):
        cli.run_program(auditor, words)


def test_no_proof_for_a_release_that_no_sum_has(central: Central) -> None:
    central.enrol(central.plant("one"))
    _package_of(central, ["r1", "r3"], own="r2")
    assert list(membership.site_membership_proofs(central.home, central.store, SITE)) == []


def _package_of(central: Central, releases: list[str], own: str) -> None:
    """A package of the site that was delivered, made from one sum of these releases."""
    generator, kind = "ab" * 32, "cd" * 32
    table = PoolTable(central.store.engine, generator)
    pool = StoredPool(
        generator=generator, kind=kind, labels="[]", sites=3, changes=1, judged=3, data=b""
    )
    rows = [
        PooledRelease(
            release_id=x, kind=kind, site=x, place=0, noise=0.0, used=True, behind="[]", added=1
        )
        for x in releases
    ]
    assert table.write_pool(pool, rows, [])
    root = merkle.root([merkle.leaf_hash(x.encode()) for x in releases]).hex()
    table.store_merkle_tree(root, [(kind, 1)])
    manifest = WeightsManifest(
        package_id="ef" * 16,
        request_id="12" * 16,
        site=SITE,
        encoder="e",
        generator=generator,
        labels=("a", "b"),
        own_release=own,
        pool_root=root,
        pool_releases=2,
        candidates=(Candidate(name="posterior", source="posterior", architecture="lite0-head"),),
        tensors_sha256=canonical.sha256_hex(b""),
        created=1,
        expires=2,
    )
    data = weights_package.encode_package(manifest, b"", signing.load(central.home.signing_key))
    campaign = CampaignQueue(central.store.engine).add_campaign(
        NewCampaign(
            sites=[SITE],
            epsilon="1",
            delta="1e-5",
            purpose="p",
            encoder="e",
            collect_seconds=1.0,
            deliver_seconds=1.0,
        ),
    )
    central.home.packages_folder.mkdir(exist_ok=True)
    central.home.package_path(campaign.tasks[0].delivery_id).write_bytes(data)
    CampaignQueue(central.store.engine).update_task(campaign.id, SITE, package_sha256="00" * 32)
