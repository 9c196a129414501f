"""Other libraries' models beside ours: the same split file in, lists out, judged by all evaluators.

    recsys run pipelines/configs/ml-100k.toml --seeds 0,1,2 --out runs/ml-100k
    python pipelines/benchmarks/peers.py runs/ml-100k runs/demo --out FOLDER [--readme README.md]

For every run folder (its split, its content, its towers' lists) RecTools' SASRec, Cornac's BPR and
VBPR, and implicit's ALS and BPR learn from train and validation, each in a process of its own on
one thread, with the settings that were best on validation (`peers_models.py` has the grids; SASRec
keeps its defaults and has fewer seeds, as a fit takes minutes). What lies in FOLDER already is not
made again.

The lists are then judged by our metrics, with intervals over users and seeds
(`recsys.evaluation.certainty`), and by RecTools' and Cornac's own. Where the definition is ours,
their number must be ours to 1e-9, or this ends with an error; `peers_metrics.py` says where it is
not. implicit's evaluator asks a model of its own for lists, so it cannot judge given ones.

CPU seconds are those of a fit, on one thread (ours, of one seed: with the search for the number of
epochs; the peers' do not count the search for settings). Memory is the peak of the process up to
its end, libraries and data included (some 740 MB, most of it torch).

Installation, beside this project, in an environment of its own since pandas 3 is too new for
RecTools: ``pip install -e '.[bench]' && pip install --no-deps 'rectools==0.13.*'``.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers_fit import OURS
from peers_metrics import by_cornac, by_rectools
from peers_models import PEERS, SLOW

from recsys.config_file import load_config
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.certainty import Certainty, Interval, certainty
from recsys.evaluation.saved_lists import measure_lists, read_rankings
from recsys.evaluation.slices import Lists
from recsys.files import read_json
from recsys.stages.command import CONFIG_FILE
from recsys.stages.prepare import load_data
from recsys.stages.run import Run

FIT = Path(__file__).with_name("peers_fit.py")
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
METRICS = ("ndcg@10", "recall@20")
HEAD = (
    "| model | seeds | NDCG@10 | against ours | RecTools' | Cornac's | RecTools' as it comes | "
    "recall@20 | RecTools' | Cornac's | CPU s | memory, MB |"
)
LABELS = {
    OURS: "two towers (ours)",
    "rectools-sasrec": "RecTools SASRec",
    "cornac-bpr": "Cornac BPR",
    "cornac-vbpr": "Cornac VBPR",
    "implicit-als": "implicit ALS",
    "implicit-bpr": "implicit BPR",
}


@dataclass(frozen=True)
class Asked:
    """What is to be fitted."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    slow_seeds: tuple[int, ...]


def main() -> None:
    """Fit what is not there yet, then print the table or put it into a README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of `recsys run`")
    parser.add_argument("--out", type=Path, required=True, help="lists and costs")
    parser.add_argument("--models", default=",".join(PEERS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--slow-seeds", default="0", help="of the minutes-long ones and ours")
    parser.add_argument("--readme", type=Path, help=f"write between {BEGIN} and {END}")
    given = parser.parse_args()
    asked = Asked(tuple(given.models.split(",")), numbers(given.seeds), numbers(given.slow_seeds))
    tables = []
    for run in given.runs:
        out = given.out / run.name
        out.mkdir(parents=True, exist_ok=True)
        fit_all(run, out, asked)
        tables.append(table_of(run, out))
    text = "\n".join(tables)
    print(text)
    if given.readme is not None:
        write_between(given.readme, text)


def numbers(words: str) -> tuple[int, ...]:
    """``"0,1"`` as numbers."""
    return tuple(int(word) for word in words.split(","))


def fit_all(run: Path, out: Path, asked: Asked) -> None:
    """Tune, then fit each model with its seeds, one process after another."""
    for model in (*asked.models, OURS):
        wanted = asked.slow_seeds if model in (*SLOW, OURS) else asked.seeds
        seeds = [str(seed) for seed in wanted if not (out / f"{model}-seed-{seed}.json").is_file()]
        settings: dict[str, Any] = {}
        if seeds and model not in (*SLOW, OURS):
            tuning = out / f"{model}-tuning.json"
            if not tuning.is_file():
                in_a_process(run, model, "tune", out)
            settings = read_json(tuning)["params"]
        if seeds:
            words = ("--seeds", ",".join(seeds), "--settings", json.dumps(settings))
            in_a_process(run, model, "fit", out, *words)


def in_a_process(run: Path, model: str, what: str, out: Path, *words: str) -> None:
    """Run ``peers_fit.py``; its error ends this."""
    command = [sys.executable, str(FIT), str(run), model, what, "--out", str(out), *words]
    subprocess.run(command, check=True)  # noqa: S603


def table_of(folder: Path, out: Path) -> str:
    """The table of one run as markdown, with a line above that says of what."""
    config = load_config(folder / CONFIG_FILE)
    run = Run(config, folder.resolve(), (config.seed,))
    dataset, split = load_data(run)
    task = split.task("test", candidates=config.evaluation.candidates)
    ids = (dataset.user_ids, dataset.item_ids)
    rankings = read_rankings(run.folder("report") / "rankings", *ids, 20)
    everybody = {OURS: rankings[OURS]} | read_rankings(out / "rankings", *ids, 20)
    lists = {
        model: {seed: items[task.users] for seed, items in everybody[model].items()}
        for model in (OURS, *PEERS)
        if model in everybody
    }
    truth = task.truth.histories().take(task.users)
    found = certainty(measure_lists(lists, truth, METRICS), METRICS)
    rows = [row_of(model, run, out, found, lists, truth) for model in lists]
    heading = f"**{folder.name}**, {config.split.protocol}, {about(task)}:"
    return "\n".join([heading, "", HEAD, "|---|" + "--:|" * (HEAD.count("|") - 2), *rows, ""])


def row_of(
    model: str, run: Run, out: Path, found: dict[str, Certainty], lists: Lists, truth: Ragged
) -> str:
    """One line of the table; refuses numbers that should agree and do not."""
    of_rectools = mean_of([by_rectools(items, truth, 10) for items in lists[model].values()])
    of_cornac = mean_of([by_cornac(items, truth, 10) for items in lists[model].values()])
    longer = mean_of([by_rectools(items, truth, 20) for items in lists[model].values()])
    longer_cornac = mean_of([by_cornac(items, truth, 20) for items in lists[model].values()])
    intervals = {metric: found[metric].intervals[model] for metric in METRICS}
    for other in (of_rectools["ndcg"], of_cornac["ndcg"]):
        must_agree(model, "ndcg@10", intervals["ndcg@10"].mean, other)
    for other in (longer["recall"], longer_cornac["recall"]):
        must_agree(model, "recall@20", intervals["recall@20"].mean, other)
    verdicts = found["ndcg@10"].verdicts(OURS)
    seconds, memory = costs_of(model, out)
    cells = (
        label(model, run),
        " ".join(str(seed) for seed in lists[model]),
        spread(intervals["ndcg@10"]),
        verdicts.get(model, ""),
        short(of_rectools["ndcg"]),
        short(of_cornac["ndcg"]),
        short(of_rectools["ndcg as it comes"]),
        spread(intervals["recall@20"]),
        short(longer["recall"]),
        short(longer_cornac["recall"]),
        f"{seconds:.1f}",
        f"{memory:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def must_agree(model: str, metric: str, ours: float, theirs: float) -> None:
    """End with an error unless two values of one definition are one number."""
    if not abs(ours - theirs) < 1e-9:
        sys.exit(f"{model}: our {metric} is {ours!r}, theirs of the same lists {theirs!r}")


def costs_of(model: str, out: Path) -> tuple[float, float]:
    """Mean CPU seconds of a fit and the most memory of any, MB; NaN where nothing was fitted."""
    costs = [read_json(path) for path in sorted(out.glob(f"{model}-seed-*.json"))]
    if not costs:
        return float("nan"), float("nan")
    seconds = float(np.mean([cost["cpu_seconds"] for cost in costs]))
    return seconds, max(cost["megabytes"] for cost in costs)


def about(task: Task) -> str:
    """How many users are asked for how many rows."""
    return f"{len(task.users):,} users, {len(task.truth):,} rows to be found"


def label(model: str, run: Run) -> str:
    """The model's name in the table; VBPR's with what it sees."""
    if model != "cornac-vbpr":
        return LABELS[model]
    return f"{LABELS[model]} ({'posters' if 'poster' in run.config.content else 'texts'})"


def mean_of(values: list[dict[str, float]]) -> dict[str, float]:
    """The mean over seeds of each value."""
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def spread(interval: Interval) -> str:
    """A mean and its interval."""
    return f"{short(interval.mean)} ({short(interval.low)} to {short(interval.high)})"


def short(value: float) -> str:
    """Four decimals without the zero in front."""
    return f"{value:.4f}".lstrip("0")


def write_between(readme: Path, text: str) -> None:
    """Replace what stands between the markers."""
    whole = readme.read_text(encoding="utf-8")
    if whole.count(BEGIN) != 1 or whole.count(END) != 1:
        sys.exit(f"{readme}: expected the lines {BEGIN} and {END}, each once")
    before, _, rest = whole.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
