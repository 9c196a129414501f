"""Files of ids that users hand to ``recommend``: an unknown id is found by its place."""

from pathlib import Path

import numpy as np
import pytest

from recsys.data.ids import ItemIds, UserIds
from recsys.errors import DataError
from recsys.stages.wishes import read_exclusions, read_ids

USERS, ITEMS = UserIds.of(np.array([1, 2])), ItemIds.of(np.array(["a", "b"], dtype=object))


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("some.txt", "item_id\na\n\nx\ny\n", r"some\.txt: line 4: unknown item id 'x' and 1 more"),
        ("some.csv", "item_id,more\na,1\nx,2\n", r"some\.csv: line 3: unknown item id 'x'; known"),
        ("some.jsonl", '{"item_id": "x"}\n', r"some\.jsonl: line 1: unknown item id 'x'"),
    ],
)
def test_an_unknown_id_is_named_with_its_place(
    tmp_path: Path, name: str, text: str, place: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=place):
        read_ids(tmp_path / name, ITEMS, "item_id", "artikel")
    with pytest.raises(DataError, match=place):
        read_exclusions(
            tmp_path / name, USERS, ITEMS, user_names=("user_id",), item_names=("item_id",)
        )


def test_an_unknown_user_of_an_exclusion_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "block.csv"
    path.write_text("user_id,item_id\n1,a\n7,b\n")
    names = {"user_names": ("user_id",), "item_names": ("item_id",)}
    with pytest.raises(DataError, match=r"block\.csv: line 3: unknown user id '7'"):
        read_exclusions(path, USERS, ITEMS, **names)
    path.write_text("user_id,item_id\n1,a\n2,\n")
    with pytest.raises(DataError, match=r"line 3 is \['2', ''\], expected a user and an item"):
        read_exclusions(path, USERS, ITEMS, **names)
    path.write_text("user_id,item_id\n2,b\n1,a\n")
    nobody, blocked = read_exclusions(path, USERS, ITEMS, **names)
    assert blocked is not None
    assert (nobody, [blocked[0].tolist(), blocked[1].tolist()]) == ([], [[0], [1]])
