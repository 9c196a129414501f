"""`recsys serve` under load while bundles are swapped, and under malformed requests.

    python pipelines/benchmarks/serve.py BUNDLE OTHER --seconds 300 --swaps 20
    python pipelines/benchmarks/serve.py BUNDLE --fuzz 10000

The first starts `recsys serve` on a link to BUNDLE, asks it over loopback from several connections,
and points the link to OTHER and back. The second needs no socket: schemathesis makes requests out
of the OpenAPI, right and wrong ones, and none may be answered by a 5xx.
"""

import argparse
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Process, Queue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from recsys.data.dataset import Dataset
from recsys.serving.app import create_app
from recsys.serving.bundle import read_bundle_card
from recsys.serving.served import Service

Told = tuple[list[float], Counter[str]]  # seconds of each answer, and what answered


def main() -> None:
    """Read the words and do what they ask."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--swaps", type=int, default=4)
    parser.add_argument("--clients", type=int, default=4, help="connections, each in a process")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--threads", type=int, default=2, help="of the server")
    parser.add_argument("--fuzz", type=int, default=0, help="malformed requests, instead")
    asked = parser.parse_args()
    if asked.fuzz:
        fuzz(asked.bundles[0], asked.fuzz)
    else:
        load(asked)


def load(asked: argparse.Namespace) -> None:
    """Ask, swap, and tell."""
    with suppress(OSError):
        _health(asked.port)
        sys.exit(f"port {asked.port} is taken: another server would be measured; give --port")
    with TemporaryDirectory() as scratch:
        link = Path(scratch) / "served"
        link.symlink_to(asked.bundles[0].resolve())
        words = [str(link), "--port", str(asked.port), "--threads", str(asked.threads)]
        server = subprocess.Popen([sys.executable, "-m", "recsys", "serve", *words])  # noqa: S603  (our own words)
        try:
            _wait(asked.port)
            told, digests = _ask_and_swap(asked, link, server)
        finally:
            server.terminate()
            server.wait()
    seconds = np.sort(np.concatenate([np.array(times) for times, _ in told]))
    answers = sum((counts for _, counts in told), Counter[str]())
    wrong = {name: n for name, n in answers.items() if not name.startswith("200 ")}
    p50, p99 = 1_000 * np.quantile(seconds, [0.5, 0.99])
    print(
        f"{len(seconds):,} requests in {asked.seconds:g} s by {asked.clients} clients: "
        f"{len(seconds) / asked.seconds:,.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"longest {1_000 * seconds[-1]:.0f} ms; {len(digests) - 1} swaps, "
        f"{sum(wrong.values())} errors {wrong or ''}"
    )
    print(f"by bundle: { ({name[4:16]: n for name, n in answers.items() if name not in wrong}) }")


def _ask_and_swap(
    asked: argparse.Namespace, link: Path, server: "subprocess.Popen[bytes]"
) -> tuple[list[Told], list[str]]:
    """Run the clients, and meanwhile swap; what they tell, and the digests that were served."""
    users = Dataset.load(asked.bundles[0] / "data").user_ids.values.tolist()
    results: Queue[Told] = Queue()
    clients = [
        Process(target=ask, args=(asked.port, users, asked.k, asked.seconds, seed, results))
        for seed in range(asked.clients)
    ]
    for client in clients:
        client.start()
    digests = [_health(asked.port)["bundle"]]
    stop = threading.Event()
    for swap in range(asked.swaps):
        stop.wait(asked.seconds / (asked.swaps + 1))
        target = asked.bundles[(swap + 1) % len(asked.bundles)].resolve()
        new = link.with_name("new")
        new.symlink_to(target)
        new.replace(link)
        server.send_signal(signal.SIGHUP)
        digests.append(_served(asked.port, read_bundle_card(target).digest))
    told = [results.get() for _ in clients]
    for client in clients:
        client.join()
    return told, digests


def ask(
    port: int, users: Sequence[Any], k: int, seconds: float, seed: int, results: "Queue[Told]"
) -> None:
    """Ask for recommendations of random users over one connection."""
    random, times = np.random.default_rng(seed), []
    answers: Counter[str] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    ends = time.monotonic() + seconds
    while (started := time.monotonic()) < ends:
        body = json.dumps({"user_id": users[int(random.integers(len(users)))], "k": k})
        try:
            connection.request("POST", "/recommend", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            found = json.loads(answer.read())
            answers[f"{answer.status} {found.get('bundle', found.get('error'))}"] += 1
        except (OSError, http.client.HTTPException) as error:
            answers[repr(error)] += 1
            connection.close()
        times.append(time.monotonic() - started)
    results.put((times, answers))


def fuzz(bundle: Path, n: int) -> None:
    """Send requests that schemathesis makes, and count the answers by route and status."""
    from serve_requests import send_requests

    service = Service(bundle.resolve)
    who = service.current.recommender
    items = who.item_ids.values.tolist()
    known = [("user_id", who.user_ids.values.tolist()[0]), ("item_id", items[0])]
    found = send_requests(
        create_app(service), n, [*known, ("item", str(items[0])), ("text", "a dark space opera")]
    )
    for (route, status), count in sorted(found.items()):
        print(f"{route:<30} {status} {count:>7,}")
    worst = sum(count for (_, status), count in found.items() if status >= 500)
    print(f"{sum(found.values()):,} requests, {worst} answered by 5xx")
    sys.exit(bool(worst))


def _health(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/health")
    return dict(json.loads(connection.getresponse().read()))


def _wait(port: int) -> None:
    """Until the server answers."""
    for _ in range(600):
        try:
            _health(port)
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the server does not answer")


def _served(port: int, digest: str) -> str:
    """Until a bundle is served."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        if _health(port)["bundle"] == digest:
            return digest
        time.sleep(0.1)
    sys.exit(f"{digest[:12]} is not served after a minute")


if __name__ == "__main__":
    main()
