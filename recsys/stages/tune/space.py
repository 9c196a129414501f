"""Which settings are tried: keys of [towers] and [training] with ranges or lists of values."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_args

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import BaseModel, ValidationError

from recsys.config import Config, HistoryEncoder, RangeConfig, TowersConfig, Values
from recsys.errors import ConfigError

__all__ = ["Space", "default_space"]

TABLES = ("towers", "training")  # nothing else bears upon the towers' score on validation

Params = dict[str, Any]  # as optuna keeps them: numbers, and labels of what was to choose from


def default_space(config: Config) -> dict[str, Values]:
    """The usual suspects; where values are listed, the config's own is among them."""
    towers, own = config.towers, list(config.towers.encoder)
    space: dict[str, Values] = {
        "towers.dim": tuple(sorted({32, 64, 128, 256, towers.dim})),
        "towers.encoder": _with([*get_args(HistoryEncoder)], own[0] if len(own) == 1 else own),
        "towers.history": tuple(sorted({20, 50, 100, towers.history})),
        "towers.temperature": RangeConfig(low=0.03, high=0.3, log=True),
        "towers.history_dropout": RangeConfig(low=0.0, high=0.5),
        "towers.item_dropout": RangeConfig(low=0.0, high=0.5),
        "training.learning_rate": RangeConfig(low=3e-4, high=3e-2, log=True),
    }
    if config.content:
        space["towers.fusion"] = get_args(TowersConfig.model_fields["fusion"].annotation)
    return space


def _with(values: list[Any], own: Any) -> tuple[Any, ...]:
    return (*values, *([] if own in values else [own]))


@dataclass(frozen=True)
class Space:
    """What is tried.

    Attributes:
        config: what stays as it is.
        values: key -> a range or a list of values.
        distributions: the same for optuna.
    """

    config: Config
    values: Mapping[str, Values]
    distributions: Mapping[str, BaseDistribution]

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take the config's space, or the usual one.

        Raises:
            ConfigError: a key is not one of [towers] or [training], or a value does not fit it.
        """
        values = config.tune.space or default_space(config)
        for key, wanted in values.items():
            section = _section(config, key)
            ends = (wanted.low, wanted.high) if isinstance(wanted, RangeConfig) else wanted
            for value in ends:
                _check(section, key, value)
        made = {key: _distribution(config, key, wanted) for key, wanted in values.items()}
        return cls(config, values, made)

    def own(self) -> Params | None:
        """The config's own setting, if it lies in the space."""
        own: Params = {}
        for key, values in self.values.items():
            table, _, name = key.partition(".")
            value = getattr(getattr(self.config, table), name)
            if isinstance(values, RangeConfig):
                if not values.low <= value <= values.high:
                    return None
                own[key] = value
            else:
                same = [one for one in values if _equal(one, value)]
                if not same:
                    return None
                own[key] = _label(same[0])
        return own

    def applied(self, params: Mapping[str, Any]) -> Config:
        """Return the config with the settings of a trial.

        Raises:
            ConfigError: they do not go together; one line says why.
        """
        tables = {name: getattr(self.config, name).model_dump() for name in TABLES}
        for key, value in self.plain(params).items():
            table, _, name = key.partition(".")
            tables[table][name] = value
        try:
            return Config.model_validate(self.config.model_dump() | tables)
        except ValidationError as error:
            why = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
            raise ConfigError(why) from None

    def plain(self, params: Mapping[str, Any]) -> Params:
        """Return a trial's values as the config writes them: lists, too, in place of labels."""
        labels = {
            key: {_label(one): one for one in values}
            for key, values in self.values.items()
            if not isinstance(values, RangeConfig)
        }
        return {key: labels[key][v] if key in labels else v for key, v in params.items()}


def _section(config: Config, key: str) -> BaseModel:
    table, dot, name = key.partition(".")
    known = [
        f"{one}.{field}" for one in TABLES for field in type(getattr(config, one)).model_fields
    ]
    if dot and key in known:
        section: BaseModel = getattr(config, table)
        return section
    near = difflib.get_close_matches(key, known, n=1)
    near = near or [one for one in known if one.partition(".")[2] == (name or key)]
    hint = f"did you mean {near[0]!r}?" if near else "expected a key of [towers] or [training]"
    raise ConfigError(f"tune.space: {key}: cannot be searched; {hint}")


def _check(section: BaseModel, key: str, value: Any) -> None:
    """Refuse what the key can never be; what it cannot be beside other values is found later."""
    name = key.partition(".")[2]
    whole = _is_whole(section, name) and isinstance(value, float) and value.is_integer()
    tried = section.model_dump() | {name: int(value) if whole else value}
    try:
        type(section).model_validate(tried)
    except ValidationError as error:
        for fault in error.errors():
            if fault["loc"]:  # else it is about several keys together
                raise ConfigError(f"tune.space: {key} = {value!r}: {fault['msg']}") from None


def _is_whole(section: BaseModel, name: str) -> bool:
    return type(section).model_fields[name].annotation is int


def _distribution(config: Config, key: str, values: Values) -> BaseDistribution:
    if not isinstance(values, RangeConfig):
        return CategoricalDistribution([_label(one) for one in values])
    section, name = _section(config, key), key.partition(".")[2]
    annotation = type(section).model_fields[name].annotation
    if annotation not in (int, float):
        raise ConfigError(f"tune.space: {key}: is no number; give a list of values")
    if annotation is int:
        step = values.step or 1.0
        if not step.is_integer():
            raise ConfigError(f"tune.space: {key}: step = {step:g}: expected a whole number")
        return IntDistribution(int(values.low), int(values.high), log=values.log, step=int(step))
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def _label(value: Any) -> Any:
    """What optuna can keep: a list becomes its json."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _equal(one: Any, own: Any) -> bool:
    """Whether a listed value is the config's own, which keeps a lone encoder as a tuple."""
    if isinstance(own, tuple):
        return (tuple(one) if isinstance(one, list | tuple) else (one,)) == own
    return bool(one == own)
