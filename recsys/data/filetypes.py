"""What a file really is: its name says one thing, its first bytes may say another."""

import gzip
import zlib
from pathlib import Path
from typing import Literal

from recsys.errors import DataError

__all__ = [
    "SUFFIXES",
    "Format",
    "decode",
    "format_of",
    "has_table_name",
    "looks_like",
    "read_bytes",
]

Format = Literal["delimited", "jsonl", "parquet"]

SUFFIXES: dict[str, Format] = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".txt": "delimited",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}

MAGIC = (  # how the files that people mistake for a table begin
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WAV or WebP file"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
)
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def has_table_name(path: Path) -> bool:
    """Whether a file is called like a table (a folder may hold other things)."""
    return _suffix(path) in SUFFIXES


def format_of(path: Path) -> Format:
    """The format that a file's name promises; any other name is read as delimited text."""
    return SUFFIXES.get(_suffix(path), "delimited")


def looks_like(head: bytes) -> str:
    """Say what a file that begins with ``head`` is, such as "a PNG image" or "text"."""
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(UTF16_MARKS):
        return "text"
    if not head:
        return "empty"
    return "binary data" if b"\0" in head else "text"


def read_bytes(path: Path) -> bytes:
    """Return the content of a text file, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: the file is missing, empty, a damaged gzip, or no text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if path.suffix == ".gz":
        data = _unpack(path, data)
    if not data.strip():
        raise DataError(f"{path}: is empty; expected a header line and rows")
    kind = looks_like(data[:4096])
    if kind != "text":
        raise DataError(f"{path}: is {kind}; expected text as its name says: check or rename it")
    return data


def _unpack(path: Path, data: bytes) -> bytes:
    kind = looks_like(data[:4096])
    if kind != "a gzip file":
        raise DataError(f"{path}: is {kind}; expected gzip as its name says: rename it")
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = str(error).split(";")[0].rstrip(".")
        raise DataError(f"{path}: damaged or truncated gzip ({reason}); copy it again") from None


def decode(path: Path, data: bytes) -> tuple[str, str | None]:
    """Return the text, and a note where it was not UTF-8 (byte order marks are taken off)."""
    if data.startswith(UTF16_MARKS):
        try:
            return data.decode("utf-16"), f"{path.name}: read as UTF-16"
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: damaged UTF-16 text ({error.reason}); copy it again"
            ) from None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        note = f"{path.name}: is not UTF-8, read as Windows-1252 (Latin-1)"
        return text, None if encoding == "utf-8-sig" else note
    return data.decode("latin-1"), f"{path.name}: is not UTF-8, read as Latin-1"
