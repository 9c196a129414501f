"""A stage is done once, done again when something changed, and never half."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import ArtifactError
from recsys.stages.stage import RECORD, Stage, perform, read_record


class Counter:
    """Work that counts how often it is done."""

    def __init__(self, text: str = "same") -> None:
        self.times = 0
        self.text = text

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.times += 1
        (folder / "out.txt").write_text(self.text)
        return {"length": len(self.text)}


def make_stage(tmp_path: Path, work: Counter, **changes: Any) -> Stage:
    stage = Stage("prepare", tmp_path / "data", {"a": 1}, (), (tmp_path / "log.csv",), work)
    (tmp_path / "log.csv").touch()
    return replace(stage, **changes)


def test_a_stage_is_done_once_and_says_so(tmp_path: Path) -> None:
    work = Counter()
    first, second = (perform(make_stage(tmp_path, work)) for _ in range(2))
    assert (first.skipped, second.skipped, work.times) == (False, True, 1)
    assert second.facts == first.facts == {"length": 4}
    record = read_record(tmp_path / "data")
    assert {"stage", "settings", "inputs", "outputs", "versions", "seconds"} <= set(record)


@pytest.mark.parametrize("what", ["settings", "file", "output", "lost output", "force"])
def test_a_stage_is_done_again_when_something_changed(tmp_path: Path, what: str) -> None:
    work = Counter()
    stage = make_stage(tmp_path, work)
    perform(stage)
    if what == "settings":
        stage = replace(stage, settings={"a": 2})
    elif what == "file":
        (tmp_path / "log.csv").write_text("other")
    elif what == "output":
        (tmp_path / "data" / "out.txt").write_text("altered")
    elif what == "lost output":
        (tmp_path / "data" / "out.txt").unlink()
    assert not perform(stage, force=what == "force").skipped
    assert (tmp_path / "data" / "out.txt").read_text() == "same"


def test_an_altered_or_missing_input_is_refused(tmp_path: Path) -> None:
    earlier = make_stage(tmp_path, Counter())
    later = replace(earlier, name="train", folder=tmp_path / "towers", reads=(earlier,))
    with pytest.raises(
        ArtifactError, match=r"data: not made yet; `recsys prepare CONFIG` makes it"
    ):
        perform(later)
    perform(make_stage(tmp_path, Counter()))
    perform(later)
    (tmp_path / "data" / "out.txt").write_text("altered")
    with pytest.raises(ArtifactError, match=r"out\.txt: is not what the stage 'prepare' wrote"):
        perform(later)


def test_a_later_stage_follows_what_its_input_holds_not_when_it_was_made(tmp_path: Path) -> None:
    later_work = Counter()
    earlier = make_stage(tmp_path, Counter())
    later = make_stage(
        tmp_path, later_work, name="train", folder=tmp_path / "towers", reads=(earlier,)
    )
    perform(make_stage(tmp_path, Counter()))
    perform(later)
    perform(make_stage(tmp_path, Counter()), force=True)
    assert perform(later).skipped, "the same bytes made again change nothing"
    perform(make_stage(tmp_path, Counter("other")), force=True)
    assert not perform(later).skipped


def test_a_stage_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    perform(make_stage(tmp_path, Counter()))

    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("half")
        raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        perform(replace(make_stage(tmp_path, Counter()), work=fail), force=True)
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names == sorted(["out.txt", RECORD])


def test_an_input_of_other_settings_or_files_is_refused(tmp_path: Path) -> None:
    """Else towers of one seed could be evaluated as those of another."""
    earlier = make_stage(tmp_path, Counter())
    perform(earlier)
    other = replace(earlier, settings={"a": 2})
    later = replace(earlier, name="train", folder=tmp_path / "towers", reads=(other,))
    with pytest.raises(ArtifactError, match="made with other settings"):
        perform(later)
    perform(replace(later, reads=(earlier,)))
    (tmp_path / "log.csv").write_text("a longer log")
    with pytest.raises(ArtifactError, match="made with other settings or from other files"):
        perform(replace(later, reads=(earlier,)))
