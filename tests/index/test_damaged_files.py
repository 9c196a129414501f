"""Whatever is done to a saved index: one line, never a crash of the process, never a wrong answer.

All is loaded in a process of its own, since Annoy maps what it is given and can take a process
down with it.
"""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from suites.index_answers import N_ITEMS, QUERIES, VECTORS, clustered
from suites.index_suite import DIGEST, rewrite

from recsys.config import IndexConfig
from recsys.files import digest_file
from recsys.index.approximate import ApproximateIndex
from recsys.index.forest import AnnoyForest
from recsys.index.index import Index, build_index, load_index
from recsys.index.live import LiveIndex
from recsys.index.space import Space
from recsys.index.vectors import Vectors

LOAD = """
import sys
from pathlib import Path

import numpy as np

from recsys.errors import ArtifactError
from recsys.index.index import load_index
from recsys.index.live import LiveIndex

digest = sys.argv[1]
for folder in map(Path, sys.argv[2:]):
    queries, right = np.load(folder / "queries.npy"), np.load(folder / "right.npy")
    base = load_index(folder / "base", ids_digest=digest) if (folder / "base").exists() else None
    for path in sorted((folder / "cases").iterdir()):
        print(f"{folder.name}/{path.name}", end=": ", flush=True)
        try:
            if base is None:
                index = load_index(path, ids_digest=digest)
            else:
                index = LiveIndex.load(path, base, ids_digest=digest)
        except ArtifactError as error:
            print("refused", str(error).count(chr(10)), flush=True)
        else:
            same = np.array_equal(index.query(queries, right.shape[1]).items, right)
            print("the same" if same else "WRONG", flush=True)
"""
KINDS = ("exact", "angles", "space", "live", *(["hnsw"] if find_spec("hnswlib") else []))


def built(kind: str, vectors: Vectors) -> Index:
    """An index of each kind that is saved."""
    if kind == "exact":
        return build_index(vectors, IndexConfig(kind="exact"), ids_digest=DIGEST)
    if kind == "hnsw":
        return build_index(vectors, IndexConfig(kind="hnsw"), ids_digest=DIGEST)
    index = ApproximateIndex.build(vectors, IndexConfig(trees=6), ids_digest=DIGEST)
    if kind == "live":
        n = len(vectors)
        live = LiveIndex.over(index).without(np.array([3, 4]))
        dim = vectors.shape[1]
        return live.put(np.array([5, n, n + 1]), clustered(3, dim, seed=8), ids_digest=DIGEST)
    space = Space.of(vectors, 0.9, 2.0) if kind == "space" else None
    forest = AnnoyForest.grow(vectors, 6, seed=0, n_jobs=1, space=space)
    about = {"distance": space.distance, "spread": space.spread} if space else {"distance": 0.0}
    calibration = index.calibration.model_copy(update=about)
    return ApproximateIndex(forest, vectors, calibration, index.config, DIGEST)


def differs(path: Path, other: Path) -> bool:
    return other.is_file() and other.read_bytes() != path.read_bytes()


def damage(good: Path, foreign: dict[str, Path], cases: Path) -> None:
    """Every file cut, grown, flipped, blanked or swapped for that of another index."""
    random = np.random.default_rng(0)
    for path in sorted(good.iterdir()):
        whole = path.read_bytes()
        n = len(whole)
        spoilt = {f"cut-{length}": whole[:length] for length in (0, 1, n // 3, n // 2, n - 1)}
        spoilt |= {"grown": whole + b"\\0" * 64, "zeros": b"\\0" * n, "noise": random.bytes(n)}
        for place in {0, 7, n - 1, *random.integers(0, n, 6).tolist()}:
            bit = 1 << int(random.integers(8))
            spoilt[f"flip-{place}-{bit}"] = (
                whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
            )
        for name, other in foreign.items():
            if differs(path, other / path.name):
                spoilt[f"of-{name}"] = (other / path.name).read_bytes()
        for what, content in spoilt.items():
            case = shutil.copytree(good, cases / f"{path.name}-{what}")
            (case / path.name).write_bytes(content)
        gone = shutil.copytree(good, cases / f"{path.name}-gone")
        (gone / path.name).unlink()


def forge(good: Path, foreign: dict[str, Path], cases: Path) -> None:
    """Files of other indexes with a card that vouches for them, and cards of the future."""
    (name,) = {"index.json", "live.json"} & {path.name for path in good.iterdir()}
    card = json.loads((good / name).read_text())
    for what, other in foreign.items():
        for file in card["files"]:
            if not differs(good / file, other / file):
                continue
            case = shutil.copytree(good, cases / f"forged-{file}-{what}")
            shutil.copyfile(other / file, case / file)
            facts = {"size": (case / file).stat().st_size, "sha256": digest_file(case / file)}
            rewrite(case, {**card, "files": {**card["files"], file: facts}}, name)
    for field, value in (
        ("schema_version", 99),
        ("metric", "dot"),
        ("dim", 13),
        ("count", N_ITEMS - 1),
        ("more", 1),
        ("files", {}),
        ("files", {"../queries.npy": {"size": 1, "sha256": ""}}),
        ("ids_digest", "of others"),
    ):
        case = shutil.copytree(good, cases / f"card-{field}-{len(str(value))}")
        rewrite(case, {**card, field: value}, name)


def prepare(kind: str, folder: Path) -> int:
    """Write the cases of one kind; how many."""
    index, good = built(kind, VECTORS), folder / "good"
    index.save(good)
    foreign = {}
    for name, vectors in (
        ("other-items", VECTORS[::-1].copy()),
        ("fewer-items", VECTORS[:100]),
        ("other-width", clustered(N_ITEMS, 7, seed=1)),
    ):
        foreign[name] = folder / name
        built(kind, vectors).save(foreign[name])
    if kind != "live":
        foreign["other-kind"] = folder / "other-kind"
        built("angles" if kind == "space" else "space", VECTORS).save(foreign["other-kind"])
    damage(good, foreign, folder / "cases")
    forge(good, foreign, folder / "cases")
    shutil.copytree(good, folder / "cases" / "whole")
    np.save(folder / "queries.npy", QUERIES)
    np.save(folder / "right.npy", index.query(QUERIES, 10).items)
    if isinstance(index, LiveIndex):
        index.base.save(folder / "base")
    return len(list((folder / "cases").iterdir()))


def test_no_damage_gives_a_wrong_answer_or_takes_the_process_down(tmp_path: Path) -> None:
    n_cases = {kind: prepare(kind, tmp_path / kind) for kind in KINDS}
    assert min(n_cases.values()) > 40
    done = run(LOAD, DIGEST, *(str(tmp_path / kind) for kind in KINDS))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} {done.stderr[-500:]}"
    said = dict(line.split(": ") for line in lines)
    assert len(said) == sum(n_cases.values())
    assert [said.pop(f"{kind}/whole") for kind in KINDS] == ["the same"] * len(KINDS)
    # The line break at a card's end is worth nothing; and who vouches for the axes of other items,
    # which say where a forest is asked, not what is answered, is asked just there.
    spared = {
        name
        for name in said
        if said[name] == "the same" and (".json-cut" in name or "forged-axes" in name)
    }
    wrong = {name: what for name, what in said.items() if what != "refused 0"}
    assert wrong.keys() <= spared, wrong
    assert len(spared) <= 2 * len(KINDS)


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_many_threads_get_what_one_gets(kind: str, tmp_path: Path) -> None:
    index = built(kind, VECTORS)
    if not isinstance(index, LiveIndex):
        index.save(tmp_path)
        index = load_index(tmp_path, ids_digest=DIGEST)
    alone = [index.query(QUERIES[n : n + 5], 7) for n in range(0, 40, 5)]
    together = threading.Barrier(8)

    def ask(n: int) -> bool:
        together.wait(30)
        found = [index.query(QUERIES[5 * n : 5 * n + 5], 7) for _ in range(5)]
        return all(np.array_equal(one.items, alone[n].items) for one in found)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


SHARE = """
import sys
from pathlib import Path

import numpy as np

from recsys.index.index import load_index

folder, digest = Path(sys.argv[1]), sys.argv[2]
index = load_index(folder, ids_digest=digest)
for start in range(0, len(index), 512):  # every page of the vectors and of the trees is read
    index.query(np.array(index.vectors[start : start + 512]), 5)
kilobytes = {"Rss:": 0, "Pss:": 0, "Anonymous:": 0}
name = ""
for line in Path("/proc/self/smaps").read_text().splitlines():
    words = line.split()
    if "-" in words[0]:
        name = line.split(" ", 5)[-1].strip()
    elif name.startswith(str(folder)) and words[0] in kilobytes:
        kilobytes[words[0]] += int(words[1])
print(*kilobytes.values())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is shared")
def test_two_processes_share_the_pages_of_an_index(tmp_path: Path) -> None:
    """``Pss`` divides what is mapped by how many map it; what is anonymous is a process's own."""
    vectors = clustered(4_000, 32, seed=1)
    config = IndexConfig(trees=10, search_k=500)
    build_index(vectors, config, ids_digest=DIGEST, askers=vectors[:50]).save(tmp_path)
    here = load_index(tmp_path, ids_digest=DIGEST)
    here.query(vectors, 5)
    done = run(SHARE, str(tmp_path), DIGEST)
    assert done.returncode == 0, done.stderr
    mapped, share, own = map(int, done.stdout.split())
    size = sum(path.stat().st_size for path in tmp_path.iterdir()) / 1024
    assert mapped > 0.5 * size
    assert share < 0.6 * mapped and own == 0
    assert len(here) == len(vectors)
