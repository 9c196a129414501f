from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.config import ContentConfig
from recsys.content.assemble import AssembledContent, content_blocks, load_blocks, save_blocks
from recsys.content.encoder import ContentBlock
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
    return content_blocks(CATALOGUE, ITEMS, ROWS, configs, VectorStore(tmp_path / "vectors"))


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
    assert [(r.encoded, r.cached, r.absent) for r in reports] == [(3, 0, 1), (3, 0, 1), (0, 2, 2)]
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
        content_blocks(nothing, ITEMS, ROWS, {"genres": GENRES}, VectorStore(tmp_path))


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
