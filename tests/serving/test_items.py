"""Items of a bundle change without training: at once, all or nothing, and kept by a rebuild."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from small_bundles import KINDS, N_ITEMS, bundle_of, copy_of, finished_run
from typer.testing import CliRunner

from recsys.cli import app as command_line
from recsys.errors import ArtifactError, ConfigError, DataError, RecsysError
from recsys.files import digest_files
from recsys.index.live import LiveIndex
from recsys.recommenders.changed import two_towers_of
from recsys.recommenders.recommender import Recommender
from recsys.serving.app import create_app
from recsys.serving.bundle import Bundle
from recsys.serving.edit import edit_items
from recsys.serving.rebuild import rebuild
from recsys.serving.served import Service

SPACE, SEA = 1_000, 1_001  # new items


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return copy_of(bundle_of(), tmp_path / "copy")


def items(path: Path, rows: list[tuple[Any, Any]]) -> Path:
    pd.DataFrame(rows, columns=["item_id", "title"]).to_csv(path, index=False)
    return path


def new_items(folder: Path) -> Path:
    return items(folder / "new.csv", [(SPACE, KINDS[0]), (SEA, KINDS[1])])


def ids(folder: Path, *wanted: int) -> Path:
    path = folder / "ids.txt"
    path.write_text("\n".join(map(str, wanted)))
    return path


def answers(folder: Path) -> pd.DataFrame:
    return Bundle.load(folder).recommender().recommend(k=N_ITEMS, new_items=True)


def test_new_items_are_found_at_once(bundle: Path, tmp_path: Path) -> None:
    before = Bundle.load(bundle).recommender().recommend(k=10)
    edited = edit_items(bundle, new_items(tmp_path))
    assert (edited.added, edited.replaced, edited.removed) == (2, 0, 0)
    now = Bundle.load(bundle).recommender()
    pd.testing.assert_frame_equal(now.recommend(k=10), before)  # only those learnt from
    like = now.similar(SPACE, k=5)["item_id"].tolist()
    assert SPACE not in like and sum(item % 2 == 0 for item in like) >= 4  # of its kind
    assert SPACE in now.similar(100, k=N_ITEMS + 2)["item_id"].tolist()
    named = now.recommend(["u0"], candidates=[SPACE, SEA, 101])
    assert set(named["item_id"]) == {SPACE, SEA, 101}
    rank = named.set_index("item_id")["rank"]
    assert rank[SPACE] < rank[SEA], "u0 likes even items: dark space operas"
    assert {SPACE, SEA} <= set(now.recommend(["u0"], k=50, new_items=True)["item_id"])
    assert now.label([SPACE]) == [KINDS[0]]
    new = now.recommend(history=[SPACE, 100], k=50, new_items=True)
    assert not {SPACE, 100} & set(new["item_id"])  # seen


@pytest.mark.parametrize("words", [(), ("newcomers.later=true",)])
def test_items_stand_where_whole_towers_put_them(words: tuple[str, ...], tmp_path: Path) -> None:
    """Few items are put through the tower; a rebuilt bundle's towers hold all of them."""
    folder = copy_of(bundle_of(*words), tmp_path / "b")
    before = np.asarray(two_towers_of(Bundle.load(folder).recommender()).index.vectors)
    title = pd.read_csv(finished_run().parent / "items.csv")["title"][7]
    changes = [(SPACE, KINDS[0]), (107, title), (SEA, KINDS[1]), (100, KINDS[1])][: 3 + (not words)]
    edit_items(folder, items(tmp_path / "a.csv", changes))
    beside = two_towers_of(Bundle.load(folder).recommender())
    found = np.asarray(beside.index.vectors)
    assert np.allclose(found[7], before[7], atol=1e-5)  # the same content again
    if not words:
        assert not np.allclose(found[0], before[0], atol=1e-2)
    towers = two_towers_of(rebuild(folder).recommender()).towers
    assert (towers.newcomers is not None) == bool(words)
    assert np.allclose(beside.own_index.vectors, towers.items_alone(), atol=1e-5)
    assert np.allclose(beside.index.vectors, towers.item_vectors(), atol=1e-5)


def test_removed_items_vanish_and_come_back(bundle: Path, tmp_path: Path) -> None:
    before = answers(bundle)
    edit_items(bundle, new_items(tmp_path), ids(tmp_path, 100, 101))
    edit_items(bundle, remove=ids(tmp_path, SEA))
    now = Bundle.load(bundle).recommender()
    assert not {100, 101, SEA} & set(now.recommend(k=60, new_items=True)["item_id"])
    assert now.recommend(["u0"], k=5, candidates=[100, SEA, 102])["item_id"].tolist() == [102]
    assert not {100, 101, SEA} & set(now.similar(102, k=60)["item_id"])
    with pytest.raises(DataError, match="'100' was removed"):
        now.similar("100")
    assert "u1" in now.recommend(["u1"])["user_id"].tolist()  # whose history has them
    titles = pd.read_csv(finished_run().parent / "items.csv").set_index("item_id")["title"]
    edit_items(bundle, items(tmp_path / "back.csv", [(100, titles[100]), (101, titles[101])]))
    edit_items(bundle, remove=ids(tmp_path, SPACE))
    back = answers(bundle)
    assert back["item_id"].tolist() == before["item_id"].tolist()
    assert np.allclose(back["score"], before["score"], atol=1e-5)


def test_replaced_content_counts_from_now_on(bundle: Path, tmp_path: Path) -> None:
    edit_items(bundle, new_items(tmp_path))
    edited = edit_items(
        bundle, items(tmp_path / "b.csv", [(SPACE, KINDS[1]), (100, "light words")])
    )
    assert (edited.added, edited.replaced) == (0, 2)
    now = Bundle.load(bundle).recommender()
    assert all(item % 2 for item in now.similar(SPACE, k=5)["item_id"])
    assert now.label([SPACE, 100]) == [KINDS[1], "light words"]
    assert len(now.item_ids) == N_ITEMS + 2


def test_a_rebuild_answers_the_same_and_has_nothing_beside_it(bundle: Path, tmp_path: Path) -> None:
    edit_items(bundle, new_items(tmp_path), ids(tmp_path, 104))
    edit_items(bundle, items(tmp_path / "b.csv", [(103, KINDS[0])]))
    before, digest = answers(bundle), Bundle.load(bundle).digest
    made = rebuild(bundle)
    assert made.digest != digest and made.card.counts["items"] == N_ITEMS + 2
    after = answers(bundle)
    assert after["item_id"].tolist() == before["item_id"].tolist()
    assert np.allclose(after["score"], before["score"], atol=1e-5)
    index = two_towers_of(made.recommender()).index
    assert isinstance(index, LiveIndex) and not len(index.numbers)  # removed is all that is left
    assert index.removed.tolist() == [4]
    edited = edit_items(bundle, items(tmp_path / "c.csv", [(2_000, KINDS[1]), (SPACE, KINDS[1])]))
    assert (edited.generation, edited.added, edited.replaced) == (4, 1, 1)
    assert 2_000 in Bundle.load(bundle).recommender().similar(SPACE, k=40)["item_id"].tolist()
    rebuild(bundle)
    assert rebuild(bundle).digest == Bundle.load(bundle).digest  # nothing to do


def test_what_changes_during_a_rebuild_is_kept(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_items(bundle, new_items(tmp_path), ids(tmp_path, 104, 105))
    from recsys.serving import rebuild as module

    build = module._build_index

    def meanwhile(*of: Any) -> Any:
        index = build(*of)
        later = [(2_000, KINDS[1]), (SEA, KINDS[0]), (104, KINDS[0])]
        edit_items(bundle, items(tmp_path / "later.csv", later), ids(tmp_path, 106))
        return index

    monkeypatch.setattr(module, "_build_index", meanwhile)
    made = rebuild(bundle)
    now = made.recommender()
    offered = set(now.recommend(k=60, new_items=True)["item_id"])
    assert {2_000, 104, SPACE} <= offered and not {105, 106} & offered
    assert now.label([SEA]) == [KINDS[0]]
    assert made.changes is not None and made.changes.rows.item_ids.tolist() == [104, SEA, 2_000]
    monkeypatch.setattr(module, "_build_index", build)
    before = answers(bundle)
    rebuild(bundle)
    assert answers(bundle)["item_id"].tolist() == before["item_id"].tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("item_id,title\n1000,\n", "'1000': no content that an encoder can read"),
        ("item_id,title\n1000,dark\n,light\n", "a row has no 'item_id'"),
        ("item_id,title\n1000,dark\n1000,light\n", "1 repeated id, first '1000'"),
        ("item_id,title\n1000,dark,1,2\n1001,light\n", "nothing was changed"),
        ("item_id,name\n1000,dark\n", r"has no column 'title', which \[content\.text\] reads"),
        ("sku,title\n1000,dark\n", "no item id column 'item_id'"),
        ("item_id,title\nabc,dark\n", "'abc' is no integer, as the 30 known are"),
        ("item_id,title\n", "holds no items"),
        ("", "empty"),
        ("\0\0\0\0", "bad"),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    bundle: Path, tmp_path: Path, text: str, says: str
) -> None:
    before = digest_files(bundle)
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(RecsysError, match=says) as refused:
        edit_items(bundle, path)
    assert "\n" not in str(refused.value)
    assert digest_files(bundle) == before


def test_what_the_rules_cannot_be_asked_of_changes_nothing(tmp_path: Path) -> None:
    """Else nobody could load the bundle any more."""
    bundle = copy_of(bundle_of("recommend.where=year < 2020"), tmp_path / "copy")
    before = digest_files(bundle)
    path = tmp_path / "new.csv"
    path.write_text("item_id,title,year,colour\n1000,dark space,soon,red\n")
    wrong = r"new.csv: column 'year' holds 'soon', expected numbers.*; nothing was changed"
    with pytest.raises(DataError, match=wrong):
        edit_items(bundle, path)
    assert digest_files(bundle) == before
    path.write_text("item_id,title,year,colour\n1000,dark space,2021,red\n")
    assert edit_items(bundle, path).ignored == ("colour",)
    made = Bundle.load(bundle).recommender()
    assert 1000 not in set(made.recommend(k=N_ITEMS, new_items=True)["item_id"])


def test_when_all_items_are_removed_nobody_gets_any(bundle: Path, tmp_path: Path) -> None:
    edit_items(bundle, new_items(tmp_path), ids(tmp_path, *range(100, 100 + N_ITEMS)))
    edit_items(bundle, None, ids(tmp_path, SPACE, SEA))
    for _ in range(2):
        assert answers(bundle).empty
        rebuild(bundle)
    edit_items(bundle, new_items(tmp_path))
    assert set(answers(bundle)["item_id"]) == {SPACE, SEA}


def test_what_cannot_be_removed_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    before = digest_files(bundle)
    with pytest.raises(DataError, match="unknown item id '7'"):
        edit_items(bundle, new_items(tmp_path), ids(tmp_path, 100, 7))
    with pytest.raises(DataError, match="item '100' is to be added and removed"):
        edit_items(bundle, items(tmp_path / "a.csv", [(100, "dark")]), ids(tmp_path, 100))
    with pytest.raises(ConfigError, match="give a file"):
        edit_items(bundle)
    with pytest.raises(DataError, match="no such file"):
        edit_items(bundle, tmp_path / "nowhere.csv")
    assert digest_files(bundle) == before
    with pytest.raises(ArtifactError, match=r"holds no bundle\.json"):
        edit_items(tmp_path, new_items(tmp_path))


def test_a_server_takes_changes_over_without_loading_the_bundle_again(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(bundle.resolve)
    client = TestClient(create_app(service))
    first = client.get("/health").json()
    assert first["changes"] == {"generation": 0, "added": 0, "replaced": 0, "removed": 0}
    words = ["items", str(bundle), "--add", str(new_items(tmp_path)), "--remove"]
    done = CliRunner().invoke(command_line, [*words, str(ids(tmp_path, 102))])
    assert done.exit_code == 0 and "items added 2, replaced 0, removed 1" in done.output
    base = service.current.recommender
    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "load", _never)
        assert service.refresh() and not service.refresh()
    assert two_towers_of(service.current.recommender).towers is two_towers_of(base).towers
    health = client.get("/health").json()
    assert health["changes"] == {"generation": 1, "added": 2, "replaced": 0, "removed": 1}
    assert health["bundle"] != first["bundle"]
    near = client.get("/search", params={"text": "dark space"}).json()
    found = [i["item_id"] for i in near["items"]]
    assert SPACE in found and 102 not in found
    assert client.get(f"/similar/{SPACE}").status_code == 200
    assert client.get("/similar/102").json() == {"error": "item: '102' was removed"}
    asked = {"user_id": "u1", "candidates": [SPACE, 102]}
    best = client.post("/recommend", json=asked).json()
    assert [i["item_id"] for i in best["items"]] == [SPACE] and best["bundle"] == health["bundle"]
    many = client.post("/recommend", json={"user_id": "u1", "k": 60, "new_items": True}).json()
    assert SEA in [i["item_id"] for i in many["items"]]
    why = client.post("/why", json={"user_id": "u1", "item_id": SPACE})
    assert why.status_code == 422 and "added or changed" in why.json()["error"]
    rebuild(bundle)
    assert service.refresh()
    after = client.post("/recommend", json={"user_id": "u1", "k": 60, "new_items": True}).json()
    assert [i["item_id"] for i in after["items"]] == [i["item_id"] for i in many["items"]]


def _never(*_: object) -> None:
    raise AssertionError("the bundle was loaded again")


def test_a_damaged_change_is_refused_and_the_old_one_goes_on_serving(
    bundle: Path, tmp_path: Path
) -> None:
    service = Service(bundle.resolve)
    edit_items(bundle, new_items(tmp_path))
    folder = bundle / "changes" / "000001"
    for name in digest_files(folder):
        path, whole = folder / name, (folder / name).read_bytes()
        for broken in (whole[: len(whole) // 2], b"x" + whole[1:], b""):
            path.write_bytes(broken)
            with pytest.raises(ArtifactError):
                Bundle.load(bundle).recommender()
            assert not service.refresh()
        path.write_bytes(whole)
    assert service.refresh()


def test_changes_of_another_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    edit_items(bundle, new_items(tmp_path))
    other = copy_of(bundle_of("newcomers.later=true"), tmp_path / "other")
    shutil.copytree(bundle / "changes", other / "changes")
    with pytest.raises(ArtifactError, match="changes of bundle"):
        Bundle.load(other)


def test_only_the_last_generations_are_kept(bundle: Path, tmp_path: Path) -> None:
    for n in range(4):
        edit_items(bundle, items(tmp_path / "a.csv", [(2_000 + n, KINDS[0])]))
    assert sorted(p.name for p in (bundle / "changes").iterdir()) == ["000003", "000004"]
    assert len(Bundle.load(bundle).recommender().item_ids) == N_ITEMS + 4
    card = json.loads((bundle / "changes" / "000004" / "changes.json").read_text())
    assert (card["generation"], card["added"]) == (4, 4)
