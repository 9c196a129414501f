"""The tables [data] and [split]: what is learnt from."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from recsys.config.section import Section

__all__ = ["DataConfig", "Protocol", "Source", "SplitConfig", "SyntheticConfig"]

Source = Literal["movielens-small", "movielens-100k", "synthetic", "sequences"]
Protocol = Literal[
    "user-time",
    "leave-last-out",
    "global-time",
    "random",
    "cold-items",
    "cold-users",
    "column",
    "files",
]


class SyntheticConfig(Section):
    """The seeded generator of ``source = "synthetic"``."""

    users: int = Field(default=400, ge=2)
    items: int = Field(default=300, ge=2)
    per_user: int = Field(
        default=20, ge=2
    )  # interactions of each user, at most a third of the items
    tastes: int = Field(default=8, ge=2)  # width of the latent taste of users and items
    carrier: Literal["text", "image", "sound"] = "text"  # shows all but two of the tastes
    noise: float = Field(
        default=0.1, ge=0
    )  # standard deviation of what no content shows, tastes have 1
    seed: int = Field(default=0, ge=0, lt=2**31)


class DataConfig(Section):
    """The log, the catalogue and the users, and what their columns are called."""

    source: Source | None = None
    interactions: tuple[Path, ...] = ()  # files, or one folder (parts in name order)
    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None  # absent: row order is time order
    weight: str | None = None
    positive_from: float | None = None  # absent: every row is positive
    delimiter: str | None = None  # absent: detected among , ; tab |
    storage: Literal["auto", "memory", "disk"] = "auto"  # of the prepared log; "disk": it may be
    # larger than memory (parquet only); auto: so from 20 million rows of parquet on
    duplicates: Literal["last", "first", "sum"] = "last"  # of one user and item, which row stays
    user_core: int = Field(
        default=1, ge=1
    )  # drop users with fewer rows, items likewise, until none is
    item_core: int = Field(default=1, ge=1)
    items: Path | None = None
    item_key: str | None = None  # absent: as ``item``
    users: Path | None = None
    user_key: str | None = None
    path: Path | None = None  # of a built-in source: its folder or zip
    synthetic: SyntheticConfig = SyntheticConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_file_or_many(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("interactions"), str | Path):
            return {**values, "interactions": (values["interactions"],)}
        return values

    @model_validator(mode="after")
    def _has_a_log(self) -> "DataConfig":
        if self.source == "sequences" and not self.interactions:
            raise ValueError('source = "sequences" needs interactions = FILE')
        if self.source not in (None, "sequences") and self.interactions:
            raise ValueError(f'give either source = "{self.source}" or interactions, not both')
        return self


class SplitConfig(Section):
    """Which part of the log is learnt from, which chooses, which tests."""

    protocol: Protocol = "user-time"
    test_fraction: float = Field(default=0.2, gt=0, lt=1)  # of a user's rows, all rows, or items
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)  # of each user's training rows
    seed: int = Field(default=0, ge=0, lt=2**31)  # of random, cold-items, cold-users
    column: str | None = None  # of the log, with protocol = "column"
    train: Path | None = None  # with protocol = "files"
    validation: Path | None = None
    test: Path | None = None
    folds: int = Field(default=1, ge=1)  # windows that the test part of global-time is cut into
    fold: int = Field(default=1, ge=1)  # which of them tests; rows behind it are not used
    refit: bool = True  # train again on train + validation for the chosen number of epochs

    @model_validator(mode="after")
    def _complete(self) -> "SplitConfig":
        if self.protocol == "column" and self.column is None:
            raise ValueError('protocol = "column" needs column = NAME')
        if self.protocol == "files" and (self.train is None or self.test is None):
            raise ValueError('protocol = "files" needs train = FILE and test = FILE')
        if self.folds > 1 and self.protocol != "global-time":
            raise ValueError(f'folds = {self.folds} needs protocol = "global-time"')
        if self.fold > self.folds:
            raise ValueError(f"fold = {self.fold}: there are {self.folds} folds")
        return self
