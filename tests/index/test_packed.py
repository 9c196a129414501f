"""Vectors in two bytes or one: every kind of index passes the shared suite with them."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from suites.index_answers import VECTORS, as_unit, clustered
from suites.index_suite import DIGEST, IndexSuite, rewrite

from recsys.config import IndexConfig
from recsys.errors import ArtifactError
from recsys.index import packed
from recsys.index.approximate import ApproximateIndex
from recsys.index.effort import Calibration
from recsys.index.exact import ExactIndex
from recsys.index.index import build_index, load_index
from recsys.index.live import LiveIndex, vectors_of
from recsys.index.packed import Kind, Packed, pack, rounded
from recsys.index.vectors import Vectors

NARROW: tuple[Kind, ...] = ("float16", "int8")
KINDS: tuple[Kind, ...] = ("int8", "float32")


class TestExactInt8(IndexSuite):
    config = IndexConfig(kind="exact", vectors="int8")
    exact = True


class TestForestFloat16(IndexSuite):
    config = IndexConfig(trees=10, inspect=0.25, vectors="float16")
    exact = False


class TestGraphInt8(IndexSuite):
    config = IndexConfig(kind="hnsw", search_k=10_000, vectors="int8")
    exact = True


def error_bounds(vectors: Vectors, kind: Kind) -> NDArray[np.float64]:
    """How far each row ``(n, dim)`` can at most be from its unpacked self, by the module's formula.

    Returns:
        Bounds ``(n,)`` of the distance, and so of what any cosine with a unit vector is off by.
    """
    if kind == "float32":
        return np.zeros(len(vectors))
    root = np.sqrt(vectors.shape[1])
    if kind == "float16":
        relative = np.full(len(vectors), 2.0**-11 + root * 2.0**-25)
    else:
        relative = np.abs(vectors).max(axis=1).astype(np.float64) * root / 254
    bounds: NDArray[np.float64] = 2 / np.sqrt(3) * relative
    return bounds


def test_codes_by_a_plain_loop() -> None:
    vectors = clustered(20, 7, seed=3)
    for kind, largest in (("float16", 1.0), ("int8", 127.0)):
        read = rounded(vectors, kind)  # type: ignore[arg-type]
        for row, got in zip(vectors.tolist(), read.tolist(), strict=True):
            top = max(abs(x) for x in row)
            codes = [x / top * largest for x in row]
            codes = [round(x) if kind == "int8" else float(np.float16(x)) for x in codes]
            length = math.sqrt(sum(x * x for x in codes))
            assert got == pytest.approx([x / length for x in codes], abs=1e-6)


@pytest.mark.parametrize("kind", NARROW)
@pytest.mark.parametrize("dim", [2, 12, 64, 194])
def test_the_stated_bound_holds_and_is_not_idle(kind: Kind, dim: int) -> None:
    random = np.random.default_rng(dim)
    peaked = random.normal(size=(2_000, dim)) * random.gamma(0.5, size=(2_000, dim))
    for vectors in (clustered(2_000, dim, seed=1), as_unit(peaked)):
        off = np.linalg.norm(rounded(vectors, kind) - vectors.astype(np.float64), axis=1)
        bounds = error_bounds(vectors, kind)
        assert (off <= bounds + 1e-6).all()
        assert (off > 0.2 * bounds).any()
        queries = clustered(50, dim, seed=2).astype(np.float64)
        moved = np.abs(queries @ (rounded(vectors, kind) - vectors.astype(np.float64)).T)
        assert (moved <= bounds + 1e-6).all()


def test_no_error_without_packing() -> None:
    assert not error_bounds(VECTORS, "float32").any()
    assert pack(VECTORS, "float32") is VECTORS


@pytest.mark.parametrize("kind", NARROW)
def test_packing_again_changes_nothing(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(5_000, 33, seed=1)
    once = pack(vectors, kind)
    monkeypatch.setattr(packed, "BLOCK", 7)
    again = pack(np.asarray(once), kind)
    assert isinstance(once, Packed)
    assert isinstance(again, Packed)
    assert np.array_equal(once.codes, again.codes)
    assert np.array_equal(once.scales, again.scales)


@pytest.mark.parametrize("kind", NARROW)
def test_rows_are_read_alike_however_they_are_asked_for(kind: Kind) -> None:
    some = np.array([[3, 3], [200, 0]])
    rows = pack(VECTORS, kind)
    whole = np.asarray(rows)
    assert whole.dtype == rows[:5].dtype == np.float32
    assert rows.shape == whole.shape
    assert np.array_equal(rows[5:9], whole[5:9])
    assert np.array_equal(rows[some], whole[some])
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(rows, copy=False)


@pytest.mark.parametrize(("kind", "width"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_file_and_memory_shrink(kind: Kind, width: int, tmp_path: Path) -> None:
    vectors = clustered(3_000, 32, seed=1)
    build_index(vectors, IndexConfig(kind="exact", vectors=kind)).save(tmp_path)
    size = (tmp_path / "vectors.npy").stat().st_size
    assert size == pytest.approx(3_000 * 32 * width, abs=200)
    loaded = load_index(tmp_path).vectors
    stored = loaded.codes if isinstance(loaded, Packed) else loaded
    assert isinstance(stored, np.memmap)
    assert stored.nbytes == 3_000 * 32 * width


def test_the_forest_is_measured_with_what_is_read() -> None:
    """These vectors lose so much that float32 has other answers."""
    vectors = as_unit(np.random.default_rng(0).normal(size=(1_000, 24)) ** 5)
    narrow, wide = (IndexConfig(search_k=300, trees=5, vectors=v) for v in KINDS)

    def calibration(of: Vectors, config: IndexConfig) -> Calibration:
        return ApproximateIndex.build(of, config, askers=vectors).calibration

    assert calibration(vectors, narrow) == calibration(rounded(vectors, "int8"), wide)
    assert calibration(vectors, narrow) != calibration(vectors, wide)


@pytest.mark.parametrize("kind", ["exact", "annoy"])
def test_a_file_of_another_type(kind: str, tmp_path: Path) -> None:
    for vectors in ("float16", "int8"):
        config = IndexConfig.model_validate({"kind": kind, "trees": 5, "vectors": vectors})
        build_index(VECTORS, config, ids_digest=DIGEST).save(tmp_path / vectors)
    card = json.loads((tmp_path / "int8" / "index.json").read_text())
    other = json.loads((tmp_path / "float16" / "index.json").read_text())
    shutil.copyfile(tmp_path / "float16" / "vectors.npy", tmp_path / "int8" / "vectors.npy")
    card["files"]["vectors.npy"] = other["files"]["vectors.npy"]
    rewrite(tmp_path / "int8", card)
    with pytest.raises(ArtifactError, match=r"float16 of shape .* expected int8 of shape"):
        load_index(tmp_path / "int8", ids_digest=DIGEST)


@pytest.mark.parametrize("kind", NARROW)
def test_what_is_added_is_rounded_as_after_a_rebuild(kind: Kind, tmp_path: Path) -> None:
    config = IndexConfig(kind="exact", vectors=kind)
    base = ExactIndex.build(VECTORS[:200], config)
    live = LiveIndex.over(base).put(np.arange(200, 240), VECTORS[200:])
    live.save(tmp_path)
    again = LiveIndex.load(tmp_path, base)
    rebuilt = ExactIndex.build(again.vectors, config)
    items = np.arange(0, 240, 7)
    right = rounded(VECTORS, kind)[items]
    for index in (live, again, rebuilt):
        assert np.array_equal(vectors_of(index, items), right)
