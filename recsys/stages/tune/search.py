"""tune: settings tried on validation -> DIR/tune. The test part is not looked at."""

import contextlib
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess

import optuna
import torch
from threadpoolctl import threadpool_limits

from recsys.content.user_attributes import load_user_blocks
from recsys.data.splits import Split
from recsys.errors import ConfigError, RecsysError
from recsys.files import alone, digest_json
from recsys.progress import console, set_quiet
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import load_data
from recsys.stages.run import Run
from recsys.stages.stage import Record, inputs_of
from recsys.stages.teacher import load_teachers
from recsys.stages.train import item_blocks, train_stage
from recsys.stages.tune.record import Recorder
from recsys.stages.tune.results import FILES, Results, write_results
from recsys.stages.tune.space import Space
from recsys.stages.tune.study import Searched, ask, counted, forget_killed, open_study
from recsys.stages.tune.trial import Learnable, try_out
from recsys.towers.grow import Blocks
from recsys.tracking import NoTracker

__all__ = ["FOLDER", "search"]

FOLDER, STUDY = "tune", "study.db"
POLL = 0.5  # seconds between looks at what the processes have done
MOST_LOST = 3  # processes that may die on the way; then it is no accident

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """All that a process needs to try settings; plain values, so that it can be sent to one."""

    run: Run
    searched: Searched
    until: float | None  # time.time() after which no trial is begun

    def learnable(self) -> Learnable:
        """Load what trials learn from."""
        content = self.run.folder("content")
        blocks = Blocks(item_blocks(self.run, content), load_user_blocks(content))
        return Learnable(_split(self.run), blocks, load_teachers(self.run, self.run.config.seed))

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.until is not None and time.time() >= self.until


def search(run: Run, *, force: bool = False, tell: Callable[[Record], None]) -> Results:
    """Try settings until ``tune.trials`` are done in all, then say what was found.

    Args:
        run: its config says what is searched and what stays; the first of its seeds is that of all
            trials.
        force: begin anew, without the trials of earlier calls.
        tell: told of the stages before.

    Raises:
        ConfigError: nobody validates, the space cannot be, or the study there is another one's.
        RecsysError: processes die, or no trial was finished.
        KeyboardInterrupt: stopped by the user; what is done is kept and written.
    """
    config = run.config.model_copy(update={"seed": run.seeds[0]})
    if config.update.start is not None:
        raise ConfigError("tune: searches how towers are trained afresh; leave out update.start")
    run, space, folder = replace(run, config=config), Space.of(config), run.out / FOLDER
    perform_stages(run, ("prepare", "embed"), tell=tell)
    if not len(_split(run).task("validation", most_users=config.training.score_users).truth):
        raise ConfigError("tune: nobody validates, so that nothing can be chosen")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / STUDY):
        for name in (STUDY, *FILES) if force else ():
            (folder / name).unlink(missing_ok=True)
        searched = Searched(folder / STUDY, config.tune, config.training.epochs, config.seed)
        study = open_study(searched, _key(run, space), space.own())
        if killed := forget_killed(study, again=True):
            console.print(f"trials of an earlier call that were stopped: {killed}; tried again")
        until = None if config.tune.timeout is None else time.time() + config.tune.timeout
        plan, recorder = _Plan(replace(run, tracker=NoTracker()), searched, until), Recorder(run)
        recorder.begin(study)
        ok = False
        try:
            _all_trials(plan, study, recorder)
            ok = True
        finally:  # Ctrl-C, too
            recorder.follow(study)
            results = write_results(folder, study, space)
            recorder.finish(results, folder, ok=ok)
    if results.best is None:
        why = next((one for one in results.trials["why"][::-1] if one), "the time was up")
        raise RecsysError(f"tune: none of {len(results.trials)} trials was finished; last: {why}")
    return results


def _split(run: Run) -> Split:
    return load_data(run)[1]


def _key(run: Run, space: Space) -> str:
    """What makes the scores of two calls comparable."""
    config = run.config
    values = {
        key: one.model_dump() if not isinstance(one, tuple) else list(one)
        for key, one in space.values.items()
    }
    shared = [config.towers.model_dump(mode="json"), config.training.model_dump(mode="json")]
    return digest_json([values, shared, config.seed, inputs_of(train_stage(run, config.seed))])


def _all_trials(plan: _Plan, study: optuna.Study, recorder: Recorder) -> None:
    if plan.searched.tune.processes == 1:
        space, learnable = Space.of(plan.run.config), plan.learnable()
        _work(plan, study, space, learnable, lambda: recorder.follow(study))
        return
    lost = 0
    while counted(study) < plan.searched.tune.trials and not plan.is_over:
        deaths = _together(plan, study, recorder)
        lost += len(deaths)
        forget_killed(study, again=False)
        if deaths:
            logger.warning("tune: a process died (exit codes %s); its trial failed", deaths)
        if lost > MOST_LOST:
            raise RecsysError(
                f"tune: {lost} processes died (exit codes {deaths}); for want of memory take "
                "fewer --processes; the log says more"
            )


def _together(plan: _Plan, study: optuna.Study, recorder: Recorder) -> list[int]:
    """Let processes try settings until none is left; return the exit codes of those that died."""
    tune = plan.searched.tune
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    number = min(tune.processes, tune.trials - counted(study))
    threads = max(1, _cores() // number)
    workers: list[BaseProcess] = [
        context.Process(target=_worker, args=(plan, threads), daemon=True) for _ in range(number)
    ]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            recorder.follow(study)
            time.sleep(POLL)
    finally:  # Ctrl-C reaches the workers, too: they note that their trial was stopped
        for worker in workers:
            worker.join(timeout=None if worker.exitcode is not None else 10.0)
            if worker.is_alive():
                worker.terminate()
    return [worker.exitcode for worker in workers if worker.exitcode]


def _worker(plan: _Plan, threads: int) -> None:
    """What a process does."""
    set_quiet(True)  # the first process speaks
    torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, space = plan.searched.open(), Space.of(plan.run.config)
    with threadpool_limits(threads), contextlib.suppress(KeyboardInterrupt):
        _work(plan, study, space, plan.learnable(), _end_if_orphaned)


def _end_if_orphaned() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt


def _work(
    plan: _Plan,
    study: optuna.Study,
    space: Space,
    learnable: Learnable,
    after: Callable[[], None],
) -> None:
    """Try one setting after the other."""
    while not plan.is_over:
        trial = ask(study, plan.searched, space.distributions)
        if trial is None:
            return
        try_out(study, trial, space, learnable)
        after()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
