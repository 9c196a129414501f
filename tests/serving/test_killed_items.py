"""``kill -9`` at any moment of a change or a rebuild: the bundle is the old one or the new one."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_bundles import KINDS, bundle_of, copy_of

from recsys.serving.bundle import Bundle
from recsys.serving.edit import edit_items
from recsys.serving.rebuild import rebuild

POINTS = 6  # moments at which it is killed
# Forks for each moment a child that is killed before it writes for the n-th time: audit events
# come before every opening, renaming and removing. The last child is not killed.
WORKER = """
import os
import shutil
import signal
import sys
from pathlib import Path

import sklearn.feature_extraction.text  # once, and not in every child

from recsys.config import EncoderOptions
from recsys.content.text.prepare import Preparation
from recsys.serving.edit import edit_items
from recsys.serving.rebuild import rebuild

Preparation.of(EncoderOptions()).words("made ready once")
points = int(sys.argv[1])
WATCHED = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym"}


def work(folder, bundle, kill_at):
    seen = 0

    def watch(event, args):
        nonlocal seen
        if event == "open":
            path, mode, flags = args
            if not flags & (os.O_WRONLY | os.O_RDWR) or str(folder) not in str(path):
                return
        elif event not in WATCHED or (event == "ctypes.dlsym" and args[1] != "renameat2"):
            return
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    if folder.name == "edit":
        edit_items(bundle, folder / "new.csv")
    else:
        rebuild(bundle)
    (folder / "seen.txt").write_text(str(seen))


def forked(folder, bundle, kill_at):
    shutil.copytree(folder / "bundle", bundle)
    child = os.fork()
    if child == 0:
        work(folder, bundle, kill_at)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


for folder in map(Path, sys.argv[2:]):
    assert forked(folder, folder / "whole" / "b", 0) == 0
    total = int((folder / "seen.txt").read_text())
    last = range(max(1, total - points), total + 2)  # where names are given, and after all
    for moment in sorted({1 + n * total // points for n in range(points)} | set(last)):
        code = forked(folder, folder / f"at-{moment}" / "b", moment)
        print(folder.name, moment, code, flush=True)
"""


def prepare(folder: Path) -> Path:
    items = pd.DataFrame({"item_id": [1_000, 1_001], "title": KINDS})
    folder.mkdir()
    items.to_csv(folder / "new.csv", index=False)
    bundle = copy_of(bundle_of(), folder / "bundle")
    if folder.name == "rebuild":
        edit_items(bundle, folder / "new.csv")
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[int]]]:
    """Where it was done, and the moments of the kills of each."""
    folder = tmp_path_factory.mktemp("killed")
    folders = [prepare(folder / what) for what in ("edit", "rebuild")]
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(POINTS), *map(str, folders)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    moments: dict[str, list[int]] = {}
    for what, moment, code in map(str.split, done.stdout.splitlines()):
        assert code == "-9"
        moments.setdefault(what, []).append(int(moment))
    return folder, moments


@pytest.mark.parametrize("what", ["edit", "rebuild"])
def test_a_kill_leaves_the_old_or_the_new(
    what: str, killed: tuple[Path, dict[str, list[int]]]
) -> None:
    folder, moments = killed[0] / what, killed[1][what]
    assert len(moments) >= POINTS
    bundle, add = folder / "bundle", folder / "new.csv"
    before, after = Bundle.load(bundle), Bundle.load(folder / "whole" / "b")
    found = []
    for moment in moments:
        survivor = Bundle.load(folder / f"at-{moment}" / "b")
        assert survivor.digest in (before.digest, after.digest)
        found.append(survivor.digest == before.digest)
    last = Bundle.load(folder / f"at-{moments[-1]}" / "b").recommender()
    pd.testing.assert_frame_equal(last.recommend(["u0"]), after.recommender().recommend(["u0"]))
    assert any(found) and not all(found), "no kill came before, or none after"
    # what was left lying about is no hindrance, and goes
    first = folder / f"at-{moments[0]}" / "b"
    if what == "edit":
        edit_items(first, add)
        assert Bundle.load(first).digest == after.digest
    else:
        assert rebuild(first).card.counts == after.card.counts
    assert {path.name for path in first.parent.iterdir()} == {"b", ".b.lock"}
