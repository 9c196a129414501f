"""Popularity passes the shared suite, and counts."""

from suites.ranker_suite import RankerSuite, as_new, everybody, interactions

from recsys.data.interactions import Interactions
from recsys.recommenders.popularity import fit_popularity
from recsys.recommenders.ranker import Abilities, Ranker


class TestPopularity(RankerSuite):
    personal = False

    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_popularity(train)


def test_counts_are_scores_and_ties_go_by_number() -> None:
    train = interactions([(0, 4), (1, 4), (2, 4), (0, 2), (1, 2), (2, 1), (3, 3)], 4, 6)
    ranker = fit_popularity(train)
    found = ranker.top_k(as_new(everybody(train)), 6)
    assert found.items.tolist() == [[4, 2, 1, 3, 0, 5]] * 4
    assert found.scores[0].tolist()[:4] == [3, 2, 1, 1]
    assert (ranker.name, ranker.abilities) == ("popularity", Abilities(True, False))
