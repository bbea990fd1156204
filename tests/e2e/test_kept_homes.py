"""Homes that released versions left behind go on with the code of today.

``tests/homes`` has an archive of each: today's code opens it, predicts with it, makes a release and
a package from it, serves it and audits it. Only readiness looks at the dates of a certificate, and
is given the time at which it was made, so that these tests pass in years to come as well.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.e2e.fleet_support import running
from tests.homes import make

from wg_core.errors import ExitCode
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_server.console import health_probes
from wg_server.site import pki
from wg_server.site.home import ServerHome

every_version = pytest.mark.parametrize(
    "root", make.ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"), indirect=True
)


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The homes, unpacked; the plant is told where its records lie now."""
    make.unpack(tmp_path, request.param)
    home = ClientHome(tmp_path / make.PLANT)
    config = configuration.load(home)
    data = replace(config.data, path=str(tmp_path / make.DATA / make.RECORDS))
    configuration.save(home, replace(config, data=data))
    return tmp_path


@every_version
def test_a_kept_home_predicts_as_it_did(root: Path) -> None:
    before = json.loads((root / make.DATA / make.PREDICTIONS).read_text())
    latest = make.predictions(root)
    assert [row["label"] for row in latest] == [row["label"] for row in before]
    assert [row["probability"] for row in latest] == pytest.approx(
        [row["probability"] for row in before], abs=1e-3
    )


@every_version
def test_a_kept_ledger_and_evidence_are_audited(root: Path) -> None:
    auditor = root / make.AUDITOR
    words = auditor / make.LEDGER, "--server", auditor / make.SERVER
    verdict = make.command("wg-audit", "verify", *words)
    assert verdict["charges"] == 1, verdict
    page = root / "audit.html"
    make.command("wg-audit", "verify", *words, "--report", page)
    assert make.SITE in page.read_text("utf-8")


@every_version
def test_a_kept_home_releases_again_and_is_audited(root: Path) -> None:
    home = "--home", root / make.PLANT
    make.command("wg-client", "statistics", *home, "--epsilon", "1", "--out", root / "old.wgs")
    make.command("wg-client", "freeze", *home)  # the records lie elsewhere now
    applied = make.release(root)
    assert applied["package"], applied
    assert make.command("wg-client", "status", *home)["budget"]["charges"] == 3
    assert make.predictions(root)
    evidence = root / "evidence"
    server = "--home", root / make.SERVER
    make.command("wg-server", "export", *server, "--site", make.SITE, "--out", evidence)
    words = root / make.PLANT, "--server", evidence
    verdict = make.command("wg-audit", "verify", *words, good=(ExitCode.PARTLY_VERIFIED,))
    assert verdict["headline"]["files_missing"] == 1  # the first file was given to nobody


@every_version
def test_a_kept_server_serves(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = ServerHome(root / make.SERVER)
    made = pki.load_certificate(home.tls_cert).not_valid_before_utc.timestamp()
    monkeypatch.setattr(health_probes, "time", SimpleNamespace(time=lambda: made))
    with running(home):
        (site,) = make.command("wg-server", "sites", "--home", home.root)["sites"]
    assert (site["site"], site["state"]) == (make.SITE, "enrolled")
