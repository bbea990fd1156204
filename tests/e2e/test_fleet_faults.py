"""What goes wrong by itself, or is made to: cut lines, slow and huge requests, replays, two nodes
with one identity, full disks, other versions. Each ends with one release charged and one package
applied, or with a clear refusal; and work goes on when the fault is over. Over 500 lines, since
the faults share one fleet and its helpers.
"""

# long: a case for each fault, on one set of fixtures

from __future__ import annotations

import resource
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from tests.e2e import fleet_support
from tests.e2e.fleet_support import (
    FAST,
    Died,
    Plant,
    enrol_plant,
    finished,
    healthy,
    make_home,
    running,
    start_campaign,
)
from tests.e2e.test_fleet_processes import answers, models, process
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_client.fleet import enrolment
from wg_core.connection import server_link, transport
from wg_core.errors import ConfigError, DecodeError, PeerError, StorageError
from wg_core.fleet import flower, inbox
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import flower_messages, protocol
from wg_core.wire.protocol import WITNESS_PATH
from wg_server.fleet.enrolment import create_join_token
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

LIFE_SECONDS = 10
"""Life of a message in tests that outlast it; a busy machine must answer within it."""


class Line:
    """A line between a plant and its server that can be cut: a forwarder on loopback.

    Attributes:
        cut: ``""``: whole. ``"closed"``: connections are dropped, new ones too. ``"silent"``: they
            stay, and nothing passes.
    """

    def __init__(self, host: str, port: int) -> None:
        self._far = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._ended = False
        self.cut = ""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def set(self, cut: str) -> None:
        self.cut = cut
        if cut == "closed":
            for each in list(self._open):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._ended = True
        self.set("closed")
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(PATIENCE_SECONDS)

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.cut == "closed":
                near.close()
                continue
            self._threads.append(threading.Thread(target=self._join, args=(near,)))
            self._threads[-1].start()

    def _join(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._far) as far:
            self._open |= {near, far}
            back = threading.Thread(target=self._pump, args=(far, near))
            back.start()
            self._pump(near, far)
            back.join()
            self._open -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                while self.cut == "silent" and not self._ended:
                    time.sleep(0.05)
                sink.sendall(data)
        for side in (source, sink):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(home: ServerHome, plant: Plant) -> Iterator[Line]:
    """Put a line that can be cut between a plant and its server."""
    config = home.read_config()
    line = Line(config.host, config.fleet_port)
    own = configuration.load(plant.home)
    near = replace(own.server, fleet_url=f"https://127.0.0.1:{line.port}")
    configuration.save(plant.home, replace(own, pin=near))
    try:
        yield line
    finally:
        line.end()


def shown(home: ServerHome, campaign: Campaign) -> Campaign:
    with ServerStore.open(home) as store:
        return CampaignQueue(store.engine).find_campaign(campaign.id)


def releases(home: ServerHome, encoder: str) -> list[str]:
    with ServerStore.open(home) as store:
        kept = store.newest_usable_release_ids(encoder_sha256=encoder, excluded_site="nobody")
        return [store.require_release(each).site for each in kept]


def check_once(home: ServerHome, plant: Plant, done: Campaign) -> None:
    """One charge, one release, one package applied."""
    assert done.state == "done"
    with plant.ledger() as ledger:
        spent = ledger.read_spending("line-1")
        assert (spent.charge_count, spent.open_charge_count) == (1, 0)
    assert plant.steps.count("charged") == 1
    wait_until(lambda: bool(plant.applied), "applying")
    assert plant.applied == [done.tasks[0].delivery_id]
    assert releases(home, done.encoder) == [plant.site]


@pytest.mark.parametrize("phase", ["answering", pytest.param("receiving", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cut", ["closed", pytest.param("silent", marks=pytest.mark.slow)])
def test_a_line_that_is_cut_for_longer_than_a_message_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str, phase: str
) -> None:
    home = make_home(tmp_path / "server", message_seconds=LIFE_SECONDS)
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        monkeypatch.setattr(transport, "IDLE_TIMEOUT_SECONDS", 3.0)  # enrolling may take longer
        with line_to(home, plant) as line:
            cuts: list[str] = []

            def once() -> None:
                if not cuts:
                    cuts.append(cut)
                    line.set(cut)  # the message was pulled; the way back is gone

            if phase == "answering":
                plant.before_answer = once
            else:
                receive = inbox.Inbox.store_package

                def receive_and_cut(own: inbox.Inbox, *words: object) -> object:
                    receipt = receive(own, *words)  # type: ignore[arg-type]
                    once()
                    return receipt

                monkeypatch.setattr(inbox.Inbox, "store_package", receive_and_cut)
            campaign = start_campaign(home, ["plant-a"])
            with plant.running():
                wait_until(lambda: bool(cuts), "the cut")
                before = shown(home, campaign).tasks[0].messages
                wait_until(lambda: shown(home, campaign).tasks[0].messages > before, "another try")
                assert shown(home, campaign).finished is None
                line.set("")
                done = finished(home, campaign)
                assert done.tasks[0].messages > 2
                check_once(home, plant, done)


def test_a_node_killed_right_after_pulling_is_asked_again(server: ServerHome, plant: Plant) -> None:
    def die() -> None:
        plant.before_answer = lambda: None
        raise Died

    plant.before_answer = die
    campaign = start_campaign(server, ["plant-a"])
    with plant.running() as node:
        node.join(PATIENCE_SECONDS)
        assert not node.is_alive()
    assert plant.steps == []
    with plant.running():
        check_once(server, plant, finished(server, campaign))


# ------------------------------------------------------------------------------------------ replay


def test_a_reply_that_is_sent_twice_or_after_the_end_changes_nothing(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[flower.FlowerSession, object]] = []
    push = flower.FlowerSession._push_reply

    def twice(session: flower.FlowerSession, reply: object) -> None:
        push(session, reply)  # type: ignore[arg-type]
        sent.append((session, reply))
        with suppress(httpx.HTTPStatusError):
            push(session, reply)  # type: ignore[arg-type]

    monkeypatch.setattr(flower.FlowerSession, "_push_reply", twice)
    with plant.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
        for session, reply in sent:  # the campaign is over, the connection is not
            with suppress(httpx.HTTPStatusError):
                push(session, reply)  # type: ignore[arg-type]
        check_once(server, plant, done)
        again = finished(server, start_campaign(server, ["plant-a"], epsilon="0.5"))
    assert again.state == "done" and again.tasks[0].release_id != done.tasks[0].release_id


def test_an_older_release_does_not_answer_a_new_question(server: ServerHome, plant: Plant) -> None:
    kept: list[bytes] = []
    honest = plant.answer

    def replay(*words: object, **more: object) -> bytes:
        kept.append(honest(*words, **more))  # type: ignore[arg-type]
        return kept[0]

    plant.answer = replay  # type: ignore[method-assign]
    with plant.running():
        assert finished(server, start_campaign(server, ["plant-a"])).state == "done"
        done = finished(server, start_campaign(server, ["plant-a"], epsilon="0.5"))
    (task,) = done.tasks
    assert (task.state, task.code, task.release_id) == ("failed", "verification", "")


def test_another_sites_release_is_not_taken_from_this_one(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    thief = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    stolen: list[bytes] = []
    honest = plant.answer

    def answer(*words: object, **more: object) -> bytes:
        stolen.append(honest(*words, **more))  # type: ignore[arg-type]
        return stolen[0]

    plant.answer = answer  # type: ignore[method-assign]
    thief.answer = lambda *words, **more: stolen[0]  # type: ignore[method-assign]
    with plant.running():
        first = finished(server, start_campaign(server, ["plant-a"]))
    with thief.running():
        done = finished(server, start_campaign(server, ["plant-b"]))
    assert (done.tasks[0].state, done.tasks[0].code) == ("failed", "verification")
    assert releases(server, first.encoder) == ["plant-a"]


# --------------------------------------------------------------------------------- two of one kind


def _locked(path: Path) -> bool:
    """Whether somebody holds a lock on a file; a trial lock could be in the holder's way."""
    if not path.exists():
        return False
    locks = Path("/proc/locks").read_text().splitlines()
    held = [line.split()[-3].split(":")[-1] for line in locks]
    return str(path.stat().st_ino) in held


def test_a_second_node_on_one_home_is_refused(server: ServerHome, plant: Plant) -> None:
    with plant.running():
        wait_until(lambda: _locked(plant.home.root / ".node.lock"), "the first node")
        handlers = NodeHandlers(answer_query=plant.answer, apply_package=plant.apply)
        with pytest.raises(ConfigError, match="another process runs this plant's node"):
            run_node(plant.home, handlers, options=FAST)
        check_once(server, plant, finished(server, start_campaign(server, ["plant-a"])))


def test_two_copies_of_one_plant_release_once(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    # The home was copied, keys and ledger and all: two machines say that they are plant-a.
    root = tmp_path / "copy"
    shutil.copytree(plant.home.root, root)
    copy = Plant("plant-a", ClientHome(root))
    with plant.running(), copy.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
        assert done.state == "done"
        wait_until(lambda: len(plant.applied + copy.applied) == 1, "applying")
        # Whoever answered first extended the ledger; the other's story is a second one.
        other = copy if plant.steps else plant
        with plant.ledger() as one, copy.ledger() as two:
            assert (
                one.read_spending("line-1").charge_count + two.read_spending("line-1").charge_count
                >= 1
            )
    assert releases(server, done.encoder) == ["plant-a"]
    if not other.steps:
        # Its ledger lacks what the witness has seen: its node ends before it is asked anything.
        with other.running() as node:
            wait_until(lambda: not node.is_alive(), "the node's end")
        assert other.behind
        with ServerStore.open(server) as store:
            kept = store.newest_usable_release_ids(
                encoder_sha256=done.encoder, excluded_site="nobody"
            )
        assert kept == [done.tasks[0].release_id]


# --------------------------------------------------------------------------- slow, huge and strange


@contextmanager
def tls(home: ServerHome, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    config = home.read_config()
    with (
        socket.create_connection((config.host, config.fleet_port), timeout=PATIENCE_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=config.host) as connection,
    ):
        yield connection


def test_slow_clients_do_not_keep_a_plant_from_its_campaign(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    lazy = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    config = server.read_config()
    context = server_link.client_tls_context(lazy.home)
    with ExitStack() as stack:
        for _ in range(150):  # no TLS at all
            stack.enter_context(socket.create_connection((config.host, config.fleet_port)))
        for number in range(60):
            connection = stack.enter_context(tls(server, context))
            if number % 3 == 1:  # a request that stops in its head
                connection.sendall(b"POST /wg/v1/witness HTTP/1.1\r\nhost: x\r\n")
            elif number % 3 == 2:  # or in its body
                head = f"POST {WITNESS_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
                connection.sendall(head.encode() + b"x" * 10)
        with plant.running():
            check_once(server, plant, finished(server, start_campaign(server, ["plant-a"])))


# ---------------------------------------------------------------------------------------- versions


def test_a_node_of_another_version_is_told_so_on_both_sides(
    server: ServerHome,
    plant: Plant,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    older = SimpleNamespace(**{**vars(flower_messages), "APP_HASH": "0" * 64})
    monkeypatch.setattr(flower, "flower_messages", older)
    with plant.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
    assert (done.tasks[0].state, done.tasks[0].code) == ("refused", flower_messages.APP_MISMATCH)
    told = [record for record in caplog.records if "update the older side" in record.getMessage()]
    assert {record.name for record in told} == {
        "wg_core.fleet.node",
        "wg_server.campaigns.message_exchange",
    }
    assert plant.steps == []


def test_enrolment_between_versions_says_which_side_to_update(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServerStore.open(server) as store:
        token = create_join_token(server, store, "plant-x", 600.0)
    with pytest.raises(DecodeError, match=r"expected one word beginning with 'wgj1\.'"):
        protocol.decode_join_token("wgj2.e30")
    later = protocol.encode_join_token(replace(token, version=2))
    with pytest.raises(DecodeError, match=r"join token: version 2.*update the older"):
        enrolment.enrol(ClientHome(tmp_path / "plant"), later)
    newer = partial(protocol.EnrolmentRequest, version=2)
    monkeypatch.setattr(enrolment, "EnrolmentRequest", newer)
    with pytest.raises(PeerError, match=r"refused \(400\).*version 2, this program reads 1"):
        enrolment.enrol(ClientHome(tmp_path / "plant"), protocol.encode_join_token(token))


# ----------------------------------------------------------------------------------- disks in parts


@pytest.mark.parametrize("where", ["answer", "apply"])
def test_a_full_disk_at_the_plant_is_waited_out(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    full = [True, True]

    def fail() -> None:
        if full:
            full.pop()
            raise StorageError("the disk is full")

    setattr(plant, f"before_{where}", fail)
    monkeypatch.setattr(fleet_support, "FAST", replace(FAST, apply_retry_seconds=0.1))
    with plant.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
        check_once(server, plant, done)
    assert not full and not (plant.home.packages / "rejected").exists()


def limit_files(pid: int, size: int) -> None:
    """From now on a process can write no file beyond so many bytes; as a full disk, but local."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.slow
@pytest.mark.parametrize("side", ["server", "node"])
def test_a_process_whose_disk_is_full_goes_on_when_there_is_room(tmp_path: Path, side: str) -> None:
    home = make_home(tmp_path / "server", message_seconds=LIFE_SECONDS)
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        campaign = start_campaign(home, ["plant-a"])
    with ExitStack() as stack:
        server = stack.enter_context(process("server", home.root)).pid
        wait_until(lambda: healthy(home), "the server")
        if side == "server":
            limit_files(server, 1)
        node = stack.enter_context(process("node", plant.home.root)).pid
        if side == "node":
            limit_files(node, 1)
            wait_until(lambda: shown(home, campaign).tasks[0].code == "unavailable", "the code")
        else:
            time.sleep(10)
        task = shown(home, campaign).tasks[0]
        assert (task.state, task.release_id) == ("waiting", "")
        limit_files(server if side == "server" else node, resource.RLIM_INFINITY)
        done = finished(home, campaign)
        wait_until(lambda: models(plant) == 1, "applying")
    assert done.state == "done" and len(answers(plant)) == 1
    with plant.ledger() as ledger:
        assert (
            ledger.read_spending("line-1").charge_count,
            ledger.read_spending("line-1").open_charge_count,
        ) == (1, 0)
