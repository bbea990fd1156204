"""The first hour at a plant in Japanese: what a person reads, and nothing that a program reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.client.conftest import MakePlant, TestPlant

from wg_client.cli.main import group
from wg_core.site import config as configuration

pytestmark = pytest.mark.slow
ENGLISH = re.compile(r"\b(the|records|would|with|spent|left|next|of)\b")


def call(plant: TestPlant, *words: str, **environment: str) -> str:
    arguments = [*words, "--home", str(plant.home.root)]
    found = CliRunner().invoke(group, arguments, env={"LANG": "C", **environment})
    assert found.exit_code == 0, found.output
    return str(found.output)


@pytest.mark.parametrize("command", ["check", "keys", "status", "freeze"])
def test_commands_speak_japanese(make_plant: MakePlant, command: str) -> None:
    plant = make_plant({0: 4, 1: 4})
    said = call(plant, "--language", "ja", command)
    # What stays English: paths, errors of the system, and commands.
    rest = re.sub(r"/\S*|cannot be read: .*?directory|wg-client [a-z -]+", "", said)
    assert not ENGLISH.search(rest), said
    english = call(plant, command)
    assert not re.search("[ぁ-ん]", english)
    assert call(plant, command, LANG="ja_JP.UTF-8").splitlines()[-1] == said.splitlines()[-1]


def test_check_says_who_decides(make_plant: MakePlant) -> None:
    plant = make_plant({0: 4, 1: 4})
    assert "the policy alone" in call(plant, "check")
    by_hand = replace(plant.config.privacy, approve="human")
    configuration.save(plant.home, replace(plant.config, privacy=by_hand))
    assert "a person, each request: wg-client requests --home" in call(plant, "check")


def test_settings_of_the_home_choose_the_language_and_json_stays_english(
    make_plant: MakePlant,
) -> None:
    plant = make_plant({0: 4, 1: 4})
    configuration.save(plant.home, replace(plant.config, language="ja"))
    assert "使用" in call(plant, "status")
    assert "spent" in call(plant, "--language", "en", "status")
    document = call(plant, "check", "--json")
    assert not re.search("[ぁ-ん]", document) and json.loads(document)["site"] == "plant-a"


def test_errors_and_help_speak_japanese(make_plant: MakePlant) -> None:
    plant = make_plant({0: 4, 1: 4})
    asked = ["statistics", "--home", plant.home.root, "--out", plant.home.root / "s.wgs"]
    for words, told in (
        (
            [*asked, "--epsilon", "5"],
            "epsilon が 5 です。この工場が認めるのは一回の要求で 4 までです",
        ),
        (["simulate", "--data", plant.home.root / "none"], "none: 見つかりません"),
        (["check", "--help"], "［必須］"),
        (["--language", "en", "check", "--help"], "Show what the client sees"),
    ):
        said = said_by(words)
        assert told in said, said


def said_by(words: Sequence[object]) -> str:
    """Standard output and error of the real shell, where the environment is Japanese."""
    done = subprocess.run(
        [Path(sys.executable).with_name("wg-client"), *map(str, words)],
        env={**os.environ, "WEIGHTGATE_LANGUAGE": "ja"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
