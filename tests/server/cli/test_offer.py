"""``wg-server offer`` says what its file is good for."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from wg_server.campaigns import offers
from wg_server.cli.main import main_group


@pytest.mark.parametrize(
    ("kinds", "machines", "advice"),
    [
        ((), (), "it holds no weights that a plant could try"),
        (("patterns",), (), "next: give it to"),
        ((), ("rotating_machine",), "next: give it to"),
    ],
)
def test_an_offer_without_weights_says_so(
    kinds: tuple[str, ...],
    machines: tuple[str, ...],
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = tuple(SimpleNamespace(name=name) for name in kinds)
    manifest = SimpleNamespace(kinds=named, machines=machines, sites={}, encoder="ab" * 32)
    out = tmp_path / "hq.wgo"
    out.write_bytes(b"x")
    monkeypatch.setattr(offers, "write_offer", lambda *_: manifest)
    words = ["offer", "--home", str(tmp_path), "--out", str(out)]
    said = CliRunner().invoke(main_group, words, catch_exceptions=False).stdout
    assert said.splitlines()[-1].startswith(advice)
