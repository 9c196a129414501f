import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gensim.models import KeyedVectors
from gensim.models.fasttext import load_facebook_vectors
from gensim.test.utils import datapath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_texts import make

from recsys.content.text.word_files import Format, file_format, read_word_vectors
from recsys.errors import ConfigError, DataError

WORDS = ["the", "king", "queen", "caf\u00e9", "漢字", "don't", "2001"]
TABLE = np.random.default_rng(0).standard_normal((len(WORDS), 6)).astype(np.float32)
FASTTEXT = Path(datapath("crime-and-punishment.bin"))


def as_text(header: bool) -> bytes:
    lines = [f"{len(WORDS)} 6"] if header else []
    for word, row in zip(WORDS, TABLE, strict=True):
        lines.append(" ".join([word, *(repr(float(x)) for x in row)]))
    return ("\n".join(lines) + "\n").encode()


def as_binary() -> bytes:
    rows = zip(WORDS, TABLE, strict=True)
    return f"{len(WORDS)} 6\n".encode() + b"".join(
        word.encode() + b" " + row.tobytes() + b"\n" for word, row in rows
    )


def as_folder(path: Path) -> Path:
    path.mkdir()
    np.save(path / "vectors.npy", TABLE)
    pd.DataFrame({"index": WORDS}).to_parquet(path / "words.parquet")
    return path


FORMS: dict[str, tuple[Callable[[], bytes], Format]] = {
    "mine.txt": (lambda: as_text(header=False), "glove"),
    "mine.vec": (lambda: as_text(header=True), "word2vec-text"),
    "mine.bin": (as_binary, "word2vec-binary"),
    "mine.txt.gz": (lambda: gzip.compress(as_text(header=False)), "glove"),
    "mine.vec.gz": (lambda: gzip.compress(as_text(header=True)), "word2vec-text"),
    "mine.bin.gz": (lambda: gzip.compress(as_binary()), "word2vec-binary"),
    "no-suffix": (as_binary, "word2vec-binary"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_format_gives_what_was_written(name: str, tmp_path: Path) -> None:
    write, form = FORMS[name]
    path = tmp_path / name
    path.write_bytes(write())
    assert file_format(path) == form
    read = read_word_vectors(path)
    assert list(read.words) == WORDS
    np.testing.assert_array_equal(read.vectors, TABLE)


def test_a_folder_of_vectors_and_words(tmp_path: Path) -> None:
    read = read_word_vectors(as_folder(tmp_path / "mine"))
    assert list(read.words) == WORDS
    np.testing.assert_array_equal(read.vectors, TABLE)
    encoder = make(f"words:{tmp_path / 'mine'}")
    np.testing.assert_allclose(encoder.encode(["the KING"]).vectors[0], TABLE[:2].mean(axis=0))


@pytest.mark.parametrize(
    ("name", "form", "binary"),
    [("test_glove.txt", "glove", False), ("euclidean_vectors.bin", "word2vec-binary", True)],
)
def test_files_of_the_original_programs(name: str, form: str, binary: bool) -> None:
    path = Path(datapath(name))
    assert file_format(path) == form
    theirs = KeyedVectors.load_word2vec_format(str(path), binary=binary, no_header=not binary)
    ours = read_word_vectors(path)
    assert list(ours.words) == theirs.index_to_key
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


def test_fasttexts_own_file_knows_unknown_words() -> None:
    assert file_format(FASTTEXT) == "fasttext-binary"
    theirs = load_facebook_vectors(str(FASTTEXT))
    encoder = make(f"words:{FASTTEXT}", unknown="ngrams")
    words = [theirs.index_to_key[20], "преступлениями", "landlady"]
    assert words[1] not in theirs.key_to_index
    encoded = encoder.encode(words)
    expected = np.stack([theirs.get_vector(word) for word in words])
    np.testing.assert_allclose(encoded.vectors, expected, atol=1e-6)
    assert "no known word" in make(f"words:{FASTTEXT}").encode([words[1]]).reasons.values()


def test_the_name_tells_files_and_options_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(as_text(header=False))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.txt").write_bytes(as_text(header=False).replace(b"king", b"kong"))
    a, b = f"words:{tmp_path / 'a.txt'}", f"words:{tmp_path / 'b' / 'a.txt'}"
    encoders = [
        make(a),
        make(b),
        make(a, pooling="max"),
        make(a, unknown="zero"),
        make(a, lower_case=False),
        make(a, pooling="sif"),
        make(a, ["other", "training", "texts"], pooling="sif"),
    ]
    names = [encoder.name for encoder in encoders]
    assert len(set(names)) == len(names) and make(a).name == names[0]
    assert str(tmp_path) not in "".join(names)


def test_making_does_not_read_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.txt").write_bytes(b"\x00\x01 nothing")
    encoder = make(f"words:{tmp_path / 'broken.txt'}")
    with pytest.raises(DataError, match=r"broken\.txt: cannot be read as word vectors"):
        encoder.encode(["a"])


def test_an_absent_file() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        make("words:nowhere.txt")


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "neither"),
    "zeros": (bytes(100), "neither"),
    "page": (b"<!DOCTYPE html>\n<html>not found</html>", "neither"),
    "one word": (b"king\n", "neither"),
    "cut text": (as_text(header=True)[:-30], "could not broadcast"),
    "cut binary": (as_binary()[:-10], "unexpected end"),
    "cut glove": (as_text(header=False)[:-30], "could not|invalid vector"),
    "big header": (b"99999999999 300\n" + as_text(header=False), "promises 99999999999 words"),
    "no width": (b"7 0\n" + as_text(header=False), "."),
    "no words": (b"0 6\n", "holds no word vectors"),
    "not a number": (as_text(header=False) + b"odd 1 2 3 x 5 6\n", "could not convert"),
    "nan": (as_text(header=False) + b"odd 1 2 3 nan 5 6\n", "hold NaN or infinity"),
    "cut fasttext": (FASTTEXT.read_bytes()[:3000], "."),
    "only magic": (struct.pack("<i", 793712314), "."),
    "gzip by another name": (gzip.compress(as_binary()), "does not end in .gz"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_the_reason(name: str, tmp_path: Path) -> None:
    content, reason = BROKEN[name]
    (tmp_path / "mine").write_bytes(content)
    with pytest.raises(DataError, match=f"mine: .*({reason})") as error:
        read_word_vectors(tmp_path / "mine")
    assert "\n" not in str(error.value)


def test_broken_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 \.npy and 0 \.parquet"):
        make(f"words:{tmp_path}")
    folder = as_folder(tmp_path / "mine")
    np.save(folder / "vectors.npy", TABLE[:-1])
    with pytest.raises(DataError, match="for 7 words"):
        read_word_vectors(folder)
    np.save(folder / "vectors.npy", TABLE)
    pd.DataFrame({"index": [*WORDS[:-1], "the"]}).to_parquet(folder / "words.parquet")
    with pytest.raises(DataError, match="holds a word twice"):
        read_word_vectors(folder)
    pd.DataFrame({"a": WORDS, "b": WORDS}).to_parquet(folder / "words.parquet")
    with pytest.raises(DataError, match="has 2 columns"):
        read_word_vectors(folder)
    (folder / "words.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_word_vectors(folder)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_refused_or_read(tmp_path: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([as_text(True), as_text(False), as_binary(), FASTTEXT_BYTES]))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8))):
        place = data.draw(st.integers(0, max(min(len(damaged), 300) - 1, 0)))
        damaged[place : place + 1] = data.draw(st.binary(min_size=1, max_size=4))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(damaged))
    try:
        read = read_word_vectors(path)
    except DataError:
        return
    assert len(read.words) == len(read.vectors) and np.isfinite(read.vectors).all()


FASTTEXT_BYTES = FASTTEXT.read_bytes()
