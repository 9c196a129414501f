"""A TOML file and ``key=value`` words into a ``Config``, and back.

Relative paths in a file are relative to that file; paths given as ``key=value`` on the command line
are relative to where the command runs. ``{data_root}`` in a path stands for the key ``data_root``.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from recsys.config import AttributeConfig, Config, ContentConfig
from recsys.errors import ConfigError

__all__ = ["load_config", "make_config", "to_toml"]

PATHS = {
    "data": ("interactions", "items", "users", "path"),
    "split": ("train", "validation", "test"),
    "training": ("teacher", "teacher_refit"),
    "update": ("start",),
}
NAMED: dict[str, type[BaseModel]] = {"content": ContentConfig, "users": AttributeConfig}
LONGEST = 80  # characters of a value that a message shows
NOT_FILES = ("items", "row")  # what [content.NAME] ids may say instead of a file's name


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration; ``overrides`` are words such as ``"training.epochs=3"``.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value does not fit.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `recsys init FILE...` writes a config") from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not a TOML file ({error})") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None
    return make_config(raw, overrides, base=path.parent, where=str(path))


def make_config(
    raw: dict[str, Any],
    overrides: Sequence[str] = (),
    *,
    base: Path | None = None,
    where: str = "config",
) -> Config:
    """Check raw tables into a ``Config``.

    Args:
        raw: what a TOML file holds.
        overrides: ``"section.key=value"`` words; a value is TOML, or else text.
        base: what relative paths in ``raw`` are relative to.
        where: named in messages.

    Raises:
        ConfigError: a key is unknown or a value does not fit; every fault is listed.
    """
    tables = _resolve_paths(raw, base or Path())
    for word in overrides:
        tables = _merge(tables, _resolve_paths(_parse_override(word), Path()))
    tables = _fill_data_root(tables)
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(where, fault) for fault in error.errors())) from None


def to_toml(config: Config) -> str:
    """Render a config as TOML that reads back as the same config (paths made absolute)."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _parse_override(word: str) -> dict[str, Any]:
    key, equals, value = word.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{word!r}: expected key=value, such as training.epochs=3")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # bare text needs no quotes on the command line
    nested: Any = parsed
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    tables: dict[str, Any] = nested
    return tables


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _resolve_paths(tables: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a raw config absolute; other values stay."""

    def absolute(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [absolute(one) for one in value]
        if not isinstance(value, str | Path) or str(value).startswith("{data_root}"):
            return value
        return str((base / Path(value).expanduser()).resolve())

    resolved = dict(tables)
    if "data_root" in resolved:
        resolved["data_root"] = absolute(resolved["data_root"])
    for section, keys in PATHS.items():
        table = resolved.get(section)
        if isinstance(table, dict):
            resolved[section] = {k: absolute(v) if k in keys else v for k, v in table.items()}
    content = resolved.get("content")
    if isinstance(content, dict):
        resolved["content"] = {
            name: {
                key: _with_model_path(value, base)
                if key == "encoder"
                else absolute(value)
                if _is_path(key, value, table)
                else value
                for key, value in table.items()
            }
            if isinstance(table, dict)
            else table
            for name, table in content.items()
        }
    return resolved


def _is_path(key: str, value: Any, table: dict[str, Any]) -> bool:
    """Whether a value of a [content.NAME] table names a file; a parquet's ids are a column."""
    if key == "ids":
        of_parquet = str(table.get("vectors", "")).endswith((".parquet", ".pq"))
        return value not in NOT_FILES and not of_parquet
    return key in ("vectors", "folder")


def _with_model_path(encoder: Any, base: Path) -> Any:
    """``"bert:./model"`` with the path made absolute.

    What does not begin like a path, and is no file beside the config, is a name.
    """
    family, colon, model = str(encoder).partition(":")
    if not isinstance(encoder, str) or not model:
        return encoder
    path = (base / Path(model).expanduser()).resolve()
    is_path = model.startswith(("./", "../", "~")) or path.is_file()
    return f"{family}{colon}{path}" if is_path else encoder


def _fill_data_root(tables: dict[str, Any]) -> dict[str, Any]:
    root = tables.get("data_root")

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [fill(one) for one in value]
        if isinstance(value, str) and "{data_root}" in value:
            if root is None:
                raise ConfigError(f"{value!r} needs the key data_root = FOLDER")
            return value.replace("{data_root}", str(root))
        return value

    filled: dict[str, Any] = fill(tables)
    return filled


def _explain(where: str, fault: Any) -> str:
    """One line for one fault of pydantic's, with the nearest known key for an unknown one."""
    place = [str(part) for part in fault["loc"]]
    name = ".".join(place) or "config"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _keys_at(place[:-1]), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {_keys_at(place[:-1])}"
        return f"{where}: {name}: unknown key{hint}"
    if fault["type"] == "missing":
        return f"{where}: {name}: is missing"
    message = fault["msg"].removeprefix("Value error, ")
    given = repr(fault["input"])
    if len(given) > LONGEST:  # a table: its message names the keys
        return f"{where}: {message}" if not place else f"{where}: {name}: {message}"
    return f"{where}: {name} = {given}: {message}"


def _keys_at(place: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in place:
        if model is Config and part in NAMED:
            return sorted(NAMED[part].model_fields) if len(place) > 1 else []
        if part.isdigit():  # one of several tables of the same kind
            continue
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)
