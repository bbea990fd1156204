"""A generator is used only if its own model card passes, or the operator accepts it by name."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wg_common import cli
from wg_common.errors import ConfigError, DecodeError, PolicyRefused, VerificationError
from wg_common.wire import canonical
from wg_server.cli.main import main_group
from wg_server.generator.evaluation import gate
from wg_server.generator.evaluation.checks import Check, read_checks
from wg_server.operation import serve as serving
from wg_server.site.home import ServerHome, parse_config

PACKAGE = b"a generator's package"
IDENTITY = canonical.sha256_hex(PACKAGE)
GOOD = Check(name="novelty", value=0.9, relation=">=", bound=0.25)
BAD = Check(name="copies", value=0.9, relation="<=", bound=0.1)


def card(*checks: Check, generator: str = IDENTITY) -> dict[str, Any]:
    return {"generator": generator, "checks": [c.document() for c in checks], "passes": True}


def write(home: ServerHome, document: Mapping[str, Any] | bytes | None) -> None:
    home.generator.parent.mkdir(exist_ok=True)
    home.generator.write_bytes(PACKAGE)
    if isinstance(document, bytes):
        home.model_card.write_bytes(document)
    elif document is not None:
        home.model_card.write_text(json.dumps(document))


def test_a_card_that_passes_clears(home: ServerHome) -> None:
    write(home, card(GOOD))
    assert gate.check(home) == IDENTITY


def test_a_card_that_fails_is_refused_and_the_message_says_why_and_how(home: ServerHome) -> None:
    write(home, card(GOOD, BAD))
    with pytest.raises(PolicyRefused, match=r"copies: 0\.9, required <= 0\.1") as refused:
        gate.check(home)
    assert "novelty" not in str(refused.value)
    assert f"--accept-generator {IDENTITY[:16]}" in str(refused.value)
    assert refused.value.exit_code == 4


def test_what_a_card_says_of_itself_does_not_count(home: ServerHome) -> None:
    lying = card(BAD)
    lying["checks"][0]["passed"] = True
    write(home, lying)
    with pytest.raises(PolicyRefused):
        gate.check(home)


@pytest.mark.parametrize("length", [16, 40, 64])
def test_the_operator_accepts_by_name(home: ServerHome, length: int) -> None:
    write(home, card(BAD))
    assert gate.check(home, accept=IDENTITY[:length]) == IDENTITY
    home.write_config(replace(home.config(), accept_generator=IDENTITY[:length]))
    assert gate.check(home) == IDENTITY


def test_accepting_one_generator_accepts_no_other(home: ServerHome) -> None:
    write(home, card(BAD))
    with pytest.raises(PolicyRefused):
        gate.check(home, accept="0" * 64)
    home.write_config(replace(home.config(), accept_generator="0" * 16))
    with pytest.raises(PolicyRefused):
        gate.check(home)


@pytest.mark.parametrize("name", ["yes", IDENTITY[:15], IDENTITY + "0", "G" * 20])
def test_a_name_is_at_least_sixteen_digits_of_an_id(home: ServerHome, name: str) -> None:
    write(home, card(GOOD))
    with pytest.raises(ConfigError, match="accept_generator"):
        gate.check(home, accept=name)


def test_the_card_of_another_generator_clears_nothing(home: ServerHome) -> None:
    write(home, card(GOOD, generator="ab" * 32))
    with pytest.raises(VerificationError, match="of generator abab") as found:
        gate.check(home)
    assert found.value.exit_code == 5


def test_without_a_card_a_generator_is_refused(home: ServerHome) -> None:
    write(home, None)
    with pytest.raises(PolicyRefused, match="there is no"):
        gate.check(home)


def test_without_a_generator_the_message_says_what_to_do(home: ServerHome) -> None:
    with pytest.raises(ConfigError, match="wg-server train"):
        gate.check(home)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"\xff",
        {"generator": IDENTITY},
        {"generator": IDENTITY, "checks": []},
        {"generator": IDENTITY, "checks": [{"name": "x", "value": "much", "relation": ">="}]},
        {
            "generator": IDENTITY,
            "checks": [{"name": "x", "value": 1, "relation": "!=", "bound": 0}],
        },
    ],
)
def test_a_damaged_card_clears_nothing(home: ServerHome, document: bytes | dict[str, Any]) -> None:
    write(home, document)
    with pytest.raises(DecodeError):
        gate.check(home)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_never_passes(value: float) -> None:
    for relation in (">=", "<="):
        assert not Check(name="x", value=value, relation=relation, bound=0.0).passed


def test_a_bound_itself_passes() -> None:
    for relation in (">=", "<="):
        assert Check(name="x", value=0.5, relation=relation, bound=0.5).passed


def test_checks_survive_the_card() -> None:
    assert list(read_checks(json.loads(json.dumps(card(GOOD, BAD))))) == [GOOD, BAD]


def test_serving_is_refused_before_anything_is_opened(home: ServerHome) -> None:
    write(home, card(BAD))
    stop = threading.Event()
    stop.set()
    with pytest.raises(PolicyRefused):
        serving.serve(home, stop=stop)
    assert not home.lock.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("serve",),
        ("campaign", "start"),
        ("generate", "--statistics", "none.wgs", "--out", "none.wgw"),
    ],
)
def test_every_command_that_hands_weights_out_refuses(
    capsys: pytest.CaptureFixture[str], home: ServerHome, words: tuple[str, ...]
) -> None:
    write(home, card(BAD))

    def code(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as info:
            cli.run(main_group, [*words, "--home", str(home.root), *more])
        return int(str(info.value.code)), capsys.readouterr().err

    found, message = code()
    assert found == 4
    assert "its model card fails" in message
    if words != ("serve",):
        # Accepted, each goes on to what it needs next: sites, or a statistics file.
        found, message = code("--accept-generator", IDENTITY)
        assert found == 3
        assert "model card" not in message


def test_the_key_in_the_configuration_is_read(home: ServerHome, tmp_path: Path) -> None:
    text = home.config_file.read_text().replace("accept_generator: ''", "accept_generator: 12ab")
    assert parse_config(text.encode(), what="x").accept_generator == "12ab"
