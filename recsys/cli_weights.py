"""The commands about what there is to encode with: ``recsys encoders``, ``recsys weights ...``."""

import json
from itertools import groupby
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.cli_options import AsJson
from recsys.errors import ArtifactError

__all__ = ["list_encoders", "weights_app"]

weights_app = typer.Typer(
    no_args_is_help=True, help="Pretrained weights: what there is, and where."
)
output = Console(highlight=False)

ENCODERS_NOTE = """
In a config: encoder = "NAME", its options under [content.X.options].
offline: works here and now without a network; to have what an encoder needs:
pip install "recsys[EXTRA]", recsys weights fetch WEIGHTS."""


def list_encoders(as_json: AsJson = False) -> None:
    """List all encoders: name, width, whether it works here without a network, what it needs."""
    from recsys.content.listing import listed_encoders

    rows = [encoder.as_dict() for encoder in listed_encoders()]
    if as_json:
        output.print_json(json.dumps(rows))
        return
    output.print(_encoders_table(rows), "", sep="\n")
    output.print(_families_table(rows))
    output.print(ENCODERS_NOTE, markup=False, soft_wrap=True)


def _encoders_table(rows: list[dict[str, Any]]) -> Table:
    """All encoders by modality, one line each."""
    table = _table(("encoder", "width", "offline", "extra", "weights"))
    for modality, members in groupby(rows, key=lambda row: row["modality"]):
        table.add_row(f"[bold]{modality}[/bold]")
        for row in members:
            table.add_row(
                escape(row["name"]),
                "-" if row["width"] is None else str(row["width"]),
                "yes" if row["offline"] else "no",
                row["extra"],
                escape(row["weights"] or ""),
            )
        table.add_section()
    return table


def _families_table(rows: list[dict[str, Any]]) -> Table:
    """What the members of each family share."""
    table = _table(("as written", "what it makes (paper)", "options"))
    for _, family in groupby(rows, key=lambda row: row["usage"]):
        row = next(family)
        paper = f" ({row['paper']})" if row["paper"] else ""
        table.add_row(
            escape(row["usage"]), escape(row["description"] + paper), ", ".join(row["options"])
        )
    return table


@weights_app.command("list")
def _list(as_json: AsJson = False) -> None:
    """List the weights that are known by name."""
    from recsys.content.weights.find import cache_folder
    from recsys.content.weights.known import KNOWN

    rows = [_about_weights(name) for name in KNOWN]
    if as_json:
        output.print_json(json.dumps(rows))
        return
    table = _table(("name", "for", "source", "MB", "licence", "here"))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    output.print(table)
    output.print(
        f"recsys weights fetch NAME keeps them in {cache_folder()} ($RECSYS_WEIGHTS); "
        "those of the hub in the hub's own cache",
        markup=False,
    )


def _about_weights(name: str) -> dict[str, Any]:
    """A row of the list."""
    from recsys.content.weights.find import weights_here
    from recsys.content.weights.known import KNOWN

    weights = KNOWN[name]
    try:
        here = "yes" if weights_here(weights) is not None else "no"
    except ArtifactError:
        here = "damaged"
    return {
        "name": name,
        "modality": weights.modality,
        "source": weights.source.place,
        "megabytes": weights.megabytes,
        "licence": weights.licence,
        "here": here,
    }


@weights_app.command("fetch")
def _fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As in the list.")],
) -> None:
    """Download weights, check their sha256, and keep them where encoders look."""
    from recsys.content.weights.fetch import fetch

    for name in names:
        output.print(f"{name}: {fetch(name)}", markup=False, soft_wrap=True)


@weights_app.command("path")
def _path(name: Annotated[str, typer.Argument(help="As in the list.")]) -> None:
    """Say where weights lie on this machine; nothing is downloaded."""
    from recsys.content.weights.find import find_weights

    output.print(str(find_weights(name, download=False)), markup=False, soft_wrap=True)


def _table(columns: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        right = column in {"width", "MB"}
        table.add_column(
            column,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=column == "encoder",
        )
    return table
