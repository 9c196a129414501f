"""What a search tells the tracker: a run, and one run within it for each trial."""

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsys.progress import console
from recsys.stages.run import Run
from recsys.stages.tune.results import Results
from recsys.stages.tune.study import DONE, WHY
from recsys.stages.tune.trial import CURVE, SECONDS
from recsys.tracking import Tracker, open_tracker

__all__ = ["Recorder"]

SCORE = "validation_ndcg@10"


class Recorder:
    """Follows a study from one process, whoever works on it; a tracker that fails costs nothing."""

    def __init__(self, run: Run) -> None:
        """Record beside the run's folder."""
        self.run = run
        self.tracker: Tracker = open_tracker(run.config, run.out, name=f"{run.out.name} tune")
        self.seen: set[int] = set()

    def begin(self, study: optuna.Study) -> None:
        """Leave out what earlier calls have recorded."""
        self.tracker.tag({"out": str(self.run.out), "study": "tune"})
        self.seen = {trial.number for trial in _finished(study)}

    def follow(self, study: optuna.Study) -> None:
        """Record the trials that were finished since, and say a line of each."""
        new = [trial for trial in _finished(study) if trial.number not in self.seen]
        for trial in new:
            self.seen.add(trial.number)
            self._record(trial)
            done = sum(one.state in DONE for one in study.get_trials(deepcopy=False))
            console.print(_line(trial, done, self.run.config.tune.trials), soft_wrap=True)

    def finish(self, results: Results, folder: Path, *, ok: bool) -> None:
        """Close the run with the best trial's score and the files that were written."""
        best = results.best
        metrics = {} if best is None or best.value is None else {f"best/{SCORE}": best.value}
        metrics |= {f"importance/{key}": value for key, value in results.importance.items()}
        files = {path.name: path for path in results.files(folder) if path.is_file()}
        self.tracker.finish(metrics, files, ok=ok)

    def _record(self, trial: FrozenTrial) -> None:
        child = self.tracker.nested(f"trial {trial.number}")
        child.params(trial.params)
        child.tag({"state": trial.state.name.lower(), "why": trial.user_attrs.get(WHY, "")})
        for epoch, loss in enumerate(trial.user_attrs.get(CURVE, ()), start=1):
            child.log({"search/loss": loss}, step=epoch)
        for epoch, score in sorted(trial.intermediate_values.items()):
            child.log({f"search/{SCORE}": score}, step=epoch)
        final = {"seconds": float(trial.user_attrs.get(SECONDS, 0.0))}
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            final[SCORE] = trial.value
        child.finish(final, {}, ok=trial.state in DONE)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return [one for one in study.get_trials(deepcopy=False) if one.state.is_finished()]


def _line(trial: FrozenTrial, done: int, of: int) -> str:
    """Such as ``trial 7 (8 of 40): 0.1234``."""
    what = trial.state.name.lower()
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        what = f"NDCG@10 {trial.value:.4f}"
    elif why := trial.user_attrs.get(WHY):
        what = f"{what}: {why}"
    seconds = float(trial.user_attrs.get(SECONDS, 0.0))
    return f"trial {trial.number} ({done} of {of}), {seconds:.0f} s: {what}"
