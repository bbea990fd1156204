"""Folders that differ in one record are alike to everybody outside: a property test over pairs.

Each pair goes the whole way: files, freeze with ``--set-aside``, questions to the node, answers
with real noise, ledger, witness. What an outsider can see of the two members must be equal: words,
sizes, number of messages and entries, and times, on a clock on which work takes as long as it
likes. What the answers hold differs by noise, and by what was charged for.
"""

# long: what an outsider sees is made in the file that compares it

from __future__ import annotations

import functools
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bearings import BEARING
from tests.client.conftest import WITNESS, TestWitness
from tests.client.release.neighbour_folders import (
    CHANGES,
    HEADER,
    LABELS,
    ODD_ROWS,
    Write,
    added,
    corrupt,
    folder,
    linked,
    picture,
    removed,
    rows,
    stray,
    table,
    undeclared,
)

from wg_client.release.home_freeze import freeze_data, inspect_home_data
from wg_core.connection import server_link
from wg_core.fleet import node
from wg_core.fleet.node_interface import NodeHandlers, NodeOptions
from wg_core.ledger import budget_ledger, entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.privacy import mechanism, time_slots
from wg_core.privacy.schema import MACHINE_STATISTICS
from wg_core.release import freeze as freezing
from wg_core.release import query_answers as release_query
from wg_core.site import config as configuration
from wg_core.site import identity
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.wire import canonical, flower_messages, protocol, signing
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Refusal, StatisticsQuery

ENCODER = canonical.sha256_hex(b"a tiny encoder")
PAIRS = 208
SLOT = 2.0
START = 1_800_000_000.25


@dataclass(frozen=True)
class TinyEncoder:
    """Features of a record by itself, without torch: eight numbers of its pixels."""

    modality: str = "images"
    dimension: int = 8
    scaled_dimension: int = 8
    local_dimension: int = 8
    clip_radius: float = 1.0
    machine_kinds: tuple[str, ...] = ("rotating_machine",)

    def machine_features(
        self, records: Sequence[NDArray[Any]], data_sheet: DataSheet
    ) -> NDArray[np.float32]:
        """Thirty-two numbers of a record's first features, some of them beyond the clip."""
        rows = [np.resize(self.encode_local([record]), 32) for record in records]
        return np.array(rows, np.float32).reshape(-1, 32)

    def encode_local(self, records: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        rows = [np.resize(record.astype(np.float32).ravel(), 8) / 255 for record in records]
        return np.stack(rows)


@dataclass(frozen=True)
class TinyTexts(TinyEncoder):
    """Features of a text by itself: eight bytes of its hash."""

    modality: str = "texts"

    def encode_local(self, records: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        digests = [hashlib.sha256(str(record).encode()).digest() for record in records]
        return np.stack([np.frombuffer(one[:8], np.uint8) / np.float32(700) for one in digests])


class Clock:
    """Time that goes by when somebody works or waits."""

    def __init__(self) -> None:
        self.passed = 0.0

    def time(self) -> float:
        return START + self.passed

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def wait(self, seconds: float | None = None) -> bool:
        self.passed += seconds or 0.0
        return False

    def is_set(self) -> bool:
        return False


@dataclass
class World:
    """A home that was never asked anything, to be copied for each member of a pair."""

    template: ClientHome
    witness: TestWitness
    config: ClientConfig

    def member(self, root: Path, data: Path) -> ClientHome:
        shutil.copytree(self.template.root, root)
        home = ClientHome(root)
        config = replace(self.config, data=replace(self.config.data, path=str(data)))
        if data.is_file():  # a table of texts, each with its author
            config = replace(config, data=replace(config.data, unit_column="author"))
        configuration.save(home, config)
        return home


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = ClientHome(tmp_path_factory.mktemp("world") / "home")
    home.root.mkdir()
    home.encoder.write_bytes(b"a tiny encoder")
    public = identity.create_identity(home, "plant-a")
    key, witness, server = (
        signing.load(home.ledger_key),
        signing.generate_hybrid_key(),
        signing.generate_key(),
    )
    with Ledger.create(
        home.ledger,
        origin=public.ledger_origin,
        key=key,
        site="plant-a",
        clock=lambda: int(START) - 1000,
    ) as ledger:
        ledger.enrol_witness(WITNESS, signing.public_bytes(witness))
    home.load_site_secret()
    config = ClientConfig(
        site="plant-a",
        pin=PinnedServer(
            fleet_url="https://127.0.0.1:1",
            name="test-server",
            signing_key=signing.public_bytes(server).hex(),
            witness_name=WITNESS,
            witness_key=signing.public_bytes(witness).hex(),
        ),
        data=DataConfig(name="line-1", path="nowhere", labels=LABELS, encoder=ENCODER),
        privacy=PrivacyConfig(
            answer_slot_seconds=SLOT, cap_epsilon="1.5", max_request_epsilon="1.5"
        ),
        data_sheet=DataSheet(rotating_machine=BEARING),
    )
    configuration.save(home, config)
    seen_by = TestWitness(public.ledger_origin, signing.public_bytes(key), witness)
    return World(home, seen_by, config)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same few compositions in every home: each is computed once."""
    configs: dict[bytes, ClientConfig] = {}
    load = configuration.load

    def read_once(home: ClientHome) -> ClientConfig:
        key = home.config.read_bytes()
        if key not in configs:
            configs[key] = load(home)
        return configs[key]

    monkeypatch.setattr(configuration, "load", read_once)
    monkeypatch.setattr(
        budget_ledger.Ledger,
        "accountant",
        staticmethod(functools.cache(budget_ledger._compose_epsilon)),
    )


def query(
    number: int, kind: type[StatisticsQuery] = StatisticsQuery, **changes: Any
) -> StatisticsQuery:
    fields: dict[str, Any] = {
        "request_id": f"{number:032x}",
        "site": "plant-a",
        "encoder": ENCODER,
        "epsilon": "1",
        "delta": "1e-5",
        "purpose": "test",
        "expires": int(START) + 100_000,
    }
    return kind(**{**fields, **changes})


@dataclass
class Server:
    """One question, and what becomes of it; in the place of a session with a server."""

    envelope: Envelope
    seen: Callable[[Envelope], None]
    message_type: str = protocol.QUERY_MESSAGE_TYPE

    def pull_message(self) -> Server:
        return self

    def read_envelope(self, message: Server, allowed: frozenset[str]) -> Envelope:
        assert message.message_type in allowed
        return self.envelope

    def send_answer(self, message: Server, reply: Envelope) -> None:
        self.seen(reply)


@dataclass
class Outsider:
    """A server that asks, and writes down everything it sees."""

    home: ClientHome
    witness: TestWitness
    clock: Clock
    rng: np.random.Generator
    seen: list[Any]
    exact: list[NDArray[np.int64]] = field(default_factory=list)
    """What noise was put on; it never sees that."""

    def _sampler(self, exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        self.exact.append(exact)
        self.clock.passed += float(self.rng.uniform(0, 0.4 * SLOT))  # what data take, for each part
        return mechanism.add_opendp_noise(exact, sigma)

    def ask(self, asked: StatisticsQuery, *, stop_at: str = "") -> None:
        def step(name: str) -> None:
            if name == stop_at:
                raise KeyboardInterrupt

        means = release_query.ReleaseHooks(sampler=self._sampler, on_step=step)
        running = node.Node(
            self.home,
            NodeHandlers(
                answer_query=partial(release_query.answer_query, hooks=means),
                apply_package=lambda *_: None,
            ),
            self.clock,  # type: ignore[arg-type]  # a clock that one can wait on
            NodeOptions(),
        )
        record = canonical.encode(asked)
        server = Server(Envelope("query", record), self._sees)
        assert running.answer_next_message(server)  # type: ignore[arg-type]
        self.clock.passed += 10.0 - SLOT

    def _sees(self, reply: Envelope) -> None:
        word = ""
        if reply.kind == "refusal":
            word = canonical.decode(Refusal, reply.record, input_name="refusal").code
        self.seen.append(
            (reply.kind, word, len(reply.record), len(reply.payload), round(self.clock.passed, 6))
        )

    def witness_seen(self, body: bytes) -> bytes:
        self.seen.append(("witness", len(body), round(self.clock.passed, 6)))
        return self.witness(body)

    def look_at_ledger(self) -> None:
        with Ledger.open(self.home.ledger) as ledger:
            for seq in range(ledger.size):
                raw = ledger.entry_bytes(seq)
                head = entries.decode(raw).head
                self.seen.append(("entry", head.kind, len(raw), head.time))


@contextmanager
def patched(monkeypatch: pytest.MonkeyPatch, outsider: Outsider) -> Iterator[None]:
    class Connection:
        def cosign(self, body: bytes) -> bytes:
            return outsider.witness_seen(body)

    @contextmanager
    def connect(*_: object) -> Iterator[Connection]:
        yield Connection()

    hold = time_slots.wait_for_slot_end
    with monkeypatch.context() as patch:
        patch.setattr(server_link.ServerLink, "open", connect)
        patch.setattr(time, "time", outsider.clock.time)
        patch.setattr(time, "monotonic", outsider.clock.monotonic)
        patch.setattr(
            time_slots,
            "wait_for_slot_end",
            lambda *a, **k: hold(*a, **{**k, "clock": outsider.clock.monotonic}),
        )
        yield


def outside(
    world: World,
    root: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    play: Callable[[Outsider], None],
) -> list[Any]:
    """What an outsider sees of a plant with this data folder."""
    home = world.member(root, data)
    witness = replace(world.witness, state=None, asked=0)
    outsider = Outsider(home, witness, Clock(), np.random.default_rng(seed), [])
    with patched(monkeypatch, outsider):
        frozen = freeze(home, TinyTexts() if data.is_file() else TinyEncoder())
        assert frozen.snapshot.manifest.number == 1
        play(outsider)
        outsider.look_at_ledger()
    return outsider.seen


def freeze(home: ClientHome, encoder: TinyEncoder | None = None) -> freezing.FreezeResult:
    def load(_: bytes) -> TinyEncoder:
        return encoder or TinyEncoder()

    return freeze_data(
        home,
        inspect_home_data(home, load_encoder=load),
        set_aside=True,
        allow_empty=True,
        load_encoder=load,
        clock=lambda: START - 500,
    )


def campaign(outsider: Outsider) -> None:
    """Answers, repetitions, refusals."""
    outsider.ask(query(1))
    outsider.ask(query(1))
    outsider.ask(query(2))  # equal, under another id
    outsider.ask(query(3, epsilon="9"))  # policy
    outsider.ask(query(4, epsilon="1.4"))  # budget
    outsider.ask(query(5, epsilon="0.3", statistics=MACHINE_STATISTICS))
    outsider.ask(query(6, epsilon="0.3", statistics=MACHINE_STATISTICS))  # equal, under another id


@pytest.mark.parametrize("number", range(len(CHANGES)), ids=lambda n: CHANGES[n].__name__)
def test_folders_that_differ_in_one_thing_look_alike(
    number: int, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, change = set(), CHANGES[number]
    for pair in range(number, PAIRS, len(CHANGES)):
        rng = np.random.default_rng(1000 + pair)
        one, two = tmp_path / f"{pair}" / "one", tmp_path / f"{pair}" / "two"
        folder(one, rng)
        shutil.copytree(one, two, symlinks=True)
        change(two, rng)
        seen = [
            outside(world, data.with_name(f"home-{data.name}"), data, monkeypatch, seed, campaign)
            for seed, data in enumerate((one, two))
        ]
        assert seen[0] == seen[1], pair
        words |= {item[1] for item in seen[0] if item[0] == "refusal"}
        times = [item[-1] % 10.0 for item in seen[0] if item[0] in ("statistics", "witness")]
        assert times and set(times) == {SLOT}
        shutil.rmtree(tmp_path / f"{pair}")
    assert words == {"policy", "budget"}


def _released(
    world: World, data: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], list[NDArray[np.int64]]]:
    """What is seen outside, and the exact numbers that noise was put on."""
    exact: list[NDArray[np.int64]] = []

    def play(outsider: Outsider) -> None:
        campaign(outsider)
        first, _, of_machine = outsider.exact  # the second is about a centre that noise moved
        exact.extend((first, of_machine))

    home = data.with_name(f"home-{data.stem}")
    return outside(world, home, data, monkeypatch, 1, play), exact


@pytest.mark.parametrize("name", ODD_ROWS)
def test_a_row_that_cannot_be_used_leaves_a_release_as_it_would_be_without_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    good = rows(np.random.default_rng(4))
    found = []
    for member, lines in enumerate((good, [*good[:5], ODD_ROWS[name], *good[5:]])):
        data = tmp_path / f"{member}.csv"
        data.write_bytes(HEADER + b"".join(lines))
        found.append(_released(world, data, monkeypatch))
    (seen, exact), (seen_with, exact_with) = found
    assert seen == seen_with and all(sums.any() for sums in exact)
    assert list(map(np.array_equal, exact, exact_with)) == [True, True]


def test_all_rows_that_cannot_be_used_together_leave_a_release_as_it_is(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = rows(np.random.default_rng(4))
    for name, lines in (("without", good), ("with", [*ODD_ROWS.values(), *good])):
        (tmp_path / f"{name}.csv").write_bytes(HEADER + b"".join(lines))
    found = [
        _released(world, tmp_path / f"{name}.csv", monkeypatch) for name in ("without", "with")
    ]
    assert found[0][0] == found[1][0]
    assert list(map(np.array_equal, found[0][1], found[1][1])) == [True, True]


@pytest.mark.parametrize("change", [corrupt, stray, table, linked], ids=lambda f: f.__name__)
def test_a_file_that_cannot_be_used_leaves_a_release_as_it_would_be_without_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Write
) -> None:
    rng, found = np.random.default_rng(6), []
    for number in range(6):
        picture(tmp_path / "one" / LABELS[number % 3] / f"{number}.png", rng)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    change(tmp_path / "two", rng)
    found = [_released(world, tmp_path / name, monkeypatch) for name in ("one", "two")]
    assert found[0][0] == found[1][0]
    assert list(map(np.array_equal, found[0][1], found[1][1])) == [True, True]


def test_a_content_in_two_units_is_not_seen_outside(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts in both (``inspection``): what it changes is what its own unit may change."""
    good = rows(np.random.default_rng(4))
    again = good[0].replace(b",a0", b",a9")
    for name, lines in (("without", good), ("with", [*good, again])):
        (tmp_path / f"{name}.csv").write_bytes(HEADER + b"".join(lines))
    found = [
        _released(world, tmp_path / f"{name}.csv", monkeypatch) for name in ("without", "with")
    ]
    assert found[0][0] == found[1][0]


@pytest.mark.parametrize("change", [added, removed, corrupt, undeclared], ids=lambda f: f.__name__)
def test_a_crash_and_a_freeze_say_the_same_whether_the_data_changed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Write
) -> None:
    seen = []
    for changed in (False, True):
        data = tmp_path / f"data-{changed}"
        rng = np.random.default_rng(5)
        data.mkdir()
        for number in range(4):
            picture(data / LABELS[number % 3] / f"{number}.png", rng)

        def play(outsider: Outsider, changed: bool = changed, data: Path = data) -> None:
            with pytest.raises(KeyboardInterrupt):
                outsider.ask(query(1), stop_at=release_query.CHARGED_STEP)
            if changed:
                change(data, np.random.default_rng(6))
            freeze(outsider.home)
            outsider.ask(query(1))

        seen.append(
            outside(world, tmp_path / f"home-{changed}", data, monkeypatch, int(changed), play)
        )
    assert seen[0] == seen[1]
    assert [item[1] for item in seen[0] if item[0] == "refusal"] == [
        flower_messages.PLANT_UNAVAILABLE
    ]


def test_whatever_happens_to_the_folder_without_a_freeze_changes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for number, change in enumerate(
        (lambda *_: None, *CHANGES, lambda path, _: shutil.rmtree(path))
    ):
        data = tmp_path / f"data-{number}"
        rng = np.random.default_rng(7)
        data.mkdir()
        picture(data / "dots" / "0.png", rng)
        picture(data / "dots" / "1.png", rng)

        def play(outsider: Outsider, change: Write = change, data: Path = data) -> None:
            change(data, np.random.default_rng(8))
            campaign(outsider)

        seen.append(outside(world, tmp_path / f"home-{number}", data, monkeypatch, number, play))
    assert all(each == seen[0] for each in seen)
