"""Charts and cards: what is drawn is what was measured."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from recsys.evaluation.certainty import Interval
from recsys.report.cards import Card, draw_cards
from recsys.report.charts import COLOURS, draw_bars, draw_line, draw_points


def test_bars_have_their_means_and_intervals_in_order_from_the_top() -> None:
    intervals = {"b": Interval(0.5, 0.4, 0.7), "a": Interval(-0.2, -0.3, -0.1)}
    axes = Figure().subplots()
    draw_bars(axes, intervals, colours={"a": "red"}, label="ndcg@10")
    widths = [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
    assert widths == [0.5, -0.2]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "a"]
    assert axes.yaxis.get_inverted()
    (errors,) = axes.collections
    ends = [segment[:, 0].tolist() for segment in errors.get_segments()]  # type: ignore[attr-defined]
    assert np.allclose(ends, [[0.4, 0.7], [-0.3, -0.1]])
    assert to_rgb(axes.patches[0].get_facecolor()) == to_rgb(COLOURS["ours"])
    assert to_rgb(axes.patches[1].get_facecolor()) == to_rgb("red")


def test_an_interval_that_leaves_out_its_mean_can_be_drawn() -> None:
    axes = Figure().subplots()
    draw_bars(axes, {"a": Interval(0.5, 0.6, 0.7)})
    (segment,) = axes.collections[0].get_segments()  # type: ignore[attr-defined]
    assert np.allclose(segment[:, 0], [0.5, 0.7])


def test_a_line_has_a_band() -> None:
    axes = Figure().subplots()
    draw_line(axes, [0, 1], [Interval(1, 0, 2), Interval(3, 2, 5)], name="x", colour="red")
    assert axes.lines[0].get_ydata().tolist() == [1, 3]  # type: ignore[union-attr]
    band = axes.collections[0].get_paths()[0].vertices
    assert (np.asarray(band)[:, 1].min(), np.asarray(band)[:, 1].max()) == (0, 5)


def test_points_that_are_beaten_in_both_are_grey() -> None:
    axes = Figure().subplots()
    points = {"best": (2.0, 2.0), "beaten": (1.0, 1.0), "novel": (3.0, 0.5)}
    draw_points(axes, points, labels=("x", "y"))
    colours = [tuple(np.asarray(dot.get_facecolor())[0, :3].tolist()) for dot in axes.collections]
    blue, grey = to_rgb(COLOURS["ours"]), to_rgb(COLOURS["worse"])
    assert colours == [blue, grey, blue]
    assert [text.get_text() for text in axes.texts] == list(points)


@pytest.fixture
def poster(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 30), "red").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_card_shows_its_picture_or_its_title_and_hits_are_framed(
    poster: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    figure = Figure()
    row = [Card("Heat", poster, "cosine .5", hit=True), Card("Alien"), Card("Fargo", broken)]
    draw_cards(figure, [("took", row), ("gets", row[:1])])
    first, second = figure.subfigs
    heat, alien, fargo = first.axes
    assert len(heat.images) == 1
    assert heat.get_xlabel() == "Heat\ncosine .5"
    assert [text.get_text() for text in (*alien.texts, *fargo.texts)] == ["Alien", "Fargo"]
    framed = [to_rgb(axes.spines["top"].get_edgecolor()) for axes in first.axes]
    assert framed[0] == to_rgb(COLOURS["better"]) != framed[1]
    assert [axes.axison for axes in second.axes] == [True, False, False]
    figure.savefig(tmp_path / "cards.png")
