"""blend: finished runs of one split -> DIR/report, their lists fused and measured beside them.

Weights are learnt on validation, so by towers that have not learnt from it: where a run trained
again on train + validation (``split.refit``), towers of train alone are trained in DIR/parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import ConfigError
from recsys.evaluation.blending import LEARNT_FROM, learn_weights, some_users
from recsys.evaluation.evaluate import Evaluation, evaluate_ranker
from recsys.evaluation.table import Results
from recsys.files import read_json
from recsys.index.exact import ExactIndex
from recsys.index.index import load_index
from recsys.recommenders.baselines import BASELINES
from recsys.recommenders.blend import DEPTH, BlendRanker
from recsys.recommenders.ranker import Ranker
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.baselines import load_results, save_ranking
from recsys.stages.command import Command
from recsys.stages.evaluate import METRICS_FILE, write_report
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import load_data
from recsys.stages.run import Run
from recsys.stages.scrutiny import check_training
from recsys.stages.stage import Record, Stage, perform
from recsys.towers.saved import load_towers

__all__ = ["blend"]

ALIKE, WEIGHTED = "blend-reciprocal-rank", "blend-weighted"


@dataclass(frozen=True)
class _Part:
    """A run that votes.

    Attributes:
        name: in the table: its folder's.
        run: as it is served.
        unrefit: the same, its towers trained without the validation rows.
    """

    name: str
    run: Run
    unrefit: Run


def blend(
    runs: Sequence[Path],
    out: Path,
    *,
    baselines: Sequence[str] = (),
    force: bool = False,
    tell: Callable[[Record], None],
) -> dict[str, Any]:
    """Fuse the lists of runs, and of baselines; measure the fusions beside their parts.

    Args:
        runs: folders of finished runs of the same data, split and seeds.
        out: the blend's folder.
        baselines: to vote too, with the settings that the first run chose.
        force: do it even where nothing has changed.
        tell: told of every stage.

    Returns:
        What ``report/metrics.json`` holds: as of any run, the baselines of the first one included,
        with the ``weights`` of every seed; ``verdicts`` hold each model against ``blend-weighted``.

    Raises:
        ArtifactError: a folder is not that of a finished run.
        ConfigError: there is nothing to blend, or the runs are of different data or splits.
    """
    commands = [Command.finished(folder) for folder in runs]
    if len(runs) + len(baselines) < 2:
        raise ConfigError("blend: name at least two runs, or one --with a baseline")
    _check_same(commands)
    chosen, _ = load_results(commands[0].run.folder("baselines"))
    settings = _settings(commands[0].out, chosen, baselines)
    named = _named(commands)
    _check_names([ALIKE, WEIGHTED, *(name for _, name in named), *chosen])
    parts = [_part(command.run, name, out) for command, name in named]
    for part in parts:
        if part.unrefit is not part.run:
            perform_stages(part.unrefit, ("prepare", "embed", "train"), tell=tell)
            _check_same_log(part)
    stage = _stage(parts, settings, out)
    tell(perform(stage, force=force))
    return dict(read_json(stage.folder / METRICS_FILE))


def _check_same(commands: Sequence[Command]) -> None:
    first = commands[0].report()
    for command in commands[1:]:
        other = command.report()
        for what, mine, theirs in (
            ("data or split", first["data"]["digest"], other["data"]["digest"]),
            ("protocol", first["protocol"], other["protocol"]),
            ("seeds", first["seeds"], other["seeds"]),
        ):
            if mine != theirs:
                raise ConfigError(
                    f"blend: {command.out} is of another {what} than {commands[0].out} "
                    f"({theirs}, expected {mine}); blend runs of one split and the same --seeds"
                )


def _check_same_log(part: _Part) -> None:
    """What was prepared once more, to learn weights with, has to be what the run has seen."""
    both = (part.run, part.unrefit)
    ours, now = (Dataset.load(run.folder("data")).item_ids.digest for run in both)
    if ours != now:
        raise ConfigError(
            f"blend: the log of {part.run.out} has other items now than when it ran; run it again"
        )


def _settings(out: Path, chosen: Results, baselines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each baseline what the run in ``out`` chose for it."""
    settings = {}
    for name in baselines:
        if name not in chosen:
            known = ", ".join(chosen) or "none"
            raise ConfigError(f"blend: --with {name}: the baselines of {out} are: {known}")
        values = next(iter(chosen[name].values()))
        settings[name] = {key: values[key] for key in BASELINES[name].grid[0]}
    return settings


def _named(commands: Sequence[Command]) -> list[tuple[Command, str]]:
    """Runs by their folders' names, told apart by a number where two are called the same."""
    names = [command.out.name for command in commands]
    unique = len(set(names)) == len(names)
    return [
        (command, name if unique else f"{name}-{number}")
        for number, (command, name) in enumerate(zip(commands, names, strict=True), 1)
    ]


def _check_names(names: Sequence[str]) -> None:
    """Of two models of one name the table would show the last only."""
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ConfigError(
            f"blend: two models would be called {twice[0]!r}; rename the folder of that run"
        )


def _part(run: Run, name: str, out: Path) -> _Part:
    if not run.config.split.refit:
        return _Part(name, run, run)
    split = run.config.split.model_copy(update={"refit": False})
    config = run.config.model_copy(update={"split": split})
    vectors = run.vectors or run.out.parent / "vectors"
    return _Part(name, run, Run(config, out / "parts" / name, run.seeds, vectors=vectors))


def _stage(parts: Sequence[_Part], settings: dict[str, dict[str, Any]], out: Path) -> Stage:
    run = parts[0].run

    def work(folder: Path) -> dict[str, Any]:
        dataset, split = load_data(run)
        warned = check_training(run, dataset, split)
        task = split.task("test", candidates=run.config.evaluation.candidates)
        results: Results = {}
        weights = {}
        for seed in run.seeds:
            learnt, rankers = _rankers(parts, settings, dataset, split, seed)
            weights[str(seed)] = dict(zip((r.name for r in rankers), learnt, strict=True))
            alike = BlendRanker(ALIKE, rankers, (1.0,) * len(rankers))
            voting = (alike, BlendRanker(WEIGHTED, rankers, learnt), *rankers[: len(parts)])
            for ranker in voting:
                found = _measure(run, ranker, task)
                save_ranking(folder, found, seed, dataset.user_ids, dataset.item_ids)
                results.setdefault(ranker.name, {})[seed] = found.means
        baselines, tried = load_results(run.folder("baselines"))
        about = {part.name: str(part.run.out) for part in parts}
        more = {"tuning": tried, "weights": weights, "parts": about}
        results |= baselines
        write_report(run, dataset, split, task, results, folder, warned, more=more, blend=WEIGHTED)
        return {"models": list(results), "weights": weights}

    return Stage(
        name="blend",
        folder=out / "report",
        settings={
            "parts": [p.name for p in parts],
            "baselines": settings,
            "depth": DEPTH,
            "learnt_from": LEARNT_FROM,
            "seeds": list(run.seeds),
            "evaluation": run.config.evaluation.model_dump(mode="json", exclude={"minimum"}),
        },
        reads=(),
        files=_files(parts),
        work=work,
    )


def _measure(run: Run, ranker: Ranker, task: Task) -> Evaluation:
    return evaluate_ranker(
        ranker,
        task,
        ks=run.config.evaluation.ks,
        batch_size=run.config.evaluation.batch_size,
        description=f"evaluating {ranker.name}",
    )


def _files(parts: Sequence[_Part]) -> tuple[Path, ...]:
    """All that the fusion depends on."""
    folders = [
        run.folder(name, seed)
        for part in parts
        for run in (part.run, part.unrefit)
        for seed in run.seeds
        for name in ("data", "content", "towers", "index", "baselines")
    ]
    return tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _rankers(
    parts: Sequence[_Part],
    settings: dict[str, dict[str, Any]],
    dataset: Dataset,
    split: Split,
    seed: int,
) -> tuple[tuple[float, ...], tuple[Ranker, ...]]:
    """The weights learnt on validation, and the rankers as they are tested."""
    run = parts[0].run
    rows = split.learnable(refit=run.config.split.refit)
    weighed: list[Ranker] = [_towers(part, seed, None) for part in parts]
    tested: list[Ranker] = [_towers(part, seed, dataset.item_ids.digest) for part in parts]
    for name, values in settings.items():
        weighed.append(_baseline(run, name, values, split, split.train, seed))
        tested.append(_baseline(run, name, values, split, rows, seed))
    task = split.task("validation", candidates=run.config.evaluation.candidates)
    if not len(task.users):
        raise ConfigError("blend: nobody validates, so that no weights can be learnt")
    task = some_users(task, LEARNT_FROM)
    lists = [evaluate_ranker(ranker, task, ks=(DEPTH,)).ranked.items for ranker in weighed]
    k = int(run.config.evaluation.headline.partition("@")[2])
    return learn_weights(lists, task.truth.histories().take(task.users), k=k), tuple(tested)


def _towers(part: _Part, seed: int, served: str | None) -> Ranker:
    """The towers as they are ``served`` (the digest of the items), or those of train alone."""
    run = part.unrefit if served is None else part.run
    content = run.folder("content")
    towers = load_towers(
        run.folder("towers", seed),
        load_blocks(content),
        load_user_blocks(content),
        dim=run.config.index.dim,
    )
    if served is None:
        return TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()), part.name)
    index = load_index(run.folder("index", seed), ids_digest=served)
    return TwoTowerRanker(towers, index, part.name)


def _baseline(
    run: Run, name: str, values: dict[str, Any], split: Split, rows: Interactions, seed: int
) -> Ranker:
    baseline = BASELINES[name]
    blocks = load_blocks(run.folder("content")) if baseline.reads_content else ()
    return baseline.given(blocks, split.time_kind).fit(rows, seed, **values)
