"""``init`` is cut off at any moment, and run again with the same token: the plant is enrolled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.client.conftest import LABELS, fitted_encoder, write_npz
from tests.e2e.fleet_support import token
from tests.e2e.init_process import MOMENTS, Moment, stop_at
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_client.cli.main import group
from wg_core import snapshot as snapshots
from wg_core.connection import server_link
from wg_core.errors import ConfigError, PeerError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.release import freeze
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import signing
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

SITE = "plant-a"
ANSWERING = {
    "asked for its CA": Moment("wg_server.fleet.enrolment:client_network", after=False),
    "asked to enrol": Moment("wg_server.fleet.enrolment:EnrolmentService.enrol_site", after=False),
    "the request read": Moment("wg_server.store.ledger_succession:read_first_state_and_checkpoint"),
    "before the token": Moment("wg_server.store.server_store:_spend_token", after=False),
    "the token spent": Moment("wg_server.store.server_store:_spend_token"),
    "the log begun": Moment("wg_server.store.server_store:store_new_log"),
    "the certificate made": Moment("wg_server.site.pki:issue_client_certificate"),
    "the log cosigned": Moment("wg_server.store.server_store:update_checkpoint_in_transaction"),
    "all recorded": Moment("wg_server.store.server_store:ServerStore.enrol_site"),
    "the answer made": Moment("wg_server.fleet.enrolment:EnrolmentService.enrol_site"),
}
"""Moments of the server while a plant waits for it."""


@pytest.fixture(scope="module")
def package() -> bytes:
    return fitted_encoder(64)


@pytest.fixture
def words(server: ServerHome, package: bytes, tmp_path: Path) -> list[str]:
    """``init`` and its options; the token is in a file, as the guide has it."""
    server.encoder_file.write_bytes(package)
    data = write_npz(tmp_path / "data.npz", {0: 3, 1: 3, 2: 3}, seed=1, labels=LABELS)
    (tmp_path / "token").write_text(token(server, SITE, replace=False))
    given = {"--home": tmp_path / "plant", "--data": data, "--join-file": tmp_path / "token"}
    return [str(word) for pair in given.items() for word in pair]


def run(words: list[str]) -> None:
    CliRunner().invoke(group, ["init", *words], catch_exceptions=False, standalone_mode=False)


def check_enrolled(server: ServerHome, home: ClientHome) -> None:
    """One site with one log, whose budget is whole, and a snapshot that is in use."""
    config = configuration.load(home)
    assert config.site == SITE and snapshots.find_current(home) is not None
    with ServerStore.open(server) as store:
        site, logs = store.require_site(SITE), store.logs_of_sites([SITE])
    with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        kinds = Counter(
            entries.decode(ledger.entry_bytes(seq)).head.kind for seq in range(ledger.size)
        )
        assert site.state == "enrolled" and site.ledger_origin == ledger.origin
        with server_link.ServerLink.open(home, config.server.fleet_url) as connection:
            ledger.request_cosignature(config.server.witness_name, connection.cosign)
    assert [log.origin for log in logs[SITE]] == [site.ledger_origin]
    dataset = kinds.pop(entries.DATASET_KIND, 0)
    assert kinds == {entries.GENESIS_KIND: 1, entries.WITNESS_KIND: 1} and dataset <= 1


@pytest.mark.parametrize("name", MOMENTS)
def test_init_goes_on_after_ctrl_c(
    server: ServerHome, words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(BaseException) as caught:
        stop_at(MOMENTS[name], interrupt, patched.setattr)
        run(words)
    assert "Abort" in repr(caught.value) or isinstance(caught.value, KeyboardInterrupt)
    home = ClientHome(tmp_path / "plant")
    if home.config.exists() and snapshots.find_current(home) is not None:
        with pytest.raises(ConfigError, match="this home is initialised"):
            run(words)
    else:
        run(words)
    check_enrolled(server, home)


def test_another_home_does_not_enrol_with_a_used_token(
    server: ServerHome, words: list[str], tmp_path: Path
) -> None:
    run(words)
    words[1] = str(tmp_path / "other")
    with pytest.raises(PeerError, match=r"with other keys.*enroll --replace"):
        run(words)
    check_enrolled(server, ClientHome(tmp_path / "plant"))


def test_other_options_than_those_of_the_call_that_was_cut_off_are_named(
    server: ServerHome, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    home = ClientHome(tmp_path / "plant")
    with monkeypatch.context() as patched, suppress(BaseException):
        patched.setattr(freeze, "freeze", interrupt)
        run(words)
    with pytest.raises(ConfigError, match=r"another data\.name, privacy\.cap_epsilon: 'wg-client"):
        run([*words, "--name", "other", "--cap-epsilon", "5"])
    home.config.unlink()  # as the message has it
    run([*words, "--name", "other", "--cap-epsilon", "5"])
    assert configuration.load(home).data.name == "other"
    check_enrolled(server, home)


@pytest.mark.parametrize("command", ["replace", "compromise"])
def test_enrolling_again_goes_on_with_its_token(
    server: ServerHome,
    words: list[str],
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(words)
    home = ClientHome(tmp_path / "plant")
    again = ["--home", str(home.root), "--join-file", str(tmp_path / "token")]
    (tmp_path / "token").write_text(token(server, SITE))
    begin = {
        "replace": ["init", "--replace"],
        "compromise": ["keys", "--renew", "ledger", "--stolen", "--reason", "stolen"],
    }[command]

    def enrol_again() -> Any:
        return CliRunner().invoke(
            group, [*begin, *again], catch_exceptions=False, standalone_mode=False
        )

    def interrupt() -> None:
        raise KeyboardInterrupt

    before = home.tls_key.read_bytes()
    for name in ("all keys", "the answer", "the witness on the ledger"):
        with monkeypatch.context() as patched, suppress(BaseException):
            stop_at(MOMENTS[name], interrupt, patched.setattr)
            enrol_again()
        assert home.tls_key.read_bytes() == before
    enrol_again()
    assert home.tls_key.read_bytes() != before
    with ServerStore.open(server) as store:
        logs = store.logs_of_sites([SITE])[SITE]
    assert len(logs) == (2 if command == "compromise" else 1)
    config = configuration.load(home)
    with (
        Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger,
        server_link.ServerLink.open(home, config.server.fleet_url) as connection,
    ):
        ledger.request_cosignature(config.server.witness_name, connection.cosign)


def start(moment: str, words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.init_process", moment, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, said.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MOMENTS, *ANSWERING])
def test_init_that_was_killed_is_run_again(
    server: ServerHome, words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes, killed with SIGKILL; in ``ANSWERING`` while the server is at work."""
    home = ClientHome(tmp_path / "plant")
    with monkeypatch.context() as patched:
        plant: list[subprocess.Popen[bytes]] = []

        def kill() -> None:
            wait_until(lambda: bool(plant), "the process")
            plant[0].kill()
            plant[0].wait()

        if name in ANSWERING:
            stop_at(ANSWERING[name], kill, patched.setattr)
        plant.append(start(name, words))
        assert finish(plant[0])[0] == -9
    code, said = finish(start("", words))
    if code:
        assert "this home is initialised" in said, said
    check_enrolled(server, home)
