import numpy as np

from recsys.content.encoder import ContentBlock
from recsys.content.search import nearest


def test_nearest_is_the_largest_cosine_among_those_that_are_there() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((50, 6)).astype(np.float32)
    vectors[7] = 3 * vectors[3]  # the same direction: the smaller number comes first
    present = rng.random(50) < 0.7
    present[[3, 7]] = True
    vectors[~present] = 0
    items, cosines = nearest(ContentBlock("b", vectors, present), vectors[3] * 5, 4)
    expected = []
    for item in np.flatnonzero(present):
        dot = sum(float(a) * float(b) for a, b in zip(vectors[item], vectors[3], strict=True))
        lengths = np.linalg.norm(vectors[item]) * np.linalg.norm(vectors[3])
        expected.append((-round(dot / lengths, 5), int(item)))
    assert items.tolist() == [item for _, item in sorted(expected)[:4]] and items[0] == 3
    np.testing.assert_allclose(cosines, [-c for c, _ in sorted(expected)[:4]], atol=1e-4)


def test_fewer_than_k() -> None:
    block = ContentBlock("b", np.eye(3, dtype=np.float32), np.array([True, False, True]))
    items, _ = nearest(block, np.array([0, 0, 1], dtype=np.float32), 9)
    assert items.tolist() == [2, 0]
