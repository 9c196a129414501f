"""Is a run better than EASE, and than a peer's lists, user by user?

    python pipelines/benchmarks/paired.py runs/ml-100k-loo [--peer FOLDER]

Takes the very lists that the run was measured on (``report/rankings``, ``baselines/rankings``), and
reads a peer's lists (``FOLDER/seed-N.parquet`` with user_id, rank, item_id, as
``rectools_sasrec.py`` writes them). All are tested at once, with all their seeds.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.errors import DataError
from recsys.evaluation.certainty import certainty
from recsys.evaluation.saved_lists import measure_lists, read_list, read_rankings

K = 10
METRIC = f"ndcg@{K}"
OURS, BEST = "two-tower", "ease"


def main(run: Path, peer: Annotated[Path | None, typer.Option()] = None) -> None:
    """Print NDCG@10 of each and the paired 95 % interval of the difference."""
    config = load_config(run / "config.toml", ())
    dataset = Dataset.load(run / "data")
    task = Split.load(run / "data", dataset).task("test", candidates=config.evaluation.candidates)
    read = (dataset.user_ids, dataset.item_ids, K)
    lists: dict[str, dict[int, Any]] = {
        OURS: read_rankings(run / "report" / "rankings", *read)[OURS]
    }
    baselines = read_rankings(run / "baselines" / "rankings", *read)
    if BEST not in baselines:
        raise DataError(f"{run}: EASE is not among its baselines; add it to evaluation.baselines")
    lists[BEST] = baselines[BEST]
    if peer is not None:
        files = sorted(peer.glob("seed-*.parquet"))
        if not files:
            raise DataError(f"{peer}: no lists; expected seed-N.parquet")
        lists[peer.name] = {int(f.stem.removeprefix("seed-")): read_list(f, *read) for f in files}
    asked = {
        model: {seed: items[task.users] for seed, items in per_seed.items()}
        for model, per_seed in lists.items()
    }
    truth = task.truth.histories().take(task.users)
    found = certainty(measure_lists(asked, truth, [METRIC]), [METRIC])[METRIC]
    for model, (mean, low, high) in found.intervals.items():
        print(f"{model} {mean:.4f} ({low:.4f} to {high:.4f})")
    for theirs, pair in found.against(OURS).items():
        mean, low, high = pair.swapped().difference
        verdict = pair.swapped().verdict()
        span = f"{mean:+.4f} ({low:+.4f} to {high:+.4f}), p {pair.holm:.4f} after Holm"
        print(f"against {theirs}: {OURS} is {verdict}, {span}")


if __name__ == "__main__":
    typer.run(main)
