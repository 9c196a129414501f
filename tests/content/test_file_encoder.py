import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recsys.content import file_encoder
from recsys.content.encoder import Encoded, Model, Unreadable
from recsys.content.file_encoder import Failure, FileEncoder, Views, decode_all
from recsys.content.learnt import digest_contents
from recsys.content.store import VectorStore


def numbers(path: Path) -> Views:
    """One view a line: two numbers; broken files as their text says."""
    text = path.read_text()
    if text == "dies":
        os._exit(9)
    if text == "broken":
        raise Unreadable("is broken")
    if text == "denied":
        raise PermissionError(13, "permission denied")
    return np.array([[float(word) for word in line.split()] for line in text.splitlines()])


def model() -> Model:
    return Model(2, lambda views: views.astype(np.float32))


def files(folder: Path, *texts: str) -> list[Path | None]:
    paths: list[Path | None] = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.txt"
        path.write_text(text)
        paths.append(path)
    return paths


ODD = ("1 2", "broken", "3 4\n5 8", "", "denied", "7 7\n8 8\n9 9")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_order_count_pooling_and_reasons(tmp_path: Path, workers: int, batch: int) -> None:
    contents = [None, *files(tmp_path, *ODD), tmp_path / "gone"]
    encoder = FileEncoder("numbers", numbers, model, batch=batch)
    (encoded,) = encoder.stream([contents], workers)
    np.testing.assert_allclose(
        encoded.vectors, [[0, 0], [1, 2], [0, 0], [4, 6], [0, 0], [0, 0], [8, 8], [0, 0]]
    )
    assert encoded.present.tolist() == [False, True, False, True, False, False, True, False]
    assert encoded.reasons == {
        0: "missing",
        2: "is broken",
        4: "empty file",
        5: "permission denied",
        7: "no such file or directory",
    }


def test_the_largest_of_the_views(tmp_path: Path) -> None:
    encoder = FileEncoder("numbers", numbers, model, pooling="max")
    encoded = encoder.encode(files(tmp_path, "-3 4\n-5 8", "broken"))
    np.testing.assert_allclose(encoded.vectors, [[-3, 8], [0, 0]])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_chunks_are_encoded_one_by_one(tmp_path: Path, workers: int) -> None:
    contents = files(tmp_path, *(f"{n} 1\n{n} 3" for n in range(20)))
    seen: list[int] = []

    def recording() -> Model:
        def forward(views: Views) -> np.ndarray:
            seen.append(len(views))
            return views.astype(np.float32)

        return Model(2, forward)

    encoder = FileEncoder("numbers", numbers, recording, batch=8, ahead=6)
    chunks = list(encoder.stream([contents[:5], contents[5:6], contents[6:]], workers))
    assert [len(chunk.vectors) for chunk in chunks] == [5, 1, 14]
    assert seen == [8, 2, 2, 8, 8, 8, 4]  # no batch spans two chunks
    joined = np.concatenate([chunk.vectors for chunk in chunks])
    np.testing.assert_allclose(joined, [[n, 2] for n in range(20)])


def waits(path: Path) -> Views:
    if path.read_text() == "waits":
        time.sleep(60)
    return numbers(path)


def test_a_file_that_keeps_its_worker_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_encoder, "PATIENCE", 4.0)  # starting a process takes a while
    found = list(decode_all(waits, files(tmp_path, "1 2", "waits", "3 4"), workers=2))
    assert found[1] == Failure("takes more than 4 s to decode", passing=True)
    assert not isinstance(found[0], Failure) and not isinstance(found[2], Failure)


@pytest.mark.parametrize("pause", [0, 0.2])  # the pool may break while nobody waits for it
def test_a_file_that_kills_its_worker_is_unreadable_and_alone(tmp_path: Path, pause: float) -> None:
    texts = [f"{n} {n}" for n in range(12)]
    texts[3] = texts[9] = "dies"
    found = []
    for decoded in decode_all(numbers, files(tmp_path, *texts), workers=2, ahead=4):
        time.sleep(pause)
        found.append(decoded)
    assert [n for n, one in enumerate(found) if isinstance(one, Failure)] == [3, 9]
    assert found[3] == found[9] == Failure("kills the decoder", passing=True)
    assert not isinstance(found[11], Failure)
    np.testing.assert_allclose(found[11], [[11, 11]])


def test_files_are_decoded_beside_the_model(tmp_path: Path) -> None:
    """While the model computes, the next files are read: before it is done with the first."""
    contents = files(tmp_path, *(f"{n} 1" for n in range(9)))
    started: list[int] = []

    def mark(folder: Path, path: Path) -> Views:
        (folder / f"{path.stem}.seen").touch()
        return numbers(path)

    def looking() -> Model:
        def forward(views: Views) -> np.ndarray:
            until = time.monotonic() + 20
            while time.monotonic() < until and len(list(tmp_path.glob("*.seen"))) < 4:
                time.sleep(0.01)
            started.append(len(list(tmp_path.glob("*.seen"))))
            return views.astype(np.float32)

        return Model(2, forward)

    encoder = FileEncoder("numbers", partial(mark, tmp_path), looking, batch=1, ahead=4)
    list(encoder.stream([contents], workers=1))
    assert started[0] >= 4  # the first waits for nothing but sees more than itself


def test_nothing_to_encode() -> None:
    encoded = FileEncoder("numbers", numbers, model).encode([])
    assert encoded.vectors.shape == (0, 2)


def test_the_store_gives_the_same_bytes_with_and_without_workers(tmp_path: Path) -> None:
    contents = files(tmp_path, *(f"{n} 0.1\n{n} 0.3" for n in range(40)), "broken")
    results: list[Encoded] = []
    for workers in (0, 2):
        store = VectorStore(tmp_path / f"store{workers}")
        encoder = FileEncoder("numbers", numbers, model, batch=7)
        results.append(store.encode(encoder, contents, workers=workers).encoded)
    assert results[0].vectors.tobytes() == results[1].vectors.tobytes()
    assert results[0].reasons == results[1].reasons == {40: "is broken"}


def test_what_the_machine_lacked_is_tried_again(tmp_path: Path) -> None:
    """A full disk or too many open files say nothing of the file: the next run looks again."""
    contents = files(tmp_path, "1 2", "broken", "denied", "3 4")
    store = VectorStore(tmp_path / "store")
    first = store.encode(FileEncoder("numbers", numbers, model), contents).encoded
    assert first.reasons == {1: "is broken", 2: "permission denied"}
    seen: list[str] = []

    def healthy(path: Path) -> Views:
        seen.append(path.read_text())
        return np.ones((1, 2))

    again = store.encode(FileEncoder("numbers", healthy, model), contents).encoded
    assert seen == ["denied"]
    assert again.present.tolist() == [True, False, True, True]
    assert again.reasons == {1: "is broken"}


def test_paths_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (good,) = files(tmp_path, "1 2")
    contents = [good, tmp_path / "pipe", tmp_path / "a\0b", tmp_path, tmp_path / ("x" * 9_999)]
    encoded = (
        VectorStore(tmp_path / "s").encode(FileEncoder("numbers", numbers, model), contents).encoded
    )
    assert encoded.present.tolist() == [True, False, False, False, False]
    assert [encoded.reasons[row] for row in (1, 2, 3)] == ["not a file", "not a path", "not a file"]
    assert len(digest_contents(contents, {})) == 64
