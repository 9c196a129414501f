"""Requests made out of the OpenAPI by schemathesis, right and wrong ones, without a socket."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

__all__ = ["send_requests"]

Answers = Counter[tuple[str, int]]  # route and status -> how often


def send_requests(app: FastAPI, n: int, known: Sequence[tuple[str, Any]]) -> Answers:
    """Send about n requests, as many to each route that takes anything, half of them malformed.

    Args:
        app: that answers; what it raises is raised here.
        n: how many.
        known: such as ``("user_id", "u3")``: what every second request names in place of what was
            made up, lest nothing but unknown ids be asked for.

    Returns:
        How often a route answered with a status.
    """
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    asked = [one for one in operations if one.body or one.query or one.path_parameters]
    answers: Answers = Counter()
    for operation in asked:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _send(operation, mode, max(1, n // (2 * len(asked))), dict(known), answers)
    return answers


def _send(
    operation: Any, mode: GenerationMode, n: int, known: dict[str, Any], answers: Answers
) -> None:
    numbers = count()

    @seed(0)
    @settings(max_examples=n, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if next(numbers) % 2:
            for part in (case.body, case.path_parameters, case.query):
                if isinstance(part, dict):
                    part.update({key: known[key] for key in known.keys() & part.keys()})
        answers[operation.label, case.call().status_code] += 1

    try:
        send()
    except Unsatisfiable:  # nothing about it could be malformed
        return
