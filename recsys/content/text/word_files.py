"""Word vectors of others, from files: GloVe, word2vec (text and binary), fastText (.vec and .bin).

Gensim reads them. A folder with one ``.npy`` ``(words, dim)`` beside one ``.parquet`` with a column
of the words in the same order is read as well, as packages carry them.
"""

import gzip
import hashlib
import mmap
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.content.family import Wanted
from recsys.content.text.learned import quiet_gensim
from recsys.content.text.prepare import Preparation
from recsys.content.text.subwords import Subwords
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.word_encoder import WordEncoder
from recsys.content.text.words import Pooling, WordVectors
from recsys.content.weights.find import find_weights
from recsys.errors import DataError
from recsys.files import digest_file

__all__ = ["Format", "file_format", "read_word_vectors", "word_file_encoder"]

Format = Literal["glove", "word2vec-text", "word2vec-binary", "fasttext-binary", "folder"]

FASTTEXT_MAGIC = struct.pack("<i", 793712314)  # the first bytes of fastText's .bin
FASTTEXT_HEADER = struct.calcsize("<14id")  # bytes of settings before its dictionary
GZIP_MAGIC = b"\x1f\x8b"
LOOKED_AT = 65_536  # bytes that show the format

# What gensim, numpy and Arrow raise for files that are cut, altered or of another kind.
BROKEN = (
    ValueError,
    OSError,
    EOFError,
    MemoryError,
    OverflowError,
    AssertionError,
    KeyError,
    IndexError,
    TypeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    pa.ArrowException,
)


def word_file_encoder(wanted: Wanted) -> TextEncoder:
    """Make an encoder that pools the word vectors of a file.

    Args:
        wanted: its model is a path, or a name that ``recsys weights list`` shows. The words of the
            texts are in lower case unless the options say otherwise: set ``lower_case = false``
            for a file of words as they are written.

    Raises:
        ConfigError: there is no such file, or an option cannot be used.
    """
    path = find_weights(wanted.model)
    preparation, pooling = Preparation.of(wanted.options), Pooling.of(wanted.options)
    name = f"words:{Path(wanted.model).name}@{_digest(path)[:12]}"
    return WordEncoder(name, lambda: read_word_vectors(path), preparation, pooling, wanted.contents)


def read_word_vectors(path: Path) -> WordVectors:
    """Read a file of word vectors; what is in it says its format, the name does not matter.

    Of a word that is there twice the first vector counts. A text file may be compressed by gzip.

    Raises:
        DataError: it is none, or is damaged.
    """
    try:
        form = file_format(path)
        vectors = _READERS[form](path)
    except BROKEN as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"{path}: cannot be read as word vectors ({reason}); expected GloVe, word2vec (text or "
            "binary), fastText (.vec or .bin), or a folder with one .npy and one .parquet"
        ) from None
    if not len(vectors.words) or not vectors.dim:
        raise DataError(f"{path}: holds no word vectors")
    if not np.isfinite(vectors.vectors).all():
        raise DataError(f"{path}: the word vectors hold NaN or infinity; get the file again")
    return vectors


def file_format(path: Path) -> Format:
    """Say the format of a file of word vectors.

    Raises:
        ValueError: it is none that is known.
        OSError: it cannot be read.
    """
    if path.is_dir():
        return "folder"
    start = _start(path)
    if start.startswith(FASTTEXT_MAGIC):
        if path.suffix == ".gz":
            raise ValueError("is a compressed fastText .bin: unpack it first")
        return "fasttext-binary"
    first, _, rest = start.partition(b"\n")
    header = first.split()
    if len(header) != 2 or not all(number.isdigit() for number in header):
        if len(header) < 2 or not _is_number(header[-1]):
            raise ValueError("the first line is neither two whole numbers nor a word with numbers")
        return "glove"
    words, width = int(header[0]), int(header[1])
    second = rest.partition(b"\n")[0].rstrip().split(b" ")
    text = len(second) == width + 1 and all(map(_is_number, second[1:]))
    _check_size(path, words, (2 if text else 4) * width)
    return "word2vec-text" if text else "word2vec-binary"


def _start(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    if not packed:
        with path.open("rb") as file:
            return file.read(LOOKED_AT)
    if path.suffix != ".gz":
        raise ValueError("is compressed by gzip, but its name does not end in .gz")
    with gzip.open(path) as file:
        return file.read(LOOKED_AT)


def _check_size(path: Path, words: int, bytes_each: int) -> None:
    """Refuse a header that promises more than the file holds, before memory is taken for it."""
    holds = path.stat().st_size * (1100 if path.suffix == ".gz" else 1)  # gzip packs no denser
    if words * bytes_each > holds:
        raise ValueError(f"its first line promises {words} words, more than it holds")


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_gensim(path: Path, **how: Any) -> WordVectors:
    """Read text or binary vectors; letters that are no utf-8 become U+FFFD."""
    from gensim.models import KeyedVectors

    with quiet_gensim():  # of words that are there twice
        read = KeyedVectors.load_word2vec_format(str(path), unicode_errors="replace", **how)
    return WordVectors(read.index_to_key, read.vectors)


def _read_fasttext(path: Path) -> WordVectors:
    from gensim.models.fasttext import load_facebook_vectors

    _check_fasttext(path)
    with quiet_gensim():
        read = load_facebook_vectors(str(path))
    subwords = Subwords(read.vectors_ngrams, read.min_n, read.max_n) if read.bucket else None
    return WordVectors(read.index_to_key, read.vectors, subwords)


def _check_fasttext(path: Path) -> None:
    """Refuse a file that ends too early: gensim would look for the end of a word for ever."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        words, _, _, _, pruned = struct.unpack_from("<3i2q", data, FASTTEXT_HEADER)
        place = FASTTEXT_HEADER + struct.calcsize("<3i2q")
        for _ in range(words):
            end = data.find(b"\0", place)
            if end < 0:
                raise ValueError("ends amid its words")
            place = end + struct.calcsize("<bqb")  # the zero, a count, a kind
        place += max(pruned, 0) * struct.calcsize("<2i")
        _, rows, width = struct.unpack_from("<?2q", data, place)
        if rows * width * 4 > len(data) - place:
            raise ValueError("ends amid its vectors")


def _read_folder(path: Path) -> WordVectors:
    matrix, table = _parts(path)
    vectors: NDArray[Any] = np.load(matrix, mmap_mode="r", allow_pickle=False)
    columns: pa.Table = pq.read_table(table)
    if columns.num_columns != 1:
        raise ValueError(f"{table.name} has {columns.num_columns} columns, expected the words only")
    words: Sequence[str] = columns.column(0).cast(pa.string()).to_pylist()
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(words):
        raise ValueError(f"{matrix.name} is {vectors.dtype} {vectors.shape} for {len(words)} words")
    if len(set(words)) != len(words):
        raise ValueError(f"{table.name} holds a word twice")
    return WordVectors(words, vectors.astype(np.float32, copy=False))


def _parts(folder: Path) -> tuple[Path, Path]:
    """The file of vectors and the file of words in a folder."""
    matrices, tables = sorted(folder.glob("*.npy")), sorted(folder.glob("*.parquet"))
    if len(matrices) != 1 or len(tables) != 1:
        raise ValueError(f"has {len(matrices)} .npy and {len(tables)} .parquet, expected one each")
    return matrices[0], tables[0]


def _digest(path: Path) -> str:
    """The sha256 of a file, or of both files of a folder.

    Raises:
        DataError: the folder holds no word vectors.
    """
    if not path.is_dir():
        return digest_file(path)
    try:
        parts = _parts(path)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return hashlib.sha256("".join(map(digest_file, parts)).encode()).hexdigest()


_READERS: dict[Format, Callable[[Path], WordVectors]] = {
    "glove": lambda path: _read_gensim(path, no_header=True),
    "word2vec-text": _read_gensim,
    "word2vec-binary": lambda path: _read_gensim(path, binary=True),
    "fasttext-binary": _read_fasttext,
    "folder": _read_folder,
}
