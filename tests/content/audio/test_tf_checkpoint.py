"""The reader of checkpoints of TensorFlow, on files written here by the published format."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.content.audio.tf_checkpoint import read_checkpoint
from recsys.errors import ConfigError

TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10}
MAGIC = bytes.fromhex("57fb808b247547db")
RNG = np.random.default_rng(0)
TENSORS: dict[str, NDArray[Any]] = {
    "dense/bias": RNG.standard_normal(300).astype(np.float32),
    "dense/kernel": RNG.standard_normal((7, 3)).astype(np.float32),
    "dense_1/kernel": RNG.standard_normal((2, 3, 4, 5)),
    "flag": np.array([True, False]),
    "step": np.array(123_456_789_012, dtype=np.int64),
}


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def nested(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def block(entries: list[tuple[bytes, bytes]], share: bool = True) -> bytes:
    out, before = b"", b""
    for key, value in entries:
        shared = 0
        while share and shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        own = key[shared:]
        out += varint(shared) + varint(len(own)) + varint(len(value)) + own + value
        before = key
    return out + struct.pack("<II", 0, 1)


def write(folder: Path, tensors: dict[str, NDArray[Any]], compressed: int = 0) -> None:
    """Write a checkpoint of two data blocks."""
    data, entries = b"", [(b"", number(1, 1))]
    for name, tensor in sorted(tensors.items()):
        shape = b"".join(nested(2, number(1, extent)) for extent in tensor.shape)
        entry = number(1, TYPES[str(tensor.dtype)]) + nested(2, shape) + number(4, len(data))
        entry += number(5, tensor.nbytes) + varint(6 << 3 | 5) + b"crc!"
        entries.append((name.encode(), entry))
        data += tensor.tobytes()
    table, handles = b"", []
    for part in (entries[:3], entries[3:]):
        content = block(part)
        handles.append((part[-1][0], varint(len(table)) + varint(len(content))))
        table += content + bytes([compressed]) + b"crc!"
    index = block(handles)
    place = varint(len(table)) + varint(len(index))
    table += index + b"\0crc!"
    footer = (varint(0) + varint(0) + place).ljust(40, b"\0") + MAGIC
    (folder / ".index").write_bytes(table + footer)
    (folder / ".data-00000-of-00001").write_bytes(data)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, TENSORS)
    found = read_checkpoint(tmp_path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        np.testing.assert_array_equal(found[name], tensor)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_checkpoint(tmp_path)
    write(tmp_path, TENSORS, compressed=1)
    with pytest.raises(ConfigError, match="compressed"):
        read_checkpoint(tmp_path)
    write(tmp_path, TENSORS)
    (tmp_path / ".data-00000-of-00001").write_bytes(b"short")
    with pytest.raises(ConfigError, match="damaged"):
        read_checkpoint(tmp_path)
    (tmp_path / ".index").write_bytes(b"PK" + bytes(100))
    with pytest.raises(ConfigError, match="another format"):
        read_checkpoint(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1))
def test_damaged_files_are_read_or_refused(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    write(tmp_path, TENSORS)
    path = tmp_path / ".index"
    content = bytearray(path.read_bytes())
    for place, value in flips:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        read_checkpoint(tmp_path)
    except ConfigError as error:
        assert ".index" in str(error)
