"""Items before people: a row of cards, each a poster where there is one, else the title."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from PIL import Image, UnidentifiedImageError

from recsys.report.charts import COLOURS

__all__ = ["Card", "draw_cards"]

PLAIN = "#E4E4E4"  # the frame of a card that nothing is said of
LETTERS = 17  # in a line below a picture
INCHES = 1.25  # the width of a picture
HEIGHT = 300  # pixels of a picture: enough for a card, and posters come large


@dataclass(frozen=True)
class Card:
    """One item.

    Attributes:
        title: what it is called.
        picture: of it; None: the title stands in its place.
        note: a second line, such as a score.
        hit: framed in green: what was recommended and taken, or likewise.
    """

    title: str
    picture: Path | None = None
    note: str = ""
    hit: bool = False


def draw_cards(figure: Any, rows: Sequence[tuple[str, Sequence[Card]]]) -> None:
    """Draw rows of cards, each with a heading.

    Args:
        figure: of matplotlib; its size is set to what the rows need.
        rows: heading -> cards, from left to right.
    """
    width = max((len(cards) for _, cards in rows), default=1) or 1
    drawn = [[_read(card.picture) for card in cards] for _, cards in rows]
    shapes = [picture.height / picture.width for row in drawn for picture in row if picture]
    height = INCHES * min(max(shapes, default=0.45), 2) + 1.05
    figure.set_size_inches(INCHES * 1.15 * width, height * len(rows))
    figure.set_layout_engine("constrained")
    bands = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for band, (heading, cards), pictures in zip(bands, rows, drawn, strict=True):
        band.suptitle(heading, x=0.005, ha="left", fontsize=10, fontweight="bold")
        places = band.subplots(1, width, squeeze=False)[0]
        for axes in places:
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in places[len(cards) :]:
            axes.set_axis_off()
        for axes, card, picture in zip(places, cards, pictures, strict=False):
            _draw(axes, card, picture)


def _draw(axes: Any, card: Card, picture: Image.Image | None) -> None:
    below = "\n".join(filter(None, (fill(card.title, LETTERS, max_lines=3), card.note)))
    if picture is None:
        axes.text(0.5, 0.5, below, ha="center", va="center", fontsize=7, transform=axes.transAxes)
        axes.set_facecolor("#FAFAFA")
    else:
        axes.imshow(picture)
        axes.set_xlabel(below, fontsize=7)
    for spine in axes.spines.values():
        spine.set_color(COLOURS["better"] if card.hit else PLAIN)
        spine.set_linewidth(3 if card.hit else 1)


def _read(path: Path | None) -> Image.Image | None:
    """The picture in RGB, small; None where there is none that can be read."""
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    small.thumbnail((HEIGHT, HEIGHT))
    return small
