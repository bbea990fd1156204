"""``wg-server``: words, documents and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.server.generators import candidate, install
from tests.server.rows import add_sites

from wg_common import cli
from wg_core.errors import ExitCode
from wg_core.wire import canonical, protocol
from wg_server.campaigns.campaign_orders import CampaignOrder, queue_campaign
from wg_server.cli.main import main_group
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store import operators
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as info:
        cli.run_program(main_group, [str(word) for word in words])
    captured = capsys.readouterr()
    assert isinstance(info.value.code, int)
    return info.value.code, captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Any:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    return json.loads(out)


def test_init_makes_a_home_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = document(capsys, "init", "--home", tmp_path / "s", "--name", "central", "--port", "0")
    config = ServerHome(tmp_path / "s").read_config()
    assert made["fleet"] == config.fleet_url
    code, _, err = run(capsys, "init", "--home", tmp_path / "s")
    assert code == 3 and "initialised" in err
    assert ServerHome(tmp_path / "s").read_config() == config


def test_enroll_prints_a_token_and_nothing_else(
    capsys: pytest.CaptureFixture[str], home: ServerHome
) -> None:
    code, out, _ = run(capsys, "enroll", "--home", home.root, "plant-a", "--expires", "2h")
    assert code == 0
    assert protocol.decode_join_token(out.strip()).site == "plant-a"
    made = document(capsys, "enroll", "--home", home.root, "plant-b")
    assert made["encoder"] == home.encoder_sha256()
    assert protocol.decode_join_token(made["token"]).site == "plant-b"
    rows = document(capsys, "sites", "--home", home.root)["sites"]
    assert [(row["site"], row["state"]) for row in rows] == [
        ("plant-a", "invited"),
        ("plant-b", "invited"),
    ]


def test_revoke_shuts_a_site_out(capsys: pytest.CaptureFixture[str], home: ServerHome) -> None:
    document(capsys, "enroll", "--home", home.root, "plant-a")
    assert document(capsys, "revoke", "--home", home.root, "plant-a")["state"] == "revoked"
    code, _, err = run(capsys, "revoke", "--home", home.root, "nobody")
    assert code == 3 and "unknown" in err


def test_campaign_start_needs_enrolled_sites_and_numbers(
    capsys: pytest.CaptureFixture[str], home: ServerHome
) -> None:
    install(home)
    for words, wanted, message in (
        ((), 3, "no site is enrolled yet"),
        (("--sites", "plant-a"), 3, "not enrolled: plant-a"),
        (("--delta", "0"), 2, "above 0"),
        (("--epsilon", "1e30000000"), 2, "a decimal number"),
    ):
        code, out, err = run(capsys, "campaign", "start", "--home", home.root, *words, "--json")
        assert code == wanted and message in err
        assert json.loads(out)["error"]["exit_code"] == wanted
    assert document(capsys, "campaign", "show", "--home", home.root) == {"campaigns": []}


def test_a_generator_is_listed_installed_and_taken_back(
    capsys: pytest.CaptureFixture[str], home: ServerHome
) -> None:
    code, _, err = run(capsys, "generator", "--home", home.root, "--use", "ab" * 8)
    assert code == 3 and "no id begins so" in err
    first, second = install(home, b"first"), candidate(home, b"second", passes=False)
    code, out, _ = run(capsys, "generator", "--home", home.root)
    assert code == 0
    rows = {line[:16]: line for line in out.splitlines() if line[:1] != " "}
    assert rows[first.id[:16]].endswith("passes  installed")
    assert rows[second.id[:16]].endswith("FAILS") and "gain: 0.1, required >= 0.9" in out
    for _ in range(2):  # again changes nothing
        found = document(capsys, "generator", "--home", home.root, "--use", second.id[:16])
        assert found["installed"] == second.id and found["before"] == first.id
        assert found["failed"] == ["gain: 0.1, required >= 0.9"]
    for version in (first, second):
        before = document(capsys, "generator", "--home", home.root)["before"]
        found = document(capsys, "generator", "--home", home.root, "--use", before)
        assert found["installed"] == versions.installed_version(home).id == version.id
    found = document(capsys, "generator", "--home", home.root)
    assert (found["installed"], found["before"]) == (second.id, first.id) and not found["wrong"]
    with ServerStore.open(home) as store:
        acts = [(entry.action, entry.subject) for entry in operators.read_log(store, limit=9)]
    assert acts[:2] == [("generator use", second.id), ("generator use", first.id)]
    second.heads_path.write_bytes(b"damaged")
    code, out, _ = run(capsys, "generator", "--home", home.root)
    assert code == 0 and "! " in out and "not the package that its model card names" in out


def test_an_interrupt_of_waiting_says_that_the_campaign_goes_on(
    capsys: pytest.CaptureFixture[str], home: ServerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wg_server.cli.campaign.time.sleep", interrupt)
    install(home)
    with ServerStore.open(home) as store:
        add_sites(store, ["plant-a"])
    code, _, err = run(
        capsys,
        "campaign",
        "start",
        "--home",
        home.root,
        "--sites",
        "plant-a",
        "--unshared",
        "--wait",
    )
    assert code == ExitCode.INTERRUPTED and "campaign goes on" in err
    with ServerStore.open(home) as store:
        (found,) = CampaignQueue(store.engine).newest_campaigns()
    assert found.finished is None


def test_a_campaign_is_steered_from_the_command_line(
    capsys: pytest.CaptureFixture[str], home: ServerHome, store: ServerStore
) -> None:
    add_sites(store, ["plant-a", "plant-b"])
    install(home)
    rows = document(capsys, "sites", "--home", home.root)["sites"]
    assert [row["away"] for row in rows] == ["it never connected"] * 2
    assert "it never connected; do: start" in run(capsys, "sites", "--home", home.root)[1]
    start = ("campaign", "start", "--home", home.root, "--sites", "plant-a,plant-b", "--unshared")
    code, _, err = run(capsys, *start, "--min-sites", "3")
    assert code == 3 and "3 of 2 sites to wait for" in err
    words = ("--min-sites", "1", "--grace", "90s", "--collect-for", "2h")
    made = document(capsys, *start, *words)
    assert (made["min_sites"], made["grace_seconds"], made["collect_seconds"]) == (1, 90.0, 7200.0)
    assert made["sites"][0]["why"] == "the campaign has not begun"
    assert made["sites"][0]["do"] == "nothing, if 'wg-server serve' runs; otherwise start it"
    about = ("--home", home.root, made["id"])
    assert document(capsys, "campaign", "pause", *about)["state"] == "paused"
    assert document(capsys, "campaign", "resume", *about)["state"] == "queued"
    (begun,) = CampaignQueue(store.engine).start_queued_campaigns()
    code, out, _ = run(capsys, "campaign", "show", *about)
    assert code == 0
    assert "plant-a                  waiting    it never connected; 1 hour left" in out
    assert "do: start 'wg-client run' at the plant" in out
    shown = document(capsys, "campaign", "show", *about)
    assert shown["sites"][0]["deadline"] == shown["started"] + 7200.0
    CampaignQueue(store.engine).update_task(begun, "plant-b", state="refused", code="budget")
    tried = document(capsys, "campaign", "resume", *about, "plant-b")
    assert [site["state"] for site in tried["sites"]] == ["waiting", "waiting"]
    code, _, err = run(capsys, "campaign", "resume", *about, "plant-b")
    assert code == 3 and "waiting, expected one of" in err


def test_a_folder_that_is_no_home_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words in (("sites",), ("serve",), ("campaign", "show"), ("keys", "--renew", "certificate")):
        code, _, err = run(capsys, *words, "--home", tmp_path)
        assert code == 3 and "run init first" in err


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from wg_common import cli\n"
        "from wg_server.cli.main import main_group\n"
        "try:\n"
        "    cli.run_program(main_group, ['--help'])\n"
        "finally:\n"
        "    heavy = {'torch', 'flwr', 'sqlalchemy', 'fastapi'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("init", "enroll", "sites", "revoke", "zoo", "train", "serve", "campaign"):
        assert f"  {word} " in done.stdout
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize(("passes", "code"), [(True, 0), (False, 6)])
def test_a_training_is_installed_only_where_its_card_passes(
    capsys: pytest.CaptureFixture[str],
    home: ServerHome,
    monkeypatch: pytest.MonkeyPatch,
    passes: bool,
    code: int,
) -> None:
    oldest, before, used, last = (install(home, name) for name in (b"1", b"2", b"3", b"4"))
    other = candidate(home, b"another training", passes=False)
    with ServerStore.open(home) as store:
        add_sites(store, ["plant-a"])
        versions.install_version(home, used)
        queue_campaign(
            home, store, CampaignOrder(sites=["plant-a"], asks_sites_without_shared_classes=True)
        )
        versions.install_version(home, last)
        versions.install_version(home, before)
        versions.install_version(home, last)
    empty: dict[str, Any] = {"scenarios": {}, "loses": [], "alarms": []}

    def train(*words: Any, **named: Any) -> dict[str, Any]:
        version = candidate(home, b"new", passes=passes, **empty)
        return {**version.card, "version": version.id}

    monkeypatch.setattr("wg_server.generator.pipeline.count_training_steps", lambda *_: 1)
    monkeypatch.setattr("wg_server.generator.pipeline.train_generator", train)
    got, out, _ = run(capsys, "train", "--home", home.root)
    digest = canonical.sha256_hex(b"new")
    (new,) = (v for v in versions.list_versions(home) if v.summary.generator == digest)
    assert got == code
    assert versions.installed_version(home).id == (new.id if passes else last.id)
    use = f"wg-server generator --home {home.root} --use {new.id[:16]}"
    assert (use in out) == (not passes)
    assert ("next: wg-server serve" in out) == passes
    # The one before the installed one is kept, and what a campaign uses.
    kept = {new.id, used.id, last.id} | (set() if passes else {before.id})
    assert {version.id for version in versions.list_versions(home)} == kept
    for gone in {oldest.id, before.id, other.id} - kept:
        assert f"deleted: generator {gone[:16]}" in out
