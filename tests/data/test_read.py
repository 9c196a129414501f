"""Tables of every format, and what is no table."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.read import Table, expand, read_table
from recsys.errors import DataError

COLUMNS = {"who": ["007", "u8", "Zoë"], "what": ["a", "b", "a"], "stars": ["4", "5", ""]}


def delimited(delimiter: str) -> str:
    rows = [list(COLUMNS), *map(list, zip(*COLUMNS.values(), strict=True))]
    return "".join(delimiter.join(row) + "\n" for row in rows)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, content: str | bytes, delimiter: str | None = None) -> Table:
    return read_table([write(path, content)], delimiter=delimiter)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("given", [True, False])
def test_the_delimiter_is_given_or_detected(tmp_path: Path, delimiter: str, given: bool) -> None:
    table = read(tmp_path / "log.txt", delimited(delimiter), delimiter if given else None)
    assert table.columns.to_pydict() == COLUMNS
    assert table.n_rows == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv.gz", gzip.compress(delimited(",").encode())),
        ("log.TSV", delimited("\t").encode()),
        ("log.inter", delimited("\t").encode()),
        ("bom.csv", b"\xef\xbb\xbf" + delimited(",").encode()),
        ("windows.csv", delimited(",").replace("\n", "\r\n\r\n").encode()),
        ("latin.csv", delimited(",").encode("latin-1")),
        ("wide.csv", delimited(",").encode("utf-16")),
        ("spaces.csv", delimited(",").replace("who,what,stars", " who , what,stars").encode()),
    ],
)
def test_text_of_every_kind(tmp_path: Path, name: str, content: bytes) -> None:
    table = read(tmp_path / name, content)
    assert table.columns.to_pydict() == COLUMNS
    expected = {"latin.csv": "not UTF-8", "wide.csv": "UTF-16"}.get(name)
    assert len(table.notes) == (expected is not None)
    assert expected is None or expected in table.notes[0]


def test_text_with_commas_and_line_breaks(tmp_path: Path) -> None:
    table = read(tmp_path / "items.csv", 'id,text\n1,"a, ""b""\nc"\n2,5" pipe\n')
    assert table.columns.to_pydict() == {"id": ["1", "2"], "text": ['a, "b"\nc', '5" pipe']}


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_jsonl_keeps_types_where_they_agree(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"id": 2**53 + 1, "genres": ["x", "y"], "mixed": 1},
        {"id": 5, "mixed": "one\u2028line", "late": 2.5},
        {"id": 7, "genres": [], "mixed": {"a": None}},
    ]
    content = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    table = read(
        tmp_path / f"items.{suffix}", gzip.compress(content) if "gz" in suffix else content
    )
    assert table.columns.to_pydict() == {
        "id": [2**53 + 1, 5, 7],
        "genres": [["x", "y"], None, []],
        "mixed": ["1", "one\u2028line", '{"a": null}'],
        "late": [None, 2.5, None],
    }


def test_integers_beyond_64_bits_and_broken_unicode_become_text(tmp_path: Path) -> None:
    table = read(tmp_path / "log.jsonl", '{"id": 36893488147419103232, "name": "\\ud800x"}\n')
    assert table.columns.to_pydict() == {"id": [str(2**65)], "name": ["?x"]}


def test_parquet(tmp_path: Path) -> None:
    columns = pa.table({"id": [2**53 + 1, None], "genres": [["x"], None]})
    pq.write_table(columns, tmp_path / "log.parquet")
    assert read_table([tmp_path / "log.parquet"]).columns == columns


def test_parts_are_read_in_name_order_and_rows_count_over_all(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    (parts / "deep").mkdir(parents=True)
    write(parts / "part-1.csv", "id,x\nb,1\nbroken\nc,2\n")
    write(parts / "part-0.csv", "x,id\n0,a\n")
    write(parts / "deep" / "part-9.csv", "id,x\nz,9\n")
    write(parts / "_SUCCESS", "")
    write(parts / "README.md", "no table")
    files, notes = expand([parts])
    assert [str(file.relative_to(parts)) for file in files] == [
        "deep/part-9.csv",
        "part-0.csv",
        "part-1.csv",
    ]
    assert notes == ["parts: 1 other file not read, first README.md"]
    table = read_table(files)
    assert table.columns.to_pydict() == {"id": ["z", "a", "b", "c"], "x": ["9", "0", "1", "2"]}
    assert table.rows.tolist() == [0, 1, 2, 4]
    assert [(line.row, line.text) for line in table.malformed] == [(3, "broken")]
    assert table.n_rows == 5
    assert table.file_of(table.rows).tolist() == [
        "part-9.csv",
        "part-0.csv",
        "part-1.csv",
        "part-1.csv",
    ]


def test_several_files_are_in_name_order_too(tmp_path: Path) -> None:
    files = [write(tmp_path / name, "id\n1\n") for name in ("b.csv", "a.csv")]
    assert [file.name for file in expand(files)[0]] == ["a.csv", "b.csv"]


def test_parts_that_differ_are_joined_with_a_note(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "x": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["3"]}), tmp_path / "b.parquet")
    table = read_table([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert table.columns.to_pydict() == {"id": ["1", "2", "3"], "x": [1, 2, None]}
    assert table.notes == ("b.parquet: no column 'x', which a.parquet has",)


def test_malformed_lines_keep_their_place(tmp_path: Path) -> None:
    table = read(tmp_path / "log.csv", "a,b\nx\n1,2\n\n3,4,5\n6,7\n")
    assert table.columns.to_pydict() == {"a": ["1", "6"], "b": ["2", "7"]}
    assert table.rows.tolist() == [1, 3]
    assert [(m.row, m.reason, m.text) for m in table.malformed] == [
        (0, "malformed line: too few fields", "x"),
        (2, "malformed line: too many fields", "3,4,5"),
    ]
    lines = read(tmp_path / "log.jsonl", '{"a": 1}\nnot json\n{"a": 2}\n[3]\n')
    assert lines.rows.tolist() == [0, 2]
    assert [(line.row, line.text) for line in lines.malformed] == [(1, "not json"), (3, "[3]")]


def test_a_delimiter_that_is_another_files_is_detected(tmp_path: Path) -> None:
    assert read(tmp_path / "items.csv", delimited(","), ";").columns.to_pydict() == COLUMNS


PACKED = gzip.compress(delimited(",").encode() * 50)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", PNG, "is a PNG image; expected text as its name says"),
        ("log.csv", b"PAR1" + bytes(50), "is a Parquet file; expected text"),
        ("log.csv", b"PK\x03\x04" + bytes(50), "zip archive or an Excel workbook"),
        ("log.csv", b"<!DOCTYPE html><p>404", "is an HTML page"),
        ("log.csv", b"a,b\n\0\0\0", "is binary data"),
        ("log.csv", b" \n", "is empty; expected a header line and rows"),
        ("log.csv.gz", delimited(",").encode(), "is text; expected gzip as its name says"),
        ("log.csv.gz", PACKED[: len(PACKED) // 2], "damaged or truncated gzip"),
        ("log.csv.gz", PACKED[:-4], "damaged or truncated gzip"),
        ("log.parquet", delimited(",").encode(), "is text; expected Parquet as its name says"),
        ("log.parquet", b"", "is empty; expected Parquet"),
        ("log.parquet", b"PAR1" + bytes(50), "damaged or truncated Parquet"),
        ("log.jsonl", b'[{"a": 1}]', "is a JSON array; expected one object a line"),
        ("log.jsonl", b"a,b\n1,2\n", "no line is a JSON object; the first is 'a,b'"),
        ("log.csv", b"a,b,a\n1,2,3\n", "the header has 'a' twice"),
        ("log.csv", b'a,b\n1,"x\n2,y\n3,z\n', "in row 0 is never closed"),
        ("log.csv", b'a,b\n1,2\n"2,y\n3,z\n', "in row 1 is never closed"),
    ],
)
def test_what_is_not_what_its_name_says(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path / name, content)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for name in ("log.csv", "log.parquet"):
        with pytest.raises(DataError, match="no such file; check the path"):
            read_table([tmp_path / name])
    with pytest.raises(DataError, match="the folder holds no table"):
        expand([tmp_path])
    with pytest.raises(DataError, match="expected one character"):
        read(tmp_path / "log.csv", delimited(","), "::")


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    table = read(tmp_path / "log.csv", "Customer,sku\n1,2\n")
    assert table.column("sku", "item").to_pylist() == ["2"]
    with pytest.raises(DataError, match="no user column 'customers'; there are Customer, sku; did"):
        table.column("customers", "user")
    with pytest.raises(DataError, match="there are Customer, sku; name the time column"):
        table.column("when", "time")
    with pytest.raises(DataError, match="the first line must be a header"):
        read(tmp_path / "bare.csv", "1,2,3.5\n4,5,6\n").column("user_id", "user")
