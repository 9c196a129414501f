"""What is served, smaller: quality against size in one table.

Towers over ids alone, exact search, so that nothing but the vectors differs: stored in float16 and
int8; cut without having been trained for it, to the first numbers and to the axes of the items'
largest second moments (PCA); cut out of one nested training (Kusupati et al., NeurIPS 2022);
trained small; trained small with the full towers as a teacher (Hinton et al., 2015).

Validation is by towers of the training rows, test by towers trained again on both for the number of
epochs that validation chose; a teacher has seen what its student sees. ``with towers`` is
what differs between bundles: the index's files and the towers' weights.

    python pipelines/benchmarks/compression.py CONFIG [--seeds 0,1,2] [--out FOLDER] [key=value ...]
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import Config, IndexConfig, TowersConfig
from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors
from recsys.recommenders.ranker import Abilities, Queries, Ranker
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.prepare import cut_log
from recsys.towers.narrowed import narrowed
from recsys.towers.saved import save_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.distill import Teacher, Teachers
from recsys.training.loop import Learner, train

WIDTHS = (64, 32, 16)
SMALL = (32, 16)  # trained by themselves
MIB = 2**20


class Both(NamedTuple):
    """Towers of the training rows, and of those with the validation part."""

    train: TwoTower
    whole: TwoTower


class Served(NamedTuple):
    """One row's way to serve towers."""

    kind: str  # of compression
    name: str
    dim: int
    both: Both
    vectors: str = "float32"
    turned: bool = False

    def ranker(self, towers: TwoTower) -> Ranker:
        """What answers."""
        if self.turned:
            return Turned.of(towers, self.dim)
        index = ExactIndex.build(
            narrowed(towers, self.dim).item_vectors(),
            IndexConfig.model_validate({"kind": "exact", "vectors": self.vectors}),
        )
        return TwoTowerRanker(narrowed(towers, self.dim), index)


@dataclass(frozen=True, eq=False)
class Turned:
    """Towers whose vectors are turned to the axes where items differ most, and cut."""

    towers: TwoTower
    index: ExactIndex
    axes: NDArray[np.float32]  # (d, dim)
    name: str = "turned"
    abilities: Abilities = field(default_factory=lambda: Abilities(new_users=True, new_items=False))

    @classmethod
    def of(cls, towers: TwoTower, dim: int) -> "Turned":
        """Fit the axes to the items: singular vectors, not centred, as cosines are not."""
        items = towers.item_vectors()
        axes = np.linalg.svd(items, full_matrices=False)[2][:dim].T
        return cls(towers, ExactIndex.build(_units(items @ axes), IndexConfig(kind="exact")), axes)

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Rank by the cosine of what is left."""
        vectors = self.towers.user_vectors(queries.users, queries.histories)
        asked = _units(vectors @ self.axes)
        return self.index.query(asked, k, exclude=exclude, candidates=candidates)


def _units(vectors: NDArray[np.float32]) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def fit(
    cut: Split, config: Config, towers: TowersConfig, seed: int, teacher: Both | None = None
) -> Both:
    """Choose the epochs on validation, then train again with the validation part.

    Who learns from a teacher learns from one that has seen the same rows.
    """
    training = config.training
    found = fit_towers(
        cut, (), towers, training, seed=seed, refit=False, teachers=teacher and Teachers(*teacher)
    )
    rows = cut.learnable(refit=True)
    known, people = rows.item_counts() > 0, rows.user_counts() > 0
    again = TwoTower(towers, rows.n_users, (), known, seed=seed, known_users=people)
    taught = None if teacher is None else Teacher.of(teacher.whole, training)
    learner = Learner(again, training, taught)
    for _ in train(learner, rows, training, seed=seed, until=found.epochs):
        pass
    again.eval().learn_average(rows.histories())
    return Both(found.towers, again)


def ways(cut: Split, config: Config, seed: int) -> Iterator[Served]:
    """Fit what a seed's rows need, and say how it is served."""
    shape = config.towers
    full = fit(cut, config, shape, seed)
    for kind in ("float32", "float16", "int8"):
        yield Served("stored", f"full, {kind}", shape.dim, full, vectors=kind)
    for dim in WIDTHS:
        yield Served("cut", f"full, cut to {dim}", dim, full)
    for dim in WIDTHS:
        yield Served("PCA", f"full, PCA to {dim}", dim, full, turned=True)
    nested = fit(cut, config, shape.model_copy(update={"nested": WIDTHS}), seed)
    for dim in (shape.dim, *WIDTHS):
        yield Served("nested", f"nested, {dim}", dim, nested)
    yield Served("nested, int8", "nested, 32, int8", 32, nested, vectors="int8")
    for dim in SMALL:
        small = shape.model_copy(update={"dim": dim})
        yield Served("small", f"trained at {dim}", dim, fit(cut, config, small, seed))
        taught = fit(cut, config, small, seed, full)
        yield Served("distilled", f"distilled to {dim}", dim, taught)


def measure(served: Served, cut: Split, candidates: str) -> dict[str, float]:
    """Quality on both parts, and what lies on the disk."""
    figures = {}
    for part, towers in zip(("validation", "test"), served.both, strict=True):
        task = cut.task(part, candidates=candidates)  # type: ignore[arg-type]
        ranker = served.ranker(towers)
        figures[part] = evaluate_ranker(ranker, task, ks=(10,)).means["ndcg@10"]
    index = ranker.index  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index.save(folder / "index")
        (folder / "towers").mkdir()
        save_towers(served.both.whole, folder / "towers")
        item = (folder / "index" / "vectors.npy").stat().st_size / len(index)
        size = {part: _size(folder / part) for part in ("index", "towers")}
    return figures | {
        "bytes an item": round(item),
        "index KiB": size["index"] / 1024,
        "served KiB": sum(size.values()) / 1024,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a way: means over seeds, least and largest."""
    groups = rows.groupby(["kind", "name", "dim"], sort=False)
    means = groups[["bytes an item", "index KiB", "served KiB"]].mean()
    for part in ("validation", "test"):
        for what in ("mean", "min", "max"):
            means[f"{part} {what}"] = groups[part].agg(what)
    return means.reset_index()


def as_markdown(found: pd.DataFrame) -> str:
    """The table for people."""
    lines = [
        "| vectors | numbers | bytes an item | index, KiB | with towers, KiB | validation NDCG@10 "
        "| test NDCG@10 | of full |",
        "|---|--:|--:|--:|--:|---|---|--:|",
    ]
    whole = found["test mean"].iloc[0]
    for row in found.to_dict("records"):
        parts = [
            f"{row[f'{part} mean']:.4f} ({row[f'{part} min']:.4f} to {row[f'{part} max']:.4f})"
            for part in ("validation", "test")
        ]
        lines.append(
            f"| {row['name']} | {row['dim']} | {row['bytes an item']:.0f} | "
            f"{row['index KiB']:,.0f} | {row['served KiB']:,.0f} | {' | '.join(parts)} | "
            f"{row['test mean'] / whole:.1%} |"
        )
    return "\n".join(lines)


def draw(found: pd.DataFrame, path: Path) -> None:
    """Test NDCG@10 by bytes an item, least to largest of the seeds, a line a kind."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    shift = 1.0  # so that kinds of one size do not hide each other
    for kind, rows in found.groupby("kind", sort=False):
        ends = np.abs(rows[["test min", "test max"]].to_numpy().T - rows["test mean"].to_numpy())
        size = rows["bytes an item"] * shift
        axes.errorbar(size, rows["test mean"], ends, marker="o", capsize=2, label=kind)
        shift *= 1.015
    axes.set_xscale("log", base=2)
    ticks = sorted({round(size) for size in found["bytes an item"]})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="bytes an item", ylabel="NDCG@10, test: mean of seeds, least and largest")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(words: Sequence[str]) -> None:
    """Fit, measure, print; write the table as md and csv, and the chart."""
    parser = argparse.ArgumentParser(description="Quality against size of what is served.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("runs/compression"))
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(words)
    config = load_config(given.config, given.overrides)
    dataset = Dataset.from_config(config.data, config.split, folder=Path())
    cut = cut_log(dataset, config.split)
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in map(int, given.seeds.split(",")):
        for served in ways(cut, config, seed):
            about = {"seed": seed, "kind": served.kind, "name": served.name, "dim": served.dim}
            rows.append(about | measure(served, cut, config.evaluation.candidates))
            print(rows[-1], file=sys.stderr, flush=True)
        every = pd.DataFrame(rows)
        every.to_csv(given.out / "seeds.csv", index=False)
        found = table(every)
        found.to_csv(given.out / "compression.csv", index=False)
        (given.out / "compression.md").write_text(as_markdown(found) + "\n", encoding="utf-8")
        draw(found, given.out / "compression.png")
    print(f"{dataset!r}\n{config.towers!r}\n\n{as_markdown(found)}")


if __name__ == "__main__":
    main(sys.argv[1:])
