"""Conditions over a table, such as ``in_stock and price < 20 and 'Drama' in genres``.

They are written in a small part of Python and read with its parser, but never run as Python: only
columns, constants, comparisons, ``in``, ``is None``, ``and``, ``or`` and ``not`` are known here, so
that they may come from anybody.

What is not known is neither true nor false (Kleene's logic, as SQL's): ``age_rating != 'R'`` and
``not age_rating == 'R'`` both leave out an item without a rating; ``age_rating is None or ...``
lets it in.
"""

import ast
import operator
import re
from dataclasses import dataclass
from textwrap import shorten
from typing import Self

from recsys.errors import ConfigError
from recsys.recommenders.cells import Bools, Cells
from recsys.recommenders.conditions import (
    Compared,
    Condition,
    Constant,
    all_of,
    any_of,
    carries,
    compared_with,
    flag,
    missing,
    negated,
    one_of,
)

__all__ = ["LONGEST", "Expression"]

LONGEST = 1_000  # letters
DEEPEST = 20  # conditions within conditions
MOST = 50  # conditions; each looks at all rows

COMPARED: dict[type[ast.cmpop], Compared] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
MIRRORED: dict[Compared, Compared] = {
    operator.lt: operator.gt,
    operator.le: operator.ge,
    operator.gt: operator.lt,
    operator.ge: operator.le,
    operator.eq: operator.eq,
    operator.ne: operator.ne,
}
QUOTED = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`([^`]*)`|(#)""")
STAND_IN = "\u01c2"  # begins the name that stands for a column in backticks: a letter of no column


@dataclass(frozen=True)
class Expression:
    """A condition that was read and found to be one.

    Attributes:
        text: as it was written.
        columns: that it asks for, each once.
    """

    text: str
    columns: tuple[str, ...]
    _condition: Condition

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a condition.

        Raises:
            ConfigError: it is too long, or not one; the message says what is wrong where.
        """
        if len(text) > LONGEST:
            raise ConfigError(f"{len(text):,} letters long; at most {LONGEST:,} are read")
        try:
            source, names = _stand_ins(re.sub(r"\s", " ", text).strip())
            reader = _Reader(source, names)
            condition = reader.read(_tree(source), DEEPEST)
        except ConfigError as error:
            raise ConfigError(f"{_short(text)}: {error}") from None
        return cls(text, tuple(dict.fromkeys(reader.columns)), condition)

    def holds(self, cells: Cells) -> Bools:
        """Where it holds, bool ``(n,)``; where that is not known, it does not.

        Raises:
            ConfigError: the table has no such column, or the comparison cannot be made.
        """
        try:
            return self._condition(cells).yes
        except ConfigError as error:
            raise ConfigError(f"{_short(self.text)}: {error}") from None


def _stand_ins(text: str) -> tuple[str, dict[str, str]]:
    """Put a plain name for each column in backticks; name -> column. Places stay as they are."""
    names: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        if match[3] is not None:  # Python's parser would leave out all that follows
            raise ConfigError("# outside of quotes is not understood; there are no comments")
        if match[2] is None:
            return match[1]  # a text; backticks in it are its own
        name = f"{STAND_IN}{len(names)}".ljust(len(match[0]), "_")
        names[name] = match[2]
        return name

    return QUOTED.sub(stand_in, text), names


def _tree(source: str) -> ast.expr:
    try:
        return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        place = f"cannot be read at letter {error.offset or len(source)} ({error.msg})"
        raise ConfigError(
            f"{place}; expected such as price < 20 and 'Drama' in genres, with names of several "
            "words in `backticks`"
        ) from None
    except (ValueError, MemoryError, RecursionError):  # a null, half a surrogate, parentheses
        raise ConfigError("cannot be read") from None


class _Reader:
    """Turns a syntax tree into conditions; what it does not know, it refuses."""

    def __init__(self, source: str, names: dict[str, str]) -> None:
        self.source = source
        self.names = names
        self.columns: list[str] = []
        self.conditions = 0

    def read(self, node: ast.expr, deep: int) -> Condition:
        """One condition, which may hold others."""
        self.conditions += 1
        if not deep or self.conditions > MOST:
            raise ConfigError(f"at most {MOST} conditions, {DEEPEST} deep, are read")
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self.read(value, deep - 1) for value in values]
                return all_of(parts) if isinstance(op, ast.And) else any_of(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return negated(self.read(operand, deep - 1))
            case ast.Name():
                return flag(self.column(node))
            case ast.Compare(left=left, ops=ops, comparators=others):
                self.conditions += len(ops) - 1
                pairs = zip([left, *others[:-1]], ops, others, strict=True)
                return all_of([self.comparison(*pair) for pair in pairs])
        raise self.refusal(node, "a column, a comparison, and, or, not")

    def comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Condition:
        """One comparison of a column."""
        if isinstance(op, ast.In | ast.NotIn):
            found = self.membership(left, right)
            return found if isinstance(op, ast.In) else negated(found)
        if isinstance(op, ast.Is | ast.IsNot):
            if not isinstance(left, ast.Name) or not _is_none(right):
                raise ConfigError(f"{self.part(right)}: after `is` comes None, or not None")
            return missing(self.column(left), wanted=isinstance(op, ast.Is))
        compared = COMPARED[type(op)]
        if isinstance(left, ast.Name):
            return compared_with(self.column(left), compared, self.constant(right))
        if isinstance(right, ast.Name):
            return compared_with(self.column(right), MIRRORED[compared], self.constant(left))
        raise self.refusal(left, "a column on one side of a comparison")

    def membership(self, left: ast.expr, right: ast.expr) -> Condition:
        """``genre in ['Drama', 'Comedy']`` or ``'Drama' in genres``."""
        if isinstance(left, ast.Name) and isinstance(right, ast.List | ast.Tuple | ast.Set):
            values = [self.constant(one) for one in right.elts]
            return one_of(self.column(left), values)
        if isinstance(right, ast.Name):
            return carries(self.column(right), self.constant(left))
        raise self.refusal(right, "COLUMN in ['a', 'b'], or 'a' in COLUMN")

    def column(self, node: ast.Name) -> str:
        name = self.names.get(node.id, node.id)
        self.columns.append(name)
        return name

    def constant(self, node: ast.expr) -> Constant:
        """A text, a number, True or False."""
        match node:
            case ast.Constant(value=bool() | str() | int() | float() as value):
                return self.finite(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return self.finite(-value)
            case ast.Constant(value=None):
                raise ConfigError("compare with None by `is None` or `is not None`")
        raise self.refusal(node, "a text in quotes, a number, True or False")

    def finite(self, value: Constant) -> Constant:
        if isinstance(value, str | bool) or abs(value) < 1e300:
            return value
        raise ConfigError("a number beyond 1e300")

    def refusal(self, node: ast.expr, wanted: str) -> ConfigError:
        return ConfigError(f"{self.part(node)} is not understood; expected {wanted}")

    def part(self, node: ast.expr) -> str:
        """How the text says what a node says."""
        found = self.source.encode()[node.col_offset : node.end_col_offset]
        text = found.decode(errors="replace")
        for name, column in self.names.items():
            text = text.replace(name, f"`{column}`")
        return _short(text)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(text: str) -> str:
    return shorten(text, 120, placeholder=" ...") or "an empty expression"
