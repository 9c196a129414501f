"""A batch that is killed goes on where it stood, and nobody is lost or comes twice."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_runs import USERS, config, make_run

from recsys.batch import job as jobs
from recsys.config import Config
from recsys.errors import ArtifactError
from recsys.files import digest_files, resumed_folder
from recsys.stages.recommend import load_recommender, recommend_stage
from recsys.stages.run import Run
from recsys.stages.stage import RECORD, perform, read_record

PARTS = USERS // 10
FOLDER = "recommendations"

# A process that has loaded everything and forks what is killed: a start takes seconds. It prints
# how many parts were found finished in each life.
NURSERY = """
import os, random, signal, sys, time
from pathlib import Path
from small_runs import config
from recsys.stages.recommend import recommend_stage
from recsys.stages.run import Run
from recsys.stages.stage import perform

out, kills = Path(sys.argv[1]), int(sys.argv[2])
run = Run(config(search=sys.argv[3]), out, (0,))
moments = random.Random(0)
for life in range(kills):
    child = os.fork()
    if child == 0:
        perform(recommend_stage(run))
        os._exit(0)
    time.sleep(moments.uniform(0.0, 0.25))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print(len(list(out.glob(".*.unfinished/part-*"))), os.WIFSIGNALED(status))
perform(recommend_stage(run))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose recommendations were written in one go, by exact search."""
    run = make_run(tmp_path_factory.mktemp("made") / "run", search="exact")
    perform(recommend_stage(run))
    return run


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    """The same without recommendations."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("data", "content", "towers", "index"):
        (out / name).symlink_to(made.out / name)
    return replace(made, out=out)


def parts_of(run: Run) -> dict[str, str]:
    return digest_files(run.folder(FOLDER), leave_out=frozenset({RECORD}))


def unfinished(run: Run) -> Path:
    (folder,) = run.out.glob(f".{FOLDER}.*.unfinished")
    return folder


class Killed(BaseException):
    """Stands for a kill."""


def kill_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the batch die when it begins one part more; the list has the parts it began."""
    begun: list[int] = []
    users_of = jobs.Job.users_of

    def counted(self: jobs.Job, part: int) -> object:
        if part not in begun:
            begun.append(part)
        if len(begun) > parts:
            raise Killed
        return users_of(self, part)

    monkeypatch.setattr(jobs.Job, "users_of", counted)
    return begun


def test_killed_at_random_moments_it_ends_with_the_same_bytes(made: Run, run: Run) -> None:
    words = [sys.executable, "-c", NURSERY, str(run.out), "25", "exact"]
    told = subprocess.run(
        words, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stderr
    lives = [line.split() for line in told.stdout.splitlines()]
    assert sum(killed == "True" for _, killed in lives) >= 5, "it was always too late to kill"
    assert parts_of(run) == parts_of(made)
    table = pq.read_table(sorted(run.folder(FOLDER).glob("*.parquet"))).to_pandas()
    assert table["user_id"].nunique() == USERS
    assert not table.duplicated(["user_id", "rank"]).any() and len(table) == 5 * USERS
    assert not list(run.out.glob(".*"))


def test_the_table_is_what_the_recommender_says(made: Run) -> None:
    table = pq.read_table(sorted(made.folder(FOLDER).glob("*.parquet"))).to_pandas()
    expected = load_recommender(made).recommend(k=5)
    pd.testing.assert_frame_equal(
        table.astype({"user_id": str, "item_id": str}),
        expected.astype({"user_id": str, "item_id": str}),
        check_exact=False,
        atol=1e-6,
    )


def test_only_what_is_missing_is_made(made: Run, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_after(20, monkeypatch)
    with pytest.raises(Killed):
        perform(recommend_stage(run))
    assert len(list(unfinished(run).glob("part-*"))) == 20
    monkeypatch.undo()
    begun = kill_after(PARTS, monkeypatch)
    record = perform(recommend_stage(run))
    assert begun == list(range(20, PARTS))
    assert parts_of(run) == parts_of(made)
    assert record.facts == read_record(made.folder(FOLDER))["facts"]
    assert perform(recommend_stage(run)).skipped


@pytest.mark.parametrize("harm", ["cut", "replaced", "gone", "half a file", "torn journal"])
def test_parts_that_are_not_whole_are_made_again(
    made: Run, run: Run, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    kill_after(20, monkeypatch)
    with pytest.raises(Killed):
        perform(recommend_stage(run))
    part = unfinished(run) / "part-00007.parquet"
    if harm == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    elif harm == "replaced":  # of the right size, but no parquet
        part.write_bytes(b"x" * part.stat().st_size)
    elif harm == "gone":
        part.unlink()
    elif harm == "half a file":
        (unfinished(run) / "..journal.jsonl.1.partial").write_bytes(b"{")
    else:
        journal = unfinished(run) / ".journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-5])
    monkeypatch.undo()
    begun = kill_after(PARTS, monkeypatch)
    perform(recommend_stage(run))
    again = {"torn journal": [19], "half a file": []}.get(harm, [7])
    assert begun == [*again, *range(20, PARTS)]
    assert parts_of(run) == parts_of(made)


@pytest.mark.parametrize("change", ["k", "force"])
def test_another_question_begins_afresh(
    run: Run, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    kill_after(20, monkeypatch)
    with pytest.raises(Killed):
        perform(recommend_stage(run))
    monkeypatch.undo()
    asked: Config = config(search="exact", k=3) if change == "k" else run.config
    begun = kill_after(PARTS, monkeypatch)
    perform(recommend_stage(replace(run, config=asked)), force=change == "force")
    assert begun == list(range(PARTS))
    assert not list(run.out.glob(".*"))


def test_it_goes_on_with_the_search_that_it_began_with(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is busy otherwise the other may be faster; the parts would differ."""
    speeds = {"index": 10, "exact": 1}
    monkeypatch.setattr("recsys.batch.search._measure", lambda *_: dict(speeds))
    run = replace(run, config=config(search="auto"))
    kill_after(5, monkeypatch)
    with pytest.raises(Killed):
        perform(recommend_stage(run))
    monkeypatch.undo()
    monkeypatch.setattr("recsys.batch.search._measure", lambda *_: {"index": 1, "exact": 10})
    facts = perform(recommend_stage(run)).facts
    assert facts["search"] == {"search": "index", "users_per_second": speeds}


def test_two_at_once_are_refused(run: Run) -> None:
    with (
        resumed_folder(run.folder(FOLDER), "0" * 64),
        pytest.raises(ArtifactError, match="another process is writing it; wait"),
    ):
        perform(recommend_stage(run))
    assert perform(recommend_stage(run)).facts["users"] == USERS


def test_some_users_in_their_own_order(run: Run, tmp_path: Path) -> None:
    ids = load_recommender(run, log=False).user_ids.values
    asked = np.random.default_rng(0).permutation(ids)[:35]
    (tmp_path / "users.txt").write_text("\n".join(map(str, asked)))
    wishes = replace(run.wishes, users=tmp_path / "users.txt")
    perform(recommend_stage(replace(run, wishes=wishes)))
    table = pq.read_table(sorted(run.folder(FOLDER).glob("*.parquet"))).to_pandas()
    assert table["user_id"].unique().tolist() == asked.tolist()
    whole = load_recommender(run).recommend(asked.tolist(), k=5)
    assert table["item_id"].tolist() == whole["item_id"].tolist()
