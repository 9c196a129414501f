"""Parts in a folder and in stores of fsspec: the same files, and nobody else's are touched."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from small_runs import USERS, config, make_run

from recsys.batch import job as jobs
from recsys.batch.places import Folder, Store, open_place
from recsys.errors import ConfigError
from recsys.files import read_json
from recsys.stages.recommend import recommend_stage
from recsys.stages.run import Run
from recsys.stages.stage import Record, perform


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("made") / "run", search="exact")
    return replace(made, config=config(search="exact", part_users=100))


@pytest.fixture(params=["memory", "file", "path"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own in each kind of place."""
    kinds = {"memory": f"memory://{uuid4()}", "file": f"file://{tmp_path}/parts"}
    return kinds.get(request.param, str(tmp_path / "parts"))


def recommend(run: Run, where: str | None) -> Record:
    return perform(recommend_stage(replace(run, wishes=replace(run.wishes, to=where))), force=True)


def test_parts_go_where_they_are_sent(run: Run, where: str) -> None:
    recommend(run, None)
    here = Folder(run.folder("recommendations"))
    expected = {name: here.open(name).read() for name in here.sizes()}
    recommend(run, where)
    there = open_place(where)
    assert {name: there.open(name).read() for name in there.sizes()} == expected
    assert {name: here.open(name).read() for name in here.sizes()} == expected  # the run's own stay
    told = [read_json(record) for record in run.out.glob("sent/*/parts.json")]
    assert {"to": where, "sizes": {name: len(b) for name, b in expected.items()}} in told
    assert isinstance(there, Store) == where.startswith("memory")
    fewer = replace(run, config=config(search="exact", part_users=400))
    recommend(fewer, where)  # what is ours may go
    assert sorted(there.sizes()) == ["part-00000.parquet", "part-00001.parquet"]


def test_a_killed_batch_goes_on_there(
    run: Run, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    asked = replace(run, wishes=replace(run.wishes, to=where))
    with monkeypatch.context() as patch:
        users_of = jobs.Job.users_of

        def dying(self: jobs.Job, part: int) -> object:
            if part == 3:
                raise Killed
            return users_of(self, part)

        patch.setattr(jobs.Job, "users_of", dying)
        with pytest.raises(Killed):
            perform(recommend_stage(asked))
    assert len(open_place(where).sizes()) == 3
    made: list[int] = []
    write = jobs.Job.write

    def noted(self: jobs.Job, part: int, *rest: Any) -> object:
        made.append(part)
        return write(self, part, *rest)

    monkeypatch.setattr(jobs.Job, "write", noted)
    perform(recommend_stage(asked))
    assert made == [3, 4, 5]
    place = open_place(where)
    tables = [pq.read_table(place.open(name)) for name in sorted(place.sizes())]
    assert len({user for table in tables for user in table["user_id"].to_pylist()}) == USERS


def test_parts_that_are_gone_are_written_again(run: Run, where: str) -> None:
    stage = recommend_stage(replace(run, wishes=replace(run.wishes, to=where)))
    recommend(run, where)
    assert perform(stage).skipped
    place = open_place(where)
    sizes = place.sizes()
    place.clear()
    assert not perform(stage).skipped
    assert place.sizes() == sizes


def test_parts_of_something_else_are_left_alone(run: Run, where: str) -> None:
    place = open_place(where)
    place.write("part-00099.parquet", b"precious")
    with pytest.raises(ConfigError, match=r"holds part-00099.parquet and 0 more parts"):
        recommend(run, where)
    assert place.sizes() == {"part-00099.parquet": 8}


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--to nowhere://x: cannot be used"):
        open_place("nowhere://x")
