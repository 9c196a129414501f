"""What all tests share: no sockets, real data where it lies, and a last word about both."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
MARK = "real_data"

real_data = {"passed": 0, "failed": 0, "skipped": 0}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="of the tests marked gpu: cpu or cuda")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where tests that run on any device compute."""
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data: ../shared/data is absent")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test may reach for the network, not even for this machine's own."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise OSError(f"tests open no socket, asked for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if item.get_closest_marker(MARK) and (report.when == "call" or report.outcome != "passed"):
        real_data[report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Real data that is there must be used: a skip would look like a pass."""
    if real_data["skipped"] and SHARED_DATA.is_dir():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    ran = real_data["passed"] + real_data["failed"]
    if not ran and not real_data["skipped"]:
        return
    missing = "" if SHARED_DATA.is_dir() else " for want of ../shared/data"
    print(f"real-data tests: {ran} ran, {real_data['skipped']} skipped{missing}")  # noqa: T201
