"""``docs/privacy-argument.md`` is held against the code: the tests and figures that it names."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path

from tests.core.privacy import replace_one

from wg_core.privacy import calibration, mechanism
from wg_core.privacy.schema import default_schema

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "privacy-argument.md").read_text(encoding="utf-8")
CLASSES = {"charged", "public", "slot", "not sent"}
STATED = (0.5, 1.0, 2.0, 4.0, 8.0)


def _rows(after: str) -> list[list[str]]:
    """Cells of the first table after a line that contains ``after``, without its head."""
    lines = TEXT[TEXT.index(after) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[0], *table[2:]]


OBSERVABLES = _rows("## Everything that can be seen")[1:]


def test_every_observable_has_a_class_a_reason_and_a_test() -> None:
    assert len(OBSERVABLES) > 30
    for seen, kind, why, test in OBSERVABLES:
        assert seen and why, seen
        assert kind in CLASSES, f"{seen}: {kind!r}"
        assert re.fullmatch(r"`test_\w+`", test), f"{seen}: {test}"


def test_every_document_that_is_linked_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (REPOSITORY / "docs" / target).is_file(), target


def test_the_cost_of_replacing_one_unit_is_that_of_the_default_schema() -> None:
    head, row = _rows("<!-- replace-one -->")
    assert tuple(map(float, head[1:])) == STATED
    schema = default_schema(
        encoder="ab" * 32, dimension=64, labels=("a", "b", "c"), clip_radius=1.0
    )
    pair = Fraction(replace_one.sensitivity_squared(schema))
    found = []
    for epsilon in STATED:
        sigma = mechanism.noise_scale(schema, epsilon, 1e-5)
        mu = math.sqrt(pair / Fraction(sigma) ** 2)
        found.append(f"{calibration.gaussian_epsilon(mu, 1e-5):.2f}")
    assert row[1:] == found
    edges = " ".join((REPOSITORY / "docs" / "sharp_edges.md").read_text(encoding="utf-8").split())
    assert f"{found[1]} for a stated 1, {found[3]} for a stated 4" in edges
