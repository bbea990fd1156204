"""Makes ``docs/limits.md`` from the sources (``make limits``).

Every module-level constant of our packages that bounds what somebody else may cause, by its name
(``*_LIMIT``, ``*_MAXIMUM``, and the seconds, bytes and tries of the network), with its
value and the text that stands beside it. Nothing is imported: the sources are read.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "limits.md"
_NAME = re.compile(
    r"_?([A-Z0-9_]*(_LIMIT|_MAXIMUM|_DIGITS)|CONNECTIONS|TRIES"
    r"|((IDLE_)?TIMEOUT|(CALL|TRANSFER)_LIMIT|HEADER|KEEP_ALIVE|START)_SECONDS|RESERVE"
    r"|MULTIPLIER_RANGE|SAMPLING_MINIMUM)"
)
_SUPERLATIVE = re.compile("(Largest|Longest|Most) (number of )?")
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.LShift: operator.lshift,
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Pow: operator.pow,
    ast.Div: operator.truediv,
}
_HEAD = """# Limits

This page lists all limits on what other parties can cause: sizes, counts, nesting, digits and
seconds. An input that exceeds one is refused with an error that names the limit. `make limits`
writes this page from the sources. An empty first column stands for the module of the row above.

"""


@dataclass(frozen=True, slots=True)
class Limit:
    """One constant: name, value as written for people, and what it bounds."""

    name: str
    value: str
    text: str


def _number(node: ast.expr, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left, known), _number(node.right, known)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.Tuple):
        return tuple(_number(each, known) for each in node.elts)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float":
        return _number(node.args[0], known)
    raise ValueError(ast.unparse(node))


def _written(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(_written(name, each) for each in value)
    if name.endswith("_SECONDS"):
        return f"{value:g} s"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}"
    whole = int(value)
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if whole >= size and whole % size == 0 and whole // size < 1 << 20:
            return f"{whole // size} {unit}"
    return f"{whole:,}"


def limits_of(source: str) -> Iterator[Limit]:
    """The limits of one module, in its order."""
    body = ast.parse(source).body
    lines = source.splitlines()
    known: dict[str, Any] = {}
    for place, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            target: ast.expr = node.target
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        else:
            continue
        if not isinstance(target, ast.Name) or node.value is None:
            continue
        try:
            known[target.id] = _number(node.value, known)
        except ValueError:
            continue
        if not _NAME.fullmatch(target.id):
            continue
        after = body[place + 1] if place + 1 < len(body) else None
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = str(after.value.value)
        elif "#" in lines[node.lineno - 1]:
            text = lines[node.lineno - 1].partition("#")[2]
        words = " ".join(text.split()).replace("|", "\\|")
        words = _SUPERLATIVE.sub("", words)
        words = words[:1].upper() + words[1:]
        yield Limit(target.id.lstrip("_"), _written(target.id, known[target.id]), words)


def page() -> str:
    """The page's text."""
    parts = [_HEAD]
    for package in (
        "common/wg_core",
        "common/wg_audit",
        "common/wg_common",
        "client/wg_client",
        "server/wg_server",
    ):
        parts.append(f"## {Path(package).name}\n\n| module | limit | value | bound on |\n")
        parts.append("|---|---|---|---|\n")
        for path in sorted((ROOT / package).rglob("*.py")):
            module = f"`{path.relative_to(ROOT / package).with_suffix('').as_posix()}`"
            for limit in limits_of(path.read_text("utf-8")):
                parts.append(f"| {module} | {limit.name} | {limit.value} | {limit.text} |\n")
                module = ""  # stands for the module of the row above
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
