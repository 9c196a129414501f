"""The configuration: what it takes, what it refuses and in which words."""

import tomllib
from pathlib import Path

import pytest

from recsys.config_file import load_config, make_config, to_toml
from recsys.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = sorted((REPOSITORY / "pipelines" / "configs").glob("*.toml"))
LOG = {"data": {"interactions": "log.csv"}}


def test_paths_in_a_file_are_relative_to_it_and_words_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = tmp_path / "there" / "my.toml"
    config.write_text(
        'data_root = "real"\n[data]\ninteractions = ["a.csv", "{data_root}/b.csv"]\n'
        '[content.sound]\nvectors = "v.npy"\nids = "items"\n'
    )
    loaded = load_config(config, ["data.items=items.csv", "training.epochs=3", "data.user=kunde"])
    there = tmp_path / "there"
    assert loaded.data.interactions == (there / "a.csv", there / "real" / "b.csv")
    assert loaded.data.items == tmp_path / "here" / "items.csv"
    assert loaded.content["sound"].vectors == there / "v.npy"
    assert loaded.content["sound"].ids == "items"
    assert (loaded.training.epochs, loaded.data.user) == (3, "kunde")
    moved = load_config(config, ["data_root=elsewhere"])
    assert moved.data.interactions[1] == tmp_path / "here" / "elsewhere" / "b.csv"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training.epoch=3"], "training.epoch: unknown key; did you mean 'epochs'?"),
        (["contents.x=3"], "contents: unknown key; did you mean 'content'?"),
        (["content.text.colums=3"], "did you mean 'columns'?"),
        (["training.epochs=many"], "training.epochs = 'many': Input should be a valid integer"),
        (["training.epochs=0"], "greater than or equal to 1"),
        (["split.protocol=fortune"], "Input should be 'user-time'"),
        (["split.protocol=column"], "needs column = NAME"),
        (["split.protocol=files"], "needs train = FILE and test = FILE"),
        (["content.text.encoder=categories"], "needs columns"),
        (["content.text.columns=['a']"], "give either columns and encoder, or vectors"),
        (["epochs"], "expected key=value"),
        (["data.items={data_root}/x"], "needs the key data_root"),
        (["data.source=sequences", "data.interactions=[]"], "needs interactions"),
        (["data.interactions=[]"], "needs interactions = FILE or source = NAME"),
    ],
)
def test_what_does_not_fit_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_config(LOG, words, where="my.toml")
    assert message in str(error.value)


def test_every_fault_has_its_line() -> None:
    with pytest.raises(ConfigError) as error:
        make_config(LOG, ["training.epoch=3", "towers.dim=x"], where="my.toml")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("my.toml: ") for line in lines)


def test_a_missing_or_broken_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recsys init"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[data\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "broken.toml")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        load_config(tmp_path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_load_and_round_trip(path: Path) -> None:
    config = load_config(path)
    assert make_config(tomllib.loads(to_toml(config))) == config


def test_the_shipped_configs_are_those_promised() -> None:
    promised = {"demo", "ml-100k", "ml-100k-loo", "ml-100k-cold", "ml-1m-loo", "beauty-loo"}
    assert promised <= {path.stem for path in SHIPPED}


def test_a_misspelt_key_of_one_of_several_tables_is_told_its_name(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[data]\nsource = "synthetic"\n[[recommend.rules]]\nuser = "x"\nitems = "y"\n')
    with pytest.raises(ConfigError, match=r"rules\.0\.user: unknown key; did you mean 'users'"):
        load_config(path)
