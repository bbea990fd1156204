"""YAML that asks for more work than a configuration needs is refused, with the file's name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from wg_core import yaml_settings
from wg_core.errors import ConfigError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)

HOSTILE: dict[str, str | bytes] = {
    "aliases": LAUGHS,
    "a list that holds itself": "&a [*a]",
    "nesting in brackets": "[" * 50_000,
    "nesting that closes": "[" * 5_000 + "]" * 5_000,
    "nesting by indentation": "".join(" " * n + "a:\n" for n in range(200)),
    "a million values": "[" + "a," * 200_000 + "]",
    "a number of many digits": "a: " + "9" * 5_000,
    "a long text": "a: " + "x" * 10_000,
    "a date that is none": "a: 2001-99-99",
    "a base-60 number of many parts": "a: 1" + ":59" * 2_000,
    "a float that is none": "a: !!float x",
    "an integer that is none": "a: !!int x",
    "binary that is none": "a: !!binary '\u00e9'",
    "a list as a key": "? [a]\n: b",
    "a class": "!!python/object:os.system x",
    "two documents": "a: 1\n---\nb: 2",
    "not UTF-8": b"\xff\xfe\x00",
    "a control character": "a: \x07",
    "a tab": "\t",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_with_the_file_named(name: str) -> None:
    text = HOSTILE[name]
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError, match=r"plan\.yaml"):
        yaml_settings.read_yaml(data, input_name="plan.yaml")


def test_a_configuration_is_read() -> None:
    found = yaml_settings.read_yaml(b"a: 1\nb: [x, {c: 2.5}]\n", input_name="x")
    assert found == {"a": 1, "b": ["x", {"c": 2.5}]}


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A part of a document."""

    size: int


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A document."""

    name: str
    parts: tuple[Inner, ...] = ()


def test_a_document_is_read_into_its_dataclass() -> None:
    found = yaml_settings.parse_yaml(b"name: a\nparts: [{size: 3}]\n", Outer, "x.yaml")
    assert found == Outer(name="a", parts=(Inner(size=3),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "found an empty file, expected fields"),
        (b"parts: []\n", "name"),
        (b"name: 3\n", "name"),
        (
            b"name: a\ncolour: red\nparts: [{size: 1}, {size: 2, shape: 3}]\n",
            "colour, parts.1.shape",
        ),
    ],
)
def test_a_document_that_does_not_fit_is_refused_and_the_field_is_named(
    text: bytes, words: str
) -> None:
    with pytest.raises(ConfigError, match=f"x.yaml: .*{words}"):
        yaml_settings.parse_yaml(text, Outer, "x.yaml")
