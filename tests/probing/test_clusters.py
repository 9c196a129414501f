"""Clusters: mutual information as scikit-learn's, classes found where there are any."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from recsys.probing.clusters import Method, cluster, cluster_figure, mutual_information
from recsys.probing.figures import resamples
from recsys.probing.neighbours import Distance

METHODS: tuple[Method, ...] = ("k-means", "dbscan")
DISTANCES: tuple[Distance, ...] = ("cosine", "euclidean")


def test_mutual_information_equals_scikit_learns_for_every_resample() -> None:
    draw = np.random.default_rng(0)
    ours, theirs = draw.integers(4, size=60), draw.integers(3, size=60)
    counts = next(resamples(60, seed=1))[:30]
    found = mutual_information(ours, theirs, counts)
    for row, value in zip(counts.astype(int), found, strict=True):
        expected = normalized_mutual_info_score(np.repeat(ours, row), np.repeat(theirs, row))
        assert value == pytest.approx(expected, abs=1e-9)


def test_mutual_information_of_one_part() -> None:
    same, two, once = np.zeros(6, np.int64), np.arange(6) % 2, np.ones((1, 6))
    assert mutual_information(same, same, once).tolist() == [1.0]
    assert mutual_information(same, two, once).tolist() == [0.0]
    assert mutual_information(two, 1 - two, once) == pytest.approx([1.0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_heaps_are_found_and_noise_is_chance(method: Method, distance: Distance) -> None:
    draw = np.random.default_rng(2)
    classes = np.repeat(np.arange(3), 40)
    heaps = 20 * np.eye(3, 5)[classes] + 0.1 * draw.normal(size=(120, 5))
    found = cluster_figure(heaps.astype(np.float32), classes, method=method, distance=distance)
    assert found.value > (0.99 if method == "k-means" else 0.6)  # half of the items are noise
    assert found.chance is not None and found.chance < 0.1
    noise = draw.normal(size=(120, 5)).astype(np.float32)
    nothing = cluster_figure(noise, classes, method=method, distance=distance)
    assert nothing.low <= 0.08 and nothing.value < 0.12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_constant_vectors_make_one_cluster(method: Method, distance: Distance) -> None:
    found = cluster(np.ones((30, 4), np.float32), 3, method=method, distance=distance)
    assert len(np.unique(found)) == 1


def test_cosine_does_not_see_lengths() -> None:
    draw = np.random.default_rng(3)
    angles = np.repeat([0.0, 2.1, 4.2], 30)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1) * draw.uniform(1, 9, (90, 1))
    both = np.concatenate([rays, -rays]).astype(np.float32)  # mean 0
    classes = np.tile(np.repeat(np.arange(3), 30), 2) + np.repeat([0, 3], 90)
    figure = cluster_figure(both, classes, method="k-means", distance="cosine")
    assert figure.value == pytest.approx(1.0)
