"""Requests made out of the OpenAPI: none, however malformed, is our fault."""

import importlib
from pathlib import Path

import pytest
from small_bundles import bundle_of

from recsys.serving.app import create_app
from recsys.serving.served import Service

BENCHMARKS = Path(__file__).resolve().parents[2] / "pipelines" / "benchmarks"


def test_no_request_made_of_the_openapi_gives_a_5xx(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    monkeypatch.syspath_prepend(BENCHMARKS)
    send = importlib.import_module("serve_requests").send_requests
    known = [("user_id", "u3"), ("item_id", 104), ("item", "104"), ("text", "space")]
    answers = send(create_app(Service(bundle_of)), 200, known)
    statuses = {status for _, status in answers}
    assert sum(answers.values()) >= 150
    assert {200, 404, 422} <= statuses
    assert answers["GET /search", 200]  # it got through to all of the app
    assert max(statuses) < 500, answers
