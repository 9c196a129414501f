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

POINTS = 10  # moments at which it is killed
# Forks for each moment a child that is killed before it writes for the n-th time: audit events
# come before every opening, renaming and removing. The last child is not killed.
WORKER = """
import os
import shutil
import signal
import sys
from pathlib import Path

from recsys.serving.edit import edit_items
from recsys.serving.rebuild import rebuild

what, folder, points = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
add = folder / "new.csv"
WATCHED = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym"}


def work(bundle, kill_at):
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
    if what == "edit":
        edit_items(bundle, add)
    else:
        rebuild(bundle)
    (folder / "seen.txt").write_text(str(seen))


def forked(bundle, kill_at):
    shutil.copytree(folder / "bundle", bundle)
    child = os.fork()
    if child == 0:
        work(bundle, kill_at)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


assert forked(folder / "whole" / "b", 0) == 0
total = int((folder / "seen.txt").read_text())
last = range(max(1, total - points // 2), total + 2)  # where names are given, and after all
moments = sorted({1 + n * total // (points // 2) for n in range(points // 2)} | set(last))
for moment in moments:
    code = forked(folder / f"at-{moment}" / "b", moment)
    print(moment, code, total)
"""


@pytest.mark.parametrize("what", ["edit", "rebuild"])
def test_a_kill_leaves_the_old_or_the_new(what: str, tmp_path: Path) -> None:
    items = pd.DataFrame({"item_id": [1_000, 1_001], "title": KINDS})
    items.to_csv(tmp_path / "new.csv", index=False)
    bundle = copy_of(bundle_of(), tmp_path / "bundle")
    if what == "rebuild":
        edit_items(bundle, tmp_path / "new.csv")
    done = subprocess.run(
        [sys.executable, "-c", WORKER, what, str(tmp_path), str(POINTS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    killed = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(killed) >= POINTS - 2 and all(code == -9 for _, code, _ in killed)
    before, after = Bundle.load(bundle), Bundle.load(tmp_path / "whole" / "b")
    found = []
    for moment, _, _ in killed:
        survivor = Bundle.load(tmp_path / f"at-{moment}" / "b")
        assert survivor.digest in (before.digest, after.digest)
        found.append(survivor.digest == before.digest)
    last = Bundle.load(tmp_path / f"at-{killed[-2][0]}" / "b").recommender()
    pd.testing.assert_frame_equal(last.recommend(["u0"]), after.recommender().recommend(["u0"]))
    assert any(found) and not all(found), "no kill came before, or none after"
    # what was left lying about is no hindrance, and goes
    folder = tmp_path / f"at-{killed[0][0]}" / "b"
    if what == "edit":
        edit_items(folder, tmp_path / "new.csv")
        assert Bundle.load(folder).digest == after.digest
    else:
        assert rebuild(folder).card.counts == after.card.counts
    assert {path.name for path in folder.parent.iterdir()} == {"b", ".b.lock"}
