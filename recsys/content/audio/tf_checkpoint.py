"""Reads checkpoints of TensorFlow without TensorFlow: the "tensor bundle" of its version 2.

``PREFIX.index`` is a sorted string table (the format of LevelDB): a footer points to an index
block, which points to data blocks, whose entries map the name of a tensor to a protocol buffer
that says its type, shape and place in ``PREFIX.data-00000-of-00001``. Formats:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/tensor_bundle and
https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ConfigError

__all__ = ["read_checkpoint"]

MAGIC = bytes.fromhex("57fb808b247547db")  # ends every table
FOOTER = 48  # bytes
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "?"}  # of DataType in types.proto
DTYPE, SHAPE, SHARD, OFFSET, SIZE = 1, 2, 3, 4, 5  # fields of BundleEntryProto
DIMENSION, EXTENT = 2, 1  # of TensorShapeProto, and of its Dim

Message = list[tuple[int, int | bytes]]


def read_checkpoint(folder: Path, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Return the tensors of a checkpoint by name.

    Args:
        folder: where its files are.
        prefix: what their names begin with.

    Raises:
        ConfigError: the files are not there, damaged, compressed, or in more than one shard.
    """
    index, data = folder / f"{prefix}.index", folder / f"{prefix}.data-00000-of-00001"
    try:
        table, tensors = index.read_bytes(), data.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{folder}: not a TensorFlow checkpoint: {error.strerror}; "
            f"expected {index.name} and {data.name}"
        ) from None
    try:
        return {
            name.decode(): _tensor(entry, tensors)
            for name, entry in _table(table)
            if name  # the empty name has the header
        }
    except (ValueError, LookupError, OverflowError, struct.error) as error:
        raise ConfigError(
            f"{index}: not a TensorFlow checkpoint, or damaged ({error}); fetch it again"
        ) from None


def _table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted string table."""
    footer = table[-FOOTER:]
    if footer[-len(MAGIC) :] != MAGIC:
        raise ValueError("another format")
    at = 0
    for _ in range(2):  # the place of the meta index, which is not needed
        _, at = _varint(footer, at)
    for _, handle in _block(table, footer[at:]):
        yield from _block(table, handle)


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of the block that a handle points to."""
    start, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    if table[start + size] != 0:
        raise ValueError("compressed")
    block = table[start : start + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, len(block) - 4 - 4 * restarts, b""
    while at < end:
        shared, at = _varint(block, at)  # with the key before
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _tensor(entry: bytes, tensors: bytes) -> NDArray[Any]:
    """Return the tensor that an entry describes."""
    message = _message(entry)
    fields = {field: value for field, value in message if isinstance(value, int)}
    if fields.get(SHARD, 0) != 0:
        raise ValueError("more than one shard")
    shape = [
        int.from_bytes(extent, "little") if isinstance(extent, bytes) else extent
        for field, value in message
        if field == SHAPE and isinstance(value, bytes)
        for dim, part in _message(value)
        if dim == DIMENSION and isinstance(part, bytes)
        for extent in [dict(_message(part)).get(EXTENT, 0)]
    ]
    start, size = fields.get(OFFSET, 0), fields.get(SIZE, 0)
    return np.frombuffer(tensors[start : start + size], TYPES[fields[DTYPE]]).reshape(shape)


def _message(encoded: bytes) -> Message:
    """Return the fields of a protocol buffer: numbers, and bytes of what is nested or fixed."""
    at, fields = 0, Message()
    while at < len(encoded):
        tag, at = _varint(encoded, at)
        value: int | bytes
        match tag & 7:
            case 0:
                value, at = _varint(encoded, at)
            case 1 | 2 | 5 as kind:
                if kind == 2:
                    length, at = _varint(encoded, at)
                else:
                    length = 8 if kind == 1 else 4
                value, at = encoded[at : at + length], at + length
            case kind:
                raise ValueError(f"wire type {kind}")
        fields.append((tag >> 3, value))
    return fields


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a byte, seven bits a byte, and where it ends."""
    number = shift = 0
    while True:
        byte = encoded[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
