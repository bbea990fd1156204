"""Weights before any release: by commands, from class names to a kept model, epsilon 0."""

from __future__ import annotations

from pathlib import Path

from tests.homes import make

from wg_server.site.home import ServerHome

SITE = "plant-new"


def test_a_plant_that_released_nothing_keeps_a_model_at_epsilon_zero(tmp_path: Path) -> None:
    make.unpack(tmp_path)
    server, plant = tmp_path / make.SERVER, tmp_path / "new"
    of_server, of_plant = ("--home", server), ("--home", plant)
    statement, package = (tmp_path / name for name in ("x.wgs", "x.wgw"))
    with make.serving(server):
        token = make.command("wg-server", "enroll", *of_server, SITE)["token"]
        words = "--data", tmp_path / make.DATA / make.RECORDS
        encoder = "--encoder", ServerHome(server).encoder_sha256()
        make.command("wg-client", "init", *of_plant, "--join", token, *words, *encoder)
    said = make.command("wg-client", "statistics", *of_plant, "--epsilon", "0", "--out", statement)
    assert (said["charged"], said["epsilon_spent"]) == (False, 0.0)
    files = "--statistics", statement, "--out", package
    assert make.command("wg-server", "generate", *of_server, *files)["site"] == SITE
    applied = make.command("wg-client", "apply", *of_plant, package, good=(0, 6))
    assert applied["kept"], applied

    evidence = tmp_path / "evidence"
    make.command("wg-server", "export", *of_server, "--site", SITE, "--out", evidence)
    verdict = make.command("wg-audit", "verify", plant, "--server", evidence)
    assert verdict["verified"], verdict
    assert (verdict["statements"], verdict["charges"], verdict["releases"]) == (1, 0, 0)
    assert verdict["epsilon"]["primary"] == 0.0
