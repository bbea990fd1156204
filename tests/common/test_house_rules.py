"""Rules that hold for the whole source tree, read off its syntax."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_LINES = 500
FUNCTION_LINES = 60
LONG = re.compile(r"# long: \w+")
"""Why something is longer than that: on a line of its own in a module, on a function's ``def``."""
SOURCES = sorted(
    path
    for part in ("common", "server", "client", "extras")
    for path in (ROOT / part).rglob("*.py")
)
FLOWER_ADAPTERS = {
    "common/wg_core/fleet/flower.py",
    "server/wg_server/fleet/adapter.py",
}
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


def test_flower_is_imported_by_its_adapters_alone(trees: dict[str, ast.AST]) -> None:
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
            assert function != "torch.save", n
            if function == "torch.load":
                # The trunk's weights come from an installed package as a .pth file; its SHA-256 is
                # checked first, and the restricted reader builds tensors only.
                assert n == "common/wg_common/nets/encoder/published_weights.py"
                assert words.get("weights_only") == "True"
            assert words.get("allow_pickle", "False") == "False", n
            assert words.get("shell", "False") == "False", n
            if function == "np.load":
                assert words.get("allow_pickle") == "False", f"{n}: np.load must say so"


def test_no_global_random_state(trees: dict[str, ast.AST]) -> None:
    # The audit's copies of a process have one state, so that noise from it is seen.
    users = {*FLOWER_ADAPTERS, "common/wg_audit/installed/process_copy.py"}
    for n, tree in trees.items():
        assert "random" not in set(imports(tree)) or n in users, f"{n} imports random"
        for _, function in calls(tree):
            head, _, last = function.rpartition(".")
            if head in ("np.random", "numpy.random"):
                assert last in GENERATORS, f"{n}: {function}"
            assert function not in ("torch.manual_seed", "torch.seed", "random.seed"), n


def test_numbers_and_settings_are_parsed_in_one_place(trees: dict[str, ast.AST]) -> None:
    """Python's parsers of exact numbers and of YAML do as much work as their text asks for."""
    arithmetic = {  # of numbers, not of text
        "Decimal": {"ledger/budget_ledger.py", "ledger/charging.py"},
        "Fraction": {
            f"{place}.py"
            for place in (
                "ledger/mechanism_cost",
                "ledger/charging",
                "privacy/class_centres",
                "privacy/events",
                "privacy/mechanism",
                "privacy/schema",
                "common/wg_audit/installed/reference_statistics",
                "common/wg_audit/charge_derivation",
            )
        },
        # The auditor's own reading of a charge, which shares no code with the client's.
        "float.fromhex": {"common/wg_audit/charge_derivation.py"},
    }
    parser = {
        "Decimal": "number_parsers.py",
        "Fraction": "number_parsers.py",
        "float.fromhex": "number_parsers.py",
        "yaml.safe_load": "yaml_settings.py",
        "yaml.parse": "yaml_settings.py",
    }
    found = set()
    for n, tree in trees.items():
        place = n.removeprefix("common/wg_core/")
        for _, function in calls(tree):
            if function in parser and place not in arithmetic.get(function, set()):
                assert place == parser[function], f"{n}: {function}, use {parser[function]}"
                found.add(function)
    assert found == set(parser) - {"yaml.safe_load"}  # settings.py builds what it has composed


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
    assert users == {"common/wg_core/typed_records.py"}


POSIX = {"fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios"}
OF_POSIX = {
    "os": {"fchmod", "fchown", "fork", "geteuid", "getuid", "killpg", "mkfifo", "statvfs", "uname"},
    "signal": {"SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGSTOP", "SIGCHLD"},
}


def test_plants_and_auditors_need_nothing_that_only_posix_has(trees: dict[str, ast.AST]) -> None:
    for n, tree in trees.items():
        if not n.startswith(("common/", "client/")):
            continue
        needed = POSIX & set(imports(tree))
        if n == "common/wg_common/nets/encoder/trunk_process.py":  # limits, where there are any
            assert needed == {"resource"} and "except ImportError:" in ast.unparse(tree)
        else:
            assert not needed, n
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                place = node.value.id
                if node.attr in OF_POSIX.get(place, ()):
                    asked = f"hasattr({place}, '{node.attr}')"
                    assert asked in ast.unparse(tree), f"{n}: {place}.{node.attr}"


def too_long(text: str) -> Iterator[str]:
    """What is longer than it may be, and gives no reason."""
    lines = text.splitlines()
    if len(lines) > MODULE_LINES and not any(LONG.match(line) for line in lines):
        yield f"{len(lines)} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES and not LONG.search(lines[node.lineno - 1]):
                yield f"{node.name} has {length} lines"


def test_no_module_and_no_function_is_long_without_a_reason() -> None:
    everything = (
        ROOT / part for part in ("common", "server", "client", "extras", "demo", "bench", "tests")
    )
    paths = [path for part in everything for path in part.rglob("*.py")]
    found = [
        f"{name(path)}: {each}" for path in paths for each in too_long(path.read_text("utf-8"))
    ]
    assert found == []


def test_no_module_imports_itself_through_others(trees: dict[str, ast.AST]) -> None:
    """Nor does it inside a function, or for types alone: such a circle is two halves of one."""
    modules = {
        ".".join(Path(n).with_suffix("").parts[1:]).removesuffix(".__init__"): tree
        for n, tree in trees.items()
    }
    graph = {module: set[str]() for module in modules}
    for module, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    graph[module].add(inner if inner in modules else node.module)
    assert set(TopologicalSorter(graph).static_order()) >= modules.keys()


def test_a_reason_stands_where_the_length_is() -> None:
    body = "    x = 1\n" * FUNCTION_LINES
    assert list(too_long(f"def f():\n{body}")) == ["f has 61 lines"]
    assert not list(too_long(f"def f():  # long: one table of formats\n{body}"))
    assert not list(too_long(f"def f():\n{body[10:]}"))
    many = "x = 1\n" * (MODULE_LINES + 1)
    assert list(too_long(many)) == ["501 lines"]
    assert not list(too_long(f"# long: one list of all records\n{many}"))
    assert list(too_long(f"{many}# long:\n")) == ["502 lines"]
