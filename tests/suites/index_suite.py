"""What every index must do. Subclass ``IndexSuite`` as ``Test...`` and say how it is configured."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, DataError
from recsys.files import digest_files, digest_json
from recsys.index.index import Index, build_index, load_index
from recsys.index.saved import CARD, SEAL
from recsys.index.vectors import Vectors
from suites.index_answers import (
    CANDIDATES,
    DIM,
    EXCLUSIONS,
    N_ITEMS,
    N_QUERIES,
    QUERIES,
    VECTORS,
    as_lists,
    candidate_mask,
    clustered,
    exclusions,
    right_answers,
)

DIGEST = "digest of the item ids"


def rewrite(folder: Path, card: dict[str, Any], file: str = CARD) -> None:
    """Write a card as if it had always been so."""
    content = {name: value for name, value in card.items() if name != SEAL}
    (folder / file).write_text(json.dumps(content | {SEAL: digest_json(content)}))


class AnswersSuite:
    """What every ``Index`` answers and refuses."""

    config: IndexConfig
    exact: bool  # whether answers must be the right ones; else nearly all of them

    @classmethod
    def build(cls, vectors: Vectors) -> Index:
        return build_index(vectors, cls.config, ids_digest=DIGEST)

    @pytest.fixture(scope="class")
    @classmethod
    def index(cls) -> Index:
        return cls.build(VECTORS)

    # what is answered

    @pytest.mark.parametrize("candidates", CANDIDATES)
    @pytest.mark.parametrize("exclude", EXCLUSIONS)
    @pytest.mark.parametrize("k", [1, 10, N_ITEMS, N_ITEMS + 7])
    def test_answers(self, index: Index, k: int, exclude: str, candidates: str) -> None:
        barred, allowed = exclusions(exclude), candidate_mask(candidates)
        found = index.query(QUERIES, k, exclude=barred, candidates=allowed)
        assert found.items.shape == found.scores.shape == (N_QUERIES, k)
        assert found.items.dtype == np.int32
        assert found.scores.dtype == np.float32
        right = right_answers(barred, allowed, self.config.vectors)
        for mine, wanted in zip(as_lists(found), right, strict=True):
            self.check_row(mine, wanted, k)
        hits = sum(
            len(set(mine) & set(wanted[:k]))
            for mine, wanted in zip(as_lists(found), right, strict=True)
        )
        assert hits >= 0.95 * sum(min(k, len(wanted)) for wanted in right)

    def check_row(
        self, mine: list[tuple[int, float]], wanted: list[tuple[int, float]], k: int
    ) -> None:
        if self.exact:
            assert mine == wanted[:k]
        assert len(mine) == min(k, len(wanted)), "fewer than k although k are allowed"
        assert set(mine) <= set(wanted), "an item that is not allowed, or another score"
        assert mine == sorted(mine, key=lambda pair: (-pair[1], pair[0]))
        assert len({item for item, _ in mine}) == len(mine)

    def test_an_item_is_nearest_to_itself(self, index: Index) -> None:
        found = index.query(np.asarray(index.vectors), 1)
        assert found.items[:, 0].tolist() == list(range(len(index)))
        assert np.allclose(found.scores, 1.0, atol=1e-6)

    def test_equal_vectors_come_in_number_order(self) -> None:
        index = self.build(np.repeat(VECTORS[:60], 4, axis=0))
        found = index.query(VECTORS[:60], 4)
        assert found.items.tolist() == [[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3] for i in range(60)]
        assert np.all(found.scores == found.scores[:, :1])

    def test_all_vectors_equal(self) -> None:
        index = self.build(np.repeat(VECTORS[:1], 300, axis=0))
        found = index.query(VECTORS[:1], 3, exclude=Ragged.of([[0, 2]])).items[0].tolist()
        assert found == [1, 3, 4] if self.exact else found == sorted(set(found) - {-1, 0, 2})

    def test_one_item(self) -> None:
        found = self.build(VECTORS[:1]).query(QUERIES, 2)
        assert found.items.tolist() == [[0, -1]] * N_QUERIES

    def test_nobody_asks(self, index: Index) -> None:
        nobody = np.empty((0, DIM), dtype=np.float32)
        found = index.query(nobody, 5, exclude=Ragged.of([]))
        assert found.items.shape == found.scores.shape == (0, 5)
        assert index.inspected(nobody).shape == (0,)

    def test_a_batch_is_answered_like_its_rows(self, index: Index) -> None:
        exclude, candidates = exclusions("few"), candidate_mask("half")
        assert exclude is not None
        together = index.query(QUERIES, 10, exclude=exclude, candidates=candidates)
        for row in range(N_QUERIES):
            alone = index.query(
                QUERIES[row : row + 1],
                10,
                exclude=exclude.take(np.array([row])),
                candidates=candidates,
            )
            assert np.array_equal(alone.items[0], together.items[row])
            assert np.array_equal(alone.scores[0], together.scores[row])

    def test_many_queries_are_answered_like_few(self, index: Index) -> None:
        many = index.query(np.tile(QUERIES, (20, 1)), 10)
        few = index.query(QUERIES, 10)
        assert np.array_equal(many.items, np.tile(few.items, (20, 1)))
        assert np.array_equal(many.scores, np.tile(few.scores, (20, 1)))

    def test_other_float_types_are_taken(self, index: Index) -> None:
        wide = index.query(np.asfortranarray(QUERIES.astype(np.float64)), 10)
        assert np.array_equal(wide.items, index.query(QUERIES, 10).items)

    def test_inspected(self, index: Index) -> None:
        inspected = index.inspected(QUERIES)
        assert inspected.shape == (N_QUERIES,)
        assert np.all((inspected >= 1) & (inspected <= N_ITEMS))

    # what is refused

    @pytest.mark.parametrize(
        ("spoil", "says"),
        [
            (lambda v: v * 2, "not of length 1, first: row 0 with length 2"),
            (
                lambda v: np.where(np.arange(len(v))[:, None] == 3, 0, v),
                "1 of .* row 3 with len.* 0",
            ),
            (
                lambda v: np.where(np.arange(len(v))[:, None] == 3, np.nan, v),
                "row 3 with length nan",
            ),
            (
                lambda v: np.where(np.arange(len(v))[:, None] == 3, np.inf, v),
                "row 3 with length inf",
            ),
            (lambda v: v[0], r"shape \(12,\)"),
            (lambda v: v[None], "expected"),
            (lambda v: v[:, :0], "expected"),
            (lambda v: v.astype(np.int64), "int64, expected floats"),
        ],
    )
    def test_bad_vectors(
        self, index: Index, spoil: Callable[[Vectors], Vectors], says: str
    ) -> None:
        bad = spoil(VECTORS)
        with pytest.raises(DataError, match=f"item vectors: .*{says}"):
            self.build(bad)
        with pytest.raises(DataError, match=f"queries: .*{says}"):
            index.query(bad, 3)
        with pytest.raises(DataError, match=f"queries: .*{says}"):
            index.inspected(bad)

    def test_no_items(self) -> None:
        with pytest.raises(DataError, match="there are none"):
            self.build(VECTORS[:0])

    def test_queries_of_another_width(self, index: Index) -> None:
        with pytest.raises(DataError, match=r"queries: shape \(40, 5\), expected \(n, 12\)"):
            index.query(clustered(40, 5, seed=1), 3)

    @pytest.mark.parametrize("item", [-1, N_ITEMS])
    def test_excluding_what_is_no_item(self, index: Index, item: int) -> None:
        exclude = Ragged.of([[1]] * (N_QUERIES - 1) + [[item]])
        with pytest.raises(ValueError, match=r"item numbers are 0\.\.239"):
            index.query(QUERIES, 3, exclude=exclude)

    def test_requests_that_do_not_fit(self, index: Index) -> None:
        with pytest.raises(ValueError, match="k must be at least 1, got 0"):
            index.query(QUERIES, 0)
        with pytest.raises(ValueError, match="39 rows, expected one for each of 40"):
            index.query(QUERIES, 3, exclude=Ragged.of([[1]] * (N_QUERIES - 1)))
        with pytest.raises(ValueError, match=r"got bool of shape \(239,\)"):
            index.query(QUERIES, 3, candidates=np.ones(N_ITEMS - 1, dtype=np.bool_))
        numbers = np.arange(N_ITEMS)
        with pytest.raises(ValueError, match="got int64"):
            index.query(QUERIES, 3, candidates=numbers)  # type: ignore[arg-type]


class IndexSuite(AnswersSuite):
    """The same of a kind that is built at once, and what it is on disk."""

    def test_saved_and_loaded(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path / "index")
        loaded = load_index(tmp_path / "index", ids_digest=DIGEST)
        assert (loaded.config, loaded.ids_digest) == (index.config, DIGEST)
        assert np.array_equal(loaded.vectors, index.vectors)
        for k, exclude in ((3, None), (20, exclusions("few"))):
            before = index.query(QUERIES, k, exclude=exclude)
            after = loaded.query(QUERIES, k, exclude=exclude)
            assert np.array_equal(before.items, after.items)
            assert np.array_equal(before.scores, after.scores)
        assert np.array_equal(index.inspected(QUERIES), loaded.inspected(QUERIES))

    def test_the_same_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in "ab":
            self.build(VECTORS).save(tmp_path / name)
        load_index(tmp_path / "b", ids_digest=DIGEST).save(tmp_path / "c")
        digests = [digest_files(tmp_path / name) for name in "abc"]
        assert digests[0] == digests[1] == digests[2]

    def test_saving_over_another(self, tmp_path: Path) -> None:
        self.build(VECTORS[:100]).save(tmp_path)
        index = load_index(tmp_path, ids_digest=DIGEST)
        self.build(VECTORS).save(tmp_path)
        assert len(load_index(tmp_path, ids_digest=DIGEST)) == N_ITEMS
        assert len(index) == 100

    def test_of_other_items(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path)
        with pytest.raises(ArtifactError, match=r"built for items .* this data set"):
            load_index(tmp_path, ids_digest="another digest")

    def test_damaged(self, index: Index, tmp_path: Path) -> None:
        other = self.build(VECTORS[::-1].copy())
        other.save(tmp_path / "other")
        index.save(tmp_path / "good")
        for name in digest_files(tmp_path / "good"):
            foreign = ("foreign",) if (tmp_path / "other" / name).is_file() else ()
            for damage in ("gone", "empty", "cut", "flipped", *foreign):
                bad = shutil.copytree(tmp_path / "good", tmp_path / f"bad {damage} {name}")
                path = bad / name
                content = bytearray(path.read_bytes())
                if damage == "gone":
                    path.unlink()
                elif damage == "flipped":
                    content[len(content) // 2] ^= 0xFF
                    path.write_bytes(content)
                elif damage == "foreign":
                    path.write_bytes((tmp_path / "other" / name).read_bytes())
                else:
                    path.write_bytes(content[: 0 if damage == "empty" else len(content) - 8])
                with pytest.raises(
                    ArtifactError, match=r"index again|run the stage|its stage again"
                ):
                    load_index(bad, ids_digest=DIGEST)

    def test_answers_that_changed(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path)
        card = json.loads((tmp_path / "index.json").read_text())
        card["probes"]["0"][1:3] = card["probes"]["0"][2:0:-1]
        rewrite(tmp_path, card)
        with pytest.raises(ArtifactError, match=r"nearest to item 0 were .* when saved, now"):
            load_index(tmp_path, ids_digest=DIGEST)

    def test_a_card_that_keeps_quiet_about_a_file(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path)
        card = json.loads((tmp_path / "index.json").read_text())
        for name in list(card["files"]):
            files = {other: about for other, about in card["files"].items() if other != name}
            rewrite(tmp_path, {**card, "files": files})
            with pytest.raises(ArtifactError, match=r"describes .*, expected .*vectors\.npy"):
                load_index(tmp_path, ids_digest=DIGEST)

    def test_an_altered_card(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path)
        card = json.loads((tmp_path / "index.json").read_text())
        card["config"]["recall"] = 0.5
        (tmp_path / "index.json").write_text(json.dumps(card))
        with pytest.raises(ArtifactError, match="was altered"):
            load_index(tmp_path, ids_digest=DIGEST)

    def test_a_card_of_another_version(self, index: Index, tmp_path: Path) -> None:
        index.save(tmp_path)
        card = json.loads((tmp_path / "index.json").read_text())
        rewrite(tmp_path, {**card, "schema_version": 3})
        with pytest.raises(ArtifactError, match="schema_version"):
            load_index(tmp_path, ids_digest=DIGEST)
