"""The encoder is the one that the plant's owner confirmed: at enrolment, and ever after."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.client.conftest import LABELS, MakePlant, write_npz
from tests.client.fleet.test_enrolment import Server, certificate, pem
from tests.common.nets.onnx_models import WIDTH, encoder_file, with_further
from tests.common.nets.test_trial import HOSTILE_FILES

from wg_client.cli.main import group
from wg_client.data import plant_data as plants
from wg_client.fleet import reenrolment
from wg_client.fleet.home_initialisation import DataSetChoice, initialise
from wg_common import cli
from wg_common.nets.encoder import confined_trunk
from wg_common.nets.encoder import package as packages
from wg_core import snapshot as snapshots
from wg_core.connection import transport
from wg_core.errors import (
    ConfigError,
    DataError,
    DecodeError,
    RefusedError,
    UsageError,
    VerificationError,
    WgError,
)
from wg_core.release.query_answers import answer_query
from wg_core.site import config as configuration
from wg_core.site import encoder_pin
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, protocol
from wg_core.wire.protocol import EnrolmentRequest


class Enrolling(Server):
    """Certifies whatever keys come, and hands out an encoder."""

    def __init__(self, home: ClientHome, encoder: bytes) -> None:
        super().__init__(home)
        self.hand_out(encoder)
        self.promised = canonical.sha256_hex(encoder)

    def hand_out(self, encoder: bytes) -> None:
        self.reply = dataclasses.replace(self.reply, encoder=base64.b64encode(encoder).decode())

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked = canonical.decode(EnrolmentRequest, request.content, input_name="request")
            public = x509.load_pem_x509_csr(asked.csr_pem.encode()).public_key()
            assert isinstance(public, ec.EllipticCurvePublicKey)
            own = pem(certificate(public, self.key))
            self.reply = dataclasses.replace(self.reply, certificate_pem=own)
        return super().answer(request)


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    return ClientHome(tmp_path / "plant")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "data.npz", {0: 3, 1: 3}, seed=3, labels=LABELS)


@pytest.fixture
def server(home: ClientHome, encoder_package: bytes, monkeypatch: pytest.MonkeyPatch) -> Enrolling:
    found = Enrolling(home, encoder_package)
    monkeypatch.setattr(transport, "open_client", found.open_client)
    return found


@pytest.fixture(scope="session")
def other_package(encoder_package: bytes) -> bytes:
    """Another encoder, good as well."""
    contents = packages.unpack_encoder(encoder_package)
    tensors, metadata = contents.tensors, contents.metadata
    changed = {name: tensor.astype(float) for name, tensor in tensors.items()}
    return packages.pack_encoder(
        changed["mean"], changed["projection"] * 0.5, changed["local"], metadata
    )


def _init(home: ClientHome, server: Server, data: Path, **named: Any) -> ClientConfig:
    return initialise(home, server.token, DataSetChoice(path=data), PrivacyConfig(), **named)[0]


def _hash(package: bytes) -> str:
    return canonical.sha256_hex(package)


def test_another_encoder_than_the_token_names_is_refused_and_nothing_is_kept(
    home: ClientHome, server: Enrolling, data: Path, other_package: bytes
) -> None:
    server.hand_out(other_package)
    with pytest.raises(VerificationError, match="not the encoder that the operator promised"):
        _init(home, server, data)
    for path in (home.encoder, home.certificate, home.config):
        assert not path.exists()


def test_client_yaml_keeps_the_hash(home: ClientHome, server: Enrolling, data: Path) -> None:
    config = _init(home, server, data)
    assert config.data.encoder == server.promised == _hash(home.encoder.read_bytes())
    assert configuration.load(home) == config


@pytest.mark.parametrize("digits", [16, 20, 64])
def test_a_hash_or_its_beginning_confirms(
    home: ClientHome, server: Enrolling, data: Path, digits: int
) -> None:
    config = _init(home, server, data, encoder_hash=server.promised[:digits])
    assert config.data.encoder == server.promised


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ("ab" * 32, VerificationError),
        ("ab" * 8, VerificationError),
        ("", UsageError),
        ("ab", UsageError),
        ("AB" * 32, UsageError),
        ("ab" * 33, UsageError),
        (".*" * 16, UsageError),
    ],
)
def test_another_hash_is_refused_before_the_token_is_spent(
    home: ClientHome, server: Enrolling, data: Path, named: str, error: type[WgError]
) -> None:
    with pytest.raises(error):
        _init(home, server, data, encoder_hash=named)
    assert server.asked == []
    short = server.promised[: encoder_pin.PREFIX_DIGITS_MINIMUM - 1]
    with pytest.raises(UsageError):
        _init(home, server, data, encoder_hash=short)


@pytest.mark.parametrize("empty", [False, True])
def test_an_encoder_that_could_overflow_is_not_kept(
    home: ClientHome, server: Enrolling, data: Path, encoder_package: bytes, empty: bool
) -> None:
    contents = packages.unpack_encoder(encoder_package)
    tensors, metadata = contents.tensors, contents.metadata
    wide = {name: tensor.astype(float) for name, tensor in tensors.items()}
    hostile = packages.pack_encoder(
        wide["mean"], wide["projection"] * 1e30, wide["local"], metadata
    )
    server.hand_out(hostile)
    server.promised = _hash(hostile)
    choice = DataSetChoice(path=data)
    if empty:
        folder = data.with_name("empty")
        folder.mkdir()
        choice = DataSetChoice(path=folder, labels=LABELS, allow_empty=True)
    with pytest.raises(VerificationError, match="could overflow"):
        initialise(home, server.token, choice, PrivacyConfig())
    assert not home.encoder.exists() and not home.config.exists()


def test_an_encoder_for_other_records_is_not_kept(
    home: ClientHome, server: Enrolling, data: Path, window_encoder: bytes
) -> None:
    server.hand_out(window_encoder)
    server.promised = _hash(window_encoder)
    with pytest.raises(DataError, match="for sensor windows"):
        _init(home, server, data)
    assert not home.encoder.exists() and not home.config.exists()


def test_the_encoder_brings_its_trunks_and_each_file_is_tried_first(
    home: ClientHome, server: Enrolling, data: Path, encoder_package: bytes
) -> None:
    package = with_further(encoder_package, encoder_file(width=WIDTH))
    server.hand_out(package)
    server.promised = _hash(package)
    config = _init(home, server, data)
    assert config.data.encoder == _hash(package)
    about = packages.read_description(package)
    assert about.trunk_names == ("efficientnet-lite0-two-scales", "pooled (MIT)")
    blocks = packages.unpack_encoder(package).local_block_sizes
    frozen = snapshots.load_current(home)
    assert blocks[-1] == WIDTH
    assert frozen.features().shape[1] == frozen.manifest.scaled + sum(blocks)


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_an_encoder_whose_file_is_hostile_is_not_kept(
    home: ClientHome,
    server: Enrolling,
    data: Path,
    encoder_package: bytes,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, message, seconds = HOSTILE_FILES[name]
    monkeypatch.setattr(confined_trunk, "WALL_SECONDS_LIMIT", seconds)
    hostile = with_further(encoder_package, encoder_file(graph(), width=WIDTH))
    server.hand_out(hostile)
    server.promised = _hash(hostile)
    with pytest.raises(WgError, match=message) as refused:
        _init(home, server, data)
    assert refused.value.exit_code == 3
    assert not home.encoder.exists() and not home.config.exists()


NO_UNIT = "n\n"  # the data have an array of groups: init asks first whether each is one unit


class Terminal(io.StringIO):
    """An engineer who types."""

    def isatty(self) -> bool:
        return True


def _command(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run_program(group, [str(word) for word in words])
    assert caught.value.code == code


def _words(home: ClientHome, server: Server, data: Path) -> tuple[object, ...]:
    return ("init", "--home", home.root, "--join", server.token, "--data", data)


def test_on_a_terminal_the_owner_is_shown_the_hash_and_asked(
    home: ClientHome,
    server: Enrolling,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{NO_UNIT}y\n"))
    _command(*_words(home, server, data))
    shown = capsys.readouterr().out
    assert shown.index(server.promised) < shown.index("operator?") and "for images" in shown
    assert configuration.load(home).data.encoder == server.promised


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_an_owner_who_does_not_say_yes_gets_no_home(
    home: ClientHome, server: Enrolling, data: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(NO_UNIT + answer))
    _command(*_words(home, server, data), code=RefusedError.exit_code)
    for path in (home.encoder, home.certificate, home.config):
        assert not path.exists()
    monkeypatch.setattr(
        "sys.stdin", Terminal(f"{NO_UNIT}y\n")
    )  # with another token, when it is settled
    _command(*_words(home, server, data))
    assert configuration.load(home).data.encoder == server.promised


@pytest.mark.parametrize("option", [True, False])
def test_without_a_terminal_it_is_said_who_confirmed(
    home: ClientHome,
    server: Enrolling,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: bool,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    more = ("--encoder", server.promised) if option else ()
    _command(*_words(home, server, data), *more)
    shown = " ".join(capsys.readouterr().out.split())
    assert server.promised in shown
    assert ("as --encoder names it" in shown) == option
    assert ("nobody has confirmed it" in shown) != option


def test_json_says_who_confirmed(
    home: ClientHome, server: Enrolling, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _command(*_words(home, server, data), "--json")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["encoder"], shown["encoder_confirmed_by"]) == (server.promised, "token")


@pytest.mark.parametrize("command", ["replace", "compromise"])
def test_enrolling_again_brings_no_other_encoder_unless_it_is_named(
    home: ClientHome, server: Enrolling, data: Path, other_package: bytes, command: str
) -> None:
    def again(encoder: str | None = None) -> ClientConfig:
        if command == "replace":
            return reenrolment.enrol_again(home, server.token, encoder_hash=encoder)
        return reenrolment.replace_compromised_ledger(
            home, server.token, "test", encoder_hash=encoder
        )

    first = _init(home, server, data).data.encoder
    assert again().data.encoder == first
    server.hand_out(other_package)
    server.promised = other = _hash(other_package)
    server.asked.clear()
    for named, error in ((None, VerificationError), (first, VerificationError), ("x", UsageError)):
        with pytest.raises(error):
            again(named)
    assert server.asked == []
    assert configuration.load(home).data.encoder == first == _hash(home.encoder.read_bytes())
    assert again(other[:16]).data.encoder == other == _hash(home.encoder.read_bytes())


def test_a_new_encoder_that_could_overflow_replaces_nothing(
    home: ClientHome, server: Enrolling, data: Path, encoder_package: bytes
) -> None:
    first = _init(home, server, data)
    contents = packages.unpack_encoder(encoder_package)
    tensors, metadata = contents.tensors, contents.metadata
    wide = {name: tensor.astype(float) for name, tensor in tensors.items()}
    hostile = packages.pack_encoder(
        wide["mean"], wide["projection"], wide["local"] * 1e30, metadata
    )
    server.hand_out(hostile)
    server.promised = _hash(hostile)
    with pytest.raises(VerificationError, match="could overflow"):
        reenrolment.enrol_again(home, server.token, encoder_hash=server.promised)
    assert configuration.load(home) == first
    assert _hash(home.encoder.read_bytes()) == first.data.encoder


def test_a_file_that_was_changed_is_not_used(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.configure(data=dataclasses.replace(plant.config.data, encoder=plant.encoder))
    query = plant.query()
    package = plant.home.encoder.read_bytes()
    plant.home.encoder.write_bytes(package + b" ")
    with pytest.raises(VerificationError, match="as confirmed"):
        answer_query(plant.home, query, witness=plant.witness)
    with pytest.raises(VerificationError, match="as confirmed"):
        plants.open_plant_data(plant.home)
    with pytest.raises(VerificationError, match="as confirmed"):
        plants.load_pinned_encoder(plant.home, plant.encoder)
    plant.home.encoder.write_bytes(package)
    assert plants.open_plant_data(plant.home).encoder_sha256 == plant.encoder


@pytest.mark.parametrize("encoder", ["", "ab", "AB" * 32, "g" * 64, "ab" * 33])
def test_client_yaml_takes_a_hash_and_nothing_else(encoder: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.encoder"):
        DataConfig(name="a", path="b", labels=LABELS, encoder=encoder)


def test_a_token_that_names_no_whole_hash_is_refused(server: Enrolling) -> None:
    server.promised = "ab"
    with pytest.raises(DecodeError, match="encoder"):
        protocol.decode_join_token(server.token)


@pytest.mark.parametrize("sources", ["7", "[7]", '["a\\u001b[2J"]', "[" * 9999, '[""]', "{}", "no"])
def test_sources_that_cannot_be_shown_are_refused(encoder_package: bytes, sources: str) -> None:
    contents = packages.unpack_encoder(encoder_package)
    tensors, metadata = contents.tensors, contents.metadata
    wide = [tensors[name].astype(float) for name in packages.TENSOR_NAMES]
    package = packages.pack_encoder(wide[0], wide[1], wide[2], {**metadata, "sources": sources})
    with pytest.raises(DecodeError, match="sources"):
        packages.read_description(package)
