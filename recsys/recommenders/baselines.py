"""The baselines by name, each with the settings that are tried for it on validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recsys.data.interactions import Interactions
from recsys.recommenders.ease import fit_ease
from recsys.recommenders.implicit_models import fit_als, fit_bpr
from recsys.recommenders.item_knn import fit_item_knn
from recsys.recommenders.popularity import fit_popularity
from recsys.recommenders.ranker import Ranker

__all__ = ["BASELINES", "Baseline"]


@dataclass(frozen=True)
class Baseline:
    """How to fit a baseline, and what to try.

    Attributes:
        name: as in ``evaluation.baselines`` and in tables.
        make: takes the training rows, a seed where ``seeded``, and settings by name.
        grid: settings to try, the default first; at least one, which may be empty.
        seeded: whether another seed gives another ranker.
    """

    name: str
    make: Callable[..., Ranker]
    grid: tuple[dict[str, int | float], ...] = ({},)
    seeded: bool = False

    def fit(self, train: Interactions, seed: int = 0, **settings: int | float) -> Ranker:
        """Fit with settings such as those of the grid; a setting it does not have is an error.

        Raises:
            TypeError: a setting is unknown.
        """
        chance: dict[str, Any] = {"seed": seed} if self.seeded else {}
        return self.make(train, **chance, **settings)


_ALL = (
    Baseline("popularity", fit_popularity),
    Baseline("item-knn", fit_item_knn, tuple({"neighbours": n} for n in (100, 20, 50, 200, 400))),
    Baseline(
        "als",
        fit_als,
        (
            {"dim": 32, "regularization": 0.1, "alpha": 1.0},
            {"dim": 64, "regularization": 0.1, "alpha": 1.0},
            {"dim": 128, "regularization": 10.0, "alpha": 10.0},
        ),
        seeded=True,
    ),
    Baseline(
        "bpr",
        fit_bpr,
        ({"dim": 64, "epochs": 50}, {"dim": 32, "epochs": 50}, {"dim": 64, "epochs": 100}),
        seeded=True,
    ),
    Baseline("ease", fit_ease, tuple({"regularization": r} for r in (300.0, 100.0, 500.0, 1000.0))),
)

BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in _ALL}
