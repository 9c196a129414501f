"""A bundle of packed and cut vectors: items are added, a rebuild keeps them, answers agree."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_bundles import KINDS, N_ITEMS, bundle_of, copy_of

from recsys.errors import ConfigError
from recsys.files import read_json
from recsys.index.live import vectors_of
from recsys.index.packed import Packed
from recsys.recommenders.changed import two_towers_of
from recsys.recommenders.explain import explain
from recsys.serving.bundle import Bundle
from recsys.serving.edit import edit_items
from recsys.serving.rebuild import rebuild

NEW = 1_000
WORDS = ("index.vectors=int8", "index.dim=4", "towers.nested=[4]", "newcomers.later=true")


@pytest.mark.parametrize("kind", ["annoy", "exact"])
def test_items_are_added_and_kept(kind: str, tmp_path: Path) -> None:
    folder = copy_of(bundle_of(*WORDS, f"index.kind={kind}"), tmp_path / "bundle")
    codes = np.load(folder / "index/vectors.npy")
    assert (codes.dtype, codes.shape) == (np.int8, (N_ITEMS, 4 + 8 + 2))
    before = Bundle.load(folder).recommender()
    lists = before.recommend(k=5)
    pd.DataFrame({"item_id": [NEW], "title": [KINDS[0]]}).to_csv(tmp_path / "new.csv", index=False)
    edit_items(folder, tmp_path / "new.csv")
    live = Bundle.load(folder).recommender()
    built = rebuild(folder).recommender()
    assert read_json(folder / "towers/towers.json")["dim"] == 4
    for now in (live, built):
        pd.testing.assert_frame_equal(now.recommend(k=5), lists)
        named = now.recommend(["u0"], candidates=[NEW, 101])
        assert named["item_id"].tolist() == [NEW, 101], "u0 likes even items: dark space operas"
        assert NEW in now.similar(100, k=N_ITEMS + 1)["item_id"].tolist()
    indexes = [two_towers_of(now).index for now in (live, built)]
    beside, within = (vectors_of(index, np.arange(N_ITEMS + 1)) for index in indexes)
    assert np.allclose(beside[:-1], within[:-1], atol=0)
    assert np.allclose(beside[-1], within[-1], atol=0.02)
    assert isinstance(indexes[1].vectors, Packed)
    assert isinstance(two_towers_of(built).likeness, Packed)


def test_shares_of_a_cut_score_are_not_told() -> None:
    recommender = Bundle.load(bundle_of(*WORDS, "index.kind=annoy")).recommender()
    with pytest.raises(ConfigError, match=r"why: index\.dim = 4 serves cut vectors"):
        explain(recommender, "u0", 102)
