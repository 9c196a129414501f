"""Over HTTP: right answers, one clear line for what is wrong, limits, and never a trace."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from small_bundles import bundle_of

from recsys.errors import ArtifactError
from recsys.serving.app import Limits, create_app
from recsys.serving.served import Service


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(bundle_of)


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    limits = Limits(seconds=20.0, body=5_000)
    with TestClient(create_app(service, limits), raise_server_exceptions=False) as client:
        yield client


def ids(answer: Any) -> list[Any]:
    return [found["item_id"] for found in answer.json()["items"]]


def test_a_known_user_gets_what_the_recommender_says(client: TestClient, service: Service) -> None:
    answer = client.post("/recommend", json={"user_id": "u3", "k": 4})
    expected = service.current.recommender.recommend(["u3"], k=4)
    assert answer.status_code == 200
    assert ids(answer) == expected["item_id"].tolist()
    first = answer.json()["items"][0]
    assert (first["rank"], first["score"]) == (1, expected["score"][0])
    assert first["title"] == service.current.recommender.label([first["item_id"]])[0]
    assert answer.json()["bundle"] == service.current.bundle.card.digest


def test_somebody_new_by_history_and_attributes(client: TestClient, service: Service) -> None:
    new: dict[str, Any] = {"history": [100, "102"], "attributes": {"age": 30}}
    answer = client.post("/recommend", json=new)
    assert ids(answer) == service.current.recommender.recommend(**new)["item_id"].tolist()
    assert not {100, 102} & set(ids(answer))
    seen = client.post("/recommend", json=new | {"exclude_seen": False, "k": 30})
    assert {100, 102} <= set(ids(seen))


def test_candidates_and_exclude(client: TestClient) -> None:
    asked = {"user_id": "u3", "exclude_seen": False, "candidates": [104, 105], "exclude": [105]}
    assert ids(client.post("/recommend", json=asked)) == [104]


def test_similar_search_and_why(client: TestClient, service: Service) -> None:
    similar = client.get("/similar/104", params={"k": 3})
    assert ids(similar) == service.current.recommender.similar(104, 3)["item_id"].tolist()
    found = client.get("/search", params={"text": "sea shanty", "k": 2})
    assert all(item % 2 == 1 for item in ids(found)) and len(ids(found)) == 2
    why = client.post("/why", json={"user_id": "u3", "item_id": 104}).json()
    assert sum(part["value"] for part in why["item"]["parts"]) == pytest.approx(
        why["score"], abs=1e-4
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": "u3", "k": 0}, "k"),
        ({"user_id": "u3", "k": 1_001}, "k"),
        ({"user_id": "u3", "k": "5"}, "k"),
        ({"user_id": "u3", "kk": 5}, "kk"),
        ({"user_id": 1.5}, "user_id"),
        ({"history": "100"}, "history"),
        ({"history": [None]}, "history.0"),
    ],
)
def test_a_wrong_field_is_named(client: TestClient, body: dict[str, Any], field: str) -> None:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 422
    assert all(name.startswith(field) for name in answer.json()["fields"])


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"user_id": "nobody"}, 404, "nobody"),
        ({"user_id": "u3", "exclude": [7]}, 404, "exclude: 7"),
        ({"user_id": "u3", "candidates": [100, 7, 8]}, 404, "7 and 1 more"),
        ({"history": [7]}, 422, "history"),
        ({"attributes": {"height": 7}}, 422, "height"),
        ({"user_id": "u3", "history": [100]}, 422, "not both"),
        ({}, 422, "give user_id"),
    ],
)
def test_the_unknown_is_one_clear_line(
    client: TestClient, body: dict[str, Any], status: int, word: str
) -> None:
    answer = client.post("/recommend", json=body)
    assert (answer.status_code, answer.json().keys()) == (status, {"error"})
    assert word in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert "u0" not in answer.text  # nobody else's id


def test_unknown_items_routes_and_methods(client: TestClient) -> None:
    assert client.get("/similar/7").status_code == 404
    assert client.post("/why", json={"user_id": "u3", "item_id": 7}).status_code == 404
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert client.get("/recommend").status_code == 405


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b'{"user_id": "\\ud800"}', b'{"k": NaN}', b"[" * 4_000, b"null"]
)
def test_what_is_no_json_is_the_clients_fault(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/recommend", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


def test_long_bodies_are_refused_with_and_without_a_length(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * 1_000] * 6

    for content in (b" " * 5_001, chunks()):
        assert client.post("/recommend", content=content).status_code == 413
    fits = b'{"user_id": "u3"}'.ljust(5_000)
    headers = {"content-type": "application/json"}
    assert client.post("/recommend", content=fits, headers=headers).status_code == 200


def test_no_answer_in_time_is_a_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(type(service.current), "similar", lambda *_: {"late": free.wait(20)})
    with TestClient(create_app(service, Limits(threads=1, seconds=0.1))) as client:
        started = time.monotonic()
        answers = [client.get("/similar/104") for _ in range(2)]  # computed, and waiting
        assert [answer.status_code for answer in answers] == [503, 503]
        assert time.monotonic() - started < 5
        free.set()


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), ArtifactError("secret path")])
def test_our_own_fault_gives_an_id_and_the_trace_goes_to_the_log(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    service: Service, error: Exception,
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(service.current), "similar", fail)
    answer = client.get("/similar/104")
    assert answer.status_code == 500
    name = answer.json()["error"].removeprefix("internal error ")
    assert "secret" not in answer.text
    assert name in caplog.text and "secret" in caplog.text


def test_health_and_metrics(client: TestClient, service: Service) -> None:
    card = service.current.bundle.card
    health = client.get("/health").json()
    assert (health["status"], health["bundle"], health["search"]) == ("ok", card.digest, True)
    for _ in range(3):
        client.get("/similar/104")
    client.get("/similar/7")
    lines = client.get("/metrics").text.splitlines()
    assert 'recsys_requests_total{route="/similar/{item:path}",status="200"} 3.0' in lines
    assert 'recsys_requests_total{route="/similar/{item:path}",status="404"} 1.0' in lines
    assert 'recsys_request_seconds_count{route="/similar/{item:path}"} 4.0' in lines
    assert any(card.digest in line for line in lines)
