from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recsys.config import ContentConfig
from recsys.content.assemble import (
    AssembledContent,
    Catalogue,
    content_blocks,
    reduction_file,
)
from recsys.content.encoder import ContentBlock
from recsys.content.reduce import Reduction
from recsys.content.saved import load_blocks, save_blocks
from recsys.content.store import VectorStore
from recsys.data.ids import ItemIds
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import digest_files

ITEMS = ItemIds.of(np.array([10, 20, 30, 40], dtype=np.int64))
CATALOGUE = pd.DataFrame(
    {
        "title": ["Heat", None, "Alien", " "],
        "genres": ["Crime|Drama", None, "Horror", "Drama|Horror"],
        "year": [1995.0, np.nan, 1979.0, 1980.0],
    }
)
ROWS = np.array([0, -1, 1, 2])


def assemble(tmp_path: Path, **configs: ContentConfig) -> AssembledContent:
    return content_blocks(catalogue(tmp_path), configs, VectorStore(tmp_path / "vectors"))


def catalogue(
    folder: Path, items: pd.DataFrame = CATALOGUE, training: tuple[bool, ...] = (True,) * 4
) -> Catalogue:
    return Catalogue(items, ITEMS, ROWS, np.array(training), folder)


GENRES = ContentConfig(columns=("genres",), encoder="categories")
YEAR = ContentConfig(columns=("year",), encoder="numbers")


def test_one_block_a_table_in_its_order(tmp_path: Path) -> None:
    np.save(tmp_path / "sound.npy", np.array([[1.0, 2], [np.nan, np.nan], [3, 4]]))
    sound = ContentConfig(vectors=tmp_path / "sound.npy", ids="items")
    blocks, reports = assemble(tmp_path, year=YEAR, genres=GENRES, sound=sound)
    assert [block.name for block in blocks] == ["year", "genres", "sound"]
    assert [block.dim for block in blocks] == [9, 2, 2]
    assert [block.present.tolist() for block in blocks] == [
        [True, False, True, True],
        [True, False, True, True],
        [True, False, False, True],
    ]
    np.testing.assert_array_equal(blocks[2].vectors, [[1, 2], [0, 0], [0, 0], [3, 4]])
    counts = [(r.encoded, r.cached, r.missing) for r in reports]
    assert counts == [(3, 0, 1), (3, 0, 1), (0, 2, 2)]
    assert reports[2].encoder == "sound.npy" and reports[1].encoder.startswith("categories@")


def test_notes_of_ready_made_vectors_are_passed_on(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((11, 2)))
    _, (report,) = assemble(tmp_path, v=ContentConfig(vectors=tmp_path / "v.npy", ids="row"))
    assert report.notes == ("v.npy: 10 of 11 vectors are of no item of the data",)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("text", ContentConfig(columns=("plot",), encoder="categories"), "no column 'plot'.*title"),
        ("a/b", GENRES, "letters, digits"),
        ("text", ContentConfig(columns=("title",), encoder="guess"), "encoder 'guess' is unknown"),
    ],
)
def test_a_table_that_cannot_be_used(
    tmp_path: Path, name: str, config: ContentConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        assemble(tmp_path, **{name: config})


def test_without_a_catalogue_there_are_no_columns(tmp_path: Path) -> None:
    nothing = pd.DataFrame(index=pd.RangeIndex(4))
    with pytest.raises(ConfigError, match=r"none \(is there an items = FILE"):
        content_blocks(catalogue(tmp_path, nothing), {"genres": GENRES}, VectorStore(tmp_path))


def test_a_block_that_no_item_has_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.full((3, 2), np.nan))
    with pytest.raises(DataError, match=r"\[content.v\]: none of 4 items has any"):
        assemble(tmp_path, v=ContentConfig(vectors=tmp_path / "v.npy", ids="items"))


def test_blocks_come_back_from_disk(tmp_path: Path) -> None:
    blocks, _ = assemble(tmp_path, year=YEAR, genres=GENRES)
    for folder in ("a", "b"):
        save_blocks(blocks, tmp_path / folder)
    loaded = load_blocks(tmp_path / "a")
    assert [block.name for block in loaded] == ["year", "genres"]
    for block, back in zip(blocks, loaded, strict=True):
        assert block.vectors.tobytes() == back.vectors.tobytes()
        assert block.vectors.dtype == back.vectors.dtype
        np.testing.assert_array_equal(block.present, back.present)
    assert digest_files(tmp_path / "a") == digest_files(tmp_path / "b")


def test_no_blocks(tmp_path: Path) -> None:
    save_blocks((), tmp_path)
    assert load_blocks(tmp_path) == ()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("text.npy", np.ones((4, 2), dtype=np.float32)),
        ("text.npy", np.full((3, 3), np.nan, dtype=np.float32)),
        ("text.present.npy", np.ones(4, dtype=np.bool_)),
        ("text.present.npy", None),
    ],
)
def test_blocks_that_do_not_belong_together(
    tmp_path: Path, name: str, array: np.ndarray | None
) -> None:
    block = ContentBlock("text", np.ones((3, 3), dtype=np.float32), np.ones(3, dtype=np.bool_))
    save_blocks((block,), tmp_path)
    (tmp_path / name).unlink()
    if array is not None:
        np.save(tmp_path / name, array)
    with pytest.raises(ArtifactError, match="run embed again"):
        load_blocks(tmp_path)


def test_blocks_that_were_never_saved(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        load_blocks(tmp_path)


def test_what_is_fitted_is_fitted_on_the_training_items(tmp_path: Path) -> None:
    genres = pd.DataFrame({"genres": ["Crime|Drama", "Drama|Crime", "Horror", "Horror|Drama"]})
    known = catalogue(tmp_path, genres, training=(True, True, False, False))
    store = VectorStore(tmp_path)
    (block,), _ = content_blocks(known, {"genres": GENRES}, store)
    assert block.dim == 2  # horror is only on items that nobody learnt from
    assert block.present.tolist() == [True, True, False, True]


def test_reduced_vectors_are_fitted_on_the_training_items(tmp_path: Path) -> None:
    vectors = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 9, 0], [0, 0, 0]])
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "ids.txt").write_text("10\n20\n30\n40\n")
    config = ContentConfig(
        vectors=tmp_path / "v.npy",
        ids=str(tmp_path / "ids.txt"),
        missing="zero",
        reduce="pca",
        dim=1,
    )
    known = catalogue(tmp_path, training=(True, True, False, True))
    out = tmp_path / "out"
    out.mkdir()
    (block,), _ = content_blocks(known, {"v": config}, VectorStore(tmp_path), out=out)
    np.testing.assert_allclose(np.abs(block.vectors), [[1], [1], [0], [0]], atol=1e-6)
    assert block.present.tolist() == [True, True, True, False]
    reduction = Reduction.load(reduction_file(out, "v"))
    np.testing.assert_allclose(np.abs(reduction.axes[:, 0]), [1, 0, 0], atol=1e-6)


def test_files_that_cannot_be_read_are_told_with_their_reasons(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    items = pd.DataFrame({"poster": ["a.png", None, "broken.png", "gone.png"]})
    poster = ContentConfig(columns=("poster",), encoder="colour-histogram")
    (block,), (report,) = content_blocks(
        catalogue(tmp_path, items), {"poster": poster}, VectorStore(tmp_path / "store")
    )
    assert block.present.tolist() == [True, False, False, False]
    assert (report.encoded, report.missing, report.unreadable) == (1, 1, 2)
    assert list(report.reasons) == [1, 2, 3] and report.reasons[1] == "missing"
    assert "no such file" in report.reasons[3]
    assert sum(report.summary["why"].values()) == 2


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["http://a/b.jpg"] * 4, "web addresses"), ([1, 2, 3, 4], "expected paths of files")],
)
def test_cells_that_are_no_paths(tmp_path: Path, cells: list[object], message: str) -> None:
    items = pd.DataFrame({"poster": cells})
    poster = ContentConfig(columns=("poster",), encoder="colour-histogram")
    with pytest.raises(DataError, match=message):
        content_blocks(catalogue(tmp_path, items), {"p": poster}, VectorStore(tmp_path / "s"))


def test_vectors_may_be_mapped_from_disk(tmp_path: Path) -> None:
    texts = ContentConfig(columns=("title",), encoder="tf-idf")
    out = tmp_path / "out"
    out.mkdir()
    store = VectorStore(tmp_path / "store")
    items = pd.DataFrame({"title": ["heat and dust", None, "dust", "heat"]})
    (mapped,), _ = content_blocks(catalogue(tmp_path, items), {"t": texts}, store, out=out)
    (block,), _ = content_blocks(catalogue(tmp_path, items), {"t": texts}, store)
    assert isinstance(mapped.vectors, np.memmap)
    save_blocks((mapped,), out)
    (loaded,) = load_blocks(out)
    np.testing.assert_array_equal(loaded.vectors, block.vectors)
