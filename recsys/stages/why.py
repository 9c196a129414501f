"""What ``recsys why`` prints: the shares of a score, as tables or as json."""

from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from recsys.recommenders.explain import Explanation
from recsys.recommenders.recommender import Recommender
from recsys.towers.explain import Share

__all__ = ["why_json", "why_tables"]

NAMES = {"base": "what all items share", "history": "the whole history"}
KNOCK_OUT = "what the score loses without it (knock-out)"
EXACT = "shares of the score (exact; they sum to it)"


def why_tables(recommender: Recommender, why: Explanation) -> RenderableType:
    """An explanation before people."""
    (label,) = recommender.label([why.item_id])
    taken = ", which the user has taken already" if why.taken else ""
    about = (
        f"why {escape(label)}{taken}, for user {escape(str(why.user_id))}: cosine {why.score:.3f}"
    )
    whole = [(_name(share), share.value) for share in why.user]
    return Group(
        about,
        "",
        _table("the item", EXACT if why.exact else KNOCK_OUT, _by_size(why.item)),
        _table("the user", KNOCK_OUT, [*whole, *_rows(recommender, why.history, "drop")]),
        _table("nearest that the user took", "cosine", _rows(recommender, why.nearest, "cosine")),
    )


def why_json(recommender: Recommender, why: Explanation) -> dict[str, Any]:
    """An explanation as plain values."""
    (title,) = recommender.label([why.item_id])
    return {
        "user_id": why.user_id,
        "item_id": why.item_id,
        "title": title,
        "score": why.score,
        "taken": why.taken,
        "item": {
            "method": "exact" if why.exact else "knock-out",
            "parts": [share._asdict() for share in why.item],
        },
        "user": {"method": "knock-out", "parts": [share._asdict() for share in why.user]},
        "history": {"method": "knock-out", "items": _records(recommender, why.history)},
        "nearest": _records(recommender, why.nearest),
    }


def _name(share: Share) -> str:
    name = NAMES.get(share.name, share.name)
    return name if share.there else f"{name} (missing)"


def _by_size(shares: list[Share]) -> list[tuple[str, float]]:
    ordered = sorted(shares, key=lambda share: -share.value)
    return [(_name(share), share.value) for share in ordered]


def _rows(recommender: Recommender, table: pd.DataFrame, column: str) -> list[tuple[str, float]]:
    labels = recommender.label(table["item_id"])
    return list(zip(labels, table[column].tolist(), strict=True))


def _records(recommender: Recommender, table: pd.DataFrame) -> list[dict[str, Any]]:
    table = table.assign(title=recommender.label(table["item_id"]))
    return [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy().tolist()]


def _table(title: str, heading: str, rows: list[tuple[str, float]]) -> Table:
    shown = Table(title_justify="left", expand=False)
    shown.add_column(title)
    shown.add_column(heading, justify="right")
    for name, value in rows:
        shown.add_row(escape(name), f"{value:+.3f}")
    return shown
