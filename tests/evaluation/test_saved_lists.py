"""Lists that are read again: what was written comes back, and each planted fault is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.data.ids import ItemIds, UserIds
from recsys.errors import ArtifactError
from recsys.evaluation.saved_lists import read_list, read_rankings

USERS, ITEMS = UserIds(np.array(["a", "b", "c"], dtype=object)), ItemIds(np.arange(9) + 500)


def rows() -> pd.DataFrame:
    """Of c there is no list, that of b is shorter; in no order."""
    of = {"user_id": list("ababa"), "rank": [1, 2, 3, 1, 2], "item_id": [504, 501, 506, 500, 503]}
    return pd.DataFrame(of)


def test_lists_come_back_best_first(tmp_path: Path) -> None:
    rows().to_parquet(tmp_path / "ease-seed-7.parquet")
    read = read_rankings(tmp_path, USERS, ITEMS, 4, longest=3)
    assert list(read) == ["ease"] and list(read["ease"]) == [7]
    assert read["ease"][7].tolist() == [[4, 3, 6, -1], [0, 1, -1, -1], [-1] * 4]
    path = tmp_path / "ease-seed-7.parquet"
    assert read_list(path, UserIds(np.array(["b"], dtype=object)), ITEMS, 1).tolist() == [[0]]


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("item_id", [504, 501, 506, 777, 503], "1 rows of items that the data do not know"),
        ("item_id", [504, 501, 504, 500, 503], "the list of user a has an item twice"),
        ("rank", [1, 2, 3, 0, 2], "ranks of user b are not 1 to the length"),
        ("rank", [1, 2, 4, 1, 2], "ranks of user a are not 1 to the length"),
        ("rank", [1, 2, 2, 1, 2], "ranks of user a are not 1 to the length"),
        ("rank", [1.5, 2, 3, 1, 2], "ranks of type float64"),
        ("user_id", list("ababb"), "ranks of user a are not 1 to"),
        ("user_id", None, r"lacks the columns \['user_id'\]"),
    ],
)
def test_broken_lists_are_refused(
    tmp_path: Path, column: str, values: list[object] | None, why: str
) -> None:
    path = tmp_path / "x.parquet"
    table = rows().drop(columns=column)
    if values is not None:
        table[column] = pd.Series(values)
    table.to_parquet(path)
    with pytest.raises(ArtifactError, match=f"x.parquet: {why}.*evaluate again"):
        read_list(path, USERS, ITEMS, 4)


def test_lists_shorter_than_what_was_measured_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows().to_parquet(path)
    with pytest.raises(ArtifactError, match="no list is longer than 3, expected 4; evaluate again"):
        read_list(path, USERS, ITEMS, 4, longest=4)
    rows().iloc[:0].to_parquet(path)
    assert (read_list(path, USERS, ITEMS, 4) == -1).all()
