"""Users' attributes as vectors: fitted on training users, the same for people who come later."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.config import AttributeConfig
from recsys.content.user_attributes import UserAttributes, load_user_blocks, save_users
from recsys.errors import ArtifactError, ConfigError, DataError

USERS = pd.DataFrame(
    {
        "age": [20.0, 30.0, 40.0, np.nan, 99.0, 20.0],
        "job": ["writer", "nurse", "writer", None, "pilot", "nurse"],
        "likes": ["a|b", "b", "a", "a|b", "c", "b|a"],
    }
)
TRAINING = np.array([True, True, True, True, False, True])
CONFIGS = {
    "person": AttributeConfig(columns=("job", "likes"), encoder="categories"),
    "age": AttributeConfig(columns=("age",), encoder="numbers"),
}


@pytest.fixture
def attributes() -> UserAttributes:
    return UserAttributes.fit(CONFIGS, USERS, TRAINING)


def test_a_label_is_a_column_and_only_training_users_make_them(attributes: UserAttributes) -> None:
    person, age = attributes.blocks(USERS)
    assert (person.name, age.name) == ("person", "age")
    assert person.dim == 4  # writer, nurse, a, b: the pilot and c are not in training
    assert person.present.tolist() == [True, True, True, True, False, True]
    np.testing.assert_array_equal(person.vectors[4], np.zeros(4))
    np.testing.assert_allclose(np.linalg.norm(person.vectors[person.present], axis=1), 1, rtol=1e-6)
    assert age.present.tolist() == [True, True, True, False, True, True]


def test_an_age_beyond_all_training_users_changes_no_other(attributes: UserAttributes) -> None:
    others = USERS.assign(age=USERS["age"].replace(99.0, 1e6))
    again = UserAttributes.fit(CONFIGS, others, TRAINING)
    ours, theirs = attributes.blocks(USERS)[1], again.blocks(others)[1]
    np.testing.assert_array_equal(ours.vectors[TRAINING], theirs.vectors[TRAINING])


def test_cells_of_others_do_not_say_how_training_cells_are_cut() -> None:
    jobs = pd.DataFrame({"job": ["cook, cold"] * 2 + ["nurse"] * 58 + ["a, b"] * 40})
    training = np.arange(100) < 60
    config = {"job": AttributeConfig(columns=("job",), encoder="categories")}
    (block,) = UserAttributes.fit(config, jobs, training).blocks(jobs)
    assert block.dim == 2, "two cooks in sixty: their comma is no delimiter"


@pytest.mark.parametrize("row", range(len(USERS)))
def test_somebody_new_is_encoded_like_a_user_on_record(
    attributes: UserAttributes, row: int
) -> None:
    cells = USERS.iloc[row]
    told = {name: cells[name] for name in USERS.columns if not pd.isna(cells[name])}
    for alone, block in zip(attributes.of_one(told), attributes.blocks(USERS), strict=True):
        np.testing.assert_allclose(alone.vectors[0], block.vectors[row], atol=1e-6)
        assert alone.present.tolist() == [block.present[row]]


def test_a_label_with_a_comma_stays_one_where_the_users_file_has_none() -> None:
    users = pd.DataFrame({"job": ["sales, north", *["writer"] * 40, "sales, north"]})
    config = {"job": AttributeConfig(columns=("job",), encoder="categories")}
    attributes = UserAttributes.fit(config, users, np.ones(len(users), dtype=np.bool_))
    (alone,) = attributes.of_one({"job": "sales, north"})
    np.testing.assert_array_equal(alone.vectors[0], attributes.blocks(users)[0].vectors[0])
    assert alone.present.all()


def test_numbers_may_come_as_text_and_nonsense_is_refused(attributes: UserAttributes) -> None:
    np.testing.assert_array_equal(
        attributes.of_one({"age": "30"})[1].vectors, attributes.of_one({"age": 30})[1].vectors
    )
    with pytest.raises(DataError, match="'old'"):
        attributes.of_one({"age": "old"})
    with pytest.raises(ConfigError, match="agee, but the towers read: job, likes, age"):
        attributes.of_one({"agee": 30})
    with pytest.raises(ConfigError, match="is there a"):
        UserAttributes().of_one({"age": 30})


def test_what_is_saved_reads_the_same(attributes: UserAttributes, tmp_path: Path) -> None:
    blocks = attributes.blocks(USERS)
    save_users(attributes, blocks, tmp_path)
    for loaded, block in zip(load_user_blocks(tmp_path), blocks, strict=True):
        np.testing.assert_array_equal(loaded.vectors, block.vectors)
    again = UserAttributes.load(tmp_path).of_one({"age": 25, "job": "nurse", "likes": "a|b"})
    first = attributes.of_one({"age": 25, "job": "nurse", "likes": "a|b"})
    for one, other in zip(again, first, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)
    (tmp_path / "users" / "attributes.json").write_text('[{"name": "age"}]')
    with pytest.raises(ArtifactError, match="run embed again"):
        UserAttributes.load(tmp_path)


def test_without_attributes_nothing_is_written(tmp_path: Path) -> None:
    save_users(UserAttributes(), (), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert load_user_blocks(tmp_path) == ()
    assert UserAttributes.load(tmp_path).tables == ()


def test_what_cannot_be_is_said_in_the_table_s_name() -> None:
    everybody = np.ones(len(USERS), dtype=np.bool_)
    for table, fault in (
        ({"x": AttributeConfig(columns=("city",), encoder="categories")}, r"\[users.x\].*'city'"),
        ({"x": AttributeConfig(columns=("job",), encoder="numbers")}, r"\[users.x\].*'writer'"),
        ({"x/y": AttributeConfig(columns=("job",), encoder="categories")}, "name it by"),
    ):
        with pytest.raises((ConfigError, DataError), match=fault):
            UserAttributes.fit(table, USERS, everybody)
