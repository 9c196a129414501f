from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from recsys.content.encoder import Encoded
from recsys.content.reduce import Reduction
from recsys.errors import ArtifactError, DataError


def vectors(n: int = 300, width: int = 7) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.standard_normal((n, width)) * np.arange(1, width + 1) + 5).astype(np.float32)


def test_principal_components_are_those_of_scikit_learn() -> None:
    all_rows, rows = vectors(), np.arange(10, 200)
    oracle = PCA(3, svd_solver="full").fit(all_rows[rows].astype(float))
    reduction = Reduction.fit("pca", 3, all_rows, rows)
    ours = reduction.apply(Encoded(all_rows, np.ones(300, dtype=np.bool_))).vectors
    theirs = oracle.transform(all_rows)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=2e-4)


def test_other_rows_do_not_matter() -> None:
    some, rows = vectors(), np.arange(50)
    changed = some.copy()
    changed[50:] *= 100
    for kind in ("pca", "random"):
        first, second = (Reduction.fit(kind, 2, of, rows) for of in (some, changed))
        np.testing.assert_array_equal(first.axes, second.axes)


def test_random_axes_keep_lengths_on_average() -> None:
    rows = np.random.default_rng(0).standard_normal((400, 512)).astype(np.float32)
    reduction = Reduction.fit("random", 128, rows, np.arange(1), seed=1)
    reduced = reduction.apply(Encoded(rows, np.ones(400, dtype=np.bool_))).vectors
    ratio = np.linalg.norm(reduced, axis=1) / np.linalg.norm(rows, axis=1)
    assert abs(ratio.mean() - 1) < 0.02 and ratio.std() < 0.1


def test_absent_rows_stay_zero_and_it_comes_back_from_disk(tmp_path: Path) -> None:
    present = np.arange(300) % 3 > 0
    encoded = Encoded(vectors() * present[:, None], present, {0: "broken"})
    reduction = Reduction.fit("pca", 2, encoded.vectors, np.flatnonzero(present))
    reduction.save(tmp_path / "r.safetensors")
    again = Reduction.load(tmp_path / "r.safetensors").apply(encoded)
    assert not again.vectors[~present].any() and again.vectors[present].any(axis=1).all()
    assert again.reasons == {0: "broken"}
    np.testing.assert_array_equal(again.vectors, reduction.apply(encoded).vectors)


@pytest.mark.parametrize(("dim", "rows"), [(8, 100), (4, 3)])
def test_too_many_dimensions(dim: int, rows: int) -> None:
    with pytest.raises(DataError, match=f"dim = {dim} is more than"):
        Reduction.fit("pca", dim, vectors(), np.arange(rows))


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "r.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="run embed again"):
        Reduction.load(tmp_path / "r.safetensors")
