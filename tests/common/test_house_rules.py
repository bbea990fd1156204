"""Rules that hold for the whole source tree, read off its syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for part in ("common", "server", "client") for path in (ROOT / part).rglob("*.py")
)
FLOWER_ADAPTERS = {"server/wg_server/fleet/adapter.py", "client/wg_client/fleet/node.py"}
CODE_FROM_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Functions of numpy.random and torch that read or write hidden global state.
GENERATORS = {"Generator", "default_rng", "SeedSequence", "PCG64", "BitGenerator"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    assert len(SOURCES) > 20
    return {name(path): ast.parse(path.read_text("utf-8")) for path in SOURCES}


def test_flower_is_imported_by_one_adapter_a_side(trees: dict[str, ast.AST]) -> None:
    users = {
        n for n, tree in trees.items() if any(i.split(".")[0] == "flwr" for i in imports(tree))
    }
    assert users == FLOWER_ADAPTERS


def test_nothing_turns_data_into_code(trees: dict[str, ast.AST]) -> None:
    for n, tree in trees.items():
        found = {i.split(".")[0] for i in imports(tree)} & CODE_FROM_DATA
        assert not found, f"{n} imports {found}"
        for call, function in calls(tree):
            words = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert function not in ("eval", "exec", "compile", "__import__"), n
            assert function != "yaml.load", n
            # `models export --format torch` writes a file for torch's own reader; nothing reads it.
            assert function != "torch.save" or n == "client/wg_client/models/export.py", n
            if function == "torch.load":
                # The trunk's weights come from an installed package as a .pth file; its SHA-256 is
                # checked first, and the restricted reader builds tensors only.
                assert n == "common/wg_common/nets/encoder/image_trunk.py"
                assert words.get("weights_only") == "True"
            assert words.get("allow_pickle", "False") == "False", n
            assert words.get("shell", "False") == "False", n
            if function == "np.load":
                assert words.get("allow_pickle") == "False", f"{n}: np.load must say so"


def test_no_global_random_state(trees: dict[str, ast.AST]) -> None:
    for n, tree in trees.items():
        assert "random" not in set(imports(tree)) or n in FLOWER_ADAPTERS, f"{n} imports random"
        for _, function in calls(tree):
            head, _, last = function.rpartition(".")
            if head in ("np.random", "numpy.random"):
                assert last in GENERATORS, f"{n}: {function}"
            assert function not in ("torch.manual_seed", "torch.seed", "random.seed"), n


def test_numbers_and_settings_are_parsed_in_one_place(trees: dict[str, ast.AST]) -> None:
    """Python's parsers of exact numbers and of YAML do as much work as their text asks for."""
    arithmetic = {  # of numbers, not of text
        "Decimal": {"ledger/store.py", "ledger/charging.py"},
        "Fraction": {
            f"{place}.py"
            for place in (
                "ledger/state",
                "ledger/charging",
                "privacy/centring",
                "privacy/events",
                "privacy/mechanism",
                "privacy/schema",
                "audit/empirical",
                "audit/rederive",
            )
        },
        # The auditor's own reading of a charge, which shares no code with the client's.
        "float.fromhex": {"audit/rederive.py"},
    }
    parser = {
        "Decimal": "numbers.py",
        "Fraction": "numbers.py",
        "float.fromhex": "numbers.py",
        "yaml.safe_load": "settings.py",
        "yaml.parse": "settings.py",
    }
    found = set()
    for n, tree in trees.items():
        place = n.removeprefix("common/wg_common/")
        for _, function in calls(tree):
            if function in parser and place not in arithmetic.get(function, set()):
                assert place == parser[function], f"{n}: {function}, use {parser[function]}"
                found.add(function)
    assert found == set(parser)


def test_a_path_of_one_machine_is_nowhere(trees: dict[str, ast.AST]) -> None:
    for path in [*SOURCES, *(ROOT / "demo").glob("*.py"), *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text("utf-8")
        for place in ("/work" + "/", "/root" + "/", "/home" + "/"):
            assert place not in text, f"{path}: {place}"


def test_records_are_built_in_one_place(trees: dict[str, ast.AST]) -> None:
    builders = {"msgspec.convert", "msgspec.json.decode", "msgspec.json.Decoder"}
    users = {
        n for n, tree in trees.items() if any(function in builders for _, function in calls(tree))
    }
    assert users == {"common/wg_common/typed.py"}
