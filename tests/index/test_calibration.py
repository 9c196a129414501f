"""How far an index has to look: it ends, it reaches the recall, or it is refused."""

from typing import Any

import numpy as np
import pytest
from suites.index_answers import as_unit, clustered

from recsys.config import IndexConfig
from recsys.errors import ConfigError
from recsys.index.approximate import ApproximateIndex
from recsys.index.index import check_recall


@pytest.mark.parametrize("n", [1, 2, 5, 20, 40, 60, 80, 150])
@pytest.mark.parametrize("settings", [{}, {"inspect": 0.1}, {"recall": 1.0}, {"recall_k": 5}])
def test_small_catalogues(n: int, settings: dict[str, Any]) -> None:
    """Where efforts are small numbers, the search for the least one has to end as well."""
    random = np.random.default_rng(n)
    vectors, users = (as_unit(random.normal(size=(m, 16))) for m in (n, 100))
    index = ApproximateIndex.build(vectors, IndexConfig(**settings), askers=users)
    if "inspect" in settings:
        chosen = index.calibration.chosen
        assert chosen.inspected <= 0.1 or chosen.effort == 1  # a leaf is the least there is
    else:
        check_recall(index, index.config)
        assert index.calibration.chosen.recall >= index.config.recall


def test_a_missed_recall_is_refused() -> None:
    items, users = (clustered(n, 24, seed=n, clusters=60, noise=0.8) for n in (3_000, 100))
    config = IndexConfig(inspect=0.01)
    index = ApproximateIndex.build(items, config, askers=users)
    with pytest.raises(ConfigError, match=r"below index.recall = 0.998.* raise index.inspect"):
        check_recall(index, config)
