"""Messages about tables and data sheets name what was found, and what is known."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from wg_client.cli.freeze import UNUSABLE_RECORD_TEMPLATE, abridged_item_lines
from wg_client.data.dataset import SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.models.predict import load_records
from wg_core.errors import ConfigError, DataError, WgError
from wg_core.site.config import check_name as check_setting
from wg_core.site.config import read_data_sheet
from wg_core.site.reading_config import ReadingConfig
from wg_core.text_grammars import check_name


def _table(path: Path, rows: int = 1) -> Path:
    path.write_text("text,grade\n" + "it hums,new\n" * rows, encoding="utf-8")
    return path


def test_a_text_column_that_is_missing_is_named_with_those_found(tmp_path: Path) -> None:
    reading = ReadingConfig(columns=("内容", "label"))
    with pytest.raises(DataError, match=r"no column '内容'; found \['text', 'grade'\]"):
        load_records(_table(tmp_path / "new.csv"), ["ok"], reading)


@pytest.mark.parametrize("name", ["new.csv", "new.xlsx", "new.jsonl"])
def test_a_table_without_the_default_text_column_is_no_sensor_window(
    tmp_path: Path, name: str
) -> None:
    book, table = openpyxl.Workbook(), tmp_path / name
    book.active.append(["memo", "day"])
    book.save(table)
    if table.suffix != ".xlsx":
        table.write_text("memo,day\nit hums,3\n" if name == "new.csv" else '{"memo":"","day":3}\n')
    expected = r"no column 'text'; found \['memo', 'day'\]; name the column .*--text-column"
    with pytest.raises(DataError, match=expected):
        load_records(table, ["ok"], modality="texts")


def test_a_label_column_that_is_missing_is_named_with_those_found(tmp_path: Path) -> None:
    options = SurveyOptions(reading=ReadingConfig(columns=("text", "grad")))
    with pytest.raises(DataError, match=r"no column 'grad' .*; found 'text', 'grade'"):
        survey_dataset(_table(tmp_path / "new.csv"), options)


def test_a_folder_of_one_sheet_is_told_to_name_the_file(tmp_path: Path) -> None:
    table, book = tmp_path / "notes" / "a.xlsx", openpyxl.Workbook()
    table.parent.mkdir()
    for row in (["memo", "grade"], ["it hums", "new"]):
        book.active.append(row)
    book.save(table)
    options = SurveyOptions(reading=ReadingConfig(columns=("memo", "grade")))
    with pytest.raises(DataError, match=r"--data .*a\.xlsx --text-column"):
        survey_dataset(table.parent, options)
    assert len(survey_dataset(table, options).data) == 1


def test_a_full_width_space_in_a_name_is_explained() -> None:
    for check in (check_name, lambda name: check_setting("data.labels", name)):
        with pytest.raises(WgError, match="no full-width space"):
            check("不良\u3000品")


def test_rows_are_counted_as_a_spreadsheet_counts_them(tmp_path: Path) -> None:
    """The header is row 1, and an empty row counts."""
    rows = [["text", "label"], ["it hums", "new"], [], ["it rings", "new"]]
    table, book = tmp_path / "new.csv", openpyxl.Workbook()
    table.write_text("\n".join(map(",".join, rows)) + "\nno label\n", encoding="utf-8")
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "new.xlsx")
    survey = survey_dataset(table)
    assert survey.data.names == ("new.csv row 2", "new.csv row 4")
    assert [(p.name, p.reason) for p in survey.problems] == [
        ("new.csv row 5", "1 cells, expected 2")
    ]
    assert survey_dataset(tmp_path / "new.xlsx").data.names == ("new.xlsx row 2", "new.xlsx row 4")


def test_many_rows_with_one_undeclared_label_are_one_line(tmp_path: Path) -> None:
    options = SurveyOptions(labels=["ok"], reading=ReadingConfig(columns=("text", "grade")))
    problems = survey_dataset(_table(tmp_path / "new.csv", 60), options).problems
    assert len(problems) == 60
    (line,) = abridged_item_lines(UNUSABLE_RECORD_TEMPLATE, problems)
    assert "new.csv row 2 (+59): label 'new' is not declared" in line and "init --labels" in line


def test_a_wrong_figure_of_a_data_sheet_is_named_with_those_known(tmp_path: Path) -> None:
    sheet = tmp_path / "pump.yaml"
    sheet.write_text("rotating_machine: {shaft_speed: 1800}\n")
    with pytest.raises(ConfigError, match=r"unknown field shaft_speed; known: .*shaft_speed_rpm"):
        read_data_sheet(sheet)
