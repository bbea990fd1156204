"""Versions of the generator: complete or not there, never changed, and one of them installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.server.generators import BAD, GOOD, candidate, card, install

from wg_common import cli
from wg_core import atomic
from wg_core.errors import ConfigError, DataError, DecodeError, StorageError, VerificationError
from wg_core.wire import canonical
from wg_server.campaigns import packaging
from wg_server.campaigns.release import PackageRecipient
from wg_server.cli.main import main_group
from wg_server.generator import versions
from wg_server.generator.card_checks import CardCheck, read_checks
from wg_server.generator.prior.evidence_pools import PooledReleases
from wg_server.site.home import ServerHome


def test_what_is_written_can_be_read_and_is_not_installed(home: ServerHome) -> None:
    made = candidate(home, b"heads")
    assert versions.find_version(home, made.id[:16]) == versions.read_version(home, made.id) == made
    assert made.heads_path.read_bytes() == b"heads"
    assert made.id == canonical.sha256_hex((made.folder / "card.json").read_bytes())
    assert made.architectures == ("lite0-head",)
    assert versions.read_installed_versions(home) == versions.InstalledVersions()
    assert versions.list_versions(home) == [made]


def test_networks_from_data_sheets_are_part_of_a_version(home: ServerHome) -> None:
    sheets = {"generator": canonical.sha256_hex(b"sheets"), "checks": [BAD.to_document()]}
    made = versions.write_version(
        home, card(home, b"heads") | {"sheets": sheets}, b"heads", b"sheets"
    )
    assert made.architectures == ("lite0-head", "spectrum-lines")
    assert [str(check) for check in made.failed_checks()] == [str(BAD)]
    made.verify_packages()
    made.sheets_path.write_bytes(b"changed")
    with pytest.raises(VerificationError, match=r"sheets\.safetensors: not the package"):
        made.verify_packages()


@pytest.mark.parametrize(
    ("heads", "networks", "usable", "uses_heads", "uses_networks"),
    [
        (GOOD, GOOD, True, True, True),
        (BAD, GOOD, True, False, True),
        (GOOD, BAD, True, True, False),
        (BAD, BAD, False, True, True),
        (GOOD, None, True, True, False),
        (BAD, None, False, True, False),
    ],
)
def test_a_part_that_fails_its_checks_does_not_stop_the_other(
    home: ServerHome,
    *,
    heads: CardCheck,
    networks: CardCheck | None,
    usable: bool,
    uses_heads: bool,
    uses_networks: bool,
) -> None:
    document = card(home, b"heads", passes=heads is GOOD)
    if networks is not None:
        generator = canonical.sha256_hex(b"sheets")
        document["sheets"] = {"generator": generator, "checks": [networks.to_document()]}
    made = versions.write_version(home, document, b"heads", None if networks is None else b"sheets")
    assert made.is_usable is usable
    assert (made.uses_heads, made.uses_networks) == (uses_heads, uses_networks)


def test_a_plant_that_only_failing_heads_would_serve_gets_no_package(home: ServerHome) -> None:
    sheets = {"generator": canonical.sha256_hex(b"sheets"), "checks": [GOOD.to_document()]}
    document = card(home, b"heads", passes=False) | {"sheets": sheets}
    made = versions.write_version(home, document, b"heads", b"sheets")
    plant = PackageRecipient(
        site="plant-a", encoder_sha256="12" * 32, labels=("a", "b"), data_sheet=None
    )
    with pytest.raises(ConfigError, match="plant-a: it states no machine of which there are"):
        packaging.make_package(home, None, plant, "0" * 32, made.id)  # type: ignore[arg-type]


def test_no_package_is_made_for_a_plant_with_another_encoder(home: ServerHome) -> None:
    class NoPools:
        def pooled_releases(self, *_: object) -> PooledReleases:
            raise AssertionError

    plant = PackageRecipient(
        site="plant-a", encoder_sha256="12" * 32, labels=("a", "b"), data_sheet=None
    )
    with pytest.raises(DataError, match="of encoder 12"):
        packaging.make_package(home, NoPools(), plant, "0" * 32, candidate(home).id)


def test_a_campaign_needs_an_installed_generator_and_the_message_says_how(home: ServerHome) -> None:
    with pytest.raises(ConfigError, match=f"wg-server train --home {home.root}"):
        versions.usable_version(home)
    made = candidate(home, passes=False)
    with pytest.raises(ConfigError, match=r"gain: 0\.1, required >= 0\.9") as refused:
        versions.usable_version(home)
    assert f"wg-server generator --home {home.root} --use {made.id[:16]}" in str(refused.value)
    versions.install_version(home, made)
    assert versions.usable_version(home) == made


def test_what_a_card_says_of_itself_does_not_count(home: ServerHome) -> None:
    lying = {**BAD.to_document(), "passed": True}
    assert [str(check) for check in candidate(home, checks=[lying]).failed_checks()] == [str(BAD)]


def test_the_one_before_is_kept_and_comes_back(home: ServerHome) -> None:
    first, second, third = (install(home, name) for name in (b"1", b"2", b"3"))
    assert versions.read_installed_versions(home) == versions.InstalledVersions(
        version=third.id, before=second.id
    )
    versions.install_version(
        home, versions.read_version(home, versions.read_installed_versions(home).before)
    )
    assert versions.read_installed_versions(home) == versions.InstalledVersions(
        version=second.id, before=third.id
    )
    assert set(versions.prune_versions(home, {first.id})) == set()
    assert versions.prune_versions(home, set()) == [first.id]
    assert not first.folder.exists()
    assert {each.id for each in versions.list_versions(home)} == {second.id, third.id}


def test_half_a_version_is_none_and_is_swept(home: ServerHome) -> None:
    folder = home.generator_versions_folder / ("ab" * 32)
    folder.mkdir(parents=True)
    (folder / "heads.safetensors").write_bytes(b"half")
    assert versions.list_versions(home) == []
    with pytest.raises(ConfigError, match="no id begins so"):
        versions.find_version(home, "ab" * 8)
    assert versions.prune_versions(home, set()) == []
    assert not folder.exists()


@pytest.mark.parametrize("step", range(3))
def test_a_disk_that_fills_up_leaves_what_was_installed(
    home: ServerHome, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    before = install(home, b"before")
    writes: list[Path] = []
    write = atomic.write_bytes

    def full(path: Path, data: bytes, **more: int) -> None:
        if len(writes) == step:
            raise StorageError(f"{path}: No space left on device")
        writes.append(path)
        write(path, data, **more)

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(StorageError):
        install(home, b"after")
    assert len(writes) == step
    assert versions.usable_version(home).id == before.id


def test_a_package_that_was_changed_makes_nothing(home: ServerHome) -> None:
    made = install(home, b"heads")
    assert versions.usable_version(home) == made
    made.heads_path.write_bytes(b"changed")
    for attempt in (
        versions.usable_version,
        lambda where: versions.verified_version(where, made.id),
    ):
        with pytest.raises(VerificationError, match="not the package that its model card names"):
            attempt(home)
    made.heads_path.unlink()
    with pytest.raises(ConfigError):
        versions.usable_version(home)


def test_a_card_that_was_changed_makes_nothing(home: ServerHome) -> None:
    made = install(home)
    (made.folder / "card.json").write_text(json.dumps(card(home, b"heads", passes=False)))
    with pytest.raises(VerificationError, match="not the name of its folder"):
        versions.usable_version(home)
    assert versions.list_versions(home) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"generator": 1}',
        b'{"generator":"a","encoder":"b","architecture":"c","created":"1"}',
    ],
)
def test_a_card_that_is_none_is_refused(home: ServerHome, data: bytes) -> None:
    identity = canonical.sha256_hex(data)
    atomic.write_bytes(home.generator_versions_folder / identity / "card.json", data)
    with pytest.raises(DecodeError):
        versions.read_version(home, identity)
    assert versions.list_versions(home) == []
    assert versions.prune_versions(home, set()) == [identity]


@pytest.mark.parametrize("prefix", ["", "yes", "ab" * 3, "../../../x", "ab" * 33])
def test_only_the_beginning_of_one_id_names_a_version(home: ServerHome, prefix: str) -> None:
    candidate(home)
    with pytest.raises(ConfigError, match="no id begins so"):
        versions.find_version(home, prefix)


def test_a_generator_for_another_encoder_is_not_installed(home: ServerHome) -> None:
    made = install(home)
    home.encoder_file.write_bytes(b"the encoder of another zoo")
    for attempt in (versions.usable_version, lambda where: versions.install_version(where, made)):
        with pytest.raises(ConfigError, match="for another encoder"):
            attempt(home)
    # What began with it goes on: its sites were asked with the encoder of before.
    assert versions.verified_version(home, made.id) == made


def test_a_damaged_pointer_is_told_and_can_be_written_anew(home: ServerHome) -> None:
    made = install(home)
    home.installed_generator_file.write_bytes(b"{")
    with pytest.raises(DecodeError):
        versions.usable_version(home)
    versions.install_version(home, made)
    assert versions.usable_version(home) == made


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"checks": []},
        {"checks": [{"name": "x", "value": "much", "bound": 0}]},
        {"checks": [{"name": "x", "value": 1}]},
    ],
)
def test_checks_that_cannot_be_read_do_not_pass(document: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        read_checks(document)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_never_passes(value: float) -> None:
    assert not CardCheck(name="x", value=value, bound=0.0).passed


def test_a_bound_itself_passes() -> None:
    assert CardCheck(name="x", value=0.5, bound=0.5).passed


def test_checks_survive_the_card(home: ServerHome) -> None:
    made = candidate(home, checks=[GOOD.to_document(), BAD.to_document()])
    assert list(read_checks(made.card)) == [GOOD, BAD]


@pytest.mark.parametrize(
    "words", [("campaign", "start"), ("generate", "--statistics", "none.wgs", "--out", "none.wgw")]
)
def test_every_command_that_hands_weights_out_needs_a_generator(
    capsys: pytest.CaptureFixture[str], home: ServerHome, words: tuple[str, ...]
) -> None:
    def message() -> str:
        with pytest.raises(SystemExit) as info:
            cli.run_program(main_group, [*words, "--home", str(home.root)])
        assert info.value.code == 3
        return capsys.readouterr().err

    made = candidate(home, passes=False)
    if words[0] == "generate":
        assert "no generator is installed" in message()
    versions.install_version(home, made)
    assert "no generator is installed" not in message()
