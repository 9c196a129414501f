"""Conditions over HTTP: applied, refused with their field, and the rules of the bundle hold."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from small_bundles import bundle_of

from recsys.serving.app import create_app
from recsys.serving.served import Service

YOUNG, OLD = "u3", "u33"
WORDS = (
    "recommend.rules=[{users = 'age < 30', items = \"title in ['dark space opera part 4', "
    "'light sea shanty part 5', 'light sea shanty part 7']\"}]",
    "recommend.rerank.dampening=0.2",
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(Service(lambda: bundle_of(*WORDS)))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def ids(client: TestClient, **asked: Any) -> list[Any]:
    answer = client.post("/recommend", json={"k": 30, "exclude_seen": False} | asked)
    assert answer.status_code == 200, answer.text
    return sorted(found["item_id"] for found in answer.json()["items"])


def test_rules_of_the_bundle_hold_for_whom_they_are_about(client: TestClient) -> None:
    assert ids(client, user_id=YOUNG) == [104, 105, 107]
    assert len(ids(client, user_id=OLD)) == 30
    assert ids(client, attributes={"age": 12}) == [104, 105, 107]
    assert len(ids(client, attributes={"age": 50})) == 30
    assert len(ids(client, history=[100])) == 30, "of whom nothing is known, no rule is about"


def test_a_condition_narrows_the_answer(client: TestClient) -> None:
    where = "title == 'dark space opera part 4' or title == 'dark space opera part 6'"
    assert ids(client, user_id=OLD, where=where) == [104, 106]
    assert ids(client, user_id=YOUNG, where=where) == [104]
    assert ids(client, user_id=OLD, where=where, candidates=[106, 107]) == [106]
    assert ids(client, user_id=OLD, where="title is None") == []


@pytest.mark.parametrize(
    ("asked", "field", "message"),
    [
        ({"where": "prize < 3"}, "where", "prize < 3: the catalogue has no column 'prize'"),
        ({"where": "title <"}, "where", "cannot be read at letter 7"),
        ({"where": "title < 3"}, "where", "expected numbers"),
        ({"where": ""}, "where", "at least 1 character"),
        ({"where": "x" * 1_001}, "where", "at most 1000 characters"),
        ({"where": 3}, "where", "valid string"),
    ],
)
def test_a_condition_that_cannot_be_is_a_422_with_its_field(
    client: TestClient, asked: dict[str, Any], field: str, message: str
) -> None:
    answer = client.post("/recommend", json={"user_id": YOUNG} | asked)
    assert answer.status_code == 422
    assert message in answer.json()["fields"][field]
    assert answer.json()["error"].startswith(f"{field}: ")


@pytest.mark.parametrize("age", ["old", True])
def test_an_attribute_that_no_rule_can_compare_is_named(client: TestClient, age: object) -> None:
    answer = client.post("/recommend", json={"attributes": {"age": age}})
    assert answer.status_code == 422
    assert "expected numbers" in answer.json()["fields"]["attributes"]


def test_ids_in_messages_are_ids(client: TestClient) -> None:
    answer = client.post("/recommend", json={"attributes": {"age": None}})
    assert answer.status_code == 422
    assert "such as '100'" in answer.json()["error"]


def test_no_text_for_a_condition_is_our_fault(client: TestClient) -> None:
    dice = random.Random(0)  # noqa: S311
    parts = ["title", "(", ")", "and", "or", "not", "==", "<", "in", "'a'", "[", "]", "3", ",", "."]
    parts += ["`", "'", '"', "\\", "\x00", "\ud800", "é", "True", "None", "is", "9" * 400, "lambda"]
    statuses = set()
    for _ in range(150):
        where = " ".join(dice.choices(parts, k=dice.randint(1, 8)))
        body = json.dumps({"user_id": YOUNG, "where": where, "k": 1})
        answer = client.post("/recommend", content=body)
        statuses.add(answer.status_code)
    assert statuses <= {200, 422}
