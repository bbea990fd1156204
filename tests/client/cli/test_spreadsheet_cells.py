"""Cells of tables for spreadsheets: no formula, however a line is split, and no two alike."""

from __future__ import annotations

import csv
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_client.cli.prediction_run import spreadsheet_cell

SIGNS = "=+-@＝＋－＠"
TEXTS = st.text(alphabet="=-@＝;\t\r\n\"'a, ", max_size=8)


def split_at(delimiter: str, *texts: str) -> list[str]:
    """Cells of the given texts' line in a spreadsheet that splits it at a delimiter."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([spreadsheet_cell(text) for text in texts])
    rows = csv.reader(io.StringIO(stream.getvalue(), newline=""), delimiter=delimiter)
    return [cell for row in rows for cell in row]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(name=TEXTS, label=TEXTS)
def test_no_cell_begins_with_a_formula(delimiter: str, name: str, label: str) -> None:
    assert not [
        c for c in split_at(delimiter, name, label) if c.lstrip('"').startswith(tuple(SIGNS))
    ]


def test_a_formula_after_a_semicolon_is_text() -> None:
    assert spreadsheet_cell('ok;=HYPERLINK("x")') == 'ok;\'=HYPERLINK("x")'
    assert spreadsheet_cell("type a; 5 °C, 1-2") == "type a; 5 °C, 1-2"


def test_no_two_texts_are_escaped_alike() -> None:
    texts = ["".join(signs) for n in range(6) for signs in itertools.product(";'\"=\ta", repeat=n)]
    assert len(set(map(spreadsheet_cell, texts))) == len(texts)
