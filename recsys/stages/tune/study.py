"""The study of a search: optuna's, in one SQLite file, which several processes write to.

What a trial gets depends on (seed, number of trials before it) and on their scores alone: in one
process a search that was killed and goes on tries what it would have tried. A setting that fails
again is passed over.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from recsys.config import TuneConfig
from recsys.errors import ArtifactError, ConfigError
from recsys.files import locked
from recsys.stages.tune.space import Params

__all__ = ["DONE", "STOPPED", "WHY", "Searched", "ask", "counted", "forget_killed", "open_study"]

NAME = "tune"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
KEY = "searched"  # the digest of all that trials share
AGAIN = "again"  # a trial that takes the place of a killed one
WHY = "why"  # a trial was pruned or failed
STOPPED = "stopped"  # why, where the user did it
PATIENT = 60.0  # seconds that a process waits for another one's write


@dataclass(frozen=True)
class Searched:
    """A study that any process can open.

    Attributes:
        path: of the SQLite file.
        tune: the table of the config.
        epochs: that a trial has at most.
        seed: of what is tried.
    """

    path: Path
    tune: TuneConfig
    epochs: int
    seed: int

    def open(self) -> optuna.Study:
        """Open the study, which `open_study` has made."""
        return optuna.load_study(study_name=NAME, storage=_storage(self.path), pruner=self.pruner())

    def pruner(self) -> BasePruner:
        """What gives up trials that do worse than others did at the same epoch."""
        tune = self.tune
        if tune.pruner == "median":
            return MedianPruner(n_startup_trials=tune.startup, n_warmup_steps=tune.warmup)
        if tune.pruner == "hyperband":
            least = max(1, min(tune.warmup, self.epochs))
            return HyperbandPruner(min_resource=least, max_resource=self.epochs)
        return NopPruner()

    def sampler(self, before: int) -> TPESampler:
        """What draws the setting after so many others."""
        seed = int(np.random.SeedSequence([self.seed, before]).generate_state(1)[0])
        with warnings.catch_warnings():  # "multivariate" is called experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=seed,
                n_startup_trials=self.tune.startup,
                multivariate=True,  # dim and rate, say, are drawn together
                constant_liar=self.tune.processes > 1,  # not what another one is trying just now
            )


def open_study(searched: Searched, key: str, own: Params | None) -> optuna.Study:
    """Make the study, or open that of earlier calls.

    Args:
        searched: where, and how.
        key: digest of the space, of all other settings and of the data: what makes scores
            comparable.
        own: the config's own setting, which is tried first.

    Raises:
        ConfigError: the study that is there searched something else.
        ArtifactError: the file is no study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = not searched.path.exists()
    searched.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            study_name=NAME,
            storage=_storage(searched.path),
            direction=StudyDirection.MAXIMIZE,
            load_if_exists=True,
            pruner=searched.pruner(),
        )
    except (SQLAlchemyError, RuntimeError) as error:  # what optuna says of another's database
        first = str(error).splitlines()[0]
        raise ArtifactError(f"{searched.path}: is no study of optuna's ({first})") from None
    if made or KEY not in study.user_attrs:
        if own is not None:
            study.enqueue_trial(own)
        study.set_user_attr(KEY, key)
    if study.user_attrs[KEY] != key:
        raise ConfigError(
            f"{searched.path}: searched another space, or with other data or settings, and scores "
            "would not be comparable; --force begins anew, or take another --out"
        )
    return study


def _storage(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": PATIENT}}
    )


def forget_killed(study: optuna.Study, *, again: bool) -> int:
    """Mark the trials failed that nobody works on any more; return how many.

    To be called while no process works on the study.

    Args:
        study: of the trials.
        again: their settings are tried again, once; else the sampler replaces them. So are those
            of trials that the user stopped.
    """
    killed = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in killed:
        study.tell(trial.number, state=TrialState.FAIL)
    if not again:
        return len(killed)
    stopped = [one for one in _lost(study) if one.user_attrs.get(WHY) == STOPPED]
    for trial in (*(one for one in killed if AGAIN not in one.user_attrs), *stopped):
        study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
    return len(killed) + len(stopped)


def _lost(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that failed and were not tried again."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(AGAIN) for trial in trials}
    return [one for one in trials if one.state == TrialState.FAIL and one.number not in again]


def counted(study: optuna.Study) -> int:
    """How many trials are done or under way; failed ones do not count."""
    states = Counter(trial.state for trial in study.get_trials(deepcopy=False))
    return sum(states[state] for state in (*DONE, TrialState.RUNNING))


def ask(
    study: optuna.Study, searched: Searched, distributions: Mapping[str, BaseDistribution]
) -> Trial | None:
    """Begin a trial, or return None when all that were asked for are done or under way."""
    with locked(searched.path):  # else two processes would both begin the last one
        before = counted(study)
        if before >= searched.tune.trials:
            return None
        study.sampler = searched.sampler(before + len(_lost(study)))  # not what has failed again
        return study.ask(dict(distributions))
