"""The same on a Ray cluster of two workers, of which one is killed: the same bytes.

In a process of its own: no other test may open a socket, and Ray's are all on 127.0.0.1.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import USERS, make_run

from recsys.cluster import _result, _Worker, spread
from recsys.config import EncoderOptions
from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.content.store import VectorStore
from recsys.errors import ArtifactError, ConfigError
from recsys.files import digest_files
from recsys.stages.recommend import recommend_stage
from recsys.stages.run import Run
from recsys.stages.stage import RECORD, perform

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is absent")

DRIVER = """
import json, logging, os, signal, sys
from dataclasses import replace
from pathlib import Path


from small_runs import config
from recsys import cluster
from recsys.stages.embed import embed_stage
from recsys.stages.recommend import recommend_stage
from recsys.stages.run import Run
from recsys.stages.stage import perform

seen, listening = [], set()

class Killer(logging.Handler):
    def emit(self, record):
        seen.append(record.args[1])
        if len(seen) == 5:
            os.kill(record.args[1], signal.SIGKILL)
            listening.update(addresses())

def addresses():
    \"\"\"Where processes that descend from this one listen, by /proc.\"\"\"
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray" not in (process / "cmdline").read_bytes():
                continue
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and cells[9] in inodes:
                yield cells[1].partition(":")[0]

logger = logging.getLogger("recsys.cluster")
logger.setLevel(logging.DEBUG)
logger.addHandler(Killer())
out, other = Path(sys.argv[1]), Path(sys.argv[2])
ray = cluster._import_ray()
with cluster._joined(ray, 2):
    run = Run(config(search="exact"), out, (0,), engine="ray")
    facts = perform(recommend_stage(run)).facts
    recommended = list(seen)
    perform(embed_stage(replace(run, out=other, vectors=other / "vectors")))
print(json.dumps({"facts": facts, "recommended": recommended, "all": len(seen),
                  "listening": sorted(listening)}))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("made") / "run", search="exact")
    perform(recommend_stage(run))
    return run


@pytest.fixture(scope="module")
def told(made: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver says; what it wrote is in its run and beside."""
    out, other = (tmp_path_factory.mktemp(name) for name in ("ray", "other"))
    for name in ("data", "content", "towers", "index"):
        (out / name).symlink_to(made.out / name)
    (other / "data").symlink_to(made.out / "data")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(out), str(other)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "out": out, "other": other}


@needs_ray
def test_a_killed_worker_is_replaced_and_the_bytes_are_the_same(
    made: Run, told: dict[str, Any]
) -> None:
    def parts(out: Path) -> dict[str, str]:
        return digest_files(out / "recommendations", leave_out=frozenset({RECORD}))

    assert parts(told["out"]) == parts(made.out)
    assert len(set(told["recommended"])) == 3, "two workers, and one in place of the killed"
    assert told["facts"]["users"] == USERS


@needs_ray
def test_vectors_land_in_the_same_store(made: Run, told: dict[str, Any]) -> None:
    here = digest_files(made.out.parent / "vectors")
    assert here and digest_files(told["other"] / "vectors") == here
    leave_out = frozenset({RECORD})
    blocks = digest_files(made.folder("content"), leave_out=leave_out)
    assert digest_files(told["other"] / "content", leave_out=leave_out) == blocks


@needs_ray
def test_nobody_outside_can_reach_the_cluster_of_one_machine(told: dict[str, Any]) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert told["listening"] and set(told["listening"]) <= loopback


def test_without_ray_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'not installed; pip install "recsys\[ray\]"'):
        list(spread(lambda: lambda task: task, range(2)))


def test_what_a_worker_finds_wrong_is_one_line_here() -> None:
    """Not a trace of the cluster's own calls."""

    def load() -> Callable[[int], int]:
        raise ArtifactError("towers: no such file; run the stage that writes it")

    told = _Worker(load, threads=torch.get_num_threads())({"item": [3]})
    with pytest.raises(ArtifactError, match=r"^towers: no such file"):
        _result(json.loads(told["result"][0]))
    assert _result({"done": {"part": 3}}) == {"part": 3}


def test_chunks_that_are_encoded_elsewhere_are_the_same(tmp_path: Path) -> None:
    """Without a cluster: the chunks in another order, by another store object."""
    contents = [f"{n} songs about {n % 7}" for n in range(600)] + [None, "", "0 songs about 0"]
    wanted = Wanted(
        device="cpu", options=EncoderOptions(), contents=contents, keep=tmp_path / "keep"
    )
    encoder = make_encoder("lsa", wanted)
    here = VectorStore(tmp_path / "here").encode(encoder, contents)
    store = VectorStore(tmp_path / "there")
    orders: list[int] = []

    def elsewhere(chunks: Any) -> Any:
        orders.extend(len(chunk) for chunk in chunks)
        for chunk in chunks[::-1]:
            yield VectorStore(tmp_path / "there").encode_chunk(
                encoder, [contents[row] for row in chunk]
            )

    there = store.encode(encoder, contents, spread=elsewhere)
    assert sum(orders) == 600 and len(orders) == 3
    np.testing.assert_array_equal(here.encoded.vectors, there.encoded.vectors)
    assert digest_files(tmp_path / "here") == digest_files(tmp_path / "there")
    assert here.report[:3] == there.report[:3]
