"""The space of a search: what is refused, and what becomes of it."""

from typing import Any

import optuna
import pytest

from recsys.config import Config
from recsys.config_file import make_config
from recsys.errors import ConfigError
from recsys.stages.tune.space import Space


def in_space(**space: Any) -> Config:
    names = {key.replace("__", "."): value for key, value in space.items()}
    return make_config({"data": {"source": "synthetic"}, "tune": {"space": names}})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"towers__dimm": [8, 16]}, "did you mean 'towers.dim'"),
        ({"learning_rate": [0.1, 0.2]}, "did you mean 'training.learning_rate'"),
        ({"index__trees": [8, 16]}, r"index.trees: cannot be searched"),
        ({"towers__fusion": ["sum", "summ"]}, "towers.fusion = 'summ'"),
        ({"towers__dim": [8, 1]}, "towers.dim = 1: .*greater than or equal to 2"),
        ({"training__learning_rate": {"low": 0, "high": 1}}, "learning_rate = 0.0"),
        ({"towers__fusion": {"low": 0, "high": 1}}, "towers.fusion"),
        ({"towers__dim": {"low": 8, "high": 16, "step": 0.5}}, "step = 0.5: expected a whole"),
        ({"towers__dim": {"low": 8, "high": 16, "step": 2.5}}, "step = 2.5: expected a whole"),
    ],
)
def test_a_space_that_cannot_be_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Space.of(in_space(**space))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([8], "two values or more"),
        (8, "expected {low, high, log}"),
        ({"low": 4, "heigh": 8}, "some of the keys"),
        ({"low": 8, "high": 4}, "low = 8 has to be below high = 4"),
        ({"low": 0, "high": 4, "log": True}, "log = true needs a low above 0"),
    ],
)
def test_values_that_cannot_be_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        in_space(towers__dim=values)


def test_the_usual_space_holds_the_configs_own_setting() -> None:
    raw = {"dim": 48, "members": 2, "encoder": ["means", "gru"], "history": 30}
    config = make_config({"data": {"source": "synthetic"}, "towers": raw})
    space = Space.of(config)
    own = space.own()
    assert own is not None
    assert space.applied(own) == config
    assert "towers.fusion" not in space.values, "nothing to fuse without content"
    assert Space.of(in_space(towers__dim=[4, 8])).own() is None, "128 is not among 4 and 8"


def test_settings_become_the_config() -> None:
    space = Space.of(
        in_space(towers__encoder=["gru", ["means", "gru"]], towers__history={"low": 5, "high": 9})
    )
    study = optuna.create_study()
    for _ in range(4):
        params = study.ask(dict(space.distributions)).params
        towers = space.applied(params).towers
        assert list(towers.encoder) in (["gru"], ["means", "gru"])
        assert towers.history in range(5, 10)
        assert type(towers.history) is int
