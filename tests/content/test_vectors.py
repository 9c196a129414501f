from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.content.encoder import Encoded
from recsys.content.vectors import read_vectors
from recsys.data.ids import ItemIds
from recsys.errors import ConfigError, DataError

ITEMS = ItemIds.of(np.array([10, 20, 30, 40], dtype=np.int64))
TEXT_ITEMS = ItemIds.of(np.array(["i07", "i08", "i10"], dtype=object))
MATRIX = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
ROWS = np.array([2, -1, 0, 1])  # of the items in the catalogue file; it lacks item 20


def save(path: Path, matrix: Any = MATRIX) -> Path:
    np.save(path, matrix)
    return path


def read(
    path: Path,
    ids: str | None = None,
    missing: Literal["nan", "zero"] = "nan",
    items: ItemIds = ITEMS,
) -> tuple[Encoded, tuple[str, ...]]:
    return read_vectors(path, ids, missing, items, ROWS)


def by_line(tmp_path: Path, *lines: object) -> str:
    path = tmp_path / "ids.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def check(encoded: Encoded, expected: dict[int, list[float]]) -> None:
    """Compare with ``{item number: vector}``; all other items must be absent and zero."""
    n = len(encoded.present)
    assert np.flatnonzero(encoded.present).tolist() == sorted(expected)
    table = np.zeros((n, 2))
    for item, vector in expected.items():
        table[item] = vector
    np.testing.assert_array_equal(encoded.vectors, table)
    assert encoded.vectors.dtype == np.float32


def test_ids_one_a_line(tmp_path: Path) -> None:
    encoded, notes = read(save(tmp_path / "v.npy"), by_line(tmp_path, 30, 10, 99))
    check(encoded, {2: [1, 2], 0: [3, 4]})
    assert notes == ("v.npy: 1 of 3 vectors are of no item of the data",)


@pytest.mark.parametrize("ids", [np.array([30, 10, 40]), np.array(["30", "10", "40"])])
def test_ids_in_npy(tmp_path: Path, ids: np.ndarray) -> None:
    encoded, notes = read(save(tmp_path / "v.npy"), str(save(tmp_path / "ids.npy", ids)))
    check(encoded, {2: [1, 2], 0: [3, 4], 3: [5, 6]})
    assert notes == ()


def test_rows_of_the_catalogue(tmp_path: Path) -> None:
    encoded, notes = read(save(tmp_path / "v.npy"), "items")
    check(encoded, {0: [5, 6], 2: [1, 2], 3: [3, 4]})
    assert notes == ()


def test_row_numbers_are_ids(tmp_path: Path) -> None:
    matrix = np.arange(42, dtype=np.float64).reshape(21, 2)
    encoded, notes = read(save(tmp_path / "v.npy", matrix), "row")
    check(encoded, {0: [20, 21], 1: [40, 41]})
    assert notes == ("v.npy: 19 of 21 vectors are of no item of the data",)


def test_text_ids_keep_their_zeros(tmp_path: Path) -> None:
    ids = by_line(tmp_path, "i08", " i07 ", "7")
    encoded, _ = read(save(tmp_path / "v.npy"), ids, items=TEXT_ITEMS)
    check(encoded, {1: [1, 2], 0: [3, 4]})


@pytest.mark.parametrize(("missing", "mark"), [("nan", np.nan), ("zero", 0.0)])
def test_marked_rows_are_absent(
    tmp_path: Path, missing: Literal["nan", "zero"], mark: float
) -> None:
    matrix = MATRIX.copy()
    matrix[1] = mark
    encoded, _ = read(save(tmp_path / "v.npy", matrix), by_line(tmp_path, 30, 10, 40), missing)
    check(encoded, {2: [1, 2], 3: [5, 6]})


def test_a_zero_in_a_vector_is_a_number(tmp_path: Path) -> None:
    matrix = MATRIX.copy()
    matrix[:, 0] = 0
    path = save(tmp_path / "v.npy", matrix)
    encoded, _ = read(path, by_line(tmp_path, 30, 10, 40), "zero")
    check(encoded, {2: [0, 2], 0: [0, 4], 3: [0, 6]})


def test_zeros_are_vectors_where_nan_marks_absence(tmp_path: Path) -> None:
    path = save(tmp_path / "v.npy", np.zeros((3, 2)))
    encoded, _ = read(path, by_line(tmp_path, 30, 10, 40), "nan")
    assert encoded.present.tolist() == [True, False, True, True]


@pytest.mark.parametrize("missing", ["nan", "zero"])
def test_parquet_with_a_list_column(tmp_path: Path, missing: Literal["nan", "zero"]) -> None:
    table = pa.table({"sku": [30, 10, 40, 99], "vector": [[1, 2], None, [5, 6], [7, 8]]})
    pq.write_table(table, tmp_path / "v.parquet")
    encoded, notes = read(tmp_path / "v.parquet", missing=missing)
    check(encoded, {2: [1, 2], 3: [5, 6]})
    assert notes == ("v.parquet: 1 of 4 vectors are of no item of the data",)


def test_parquet_with_lists_of_fixed_size(tmp_path: Path) -> None:
    vectors = pa.array([[1, 2], [3, 4]], pa.list_(pa.float64(), 2))
    pq.write_table(pa.table({"sku": [30, 10], "vector": vectors}), tmp_path / "v.parquet")
    check(read(tmp_path / "v.parquet")[0], {2: [1, 2], 0: [3, 4]})


def test_parquet_names_its_id_column(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2], "sku": ["30", "10"], "vector": [[1.0, 2.0], [3.0, 4.0]]})
    pq.write_table(table, tmp_path / "v.parquet")
    check(read(tmp_path / "v.parquet", "sku")[0], {2: [1, 2], 0: [3, 4]})
    with pytest.raises(DataError, match=r"one list column and an id column .* \['n', 'sku'\]"):
        read(tmp_path / "v.parquet")


def with_nan(matrix: np.ndarray) -> np.ndarray:
    changed = matrix.copy()
    changed[1, 0] = np.nan
    return changed


@pytest.mark.parametrize(
    ("matrix", "ids", "message"),
    [
        (MATRIX, "ids: 30 10", "3 vectors for 2 ids"),
        (MATRIX, "ids: 30 10 30", "1 ids come more than once, first: '30'"),
        (MATRIX, "ids: 1 2 3", "none of its 3 ids is an item.*first is '1'.*such as '10'"),
        (MATRIX, "ids: 30  10", "line 2 is empty"),
        (MATRIX, "nowhere.txt", "cannot be read as ids"),
        (MATRIX[:2], "items", "2 vectors for 3 rows in the catalogue"),
        (np.ones((4, 2)), "items", "4 vectors for 3 rows in the catalogue"),
        (np.ones(3), "row", r"expected numbers of shape \(rows, width\)"),
        (np.ones((3, 0)), "row", r"expected numbers of shape \(rows, width\)"),
        (np.array([["a", "b"]]), "row", r"got <U1 of shape \(1, 2\)"),
        (with_nan(MATRIX), "ids: 30 10 40", "1 vectors hold NaN or infinity, first: row 1"),
        (MATRIX * np.inf, "ids: 30 10 40", "3 vectors hold NaN or infinity, first: row 0"),
        (MATRIX.astype(float) * 1e300, "ids: 30 10 40", "3 vectors hold NaN or infinity"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, matrix: np.ndarray, ids: str, message: str) -> None:
    if ids.startswith("ids: "):
        ids = by_line(tmp_path, *ids.removeprefix("ids: ").split(" "))
    path = save(tmp_path / "v.npy", matrix)
    with pytest.raises(DataError, match=message) as error:
        read(path, ids)
    assert "\n" not in str(error.value)


def test_nan_where_zeros_mark_absence(tmp_path: Path) -> None:
    matrix = MATRIX.copy()
    matrix[1] = np.nan
    with pytest.raises(DataError, match='now missing = "zero"'):
        read(save(tmp_path / "v.npy", matrix), by_line(tmp_path, 30, 10, 40), "zero")


def test_ids_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whose vectors are these"):
        read(save(tmp_path / "v.npy"))


@pytest.mark.parametrize("content", [None, b"", b"1.0,2.0\n", "pickle"])
def test_no_npy(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "v.npy"
    if content == "pickle":
        np.save(path, np.array([[1.0], [None]], dtype=object), allow_pickle=True)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"v\.npy: cannot be read as a \.npy of plain numbers"):
        read(path, "row")


def test_a_cut_off_npy(tmp_path: Path) -> None:
    path = save(tmp_path / "v.npy")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="cannot be read as a"):
        read(path, "row")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sku": [30, 10], "v": [[1.0, 2.0], [3.0]]}, r"must have one width, got \[1, 2\]"),
        ({"sku": [30, 30], "v": [[1.0], [2.0]]}, "ids come more than once, first: 30"),
        ({"sku": [30, 10], "v": [[1.0, 2.0], [3.0, None]]}, "NaN or infinity, first: row 1"),
        ({"sku": [30, 10]}, r"got lists \[\]"),
    ],
)
def test_parquet_that_cannot_be_used(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "v.parquet")


def test_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read(tmp_path / "v.parquet")
