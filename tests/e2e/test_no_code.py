"""A server cannot ship code to a plant: by what the client's modules contain, and by trying.

The trials assume the worst: whoever runs the server holds its signing key, its TLS key and its
certificate authority. Every payload would make a file, the canary, if anything ran it.
"""

# long: a case for each way in which code could arrive

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import logging
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID
from flwr.supercore.constant import NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from tests.client.conftest import LABELS, write_npz
from tests.e2e.fleet_support import (
    FAST,
    Plant,
    enrol_plant,
    finished,
    make_home,
    running,
    start_campaign,
    token,
)
from tests.patience import wait_until

from wg_client.fleet.home_initialisation import DataSetChoice, initialise
from wg_common import catalogue
from wg_common.modalities.registry import MODALITIES
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_core.errors import ConfigError, DecodeError
from wg_core.fleet.node_interface import NodeOptions
from wg_core.site.config import PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.wire import flower_messages, key_files, protocol
from wg_server.fleet import adapter
from wg_server.fleet.adapter import FlowerLink, FlowerRun
from wg_server.operation import serve as serving
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

# ---------------------------------------------------------------------------------- by the source

_MODULES = {
    "subprocess",
    "multiprocessing",
    "concurrent.futures.process",
    "importlib",
    "imp",
    "runpy",
    "code",
    "codeop",
    "pickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "ctypes",
    "cffi",
    "pip",
    "venv",
    "ensurepip",
    "zipimport",
    "pkgutil",
    "site",
    "pty",
    "sched",
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.utils.cpp_extension",
    "types",
}
_HARMLESS = {"importlib.metadata", "importlib.resources"}
_BY_NAME = {
    "wg_common.nets.network": "module = catalogue.find_network(architecture).module",
    "wg_common.nets.encoder.trunk": (
        "module = (*kind.trunk_modules, kind.trunk_file_module)[module_index]"
    ),
}
"""Modules that import another of ours by its name, and where it is from: the program's tables."""
_STARTS = {
    "wg_client.cli.run_node": (
        "NODE_MODULE",
        "wg_core.fleet",
        "[sys.executable, '-P', '-m', NODE_MODULE, *words]",
    ),
    "wg_core.fleet.apply_process": (
        "CHILD_MODULE",
        "wg_client.cli.applying",
        "[sys.executable, '-P', '-m', CHILD_MODULE, str(home.root), str(path)]",
    ),
    "wg_common.nets.encoder.confined_trunk": (
        "CHILD_MODULE",
        "wg_common.nets.encoder.trunk_process",
        "[sys.executable, '-P', '-m', CHILD_MODULE]",
    ),
}
"""Modules that start a process: this interpreter, with a module that the program names."""
_FORKS = {"wg_common.nets.encoder.trunk_process"}
"""Modules that copy their own process: for each record, whose trunk then ends with the copy."""
_TYPES = {"TracebackType", "MappingProxyType", "ModuleType"}
_CALLS = {
    "exec",
    "eval",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.posix_spawnp",
    "os.startfile",
    "torch.compile",
    "torch.hub.load",
    "torch.jit.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "np.fromfile",
}
_FLOWER = {
    "flwr.app",
    "flwr.app.message",
    "flwr.common.constant",
    "flwr.common.serde",
    "flwr.proto.fleet_pb2",
    "flwr.proto.heartbeat_pb2",
    "flwr.proto.message_pb2",
    "flwr.proto.node_pb2",
    "flwr.proto.run_pb2",
    "flwr.supercore.inflatable.inflatable_object",
    "flwr.supercore.inflatable.inflatable_utils",
    "flwr.supercore.primitives.asymmetric",
    "flwr.supernode.fleet_http_client",
    "flwr.supernode.node_auth_http_interceptor",
}


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Module and name of every import, also of those inside functions."""
    for found in ast.walk(tree):
        if isinstance(found, ast.Import):
            yield from ((alias.name, "") for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, "relative imports would hide a module from this test"
            yield from ((found.module or "", alias.name) for alias in found.names)


def dotted(function: ast.expr) -> str:
    """``a.b.c`` of what is called; empty for what is no name of something."""
    names: list[str] = []
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    return ".".join([function.id, *reversed(names)]) if isinstance(function, ast.Name) else ""


def source_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def imported_by_name() -> set[str]:
    """Modules that stand in the tables of architectures and modalities."""
    networks = {spec.module for spec in catalogue.architectures().values() if spec.module}
    trunks = {
        name
        for kind in MODALITIES.values()
        for name in (*kind.trunk_modules, kind.trunk_file_module)
    }
    return (networks | trunks) - {""}


@functools.cache
def reachable() -> dict[str, ast.Module]:
    """Our modules that the client can import: its package, and all of ours that these import."""
    package = source_of("wg_client")
    assert package is not None
    root = package.parent.parent
    waiting = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in package.parent.rglob("*.py")
    } | {"wg_core.fleet.__main__", *imported_by_name()}
    trees: dict[str, ast.Module] = {}
    while waiting:
        module = waiting.pop()
        path = source_of(module.removesuffix(".__init__"))
        if module in trees or path is None:
            continue
        trees[module] = ast.parse(path.read_text("utf-8"))
        for name, attribute in imported(trees[module]):
            if name.split(".")[0].startswith("wg_"):
                waiting |= {name} | ({f"{name}.{attribute}"} if attribute else set())
    return trees


def test_no_module_that_a_client_loads_can_turn_bytes_into_code() -> None:
    trees = reachable()
    assert len(trees) > 50 and not any(name.startswith("wg_server") for name in trees)
    for module, tree in trees.items():
        for name, attribute in imported(tree):
            full = f"{name}.{attribute}" if attribute else name
            if name in _HARMLESS or full in _HARMLESS or (name == "types" and attribute in _TYPES):
                continue
            if full == "importlib" and module in _BY_NAME:
                continue
            if full == "subprocess" and module in _STARTS:
                continue
            parents = {full.rsplit(".", depth)[0] for depth in range(full.count(".") + 1)}
            assert not parents & _MODULES, f"{module} imports {full}"
        for found in ast.walk(tree):
            if not isinstance(found, ast.Call):
                continue
            function = dotted(found.func)
            words = {word.arg: getattr(word.value, "value", "?") for word in found.keywords}
            if not (function == "os.fork" and module in _FORKS):
                assert function not in _CALLS, f"{module}: {function}"
            if module not in _STARTS:
                assert not function.startswith(("os.exec", "os.spawn")), f"{module}: {function}"
            assert words.get("allow_pickle", False) is False, module
            if function == "np.load":
                assert words.get("allow_pickle") is False, module
            if function == "torch.load":
                # The trunk's weights, from an installed package, after their hash was compared.
                assert (
                    module == "wg_common.nets.encoder.published_weights"
                    and words.get("weights_only") is True
                )


def test_a_module_is_imported_by_name_from_the_programs_own_table() -> None:
    assert all(name.startswith("wg_common.nets.") for name in imported_by_name())
    for module, source in _BY_NAME.items():
        users = [
            ast.unparse(found)
            for found in ast.walk(reachable()[module])
            if isinstance(found, ast.FunctionDef) and "importlib" in ast.unparse(found)
        ]
        assert len(users) == 1, module
        assert users[0].count("importlib.") == users[0].count("importlib.import_module(module)")
        assert re.findall(r"^ *(module = .*)$", users[0], re.MULTILINE) == [source]


def test_a_process_that_is_started_is_this_interpreter_with_a_module_of_the_program() -> None:
    for module, (name, program, words) in _STARTS.items():
        tree = reachable()[module]
        text = ast.unparse(tree)
        assert f"{name} = '{program}'" in text and text.count(words) == 1
        started = [
            dotted(found.func)
            for found in ast.walk(tree)
            if isinstance(found, ast.Call)
            and dotted(found.func).startswith(("os.exec", "os.spawn", "subprocess."))
        ]
        assert len(started) == 1 and started[0] in (
            "os.execv",
            "subprocess.Popen",
            "subprocess.run",
        )
        assert source_of(program) is not None


def test_the_node_takes_from_flower_what_it_needs_and_no_loader_of_apps() -> None:
    trees = reachable()
    users = {
        module
        for module, tree in trees.items()
        if any(name.split(".")[0] == "flwr" for name, _ in imported(tree))
    }
    assert users == {"wg_core.fleet.flower"}
    tree = trees["wg_core.fleet.flower"]
    used = {name for name, _ in imported(tree) if name.startswith("flwr")}
    assert used <= _FLOWER, used - _FLOWER
    names = {found.id for found in ast.walk(tree) if isinstance(found, ast.Name)}
    attributes = {found.attr for found in ast.walk(tree) if isinstance(found, ast.Attribute)}
    assert not (names | attributes) & {"GetFab", "GetFabRequest", "load_app", "install_from_fab"}


# -------------------------------------------------------------------------------------- by trying


class Bomb:
    """An object whose unpickling makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.canary}'",)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "something ran what came over the network"


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> list[FlowerLink]:
    """The running server's link state, for messages that its own code would never send."""
    kept: list[FlowerLink] = []

    def keep() -> FlowerLink:
        kept.append(FlowerLink())
        return kept[-1]

    monkeypatch.setattr(serving, "FlowerLink", keep)
    return kept


_EVENTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pickle.find_class",
    "ctypes.dlopen",
)
_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "ctypes.dlopen" and str(arguments[0]).startswith(tuple(filter(None, sys.path))):
        return  # a library of an installed package, loaded when it is first used
    if _watching and event.startswith(_EVENTS):
        _watching[-1].append(f"{event} {arguments}")
    elif _watching and event == "exec" and getattr(arguments[0], "co_filename", "") == "<fab>":
        _watching[-1].append("exec of shipped code")


sys.addaudithook(_audit)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fails if this process starts another, unpickles, or loads machine code meanwhile."""
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield
    finally:
        _watching.remove(seen)
    assert seen == []


def test_the_watch_sees_an_unpickling(canary: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_runs():
        pickle.loads(pickle.dumps(Bomb(other)))
    assert other.exists()


def fab(canary: Path) -> bytes:
    """An app bundle as Flower's own nodes install and run it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pyproject.toml", '[tool.flwr.app.components]\nclientapp = "x:app"\n')
        archive.writestr("x.py", f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n")
    return buffer.getvalue()


def send(run: FlowerRun, state: FlowerLink, plant: Plant, kind: str, content: RecordDict) -> str:
    """Send any content under any message type, past the server's own code."""
    link = state._state
    node_key = key_files.load_ec_key(plant.home.node_key).public_key()
    node_id = link.get_node_id_by_public_key(public_key_to_bytes(node_key))
    assert node_id is not None
    message = Message(content, dst_node_id=node_id, message_type=kind, ttl=3600.0)
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        session = link.start_session(run._run_id)
        stored, missing = link.store_message_and_object_tree(
            remove_content_from_message(message), get_object_tree(message), session
        )
        assert stored
        for object_id in missing:
            link.store_object(run._run_id, session, object_id, objects[object_id].deflate())
    return str(message.metadata.message_id)


def online(state: FlowerLink) -> bool:
    return bool(state._state.get_node_info(statuses=[NodeStatus.ONLINE]))


def answer(run: FlowerRun, message_id: str) -> adapter.NodeReply:
    found: list[adapter.NodeReply] = []

    def there() -> bool:
        found.extend(run.poll_replies({message_id}) if not found else [])
        return bool(found)

    wait_until(there, "the node's answer")
    return found[0]


def records(canary: Path) -> dict[str, RecordDict]:
    """Contents that a program which unpickles, or trusts types and names, would stumble over."""
    bomb = pickle.dumps(Bomb(canary))
    whole = io.BytesIO()
    np.save(whole, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    query: dict[str, Any] = {"kind": "query", "record": b"", "payload": b""}
    return {
        "array of objects": RecordDict(
            {"wg": ArrayRecord({"x": Array("object", (1,), "numpy.ndarray", whole.getvalue())})}
        ),
        "array beside": RecordDict(
            {
                "wg": ConfigRecord({**query, "record": bomb}),
                "x": ArrayRecord({"x": Array("object", (1,), "numpy.ndarray", whole.getvalue())}),
            }
        ),
        "metrics": RecordDict({"wg": MetricRecord({"x": 1})}),
        "pickle as a query": RecordDict({"wg": ConfigRecord({**query, "record": bomb})}),
        "pickle as a delivery": RecordDict(
            {"wg": ConfigRecord({"kind": "delivery", "record": bomb, "payload": bomb})}
        ),
        "unknown kind": RecordDict({"wg": ConfigRecord({**query, "kind": "code"})}),
        "kind of another type": RecordDict({"wg": ConfigRecord({**query, "kind": [1]})}),
        "a field more": RecordDict({"wg": ConfigRecord({**query, "fab": bomb})}),
        "another name": RecordDict({"__class__": ConfigRecord(dict(query))}),
        "yaml that calls": RecordDict(
            {
                "wg": ConfigRecord(
                    {**query, "record": b"!!python/object/apply:os.system ['touch canary']"}
                )
            }
        ),
        "nothing": RecordDict(),
    }


def test_the_node_declines_every_record_that_is_not_ours(
    state: list[FlowerLink], tmp_path: Path, canary: Path
) -> None:
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        with plant.running(), nothing_runs():
            wait_until(lambda: online(state[0]), "the node")
            with state[0].open_run() as run:
                for name, content in records(canary).items():
                    for kind in sorted(protocol.MESSAGE_TYPES):
                        reply = answer(run, send(run, state[0], plant, kind, content))
                        assert (reply.envelope, reply.error_code) == (
                            None,
                            flower_messages.MESSAGE_MALFORMED,
                        ), name
                for kind in ("query.everything", "train.code", "evaluate.code", "train", "query"):
                    content = records(canary)["pickle as a query"]
                    reply = answer(run, send(run, state[0], plant, kind, content))
                    assert (reply.envelope, reply.error_code) == (
                        None,
                        flower_messages.MESSAGE_TYPE_DENIED,
                    ), kind
            # And it is well: it answers what it should.
            assert finished(home, start_campaign(home, ["plant-a"])).state == "done"
    assert plant.steps == ["charged", "recorded"]


def test_a_run_that_offers_an_app_bundle_is_declined_and_the_bundle_never_asked_for(
    state: list[FlowerLink], tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []
    real = serving.fleet_app

    def noting(inner: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            paths.append(scope.get("path", ""))
            await inner(scope, receive, send)

        return app

    def noted(*words: Any, **more: Any) -> Any:
        app = real(*words, **more)
        app.add_middleware(noting)
        return app

    monkeypatch.setattr(serving, "fleet_app", noted)
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        link = state[0]._state
        code = fab(canary)
        digest = link.store_fab(Fab("", code, {}))
        with plant.running(), nothing_runs():
            wait_until(lambda: online(state[0]), "the node")
            run_id = link.create_run(
                "shipped/app",
                "1.0.0",
                digest,
                {},
                NOOP_FEDERATION_ID,
                None,
                NOOP_FLWR_AID,
                TaskType.SERVER_APP,
            )
            task = link.get_run_info(run_ids=[run_id])[0].primary_task_id
            assert task is not None and link.claim_task(task) and link.activate_task(task)
            TaskIdentity.task_id = task
            run = FlowerRun(link, run_id)
            content = records(canary)["pickle as a query"]
            sent = send_in(run, state[0], plant, content)
            reply = answer(run, sent)
    assert (reply.envelope, reply.error_code) == (None, flower_messages.APP_MISMATCH)
    assert "/v1/fleet/get-run" in paths and "/v1/fleet/get-fab" not in paths


def send_in(run: FlowerRun, state: FlowerLink, plant: Plant, content: RecordDict) -> str:
    TaskIdentity.run_id = run._run_id
    TaskIdentity.node_id = 1
    return send(run, state, plant, protocol.QUERY_MESSAGE_TYPE, content)


# ------------------------------------------------------------------- a server that lies in its TLS


class Tamper:
    """Changes the answers of the fleet listener to one path, while it has a rule."""

    def __init__(self) -> None:
        self.inner: Any = None
        self.path = ""
        self.answer: tuple[int, list[tuple[bytes, bytes]], bytes] = (200, [], b"")
        self.count = 0

    def around(self, inner: Any) -> Any:
        """Stand around an application, as middleware."""
        self.inner = inner
        return self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.inner(scope, receive, send)
            return
        self.count += 1
        status, headers, body = self.answer
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_PROTOBUF = (b"content-type", b"application/protobuf")
LIES = {
    "garbage": (200, [_PROTOBUF], b"\xff" * 100),
    "an empty message": (200, [_PROTOBUF], b""),
    "another type of content": (200, [(b"content-type", b"text/html")], b"<html></html>"),
    "a redirect": (302, [(b"location", b"http://127.0.0.1:9/")], b""),
    "compressed": (200, [_PROTOBUF, (b"content-encoding", b"gzip")], b"\x1f\x8b" + b"0" * 100),
    "a teapot": (418, [], b"x"),
    "a failure": (500, [], b"Traceback ..."),
    "upgrade": (426, [(b"flwr-error", b"1")], b"upgrade"),
}
PATHS = (
    "/v1/fleet/pull-messages",
    "/v1/fleet/get-run",
    "/v1/fleet/pull-object",
    "/v1/fleet/confirm-message-received",
    "/v1/fleet/push-messages",
    protocol.WITNESS_PATH,
)


@pytest.mark.parametrize(
    "lie", [lie if lie == "garbage" else pytest.param(lie, marks=pytest.mark.slow) for lie in LIES]
)
def test_a_node_outlives_whatever_the_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Path, lie: str
) -> None:
    tamper = Tamper()
    real = serving.fleet_app

    def tampered(*words: Any, **more: Any) -> Any:
        app = real(*words, **more)
        app.add_middleware(tamper.around)
        return app

    monkeypatch.setattr(serving, "fleet_app", tampered)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        with plant.running() as node, nothing_runs():
            for path in PATHS:
                campaign = start_campaign(home, ["plant-a"], epsilon="0.1")
                tamper.count, tamper.answer, tamper.path = 0, LIES[lie], path
                wait_until(lambda: tamper.count > 0, f"a lie at {path}")
                with ServerStore.open(home) as store, suppress(ConfigError):
                    CampaignQueue(store.engine).cancel_campaign(campaign.id)
                tamper.path = ""
                finished(home, campaign)
                assert node.is_alive(), path
            campaign = start_campaign(home, ["plant-a"], epsilon="0.1")
            assert finished(home, campaign).state == "done"
    with plant.ledger() as ledger:
        assert ledger.read_spending("line-1").charge_count == 1


def test_an_encoder_that_is_a_pickle_is_refused_at_enrolment(
    server: ServerHome, tmp_path: Path, canary: Path
) -> None:
    buffer = io.BytesIO()
    torch.save({"mean": Bomb(canary)}, buffer)
    for shipped in (buffer.getvalue(), pickle.dumps(Bomb(canary))):
        server.encoder_file.write_bytes(shipped)
        word = token(server, "plant-x")
        data = write_npz(tmp_path / "x.npz", {0: 2, 1: 2, 2: 2}, seed=1, labels=LABELS)
        home = ClientHome(tmp_path / f"home-{len(shipped)}")
        with nothing_runs(), pytest.raises(DecodeError, match="encoder"):
            initialise(home, word, DataSetChoice(path=data), PrivacyConfig())
        with pytest.raises(DecodeError):
            load_encoder(shipped)
        assert not home.config.exists()


def test_options_of_the_node_bound_what_it_pulls() -> None:
    assert NodeOptions().max_message_objects <= 64
    assert NodeOptions().max_message_bytes <= 64 << 20
    assert FAST.max_message_bytes == NodeOptions().max_message_bytes
