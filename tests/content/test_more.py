"""More items are encoded as the others were: what is encoded again gets the same vectors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.config import ContentConfig
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.encoder import ContentBlock
from recsys.content.more import encode_more
from recsys.content.store import VectorStore
from recsys.data.ids import ItemIds
from recsys.errors import ArtifactError, DataError

N = 40


def catalogue() -> Catalogue:
    random = np.random.default_rng(0)
    words = np.array(["dark", "light", "space", "sea", "opera", "shanty"])
    items = pd.DataFrame(
        {
            "title": [" ".join(random.choice(words, 3)) for _ in range(N)],
            "genres": [
                "|".join(random.choice(["a", "b", "c"], 2, replace=False)) for _ in range(N)
            ],
            "year": random.integers(1950, 2020, N),
        }
    )
    ids = ItemIds(np.arange(N))
    return Catalogue(items, ids, np.arange(N), np.arange(N) < 30, Path())


def configs(folder: Path) -> dict[str, ContentConfig]:
    np.save(folder / "v.npy", np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32))
    return {
        "text": ContentConfig(columns=("title",), encoder="tf-idf", reduce="pca", dim=3),
        "words": ContentConfig(columns=("title", "genres"), encoder="lsa"),
        "labels": ContentConfig(columns=("genres",), encoder="categories"),
        "year": ContentConfig(columns=("year",), encoder="numbers"),
        "ready": ContentConfig(vectors=folder / "v.npy", ids="row"),
    }


def again(
    folder: Path,
    items: pd.DataFrame,
    numbers: list[int],
    encoders: dict[str, str] | None = None,
) -> tuple[tuple[ContentBlock, ...], tuple[ContentBlock, ...]]:
    """The blocks of the catalogue, and those of more items."""
    before, tables = catalogue(), configs(folder)
    store = VectorStore(folder / "store")
    blocks, reports = content_blocks(before, tables, store, out=folder)
    made_by = {report.name: report.encoder for report in reports} | (encoders or {})
    more = encode_more(
        items,
        [f"item {n}" for n in range(len(items))],
        items_folder=folder,
        before=before,
        blocks=blocks,
        numbers=np.array(numbers),
        configs=tables,
        encoders=made_by,
        store=store,
        reductions=folder,
    )
    return blocks, more


def test_items_of_the_catalogue_get_what_they_have(tmp_path: Path) -> None:
    some = [35, 2, 7]
    blocks, more = again(tmp_path, catalogue().items.iloc[some], some)
    for block, found in zip(blocks, more, strict=True):
        assert found.name == block.name
        assert found.present.tolist() == block.present[some].tolist()
        assert np.allclose(found.vectors, block.vectors[some], atol=1e-6), block.name


def test_new_items_are_read_as_the_catalogue_is(tmp_path: Path) -> None:
    """One item tells neither how its cells are delimited nor what an average year is."""
    items = pd.DataFrame({"title": ["dark sea"], "genres": ["a|b"], "year": [1980]})
    blocks, more = again(tmp_path, items, [-1])
    by_name = {block.name: block for block in more}
    assert (by_name["labels"].vectors > 0).sum() == 2
    assert not by_name["ready"].present[0] and not by_name["ready"].vectors.any()
    assert [block.dim for block in more] == [block.dim for block in blocks]


def test_an_item_without_content_and_another_encoder_are_refused(tmp_path: Path) -> None:
    nothing = pd.DataFrame({"title": ["dark", None], "genres": ["a", None], "year": [1980, None]})
    with pytest.raises(DataError, match="item 'item 1': no content that an encoder can read"):
        again(tmp_path, nothing, [-1, -1])
    with pytest.raises(ArtifactError, match="made by tf-idf@other, here is tf-idf@"):
        again(tmp_path, catalogue().items.iloc[:1], [0], {"text": "tf-idf@other"})
