"""A map: all items of a content as points in the plane, coloured by a label."""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

__all__ = ["Plane", "draw_map", "plane"]

# Paul Tol's "bright" scheme and an orange: told apart by colour-blind people too.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733")
REST = "#C8C8C8"
MOST_POINTS = 20_000


class Plane(NamedTuple):
    """Where the items lie."""

    points: NDArray[np.float64]  # (n, 2)
    axes: tuple[str, str]  # what the axes are
    method: str


def plane(vectors: NDArray[np.float32], *, seed: int = 0) -> Plane:
    """Lay vectors ``(n, d)`` into the plane: by UMAP where it is installed, else by PCA.

    UMAP: McInnes and others, 2018; it keeps neighbours by cosine. PCA keeps the two directions of
    most variance; the axes say how much of it.
    """
    if importlib.util.find_spec("umap") is not None:
        umap = importlib.import_module("umap").UMAP(metric="cosine", random_state=seed)
        points = np.asarray(umap.fit_transform(vectors), dtype=np.float64)
        return Plane(points, ("", ""), "UMAP")
    pca = PCA(n_components=min(2, *vectors.shape), random_state=seed)
    found = pca.fit_transform(vectors)
    points, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    points[:, : found.shape[1]] = found
    shares[: found.shape[1]] = np.nan_to_num(pca.explained_variance_ratio_)
    first, second = (
        f"component {n + 1}, {share:.1%} of the variance" for n, share in enumerate(shares)
    )
    return Plane(points, (first, second), "PCA")


def draw_map(
    laid: Plane,
    classes: NDArray[np.int64],
    names: Sequence[str],
    path: Path,
    *,
    title: str,
    legend: str = "",
    seed: int = 0,
) -> None:
    """Draw the map as a PNG.

    Args:
        laid: where the items lie.
        classes: one class an item, -1 for none, ``(n,)``.
        names: of the classes; the seven most frequent have colours, the others are grey.
        path: of the PNG.
        title: above the map.
        legend: above the classes.
        seed: of the order of the points, so that no class lies on top of another.
    """
    # The figure is made without pyplot, which would keep it and choose a window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 6.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(classes))[:MOST_POINTS]
    points, classes = laid.points[order], classes[order]
    counts = np.bincount(classes[classes >= 0], minlength=len(names))
    shown = [int(n) for n in np.argsort(-counts, kind="stable")[: len(COLOURS)] if counts[n]]
    paint = dict(zip(shown, COLOURS, strict=False))
    coloured = np.isin(classes, shown)
    size = float(np.clip(45_000 / max(len(classes), 1), 3.0, 40.0))
    (x, y), (others_x, others_y) = points[coloured].T, points[~coloured].T
    colours = [paint[int(of)] for of in classes[coloured]]
    axes.scatter(others_x, others_y, s=size * 0.6, c=REST, linewidths=0)
    axes.scatter(x, y, s=size, c=colours, alpha=0.85, linewidths=0)
    for number in shown:
        axes.scatter([], [], s=45, c=paint[number], label=f"{names[number]} ({counts[number]:,})")
    if not coloured.all():
        rest = "all others" if shown else "items"
        axes.scatter([], [], s=45, c=REST, label=f"{rest} ({int((~coloured).sum()):,})")
    axes.legend(
        title=legend, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False,
        alignment="left", borderaxespad=0.0, fontsize=10, title_fontsize=10,
    )  # fmt: skip
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(laid.axes[0])
    axes.set_ylabel(laid.axes[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})
