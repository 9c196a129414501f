"""The baselines by name, each with the settings that are tried for it on validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.times import TimeKind
from recsys.recommenders.content_models import fit_content_cosine, fit_content_ridge
from recsys.recommenders.ease import fit_ease
from recsys.recommenders.floors import fit_logistic, fit_random
from recsys.recommenders.implicit_models import fit_als, fit_bpr
from recsys.recommenders.item_knn import fit_item_knn
from recsys.recommenders.popularity import fit_decayed_popularity, fit_popularity
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
        reads_content: whether it takes ``blocks``, see `given`.
        reads_times: whether it takes ``own_clocks``, see `given`.
    """

    name: str
    make: Callable[..., Ranker]
    grid: tuple[dict[str, int | float], ...] = ({},)
    seeded: bool = False
    reads_content: bool = False
    reads_times: bool = False

    def fit(self, train: Interactions, seed: int = 0, **settings: int | float) -> Ranker:
        """Fit with settings such as those of the grid; a setting it does not have is an error.

        Raises:
            TypeError: a setting is unknown, or content is needed and was not given.
        """
        chance: dict[str, Any] = {"seed": seed} if self.seeded else {}
        return self.make(train, **chance, **settings)

    def given(self, blocks: Sequence[ContentBlock], time_kind: TimeKind) -> "Baseline":
        """The same baseline, told of what is known beside the rows that it is fitted on.

        Args:
            blocks: content of the items.
            time_kind: what the times of the log are.
        """
        known: dict[str, Any] = {"blocks": blocks} if self.reads_content else {}
        if self.reads_times:
            known["own_clocks"] = time_kind == "order"
        return replace(self, make=partial(self.make, **known))


_ALL = (
    Baseline("random", fit_random, seeded=True),
    Baseline("popularity", fit_popularity),
    Baseline(
        "decayed-popularity",
        fit_decayed_popularity,
        tuple({"half_life": share} for share in (0.1, 0.01, 0.03, 0.3, 1.0, 3.0)),
        reads_times=True,
    ),
    Baseline("logistic", fit_logistic, seeded=True, reads_content=True, reads_times=True),
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
    Baseline(
        "content-cosine",
        fit_content_cosine,
        ({"weighted": 1}, {"weighted": 0}),
        reads_content=True,
    ),
    Baseline(
        "content-ridge",
        fit_content_ridge,
        tuple(
            {"regularization": strength, "gamma": gamma}
            for strength in (3.0, 1.0, 10.0)
            for gamma in (1.0, 0.5, 2.0)
        ),
        reads_content=True,
    ),
)

BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in _ALL}
