"""What stands around the app: limits of body and time, figures, and no trace for clients."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit", "Json", "Observed", "Requests"]

logger = logging.getLogger(__name__)

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Json(Response):
    """Json in ASCII, so that any text that came in (half a surrogate pair) can go out."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the content; NaN and infinity are refused."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Requests:
    """Figures about requests, for Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the figures."""
        self.total = Counter(
            "recsys_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "recsys_request_seconds", "Until the answer.", ["route"],
            registry=registry, buckets=BUCKETS,
        )  # fmt: skip


class Observed:
    """Counts and times every request, and turns what nobody caught into a 500 with an id."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        """Stand around an app."""
        self.app = app
        self.requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:  # the border: whatever it is, the trace goes to the log only
            name = uuid.uuid4().hex[:12]
            logger.exception("error %s", name)
            if status:  # too late for another answer; the connection is cut
                raise
            answer = Json({"error": f"internal error {name}"}, status_code=500)
            await answer(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.requests.total.labels(route, str(status)).inc()
            self.requests.seconds.labels(route).observe(time.perf_counter() - started)


class BodyLimit:
    """Reads the whole body before the app sees it; one that is too long or slow is refused."""

    def __init__(self, app: ASGIApp, longest: int, seconds: float) -> None:
        """Stand around an app.

        Args:
            app: that gets bodies of at most that length.
            longest: bytes.
            seconds: until a body must be here.
        """
        self.app = app
        self.longest = longest
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._read(scope["headers"], receive), self.seconds)
        except TimeoutError:
            await _refusal(408, f"the body took more than {self.seconds:g} s")(scope, receive, send)
            return
        if body is None:
            text = f"the body is longer than {self.longest:,} bytes"
            await _refusal(413, text)(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    async def _read(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes | None:
        """The body; None if it is too long."""
        said = dict(headers).get(b"content-length", b"0")
        if said.isdigit() and int(said) > self.longest:
            return None
        body, more = bytearray(), True
        while more and len(body) <= self.longest:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return None if len(body) > self.longest else bytes(body)


def _refusal(status: int, error: str) -> Json:
    headers: Mapping[str, str] = {"connection": "close"}  # the rest of the body is not read
    return Json({"error": error}, status_code=status, headers=dict(headers))
