"""Another bundle takes over without a gap; a broken one does not take over at all."""

import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from small_bundles import bundle_of, copy_of, link
from threadpoolctl import ThreadpoolController, threadpool_limits

from recsys.errors import ArtifactError
from recsys.index.exact import ExactIndex
from recsys.recommenders.changed import two_towers_of
from recsys.serving.app import Limits, create_app
from recsys.serving.bundle import CARD, Bundle
from recsys.serving.served import Served, Service
from recsys.serving.server import serve, source_of

OTHER = "seed=1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    link(tmp_path / "served", bundle_of())
    return tmp_path / "served"


def test_requests_during_swaps_are_all_answered_by_one_bundle_each(path: Path) -> None:
    service = Service(path.resolve)
    folders = [bundle_of(OTHER), bundle_of()] * 4
    expected = {
        bundle.card.digest: bundle.recommender().recommend(["u3"])["item_id"].tolist()
        for bundle in map(Bundle.load, folders[:2])
    }
    assert len(set(map(tuple, expected.values()))) == 2  # they can be told apart
    seen: Counter[str] = Counter()
    ended = threading.Event()

    def ask(client: TestClient) -> None:
        while not ended.is_set():
            answer = client.post("/recommend", json={"user_id": "u3"})
            assert answer.status_code == 200
            digest = answer.json()["bundle"]
            assert [i["item_id"] for i in answer.json()["items"]] == expected[digest]
            seen[digest] += 1

    app = create_app(service, Limits(threads=2, seconds=60))
    with TestClient(app) as client, ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, client) for _ in range(3)]
        try:
            for folder in folders:
                link(path, folder)
                assert service.refresh()
        finally:
            ended.set()
        for one in asking:
            one.result()
    assert service.swaps == len(folders)
    assert seen.keys() == expected.keys()


@pytest.mark.parametrize("what", ["half", "altered", "absent", "empty"])
def test_a_broken_bundle_is_told_of_once_and_the_old_one_goes_on(
    what: str, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(path.resolve)
    old = service.current
    broken = copy_of(bundle_of(OTHER), tmp_path / "broken")
    file = broken / "towers" / "weights.safetensors"
    match what:
        case "half":
            file.write_bytes(file.read_bytes()[:1_000])
        case "altered":
            file.write_bytes(file.read_bytes()[:-1] + b"\0")
        case "absent":
            file.unlink()
        case "empty":
            (broken / CARD).write_text("")
    link(path, broken)
    assert [service.refresh(), service.refresh()] == [False, False]
    assert service.current is old
    assert service.failures == len(caplog.records) == 1
    assert "goes on serving" in caplog.text
    link(path, bundle_of(OTHER))  # and when the right one comes, it is taken
    assert service.refresh()


def test_a_broken_bundle_is_read_again_only_when_it_changed_or_when_woken(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(path.resolve)
    broken = copy_of(bundle_of(OTHER), tmp_path / "broken")
    file = broken / "towers" / "weights.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    link(path, broken)
    read: list[Path] = []
    load = Served.load

    def noted(folder: Path) -> Served:
        read.append(folder)
        return load(folder)

    monkeypatch.setattr(Served, "load", noted)
    assert not any(service.refresh() for _ in range(3)) and read == [broken]
    thread = service.watch(every=600)
    service.wake()
    ends = time.monotonic() + 60
    while len(read) < 2 and time.monotonic() < ends:
        time.sleep(0.01)
    service.stop()
    thread.join(10)
    assert len(read) == 2
    file.write_bytes(whole[:-1])  # on its way
    assert not service.refresh() and not service.refresh() and len(read) == 3
    file.write_bytes(whole)
    assert service.refresh() and len(read) == 4


def test_a_reason_that_may_pass_is_no_reason_to_stop_looking(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(path.resolve)
    link(path, bundle_of(OTHER))

    def no_memory(folder: Path) -> Served:
        raise OSError("cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(Served, "load", no_memory)
        assert not service.refresh()
    assert service.refresh()


def test_a_folder_replaced_in_its_place_is_taken_over(tmp_path: Path) -> None:
    folder = copy_of(bundle_of(), tmp_path / "b")
    service = Service(folder.resolve)
    assert not service.refresh()
    folder.rename(tmp_path / "old")
    assert not service.refresh()  # for a moment there is none
    copy_of(bundle_of(OTHER), tmp_path / "new").rename(folder)
    assert service.refresh()
    assert service.current.bundle.card.digest == Bundle.load(bundle_of(OTHER)).card.digest


def test_watching_takes_over_when_woken(path: Path) -> None:
    service = Service(path.resolve)
    thread = service.watch(every=600)
    link(path, bundle_of(OTHER))
    service.wake()
    ends = time.monotonic() + 60
    while not service.swaps and time.monotonic() < ends:
        time.sleep(0.01)
    service.stop()
    thread.join(10)
    assert service.swaps == 1 and not thread.is_alive()


def test_what_is_like_what_is_made_once_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served.load(bundle_of("newcomers.later=true"))
    assert two_towers_of(served.recommender).towers.newcomers is not None  # else it is the index

    def again(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(ExactIndex, "build", again)
    assert served.similar(105, 3) == served.similar(105, 3)


def test_requests_run_in_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def run(*_: object, **__: object) -> None:
        blas = ThreadpoolController().select(user_api="blas").info()
        threads.extend([torch.get_num_threads(), *(one["num_threads"] for one in blas)])

    monkeypatch.setattr("uvicorn.run", run)
    before = signal.getsignal(signal.SIGHUP), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threadpool_limits(2, "blas"):
            source = source_of(str(bundle_of()), "")
            serve(source, host="", port=0, reload=600, limits=Limits())
    finally:
        signal.signal(signal.SIGHUP, before[0])
        torch.set_num_threads(before[1])
    assert len(threads) > 1 and set(threads) == {1}


def test_there_is_no_service_without_a_whole_bundle(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no bundle\.json"):
        Service(tmp_path.resolve)
