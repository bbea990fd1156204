"""Witnesses beside the server: asked over HTTPS, counted by key, and needed before a release goes.

One is written from the specification alone (``witness_server``), one by others (Debian's
``sigsum-witness``).
"""

# long: a case for each thing that a witness may say

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.client.conftest import MakePlant
from tests.core.connection.test_cosigning import NAME, World, make_world
from tests.core.connection.witness_server import SpecWitness, certificate, consistent, serving
from tests.core.ledger.decided import record_decision
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_client.cli.main import group
from wg_client.fitting.linear_head import LinearHead
from wg_common import cli
from wg_core.connection import cosigning, http_witness
from wg_core.connection.cosigning import TooFewWitnesses
from wg_core.errors import ConfigError, PeerError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import inclusion_proof, merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.cosigned import LedgerRolledBack
from wg_core.ledger.witness import WitnessRefused
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query
from wg_core.site import config as configuration
from wg_core.site.config import WitnessConfig
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, canonical, signing
from wg_server.fleet.witness import LedgerWitness
from wg_server.site.home import AdditionalWitness, ServerConfig, parse_config
from wg_server.store.server_store import ServerStore

SECOND = "witness.example/w1"


@pytest.fixture
def world(make_plant: MakePlant, good_head: LinearHead, tmp_path: Path) -> World:
    return make_world(make_plant, good_head, tmp_path)


@pytest.fixture
def second(world: World) -> SpecWitness:
    return SpecWitness(SECOND, {world.plant.origin: world.plant.ledger_key[:32]})


@contextmanager
def watched(world: World, second: SpecWitness, quorum: int | None = None) -> Iterator[None]:
    """The plant wants the second witness, which answers."""
    with serving(second, world.folder) as (url, ca):
        want(world, second, url=url, ca=str(ca), quorum=quorum)
        yield


def want(
    world: World, *witnesses: SpecWitness, url: str, ca: str = "", quorum: int | None = None
) -> None:
    found = tuple(
        WitnessConfig(name=each.name, key=each.public_key.hex(), url=url, ca=ca)
        for each in witnesses
    )
    world.plant.configure(witnesses=found, witness_quorum=quorum)


def cosigners(world: World, data: bytes) -> list[str]:
    """Who cosigned the checkpoint of a file, by keys that the test knows."""
    covered = bundle.decode_statistics(data)
    note = inclusion_proof.decode(covered.release_proof).note
    return list(dict.fromkeys(x.name for x in note.signatures if x.name != world.plant.origin))


def ask(world: World, epsilon: str = "0.5") -> bytes:
    """An answer over the network, the server's witness played by its own code."""
    with ServerStore.open(world.server) as store:
        server, site = LedgerWitness.open(world.server, store), store.require_site("plant-a")
        query = world.plant.query(epsilon=epsilon)
        return answer_query(
            world.plant.home, query, witness=lambda body: server.cosign_extension(site, body)
        )


def charges(world: World) -> int:
    return read_plant_spending(world.plant.home, world.plant.config).charge_count


def test_a_release_goes_when_server_and_second_witness_have_cosigned(
    world: World, second: SpecWitness
) -> None:
    with watched(world, second):
        for epsilon in ("0.5", "0.6"):  # the second time it leads from what the witness saw
            data = ask(world, epsilon)
            assert set(cosigners(world, data)) == {NAME, SECOND}
    note = inclusion_proof.decode(bundle.decode_statistics(data).release_proof).note
    key = signing.public_from_bytes(second.public_key)
    assert checkpoints.verified_cosignature_time(note, SECOND, key) > 0
    assert second.statuses == [200, 200]


def by_file(world: World, home: ClientHome, name: str) -> None:
    """``wg-client statistics`` where the server is away."""
    out = ["--out", str(world.folder / name)]
    words = ["statistics", "--home", str(home.root), "--epsilon", "0.5", *out]
    done = CliRunner().invoke(group, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception


def test_a_copied_home_is_found_by_a_second_witness_before_it_is_charged(
    world: World, second: SpecWitness
) -> None:
    copy = ClientHome(world.folder / "copy")
    with watched(world, second):
        shutil.copytree(world.plant.home.root, copy.root)
        by_file(world, world.plant.home, "first.wgs")
        with pytest.raises(LedgerRolledBack, match="older copy"):
            by_file(world, copy, "second.wgs")
    assert charges(world) == 1 and read_plant_spending(copy, world.plant.config).charge_count == 0
    want(world, second, url="https://127.0.0.1:1", quorum=1)  # out of reach: nobody can tell
    configuration.save(copy, configuration.load(world.plant.home))
    by_file(world, copy, "third.wgs")
    assert read_plant_spending(copy, world.plant.config).charge_count == 1


def test_a_release_waits_for_a_witness_that_cannot_be_reached(
    world: World, second: SpecWitness
) -> None:
    want(world, second, url="https://127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(TooFewWitnesses, match="the release is kept"):
            ask(world)
    assert charges(world) == 1
    with watched(world, second):
        assert set(cosigners(world, ask(world))) == {NAME, SECOND}
    assert charges(world) == 1


def test_the_others_are_asked_after_the_server_has_waited_for_the_slot(
    world: World, second: SpecWitness
) -> None:
    """The server's question waits for the slot's end; no other may be asked before, ever."""
    asked: list[str] = []

    def server(body: bytes) -> bytes:
        asked.append(f"server, after {len(second.statuses)} others")
        raise PeerError("away")

    with watched(world, second):
        for _ in range(2):
            with pytest.raises(PeerError, match="away"):
                answer_query(world.plant.home, world.plant.query(), witness=server)
        ask(world)
    assert asked == ["server, after 0 others"] * 2 and second.statuses == [200]


def test_a_quorum_does_without_one_that_is_away(world: World, second: SpecWitness) -> None:
    want(world, second, url="https://127.0.0.1:1", quorum=1)
    assert cosigners(world, ask(world)) == [NAME]


@pytest.mark.parametrize("quorum", [0, 3, -1])
def test_a_quorum_that_cannot_be_is_refused(world: World, second: SpecWitness, quorum: int) -> None:
    with pytest.raises(ConfigError, match="witness_quorum"):
        want(world, second, url="https://127.0.0.1:1", quorum=quorum)


def test_a_witness_counts_once_and_is_not_the_server(world: World, second: SpecWitness) -> None:
    with pytest.raises(ConfigError, match="twice, or is the server's"):
        want(world, second, second, url="https://127.0.0.1:1")
    double = SpecWitness("another.name/w", {}, key=second.key)
    with pytest.raises(ConfigError, match="twice, or is the server's"):
        want(world, second, double, url="https://127.0.0.1:1")
    (part, _) = signing.load(world.server.witness_key).parts
    assert isinstance(part, Ed25519PrivateKey)
    server = SpecWitness("x/y", {}, key=part)
    with pytest.raises(ConfigError, match="twice, or is the server's"):
        want(world, server, url="https://127.0.0.1:1")


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("zz", "https://w.example"),
        ("ab" * 31, "https://w.example"),
        ("other/w+00000000+AA==", "https://w.example"),
        ("ab" * 32, "http://w.example"),
        ("ab" * 32, "https://w.example/?x"),
    ],
)
def test_a_witness_that_cannot_be_is_refused(key: str, url: str) -> None:
    with pytest.raises(ConfigError, match=r"witnesses: w\.example/w"):
        WitnessConfig(name="w.example/w", key=key, url=url)


def test_a_verifier_key_is_taken_as_it_is_published(second: SpecWitness) -> None:
    key = signing.public_from_bytes(second.public_key)
    (vkey,) = notes.encode_verifier_keys(SECOND, notes.COSIGNER_ROLE, key)
    found = WitnessConfig(name=SECOND, key=vkey, url="https://w.example")
    assert found.public_key == second.public_key
    (log,) = notes.encode_verifier_keys(SECOND, notes.LOG_ROLE, key)
    with pytest.raises(ConfigError, match="signature type 1"):
        WitnessConfig(name=SECOND, key=log, url="https://w.example")


def test_a_misspelt_field_of_a_witness_is_named(world: World, second: SpecWitness) -> None:
    want(world, second, url="https://w.example")
    path = world.plant.home.config
    path.write_text(path.read_text().replace("  ca: ", "  certificate: "))
    with pytest.raises(ConfigError, match=r"unknown fields: witnesses\.0\.certificate"):
        configuration.load(world.plant.home)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, b""), "does not know this ledger"),
        ((403, b""), "with another key"),
        ((422, b""), "did not grow"),
        ((400, b""), "malformed"),
        ((500, b""), "status 500"),
        ((409, b"nonsense\n"), "another root"),
        ((409, b"999999\n"), "rolled back"),
        ((200, b""), "signature"),
        ((200, b"nonsense\n"), "signature"),
    ],
)
def test_a_bad_answer_is_that_witness_s_own_failure(
    world: World, second: SpecWitness, answer: tuple[int, bytes], message: str
) -> None:
    second.answer = answer
    with watched(world, second), pytest.raises(TooFewWitnesses, match=message):
        ask(world)
    with watched(world, second, quorum=1):
        assert cosigners(world, ask(world)) == [NAME]


def test_a_cosignature_under_another_key_of_the_same_name_does_not_count(
    world: World, second: SpecWitness
) -> None:
    impostor = SpecWitness(SECOND, second.logs)
    with serving(impostor, world.folder) as (url, ca):
        want(world, second, url=url, ca=str(ca))
        with pytest.raises(TooFewWitnesses, match="no cosignature of an enrolled key"):
            ask(world)


def test_what_a_witness_saw_is_kept_by_its_key(world: World, second: SpecWitness) -> None:
    """A new witness under an old name starts from nothing."""
    with watched(world, second):
        ask(world, "0.5")
    fresh = SpecWitness(SECOND, second.logs)
    with watched(world, fresh):
        ask(world, "0.6")
    assert fresh.statuses == [200]


def test_a_witness_without_our_certificate_authority_is_not_asked(
    world: World, second: SpecWitness
) -> None:
    with serving(second, world.folder) as (url, _):
        want(world, second, url=url)
        with pytest.raises(TooFewWitnesses, match="does not verify"):
            ask(world)
    assert second.statuses == []


def test_a_fork_is_refused_by_the_second_witness(world: World, second: SpecWitness) -> None:
    with watched(world, second):
        ask(world, "0.5")
        second.seen[world.plant.origin] = (second.seen[world.plant.origin][0], bytes(32))
        with pytest.raises(TooFewWitnesses, match="did not grow"):
            ask(world, "0.6")


def test_witnesses_are_on_the_ledger_before_the_charge(world: World, second: SpecWitness) -> None:
    want(world, second, url="https://127.0.0.1:1")
    with pytest.raises(TooFewWitnesses):
        ask(world)
    with world.ledger() as ledger:
        kinds = [json.loads(ledger.entry_bytes(seq))["head"]["kind"] for seq in range(ledger.size)]
    assert kinds[-3:] == ["witness", "charge", "release"]


def test_over_the_air_gap_the_other_witnesses_are_asked_and_the_server_cosigns_later(
    world: World, second: SpecWitness
) -> None:
    want(world, second, url="https://127.0.0.1:1")
    with pytest.raises(TooFewWitnesses):
        world.statistics("0.5")
    with watched(world, second):
        source = world.statistics("0.5")
        assert cosigners(world, source.read_bytes()) == [SECOND]
        cosigning.store_cosignature(world.plant.home, world.cosign(source))
        world.cosign(world.statistics("0.6"))


def test_a_server_may_want_the_second_witness_too(world: World, second: SpecWitness) -> None:
    config = world.server.read_config()
    policy = AdditionalWitness(name=SECOND, key=second.public_key.hex())
    world.server.write_config(replace(config, witnesses=(policy,), witness_quorum=2))
    assert world.server.read_config().witnesses == (policy,)
    with pytest.raises(VerificationError, match="cosigned by 1 known witnesses, expected 2"):
        world.cosign(world.statistics("0.5"))
    with watched(world, second):
        world.cosign(world.statistics("0.6"))


@pytest.mark.parametrize(
    "extra",
    [
        "witness_quorum: 2",
        "witness_quorum: 0",
        "witnesses: [{name: a, key: zz}]",
        "witnesses: [{name: a, key: " + "ab" * 32 + ", url: x}]",
    ],
)
def test_a_server_s_policy_that_cannot_be_is_refused(extra: str) -> None:
    text = f"fleet_port: 1\nenrol_port: 2\nadmin_port: 3\n{extra}\n"
    with pytest.raises(ConfigError, match="witness"):
        parse_config(text.encode(), input_name="server.yaml")
    assert parse_config(text.encode().replace(extra.encode(), b""), input_name="x") == ServerConfig(
        fleet_port=1, enrol_port=2, admin_port=3
    )


def test_the_plant_shows_what_a_witness_must_be_given(
    world: World, second: SpecWitness, capsys: pytest.CaptureFixture[str]
) -> None:
    with watched(world, second):
        ask(world)
    assert run(group, ["keys", "--home", world.plant.home.root, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = [
        notes.decode_verifier_key(vkey, notes.LOG_ROLE)[1].raw for vkey in found["ledger_vkeys"]
    ]
    assert b"".join(parts) == world.plant.ledger_key
    assert [len(row["vkeys"]) for row in found["witnesses"]] == [2, 1]
    assert found["ledger_origin"] == world.plant.origin and found["needed"] == 2
    assert [row["cosigned"] for row in found["witnesses"]] == [found["entries"]] * 2
    assert run(group, ["keys", "--home", world.plant.home.root]) == 0
    assert "2 of 2 must cosign" in capsys.readouterr().out


# --- a witness that others wrote --------------------------------------------------------------


@dataclass
class Foreign:
    """Debian's ``sigsum-witness`` behind TLS, and a ledger of an origin that it takes."""

    ledger: Ledger
    witness: WitnessConfig


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Foreign]:
    if shutil.which("sigsum-witness") is None:
        pytest.skip("sigsum-witness: not installed (Debian: sigsum-go)")
    log_key, key = signing.generate_hybrid_key(), signing.generate_key()
    private, log_public = tmp_path / "key", tmp_path / "log.pub"
    private.write_bytes(
        key.parts[0].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)
    log_public.write_bytes(
        log_key.parts[0]
        .public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    raw = signing.public_bytes(key)
    name = f"sigsum.org/v1/witness/{canonical.sha256_hex(raw)}"
    origin = f"sigsum.org/v1/tree/{canonical.sha256_hex(signing.public_bytes(log_key)[:32])}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["sigsum-witness", "-k", str(private), "--log-key", str(log_public)]
    words += ["--state-file", str(tmp_path / "state"), f"127.0.0.1:{port}"]
    # Debian builds it for an older router, which knows no methods in patterns.
    with (
        ended(words, {**os.environ, "GODEBUG": "httpmuxgo121=0"}),
        tls_before(port, tmp_path) as (url, ca),
        Ledger.create(tmp_path / "ledger.sqlite", origin=origin, key=log_key, site="a") as ledger,
    ):
        wait_until(lambda: reachable(port), "the witness")
        ledger.enrol_witness(name, raw)
        yield Foreign(ledger, WitnessConfig(name=name, key=raw.hex(), url=url, ca=str(ca)))


def test_a_witness_that_others_wrote_cosigns_again_and_again(foreign: Foreign) -> None:
    ledger, witness = foreign.ledger, foreign.witness
    post = http_witness.witness_client(witness)
    for _ in range(4):
        record_decision(ledger)
        record_decision(ledger)
        _, note = checkpoints.decode(ledger.request_cosignature(witness.name, post))
        key = signing.public_from_bytes(witness.public_key)
        assert checkpoints.verified_cosignature_time(note, witness.name, key) > 0
        assert ledger.is_newest_cosigned(witness.name)
    post(ledger.witness_request(witness.name).encode())  # the same once more


def test_a_witness_that_others_wrote_says_what_it_saw_and_refuses_a_fork(
    foreign: Foreign, tmp_path: Path
) -> None:
    ledger, witness = foreign.ledger, foreign.witness
    post = http_witness.witness_client(witness)
    record_decision(ledger)
    ledger.request_cosignature(witness.name, post)
    seen = ledger.size
    record_decision(ledger)
    with pytest.raises(WitnessRefused) as caught:
        post(ledger.witness_request(witness.name, old_size=0).encode())
    assert caught.value.last_seen_size == seen
    forged = ledger.witness_request(witness.name)
    with pytest.raises(WitnessRefused, match="did not grow"):
        post(replace(forged, consistency_proof=(bytes(32), *forged.consistency_proof[1:])).encode())
    ledger.request_cosignature(witness.name, post)


def test_a_witness_that_others_wrote_refuses_an_unknown_ledger(
    foreign: Foreign, world: World
) -> None:
    with world.ledger() as ledger, pytest.raises(WitnessRefused, match="not know this ledger"):
        http_witness.witness_client(foreign.witness)(ledger.witness_request(NAME).encode())


@contextmanager
def ended(words: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A process that is ended with the block."""
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def tls_before(port: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """TLS in front of a plain port: its URL, and the certificate to trust."""
    cert, private = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)

    def forward(near: socket.socket) -> None:
        with (
            context.wrap_socket(near, server_side=True) as inner,
            socket.create_connection(("127.0.0.1", port)) as far,
        ):
            head = b""
            while b"\r\n\r\n" not in head:
                head += inner.recv(65536)
            fields, _, body = head.partition(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in fields.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            while len(body) < length:
                body += inner.recv(65536)
            far.sendall(fields + b"\r\nConnection: close\r\n\r\n" + body)
            while part := far.recv(65536):
                inner.sendall(part)

    def accept() -> None:
        while not stop.is_set():
            try:
                near, _ = listener.accept()
            except TimeoutError:
                continue
            forward(near)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", cert
    finally:
        stop.set()
        thread.join()
        listener.close()


def test_the_reference_witness_checks_consistency_as_the_specification_says() -> None:
    """The test's own witness against RFC 6962 trees made by recursion."""
    leaves = [merkle.leaf_hash(bytes([index])) for index in range(12)]
    for new in range(1, 13):
        for old in range(new + 1):
            found = list(merkle.consistency_proof(leaves[:new], old))
            roots = merkle.root(leaves[:old]), merkle.root(leaves[:new])
            assert consistent(old, new, *roots, found), (old, new)
            if old not in (0, new):
                assert not consistent(old, new, roots[0], bytes(32), found)
                assert not consistent(old, new, *roots, [*found, bytes(32)])


def run(command: click.Command, words: list[str | Path]) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.run_program(command, [str(word) for word in words])
    assert isinstance(caught.value.code, int)
    return caught.value.code
