from pathlib import Path

import numpy as np
import pytest

from wg_client.data.class_folders import window_column_names
from wg_client.data.dataset_survey import load_dataset
from wg_common.modalities.stored_records import StoredRecords
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError

read_window = Windows().read


def _csv(window: np.ndarray, header: str = "") -> str:
    rows = [",".join(repr(float(v)) for v in row) for row in window.T]
    return "\n".join([*([header] if header else []), *rows]) + "\n"


@pytest.fixture
def window() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)


@pytest.mark.parametrize("header", ["", "de,fe,base", '"drive, end",2x,'])
def test_a_table_and_an_array_are_the_same_window(
    tmp_path: Path, window: np.ndarray, header: str
) -> None:
    (tmp_path / "w.csv").write_text(_csv(window, header), encoding="utf-8")
    np.save(tmp_path / "w.npy", window.astype(np.float64))
    for name in ("w.csv", "w.npy"):
        found = read_window(tmp_path / name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, window)


@pytest.mark.parametrize("names", ["time,a", "Time [s],a", "時刻,a", "TIMESTAMP (ms),a"])
def test_a_column_of_times_is_no_channel(tmp_path: Path, names: str) -> None:
    rows = "".join(f"{row}.5,{row * row % 7}\n" for row in range(9))
    (tmp_path / "w.csv").write_text(f"{names}\n{rows}", encoding="utf-8")
    with pytest.raises(DataError, match=r"w\.csv: column 1.*no channel"):
        read_window(tmp_path / "w.csv")
    (tmp_path / "w.csv").write_text(rows)
    with pytest.raises(DataError, match="counts up in equal steps"):
        read_window(tmp_path / "w.csv")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp932"])
def test_a_window_from_a_spreadsheet_is_read(
    tmp_path: Path, window: np.ndarray, encoding: str
) -> None:
    rows = "".join(";".join(f"{v:.6f}".replace(".", ",") for v in row) + "\n" for row in window.T)
    (tmp_path / "w.csv").write_bytes(f"振動;電流;圧力\n{rows}".encode(encoding))
    np.testing.assert_allclose(read_window(tmp_path / "w.csv"), window, atol=1e-6)


def test_a_header_that_promises_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100, 99999999), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "w.npy").write_bytes(data)
    with pytest.raises(DataError, match="99999999 samples"):
        read_window(tmp_path / "w.npy")


def test_the_first_table_says_which_columns_there_are(tmp_path: Path, window: np.ndarray) -> None:
    (tmp_path / "ok").mkdir()
    assert window_column_names(tmp_path) is None
    np.save(tmp_path / "ok" / "a.npy", window)
    assert window_column_names(tmp_path) is None
    (tmp_path / "ok" / "b.csv").write_text(_csv(window, "振動, 電流,温度"), encoding="utf-8")
    names = window_column_names(tmp_path)
    assert names == ("振動", "電流", "温度")
    for name in ("a.npy", "b.csv"):
        np.testing.assert_array_equal(Windows(names).read(tmp_path / "ok" / name), window)
    np.save(tmp_path / "ok" / "c.npy", window[:2])
    with pytest.raises(DataError, match="2 channels, expected 3"):
        Windows(names).read(tmp_path / "ok" / "c.npy")
    (tmp_path / "ok" / "b.csv").write_text(_csv(window, "x,x,y"), encoding="utf-8")
    assert window_column_names(tmp_path) is None


def test_folders_of_windows_are_read_as_folders_of_images_are(
    tmp_path: Path, window: np.ndarray
) -> None:
    for label in ("ok", "worn"):
        (tmp_path / label).mkdir()
        np.save(tmp_path / label / "a.npy", window)
        (tmp_path / label / "b.csv").write_text(_csv(window), encoding="utf-8")
    data = load_dataset(tmp_path)
    assert data.modality == "windows"
    assert isinstance(data.records, StoredRecords)
    assert data.names == ("ok/a.npy", "ok/b.csv", "worn/a.npy", "worn/b.csv")
    assert data.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_archive_of_floats_holds_windows(tmp_path: Path, dtype: type) -> None:
    x: np.ndarray = np.random.default_rng(1).normal(size=(4, 2, 16)).astype(dtype)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 1, -1, 0]), classes=np.array(["a", "b"]))
    data = load_dataset(tmp_path / "d.npz")
    assert data.modality == "windows"
    np.testing.assert_array_equal(np.stack(list(data.records)), x)
