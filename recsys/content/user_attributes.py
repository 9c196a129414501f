"""What is known of users as vectors: one block of numbers per ``[users.NAME]`` table.

Unlike the catalogue's encoders these are kept with the run, so that somebody who comes later, of
whom only the attributes are known, is encoded as the users of the training were.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import AttributeConfig
from recsys.content.categories import CategoryEncoder
from recsys.content.columns import delimiters_of, labels, number_rows
from recsys.content.encoder import ContentBlock
from recsys.content.numeric import NumberEncoder, NumberScale
from recsys.content.saved import load_blocks, save_blocks
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import read_json, write_json

__all__ = ["UserAttributes", "load_user_blocks", "save_users"]

FOLDER, ABOUT = "users", "attributes.json"  # below the folder of the items' content


@dataclass(frozen=True, eq=False)
class _Table:
    """One ``[users.NAME]``: columns and the encoder that was fitted on the training users.

    Attributes:
        name: of the block.
        columns: of the users' file, in this order.
        delimiters: what the cells of each are delimited by; empty for numbers.
        encoder: fitted.
    """

    name: str
    columns: tuple[str, ...]
    delimiters: tuple[str | None, ...]
    encoder: CategoryEncoder | NumberEncoder

    @classmethod
    def fit(
        cls, name: str, config: AttributeConfig, users: pd.DataFrame, training: NDArray[np.bool_]
    ) -> Self:
        columns = users[list(config.columns)]
        rows = np.flatnonzero(training).tolist()
        try:
            if config.encoder == "numbers":
                numbers = number_rows(columns)
                fitted = NumberEncoder.fit([numbers[row] for row in rows])
                return cls(name, config.columns, (), fitted)
            delimiters = delimiters_of(columns.iloc[rows])
            carried = labels(columns, delimiters)
            vocabulary = CategoryEncoder.fit([carried[row] for row in rows])
        except DataError as error:
            raise DataError(f"[users.{name}]: {error}") from None
        return cls(name, config.columns, delimiters, vocabulary)

    def block(self, users: pd.DataFrame) -> ContentBlock:
        """Encode the columns of users, ``(n_users, dim)``."""
        columns = users[list(self.columns)]
        if isinstance(self.encoder, NumberEncoder):
            encoded = self.encoder.encode(number_rows(columns))
        else:
            encoded = self.encoder.encode(labels(columns, self.delimiters))
        return ContentBlock(self.name, encoded.vectors, encoded.present)

    def to_json(self) -> dict[str, Any]:
        about: dict[str, Any] = {"name": self.name, "columns": list(self.columns)}
        if isinstance(self.encoder, CategoryEncoder):
            vocabulary = list(self.encoder.vocabulary)
            return about | {"delimiters": list(self.delimiters), "vocabulary": vocabulary}
        scales = [
            {
                "mean": scale.mean,
                "deviation": scale.deviation,
                "values": scale.values.tolist(),
                "ranks": scale.ranks.tolist(),
            }
            for scale in self.encoder.scales
        ]
        return about | {"scales": scales}

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> Self:
        name, columns = about["name"], tuple(about["columns"])
        if "vocabulary" in about:
            vocabulary = CategoryEncoder(tuple(about["vocabulary"]))
            return cls(name, columns, tuple(about["delimiters"]), vocabulary)
        scales = tuple(
            NumberScale(s["mean"], s["deviation"], np.array(s["values"]), np.array(s["ranks"]))
            for s in about["scales"]
        )
        return cls(name, columns, (), NumberEncoder(scales))


@dataclass(frozen=True, eq=False)
class UserAttributes:
    """How attributes of users become blocks; of users on record and of people who come later."""

    tables: tuple[_Table, ...] = ()

    @classmethod
    def fit(
        cls,
        configs: Mapping[str, AttributeConfig],
        users: pd.DataFrame,
        training: NDArray[np.bool_],
    ) -> Self:
        """Fit vocabularies and scales.

        Args:
            configs: the ``[users.NAME]`` tables.
            users: attributes of users in user-number order (``Dataset.users``).
            training: users with training rows, bool ``(n_users,)``: nobody else is looked at.

        Raises:
            ConfigError: a name or column is not usable.
            DataError: the columns hold nothing that such an encoder reads or can be fitted on.
        """
        for name, config in configs.items():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ConfigError(f"[users.{name}]: name it by letters, digits, _ and -")
            lacking = [column for column in config.columns if column not in users.columns]
            if lacking:
                has = ", ".join(map(str, users.columns)) or "none (is there data.users = FILE?)"
                raise ConfigError(
                    f"[users.{name}]: users have no column {lacking[0]!r}; their columns: {has}"
                )
        pairs = configs.items()
        return cls(tuple(_Table.fit(name, config, users, training) for name, config in pairs))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, each once."""
        return tuple(dict.fromkeys(column for table in self.tables for column in table.columns))

    def blocks(self, users: pd.DataFrame) -> tuple[ContentBlock, ...]:
        """Encode users, one row each: a block ``(n_users, dim)`` a table."""
        return tuple(table.block(users) for table in self.tables)

    def of_one(self, attributes: Mapping[str, Any]) -> tuple[ContentBlock, ...]:
        """Encode somebody who is in no file, such as ``{"age": 30}``: blocks of one row.

        Columns that are not named are missing; so is a label that no training user carries.

        Raises:
            ConfigError: a column is not read by any table, or there is no table.
            DataError: a number is none.
        """
        unknown = [column for column in attributes if column not in self.columns]
        if unknown or not self.tables:
            reads = ", ".join(self.columns) or "none (is there a [users.NAME] in the config?)"
            raise ConfigError(
                f"attributes: {', '.join(unknown) or 'given'}, but the towers read: {reads}"
            )
        cells = {column: [attributes.get(column)] for column in self.columns}
        try:
            return self.blocks(pd.DataFrame(cells, dtype=object))
        except DataError as error:
            raise DataError(f"attributes: {error}") from None

    def save(self, folder: Path) -> None:
        """Write ``attributes.json`` into an existing folder."""
        write_json(folder / ABOUT, [table.to_json() for table in self.tables])

    @classmethod
    def load(cls, content: Path) -> Self:
        """Read what `save_users` wrote below the folder of the items' content; none: no tables.

        Raises:
            ArtifactError: the file is damaged.
        """
        path = content / FOLDER / ABOUT
        if not path.exists():
            return cls()
        try:
            return cls(tuple(map(_Table.from_json, read_json(path))))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: is damaged ({error!r}); run embed again") from None


def save_users(attributes: UserAttributes, blocks: Sequence[ContentBlock], content: Path) -> None:
    """Write encoders and blocks of users below the folder of the items' content, if any."""
    if blocks:
        save_blocks(blocks, content / FOLDER)
        attributes.save(content / FOLDER)


def load_user_blocks(content: Path) -> tuple[ContentBlock, ...]:
    """Read the blocks that `save_users` wrote; ``()`` where there are none.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    return load_blocks(content / FOLDER) if (content / FOLDER).is_dir() else ()
