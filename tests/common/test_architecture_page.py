"""``docs/architecture.md`` against the tree: rooms, layers, walks, and where changes go."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
FOLDERS = {"wg_core": "common", "wg_common": "common", "wg_server": "server", "wg_client": "client"}
ROOMS = ["wg_core", "wg_client", "wg_server", "wg_server.generator", "wg_common"]
CHANGES = (
    "a learner",
    "a modality",
    "a trunk",
    "a kind of machine",
    "an architecture",
    "a method",
    "a check",
    "a source of candidates",
    "a training objective",
    "a command",
    "a wire format",
    "a migration",
    "a value of the plant's policy",
    "a limit",
)
SECTION = re.compile(r"^(##+) (.+)$", re.MULTILINE)
ROOM = re.compile(r"^\| (\d+) \| \[`(\w+)`\]\(\.\./([^)]+)\) \| (.+) \|$", re.MULTILINE)
STEP = re.compile(
    r"^\| (\d+) \| \[([^\]]+)\]\(\.\./([^)]+)\) \| `([\w.]+)` \| (.+) \| (.*)\|$", re.MULTILINE
)
ARROW = re.compile(r"(imports|by) (\d+)")
PATH = re.compile(r"`((?:common|server|client|extras|docs|tests|demo|bench|deploy)/[\w./]+)`")


def sections(level: str) -> dict[str, str]:
    """Text below each heading of a level, up to the next heading of any level."""
    found = list(SECTION.finditer(PAGE))
    ends = [match.start() for match in found[1:]] + [len(PAGE)]
    return {
        match[2]: PAGE[match.end() : end]
        for match, end in zip(found, ends, strict=True)
        if match[1] == level
    }


PACKAGES = {title.split("`")[1]: text for title, text in sections("###").items() if title[0] == "`"}
WALKS = {title: text for title, text in sections("###").items() if title.startswith("From ")}


def folder(package: str) -> Path:
    return ROOT / FOLDERS[package.split(".")[0]] / package.replace(".", "/")


def contracts() -> list[dict[str, Any]]:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return found


def module_of(path: str) -> str:
    return ".".join(Path(path).with_suffix("").parts[1:])


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Modules, and names that may be modules, that are imported at run time anywhere in a file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0 and child.module
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from imported(child)


def defines(path: str, name: str) -> bool:
    """Whether a file defines ``function``, ``Class``, ``Class.method`` or a ``REGISTRY``."""
    body = tree(path).body
    if any(isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name for node in body):
        return True
    for part in name.split("."):
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and node.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return True


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_of_the_page_are_those_of_the_tree(package: str) -> None:
    listed = {}
    for _, name, path, text in ROOM.findall(PACKAGES[package]):
        assert name not in listed and text.endswith("."), name
        listed[name] = ROOT / path
    there = {
        path.stem: path
        for path in folder(package).iterdir()
        if path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert listed == there


@pytest.mark.parametrize("package", ROOMS)
def test_layers_of_the_page_are_those_that_import_linter_holds(package: str) -> None:
    layers: dict[int, set[str]] = {}
    for number, name, _, _ in ROOM.findall(PACKAGES[package]):
        layers.setdefault(int(number), set()).add(name)
    assert list(layers) == list(range(1, len(layers) + 1))
    (held,) = [found for found in contracts() if found.get("containers") == [package]]
    assert held["exhaustive"] is True
    assert list(layers.values()) == [set(layer.split(" | ")) for layer in held["layers"]]


def test_packages_stand_on_each_other_as_the_page_says() -> None:
    assert set(PACKAGES) == set(ROOMS)
    (whole,) = [c for c in contracts() if c["type"] == "layers" and "containers" not in c]
    assert [set(layer.split(" | ")) for layer in whole["layers"]] == [
        {"weightgate"},
        {"wg_server", "wg_client"},
        {"wg_audit", "wg_e5"},
        {"wg_common"},
        {"wg_core"},
    ]


def test_there_are_three_walks_of_ten_steps_at_most() -> None:
    assert len(WALKS) == 3
    for title, text in WALKS.items():
        numbers = [int(step[0]) for step in STEP.findall(text)]
        assert numbers == list(range(1, len(numbers) + 1)), title
        assert 5 <= len(numbers) <= 10, title
        rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
        assert len(rows) == len(numbers), title


@pytest.mark.parametrize("title", list(WALKS))
def test_every_step_of_a_walk_is_there_and_imports_in_the_stated_direction(title: str) -> None:
    steps = STEP.findall(WALKS[title])
    for number, shown, path, name, _, arrow in steps:
        assert path.endswith(shown), path
        assert defines(path, name), f"{path} does not define {name}"
        if number == "1":
            assert not arrow.strip()
            continue
        match = ARROW.fullmatch(arrow.strip())
        assert match, f"step {number}: {arrow!r}"
        assert int(match[2]) < int(number)
        other = steps[int(match[2]) - 1][2]
        importer, other = (path, other) if match[1] == "imports" else (other, path)
        assert module_of(other) in set(imported(tree(importer))), f"{importer} imports no {other}"


def lines_to_read(path: str, name: str) -> int:
    """Lines of a function or class, and of all in its file that it uses, directly or not."""
    definitions = {
        getattr(node, "name", ""): node
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    outer, _, inner = name.partition(".")
    methods: dict[str, ast.stmt] = {}
    if inner:
        methods = {getattr(node, "name", ""): node for node in definitions[outer].body}
    if name not in definitions and not inner:
        return 0
    waiting = [methods[inner] if inner else definitions[name]]
    reached: set[ast.stmt] = set()
    while waiting:
        node = waiting.pop()
        if node in reached:
            continue
        reached.add(node)
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id in definitions and part.id != outer:
                waiting.append(definitions[part.id])
            if isinstance(part, ast.Attribute) and part.attr in methods:
                waiting.append(methods[part.attr])
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in reached)


@pytest.mark.parametrize("title", list(WALKS))
def test_a_walk_is_read_in_one_sitting(title: str) -> None:
    lines = [lines_to_read(path, name) for _, _, path, name, _, _ in STEP.findall(WALKS[title])]
    assert 500 < sum(lines) <= 1500, lines


def test_every_kind_of_change_has_a_place_that_is_there() -> None:
    (text,) = [text for title, text in sections("##").items() if title == "Where a change goes"]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| a")]
    assert len(rows) == len(CHANGES)
    for row, change in zip(rows, CHANGES, strict=True):
        assert row[0].removeprefix("| ").startswith(change), row
        assert PATH.search(" ".join(row)), row


def test_every_path_on_the_page_is_there() -> None:
    paths = PATH.findall(PAGE)
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / path).exists(), path
