import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from recsys.content import store as store_module
from recsys.content.encoder import Encoded
from recsys.content.store import VectorStore
from recsys.errors import ArtifactError, DataError
from recsys.files import digest_files


class Killed(BaseException):
    """Stands for the end of the process."""


class Fake:
    """An encoder whose vectors depend, a little, on what shares their batch: as real ones do."""

    dim = 3

    def __init__(self, name: str = "fake", dies_after: int = 10**9) -> None:
        self.name = name
        self.batches: list[list[object]] = []
        self.dies_after = dies_after

    def encode(self, contents: Sequence[object]) -> Encoded:
        if len(self.batches) == self.dies_after:
            raise Killed
        self.batches.append(list(contents))
        texts = [c.read_text() if isinstance(c, Path) else str(c) for c in contents]
        present = np.array(["unreadable" not in text for text in texts])
        digests = [hashlib.sha256(text.encode()).digest()[:3] for text in texts]
        vectors = np.array([list(digest) for digest in digests], dtype=np.float32)
        return Encoded((vectors + vectors.mean() * 1e-6) * present[:, None], present)

    @property
    def encoded(self) -> list[object]:
        return [content for batch in self.batches for content in batch]


class Untouchable:
    """An encoder that must not be asked for anything but its name."""

    name = "fake"

    @property
    def dim(self) -> int:
        raise AssertionError("asked for its dim")

    def encode(self, contents: Sequence[object]) -> Encoded:
        raise AssertionError(f"asked to encode {contents}")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CHUNK", 4)


def words(n: int) -> list[str]:
    return [f"word {i * 37 % 101} {'x' * (i % 5)}" for i in range(n)]


def test_order_count_and_duplicates_are_kept(tmp_path: Path) -> None:
    encoder = Fake()
    (vectors, present, *_), report = VectorStore(tmp_path).encode(
        encoder, ["b", None, "a", "b", "  ", "unreadable"]
    )
    assert present.tolist() == [True, False, True, True, False, False]
    assert (report.hits, report.misses, report.absent) == (0, 3, 3)
    assert vectors.shape == (6, 3) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[3])
    assert not vectors[[1, 4, 5]].any()
    for row, text in ((0, "b"), (2, "a")):
        own = list(hashlib.sha256(text.encode()).digest()[:3])
        np.testing.assert_allclose(vectors[row], own, atol=1e-3)
    assert sorted(map(str, encoder.encoded)) == ["a", "b", "unreadable"]


def test_the_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    contents = [*words(11), None]
    first = VectorStore(tmp_path).encode(Fake(), contents)
    second = VectorStore(tmp_path).encode(Untouchable(), contents[::-1])
    assert second.report[:3] == (11, 0, 1)
    np.testing.assert_array_equal(second.encoded.vectors, first.encoded.vectors[::-1])


def test_what_cannot_be_read_is_not_tried_again(tmp_path: Path) -> None:
    class Reasons(Fake):
        def encode(self, contents: Sequence[object]) -> Encoded:
            made = super().encode(contents)
            return made._replace(reasons={int(i): "é" * 99 for i in np.flatnonzero(~made.present)})

    contents = [*words(6), "unreadable 1", "unreadable 2"]
    store = VectorStore(tmp_path)
    first = store.encode(Reasons(), contents)
    second = store.encode(Untouchable(), contents)
    for result in (first, second):
        assert result.encoded.present.tolist() == [True] * 6 + [False] * 2
        assert result.encoded.reasons == {6: "é" * 32, 7: "é" * 32}  # 64 bytes, whole letters
        assert result.report.absent == 2


def test_half_precision_takes_half_the_space_and_a_folder_of_its_own(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    full = store.encode(Fake(), words(4)).encoded.vectors
    half = store.encode(Fake(), words(4), precision="float16")
    assert half.report.misses == 4 and half.encoded.vectors.dtype == np.float32
    np.testing.assert_array_equal(half.encoded.vectors, full.astype(np.float16))


def test_half_precision_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    class Large(Fake):
        def encode(self, contents: Sequence[object]) -> Encoded:
            made = super().encode(contents)
            return made._replace(vectors=made.vectors + 1e6)

    with pytest.raises(DataError, match="float16"):
        VectorStore(tmp_path).encode(Large(), ["a"], precision="float16")


def test_vectors_may_be_mapped_from_a_file(tmp_path: Path) -> None:
    contents = [None, *words(9), "unreadable"]
    store = VectorStore(tmp_path / "store")
    kept = store.encode(Fake(), contents).encoded
    mapped = store.encode(Untouchable(), contents, out=tmp_path / "v.npy").encoded
    assert isinstance(mapped.vectors, np.memmap)
    np.testing.assert_array_equal(mapped.vectors, kept.vectors)
    mapped.vectors.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), kept.vectors)


def test_only_what_is_new_is_encoded(tmp_path: Path) -> None:
    store, encoder = VectorStore(tmp_path), Fake()
    old = store.encode(Fake(), words(9)).encoded.vectors
    (vectors, *_), report = store.encode(encoder, ["new", *words(9), "newer"])
    assert sorted(map(str, encoder.encoded)) == ["new", "newer"]
    assert (report.hits, report.misses) == (9, 2)
    np.testing.assert_array_equal(vectors[1:10], old)


@pytest.mark.parametrize("chunks_done", range(6))
def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path: Path, chunks_done: int) -> None:
    contents = words(23)
    whole = VectorStore(tmp_path / "whole").encode(Fake(), contents)
    store = VectorStore(tmp_path / "broken")
    with pytest.raises(Killed):
        store.encode(Fake(dies_after=chunks_done), contents)
    encoder = Fake()
    resumed = store.encode(encoder, contents)
    assert resumed.encoded.vectors.tobytes() == whole.encoded.vectors.tobytes()
    assert digest_files(tmp_path / "broken") == digest_files(tmp_path / "whole")
    assert len(encoder.encoded) == max(0, 23 - 4 * chunks_done)  # what was written is not lost


def test_the_order_of_the_catalogue_does_not_matter(tmp_path: Path) -> None:
    contents = words(23)
    VectorStore(tmp_path / "a").encode(Fake(), contents)
    VectorStore(tmp_path / "b").encode(Fake(), contents[::-1])
    assert digest_files(tmp_path / "a") == digest_files(tmp_path / "b")


def test_alike_lengths_share_a_chunk(tmp_path: Path) -> None:
    encoder = Fake()
    VectorStore(tmp_path).encode(encoder, ["long " * 9 + c for c in "abcd"] + list("efgh"))
    assert [{len(str(c)) for c in batch} for batch in encoder.batches] == [{1}, {46}]


def test_half_a_file_of_a_killed_writer_is_ignored(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    expected = store.encode(Fake(), words(5)).encoded.vectors
    (folder,) = tmp_path.iterdir()
    (folder / ".chunk-00.123.partial").write_bytes(b"half")
    np.testing.assert_array_equal(store.encode(Untouchable(), words(5)).encoded.vectors, expected)


def test_killed_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = VectorStore(tmp_path / "whole").encode(Fake(), words(9)).encoded.vectors

    def dies(file: IO[bytes], *_: object, **__: object) -> None:
        file.write(b"half")
        raise Killed

    store = VectorStore(tmp_path / "broken")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(np, "save", dies)
        store.encode(Fake(), words(9))
    np.testing.assert_array_equal(store.encode(Fake(), words(9)).encoded.vectors, whole)


def test_two_writers_at_once(tmp_path: Path) -> None:
    alone = VectorStore(tmp_path / "alone").encode(Fake(), words(9)).encoded.vectors

    class Interrupted(Fake):
        """While it encodes its second chunk, somebody else encodes all."""

        def encode(self, contents: Sequence[object]) -> Encoded:
            if len(self.batches) == 1:
                VectorStore(tmp_path / "shared").encode(Fake(), words(9))
            return super().encode(contents)

    both = VectorStore(tmp_path / "shared").encode(Interrupted(), words(9)).encoded.vectors
    np.testing.assert_array_equal(both, alone)
    assert digest_files(tmp_path / "shared") == digest_files(tmp_path / "alone")


def test_encoders_do_not_share_vectors(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.encode(Fake("sbert:a/b"), ["text"])
    other = Fake("sbert:a_b")  # alike, once it is made a folder's name
    assert store.encode(other, ["text"]).report.misses == 1


def test_files_count_by_their_bytes(tmp_path: Path) -> None:
    store, encoder = VectorStore(tmp_path / "store"), Fake()
    for name, text in (("a.txt", "one"), ("b.txt", "two"), ("c.txt", "one")):
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt", "no.txt")]
    (vectors, present, reasons, _), report = store.encode(encoder, paths)
    assert present.tolist() == [True, True, True, False] and report.absent == 1
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert reasons == {3: "no such file or directory"} and len(encoder.encoded) == 2
    (tmp_path / "a.txt").write_text("three")
    assert store.encode(encoder, paths).report[:3] == (2, 1, 1)


def test_nothing_at_all(tmp_path: Path) -> None:
    (vectors, present, *_), report = VectorStore(tmp_path).encode(Fake(), [])
    assert vectors.shape == (0, 3) and present.shape == (0,) and report[:3] == (0, 0, 0)
    (vectors, *_), report = VectorStore(tmp_path).encode(Fake(), [None, ""])
    assert vectors.shape == (2, 3) and report.absent == 2


@pytest.mark.parametrize("damage", [b"", b"no npy", None])
def test_a_damaged_chunk_is_named(tmp_path: Path, damage: bytes | None) -> None:
    store = VectorStore(tmp_path)
    store.encode(Fake(), words(3))
    (chunk,) = tmp_path.rglob("chunk-*.npy")
    chunk.write_bytes(chunk.read_bytes()[:-7] if damage is None else damage)
    with pytest.raises(ArtifactError, match=r"chunk-\w+\.npy: is damaged .* delete it"):
        store.encode(Fake(), words(3))


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.encode(Fake(), words(3))
    (chunk,) = tmp_path.rglob("chunk-*.npy")
    np.save(chunk, np.array([{"key": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactError, match="damaged"):
        store.encode(Fake(), words(3))


@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.zeros((1, 3))])
def test_what_an_encoder_must_not_make(tmp_path: Path, bad: np.ndarray) -> None:
    class Broken(Fake):
        def encode(self, contents: Sequence[object]) -> Encoded:  # noqa: ARG002
            return Encoded(bad.astype(np.float32), np.ones(len(bad), dtype=np.bool_))

    with pytest.raises(DataError, match="fake: made vectors of shape"):
        VectorStore(tmp_path).encode(Broken(), ["a", "b"])
    assert not list(tmp_path.rglob("chunk-*"))
