"""The table [tune]: how many settings are tried, and which."""

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from recsys.config.section import Section

__all__ = ["Choices", "RangeConfig", "TuneConfig", "Values"]

Choices = tuple[Any, ...]


class RangeConfig(Section):
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False  # equally many trials from 0.001 to 0.01 as from 0.01 to 0.1
    step: float | None = Field(default=None, gt=0)  # absent: 1 for whole numbers, else any number

    @model_validator(mode="after")
    def _is_a_range(self) -> "RangeConfig":
        if not (math.isfinite(self.low) and self.low < self.high < math.inf):
            raise ValueError(f"low = {self.low:g} has to be below high = {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log = true needs a low above 0, got {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log = true goes without a step")
        return self


def _kind(value: Any) -> str:
    return "range" if isinstance(value, dict | RangeConfig) else "values"


Values = Annotated[
    Annotated[RangeConfig, Tag("range")] | Annotated[Choices, Tag("values")], Discriminator(_kind)
]


class TuneConfig(Section):
    """What ``recsys tune`` tries."""

    trials: int = Field(default=40, ge=1)  # in all, those of earlier calls and pruned ones included
    timeout: float | None = Field(default=None, gt=0)  # seconds after which no trial is begun
    processes: int = Field(default=1, ge=1)  # that try settings side by side and share the cores
    startup: int = Field(default=10, ge=1)  # trials drawn at random first, of which none is pruned
    pruner: Literal["median", "hyperband", "none"] = "median"
    warmup: int = Field(default=10, ge=0)  # epochs of a trial before it may be pruned (median)
    space: dict[str, Values] = Field(default_factory=dict)  # key of [towers] or [training] -> a
    # range or a list of values; empty: the usual suspects, among them the config's own values

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: Any) -> Any:
        """Take ``training.learning_rate = {...}`` without quotes too, which TOML reads as tables.

        Raises:
            ValueError: a value is neither a range nor a list of two values or more.
        """
        return _flatten(space, "") if isinstance(space, dict) else space


def _flatten(tables: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = prefix + key
        if isinstance(value, dict) and not value.keys() & RangeConfig.model_fields.keys():
            flat |= _flatten(value, f"{name}.")
        elif isinstance(value, list | tuple) and len(value) < 2:
            raise ValueError(f"{name} = {list(value)}: expected two values or more")
        elif not isinstance(value, dict | list | tuple | RangeConfig):
            raise ValueError(f"{name} = {value!r}: expected {{low, high, log}} or a list of values")
        elif isinstance(value, dict) and value.keys() - RangeConfig.model_fields.keys():
            known = list(RangeConfig.model_fields)
            raise ValueError(f"{name} = {value}: expected some of the keys {known}")
        else:
            flat[name] = value
    return flat
