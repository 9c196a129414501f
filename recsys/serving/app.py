"""The HTTP interface of a bundle."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recsys import __version__
from recsys.errors import ArtifactError, RecsysError
from recsys.serving.answers import DEFAULT_K, LARGEST_K
from recsys.serving.guards import BodyLimit, Json, Observed, Requests
from recsys.serving.messages import Failure, Health, Recommend, Recommended, Similar, Why
from recsys.serving.served import Cannot, NotKnown, Service

__all__ = ["Limits", "create_app"]

SHOWN_FIELDS = 20  # of a request in which everything is wrong
FAILURES: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "A user, item or ability that is not known."},
    413: {"model": Failure, "description": "The body is too long."},
    422: {"model": Failure, "description": "A field cannot be; which one is said."},
    503: {"model": Failure, "description": "It took too long; try again later."},
}
ManyItems = Annotated[int, Query(ge=1, le=LARGEST_K, description="How many items.")]
ItemInPath = Annotated[str, Path(min_length=1, max_length=1_000, description="An item id.")]
Text = Annotated[str, Query(min_length=1, max_length=10_000, description='Such as "dark opera".')]


@dataclass(frozen=True)
class Limits:
    """What a server does for one request at most.

    Attributes:
        threads: requests that are computed at the same time.
        seconds: until an answer, waiting included.
        body: bytes.
    """

    threads: int = 2
    seconds: float = 5.0
    body: int = 1_000_000


def create_app(service: Service, limits: Limits | None = None) -> FastAPI:
    """Build the app.

    Args:
        service: the bundle that answers, which may change at any time.
        limits: of requests.
    """
    limits = limits or Limits()
    app = FastAPI(title="recsys", version=__version__, docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    registry.register(_AboutBundle(service))
    app.add_middleware(BodyLimit, longest=limits.body, seconds=limits.seconds)
    app.add_middleware(Observed, requests=Requests(registry))  # the last one added is outermost
    _add_failures(app)
    _add_answers(app, service, limits)

    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """What is being served."""
        return Json(service.current.health())

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _add_answers(app: FastAPI, service: Service, limits: Limits) -> None:
    pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="answer")

    async def answer(work: Callable[[], Any]) -> Json:
        # What is computed cannot be stopped, so it keeps its thread; what waits is given up.
        future = asyncio.get_running_loop().run_in_executor(pool, work)
        try:
            return Json(await asyncio.wait_for(future, limits.seconds))
        except TimeoutError:
            text = f"no answer within {limits.seconds:g} s; try again later"
            return Json({"error": text}, status_code=503, headers={"retry-after": "1"})

    @app.post("/recommend", response_model=Recommended, responses=FAILURES)
    async def recommend(asked: Recommend) -> Response:
        """The best items of a known user, or of somebody new."""
        return await answer(partial(service.current.recommend, asked))

    @app.get("/similar/{item:path}", response_model=Similar, responses=FAILURES)
    async def similar(item: ItemInPath, k: ManyItems = DEFAULT_K) -> Response:
        """The items nearest to an item."""
        return await answer(partial(service.current.similar, item, k))

    @app.get("/search", response_model=Similar, responses=FAILURES)
    async def search(text: Text, k: ManyItems = DEFAULT_K) -> Response:
        """The items whose content is nearest to a text."""
        return await answer(partial(service.current.find, text, k))

    @app.post("/why", responses=FAILURES)
    async def why(asked: Why) -> Response:
        """What a user's score of an item is made of."""
        return await answer(partial(service.current.why, asked))


def _add_failures(app: FastAPI) -> None:
    """Every failure is one line of json."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        del request
        fields = {
            ".".join(map(str, fault["loc"][1:])) or str(fault["loc"][0]): str(fault["msg"])
            for fault in error.errors()[:SHOWN_FIELDS]
        }
        name, message = next(iter(fields.items()))
        return Json({"error": f"{name}: {message}", "fields": fields}, status_code=422)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        del request
        return Json({"error": str(error.detail)}, status_code=error.status_code)

    @app.exception_handler(RecsysError)
    async def failed(request: Request, error: RecsysError) -> Response:
        del request
        if isinstance(error, ArtifactError):  # ours, not the client's
            raise error
        fields = {"fields": error.fields} if isinstance(error, Cannot) else {}
        status = 404 if isinstance(error, NotKnown) else 422
        return Json({"error": str(error)} | fields, status_code=status)


class _AboutBundle(Collector):
    """Which bundle is served, as Prometheus asks."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> list[Metric]:
        card = self.service.current.bundle.card
        about = InfoMetricFamily("recsys_bundle", "The bundle that answers.")
        about.add_metric([], {"digest": card.digest, "name": card.name, "made": card.made})
        swaps = CounterMetricFamily("recsys_swaps", "Bundles swapped in.")
        swaps.add_metric([], self.service.swaps)
        broken = CounterMetricFamily("recsys_swap_failures", "Bundles that could not be used.")
        broken.add_metric([], self.service.failures)
        return [about, swaps, broken]
