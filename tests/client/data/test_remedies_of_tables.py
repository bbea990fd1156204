"""Messages about tables and data sheets name what was found, and what is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from wg_client.cli.freeze import UNUSABLE_LINE, list_some_items
from wg_client.data.dataset import SurveyOptions
from wg_client.data.survey import survey_dataset
from wg_client.models.predict import load_records
from wg_core.errors import ConfigError, DataError
from wg_core.site.config import read_data_sheet
from wg_core.site.reading import ReadingConfig


def _table(path: Path, rows: int = 1) -> Path:
    path.write_text("text,grade\n" + "it hums,new\n" * rows, encoding="utf-8")
    return path


def test_a_text_column_that_is_missing_is_named_with_those_found(tmp_path: Path) -> None:
    reading = ReadingConfig(columns=("内容", "label"))
    with pytest.raises(DataError, match=r"no column '内容'; found \['text', 'grade'\]"):
        load_records(_table(tmp_path / "new.csv"), ["ok"], reading)


def test_a_label_column_that_is_missing_is_named_with_those_found(tmp_path: Path) -> None:
    options = SurveyOptions(reading=ReadingConfig(columns=("text", "grad")))
    with pytest.raises(DataError, match=r"no column 'grad' .*; found 'text', 'grade'"):
        survey_dataset(_table(tmp_path / "new.csv"), options)


def test_many_rows_with_one_undeclared_label_are_one_line(tmp_path: Path) -> None:
    options = SurveyOptions(labels=["ok"], reading=ReadingConfig(columns=("text", "grade")))
    problems = survey_dataset(_table(tmp_path / "new.csv", 60), options).problems
    assert len(problems) == 60
    (line,) = list_some_items(UNUSABLE_LINE, problems)
    assert "new.csv[0] (+59): label 'new' is not declared" in line and "init --labels" in line


def test_a_wrong_figure_of_a_data_sheet_is_named_with_those_known(tmp_path: Path) -> None:
    sheet = tmp_path / "pump.yaml"
    sheet.write_text("rotating_machine: {shaft_speed: 1800}\n")
    with pytest.raises(ConfigError, match=r"unknown field shaft_speed; known: .*shaft_speed_rpm"):
        read_data_sheet(sheet)
