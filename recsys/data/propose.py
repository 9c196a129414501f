"""FILES -> CONFIG: a proposal by the names and the values of columns, with the reasons."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys.data.columns import Profile, called
from recsys.data.read import expand, read_table
from recsys.data.roles import (
    LOOK_AT,
    Choice,
    Link,
    LogRoles,
    Sheet,
    choose_log,
    choose_roles,
    link,
)
from recsys.data.sequences import looks_like_sequences
from recsys.errors import DataError

__all__ = ["Proposal", "propose"]

ENCODERS = {
    "text": "sbert:all-MiniLM-L6-v2",
    "image": "efficientnet-lite0",
    "sound": "log-mel",
}  # others are called as their content
KINDS = ("user", "item")
LOOKED_FOR = 20  # cells that name files


@dataclass(frozen=True)
class Proposal:
    """What a config could say about some files.

    Attributes:
        log: the files of the log.
        roles: its columns; None for a file of sequences.
        tables: "user" and "item" -> the file that describes them, and its key.
        content: "text", "categories", "numbers" -> the catalogue's columns for it; "image_NAME",
            "sound_NAME" -> the column NAME.
        good_from: 4 where the weights are ratings up to 5; None if they are none.
        reasons: a line for each choice.
    """

    log: tuple[Path, ...]
    roles: LogRoles | None
    tables: dict[str, tuple[Path, Link]]
    content: dict[str, tuple[str, ...]]
    good_from: float | None
    reasons: tuple[str, ...]

    def toml(self, relative_to: Path) -> str:
        """Render the config, paths relative to the folder that it will lie in."""

        def path(file: Path) -> str:
            return _quoted(os.path.relpath(file.resolve(), relative_to.resolve()))

        files = ", ".join(map(path, self.log))
        lines = [("interactions", files if len(self.log) == 1 else f"[{files}]", "")]
        if self.roles is None:
            lines.insert(0, ("source", _quoted("sequences"), "a user, then items, oldest first"))
        else:
            lines += self._columns(self.roles)
        for kind, (file, found) in self.tables.items():
            lines += [(f"{kind}s", path(file), found.key.why)]
            lines += [(f"{kind}_key", _quoted(found.key.column), "")]
        text = [
            "# Proposed by looking at the files; change what is wrong.",
            "[data]",
            *_table(lines),
        ]
        if self.roles is not None and self.roles.split is not None:
            column = ("column", _quoted(self.roles.split.column), "")
            text += ["", "[split]", *_table([("protocol", _quoted("column"), ""), column])]
        for name, columns in self.content.items():
            encoder = ENCODERS.get(name.partition("_")[0], name)
            named = ", ".join(map(_quoted, columns))
            pair = [("columns", f"[{named}]", ""), ("encoder", _quoted(encoder), "")]
            text += ["", f"[content.{name}]", *_table(pair)]
        return "\n".join(text) + "\n"

    def _columns(self, roles: LogRoles) -> list[tuple[str, str, str]]:
        named = [("user", roles.user), ("item", roles.item), ("time", roles.time)]
        lines = [(key, _quoted(c.column), c.why) for key, c in named if c is not None]
        if roles.weight is not None:
            lines.append(("weight", _quoted(roles.weight.column), roles.weight.why))
        if self.good_from is not None:
            lines.append(("# positive_from", f"{self.good_from:g}", "learn from good ratings only"))
        return lines


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a TOML string, for all that names can hold


def _table(lines: Sequence[tuple[str, str, str]]) -> list[str]:
    """Align ``key = value  # comment`` lines."""
    pairs = [f"{key} = {value}" for key, value, _ in lines]
    width = min(40, max(map(len, pairs)))
    comments = [f"  # {' '.join(comment.split())}" if comment else "" for *_, comment in lines]
    return [f"{p:{width}}{c}".rstrip() for p, c in zip(pairs, comments, strict=True)]


def propose(paths: Sequence[Path]) -> Proposal:
    """Look at a log, and if they are given the catalogue and the users' table, in any order.

    Files with the same columns are parts of one table.

    Raises:
        DataError: a file cannot be read, or users and items cannot be found in the log.
    """
    if not paths:
        raise DataError("no file given; name a log, and if you have them items and users")
    if len(paths) == 1 and looks_like_sequences(paths[0]):
        reason = f"{paths[0].name}: lines of different lengths, no header: a user, then items"
        return Proposal(tuple(paths), None, {}, {}, None, (reason,))
    groups = _grouped(paths)
    sheets = [sheet for _, sheet in groups]
    place, why = choose_log(sheets)
    files, sheet = groups[place]
    roles = choose_roles(sheet)
    size = f"{sheet.table.n_rows:,} rows"
    if sheet.table.n_rows > LOOK_AT:
        size += f", of which the first {LOOK_AT:,} were looked at"
    reasons = [f"{sheet.name} is the log: {why}; {size}"]
    chosen = [(key, getattr(roles, key)) for key in ("user", "item", "time", "weight", "split")]
    reasons += [f"{key} = {c.column!r}: {c.why}" for key, c in chosen if c is not None]
    reasons += [] if roles.time else ["time: no such column; the order of the rows is that in time"]
    used = {choice.column for _, choice in chosen if choice is not None}
    reasons += [f"{name!r} is not used" for name in sheet.profiles if name not in used]
    others = [group for n, group in enumerate(groups) if n != place]
    tables, more = _describing(sheet, roles, others)
    content: dict[str, tuple[str, ...]] = {}
    if "item" in tables:
        catalogue = next(s for fs, s in others if fs[0] == tables["item"][0])
        folder = tables["item"][0].parent
        content, about = _content(catalogue, tables["item"][1].key.column, folder)
        more += about
    good_from = _good_from(sheet, roles.weight)
    if good_from is not None and roles.weight is not None:
        more.append(
            f"{roles.weight.column!r} looks like ratings, and every row counts as positive; take "
            f"the # of positive_from = {good_from:g} away to learn from good ones only"
        )
    return Proposal(tuple(files), roles, tables, content, good_from, (*reasons, *more))


def _grouped(paths: Sequence[Path]) -> list[tuple[list[Path], Sheet]]:
    """Read the tables; files with the same columns are one."""
    groups: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        columns = read_table(expand([path])[0]).columns.column_names
        groups.setdefault(tuple(columns), []).append(path)
    return [(files, Sheet.of(read_table(expand(files)[0]))) for files in groups.values()]


def _describing(
    log: Sheet, roles: LogRoles, others: Sequence[tuple[list[Path], Sheet]]
) -> tuple[dict[str, tuple[Path, Link]], list[str]]:
    """Find the catalogue and the users' table: the best for each, and no table for both."""
    columns = {"user": roles.user.column, "item": roles.item.column}
    found = []
    for files, sheet in others:
        for kind in KINDS:
            made = link(sheet, log.ids(columns[kind]), kind, columns[kind])
            if made is not None:
                hints = called(sheet.name, kind) + called(made.key.column, kind)
                prose = kind == "item" and any(p.words > 2 for p in sheet.profiles.values())
                found.append((made.overlap + hints + 0.5 * prose, kind, files[0], made))
    tables: dict[str, tuple[Path, Link]] = {}
    for _, kind, file, made in sorted(found, key=lambda one: -one[0]):
        if kind not in tables and file not in [taken for taken, _ in tables.values()]:
            tables[kind] = (file, made)
    reasons = [
        f"{f.name} has the {k}s: {m.key.column!r} is {m.key.why}" for k, (f, m) in tables.items()
    ]
    unused = [files[0] for files, _ in others if files[0] not in [f for f, _ in tables.values()]]
    reasons += [
        f"{file.name} is not used: it has no key that the log's ids are in" for file in unused
    ]
    return tables, reasons


def _content(
    catalogue: Sheet, key: str, folder: Path
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Sort the columns of a catalogue by what can encode them; its files begin in a folder."""
    content: dict[str, list[str]] = {"text": [], "categories": [], "numbers": []}
    reasons = []
    for name, p in catalogue.profiles.items():
        if name != key:
            if p.files is None:
                kinds, why = _encoders_for(p)
            else:
                kinds, why = _files_in(name, p.files, catalogue, folder)
            for kind in kinds:
                content.setdefault(kind, []).append(name)
            reasons.append(
                f"{name!r} {'as ' + ' and '.join(kinds) if kinds else 'is not used'}: {why}"
            )
    return {kind: tuple(names) for kind, names in content.items() if names}, reasons


def _files_in(name: str, kind: str, sheet: Sheet, folder: Path) -> tuple[tuple[str, ...], str]:
    """What encodes a column of files, and why: if the first ones are where they should be."""
    if kind not in ENCODERS:
        return (), f"names of {kind}s"
    cells = [cell for cell in sheet.columns[name].slice(0, LOOKED_FOR).to_pylist() if cell]
    there = sum(_is_file(folder / str(cell).strip()) for cell in cells)
    found = f"{there} of the first {len(cells)} are there"
    table = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{kind}_{name}")  # what TOML takes as a bare key
    return ((table,), f"{kind}s, {found}") if there else ((), f"{kind}s, but {found}")


def _is_file(path: Path) -> bool:
    """Whether it is a file; what cannot be a path, such as one too long, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _encoders_for(p: Profile) -> tuple[tuple[str, ...], str]:
    """What encodes a column, and why: the first of these that holds."""
    alike = p.distinct > 0.9 * p.n  # nearly every item has its own
    rules: tuple[tuple[bool, tuple[str, ...], str], ...] = (
        (p.distinct < 2, (), "the same everywhere" if p.n else "empty"),
        (p.moments is not None and not p.numeric, (), "times"),
        (p.whole and alike, (), "numbers that look like ids"),
        (p.numeric, ("numbers",), f"{p.low:g} to {p.high:g}"),
        (p.several, ("text", "categories"), "several values in a cell"),
        (p.distinct <= 0.2 * p.n and p.words < 4, ("categories",), f"{p.distinct:,} different"),
        (p.words < 1.2 and alike, (), "words that look like ids"),
        (True, ("text",), f"{p.words:.0f} words on average, {p.distinct:,} different"),
    )
    return next((encoders, why) for holds, encoders, why in rules if holds)


def _good_from(log: Sheet, weight: Choice | None) -> float | None:
    """From where on a rating is good, on a scale that ends at 5 or 10; None for other weights."""
    if weight is None:
        return None
    p = log.profiles[weight.column]
    is_rating = p.distinct <= 20 and 0 <= p.low <= 1 and p.high in (5, 10)
    return 0.8 * p.high if is_rating else None
